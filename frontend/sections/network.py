"""The network: its card, and champion and challengers."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from frontend import skill
from frontend.decision import Decision
from frontend.tables import Column, height, styled
from frontend.words import plain

_BUNDLES = {
    "id": Column("Network"),
    "role": Column("Role"),
    "since": Column("Since"),
    "trained": Column("Trained until"),
    "on": Column("On"),
    "ic": Column("IC"),
    "ratio": Column("Error / last price's"),
    "loss": Column("Quantile loss, bp"),
    "why": Column("Why"),
}


def show(made: Decision) -> None:
    st.header("The network", anchor=False)
    rows = skill.card_rows(made.document)
    st.table(
        pd.DataFrame({"Said": [plain(told) for told in rows.values()]}, index=list(rows)),
        border="horizontal", hide_header=True, alt="What the network is and how it is",
    )  # fmt: skip
    st.subheader("Champion and challengers", anchor=False)
    table = skill.bundles_table(made.document)
    if table.empty:
        told = skill.NOT_RECORDED
        if "bundles" in made.document:
            told = "the registry could not be read at that decision"
        st.caption(f"{told[0].upper()}{told[1:]}. `astra models list` shows them.")
        return
    st.dataframe(
        styled(table, _BUNDLES), hide_index=True, height=height(len(table)), key="bundles",
        alt="Networks in the registry: the champion, those before and the challengers",
    )  # fmt: skip
    st.caption(
        "As the registry stood at that decision; the figures are those that each training "
        "measured on its own last days, so they compare no two networks. A challenger is promoted "
        "if its quantile loss is no worse on sessions that neither has seen."
    )

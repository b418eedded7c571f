"""The weights of a decision beside what is held of them, and why each of them changed."""

from __future__ import annotations

import datetime as dt
import math

import streamlit as st

from astra.attribution import PARTS, Attribution
from astra.records import PlanLine
from astra.sessions import NEW_YORK
from frontend import weights
from frontend.charts.decisions import parts_chart, sectors_chart
from frontend.decision import Decision
from frontend.page import Page
from frontend.tables import SHARE, SIGNED_SHARE, Column, height, styled
from frontend.words import count, new_york, percent, plain

_QUIET = {"displayModeBar": False}


def show(
    page: Page, made: Decision, after: dict[str, float] | None, at: dt.datetime | None
) -> None:
    st.header("Weights", anchor=False)
    table = weights.weights_table(made, page.universe(), after)
    if table.empty:
        st.caption("All in cash: nothing was held, wanted or decided.")
        return
    names = int((table["decided"] > 0).sum())
    cash = max(0.0, 1.0 - math.fsum(made.weights.values()))
    line = f"{count(names, 'name')} and {percent(cash, digits=1)} in cash were decided."
    later = "Held later" if at is None else f"Held {at.astimezone(NEW_YORK):%H:%M}"
    if after is not None and at is not None:
        line += (
            f" What was held after it is of {new_york(at)}; drift is that less what was decided."
        )
    elif at is None:
        line += " What was held after it is not on record yet."
    st.caption(plain(line))
    columns = {
        "symbol": Column("Symbol"),
        "held": Column("Held before", SHARE),
        "target": Column("Target", SHARE),
        "decided": Column("Decided", SHARE),
        "after": Column(later, SHARE),
        "drift": Column("Drift", SIGNED_SHARE),
        "name": Column("Name"),
        "sector": Column("Sector"),
    }
    columns = {c: v for c, v in columns.items() if not table[c].isna().all()}
    left, right = st.columns([7, 4], gap="medium")
    left.dataframe(
        styled(table, columns), hide_index=True, height=height(len(table), 22),
        key="decision_weights", placeholder="",
        alt="Weights by name: before, target, decided, held after",
    )  # fmt: skip
    right.plotly_chart(
        sectors_chart(weights.by_sector(table), later), key="decision_sectors", config=_QUIET,
        alt="Weights by sector: decided, and held after",
    )  # fmt: skip


def reasons(made: Decision, lines: tuple[PlanLine, ...]) -> None:
    st.header("Why this weight", anchor=False)
    found = weights.changes(made, lines)
    if not found:
        st.caption("This decision was made by a release that did not write down its reasons.")
        return
    upto = "planned" if lines else "decided"
    told = f"From the weight held to the one {upto}, in parts that sum to the change."
    st.caption(plain(f"{told} A part that would read 0 is left empty."))
    symbols = [c.symbol for c in found]
    left, right = st.columns([5, 6], gap="medium")
    with left:
        symbol = st.selectbox("Name", symbols, key="decision_name", persist_state="session")
        change = found[symbols.index(symbol)]
        st.plotly_chart(
            parts_chart(change, upto), key="decision_parts", config=_QUIET,
            alt=f"Why the weight of {symbol} changed",
        )  # fmt: skip
    with right:
        _parts_table(found)
    with st.expander("What the parts are", key="decision_parts_told"):
        for name in found[0].parts:
            st.markdown(f"**{name.capitalize()}**: {plain(PARTS[name])}.")
        if made.reads:
            st.markdown(plain(f"Policy {made.policy}: {made.reads}."))


def _parts_table(found: tuple[Attribution, ...]) -> None:
    table = weights.changes_table(found)
    columns = {
        "symbol": Column("Symbol"),
        "change": Column("Change", SIGNED_SHARE, tinted=True),
        **{name: Column(name.capitalize(), SIGNED_SHARE) for name in found[0].parts},
        "before": Column("From", SHARE),
        "planned": Column("To", SHARE),
    }
    st.dataframe(
        styled(table, columns), hide_index=True, height=height(len(table), 12),
        key="decision_changes", placeholder="", alt="Parts of each weight's change",
    )  # fmt: skip

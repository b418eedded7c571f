"""What is held, beside what was decided, and how it spreads over sectors."""

from __future__ import annotations

import streamlit as st

from frontend.account import Holdings, by_sector
from frontend.charts.account import sector_chart
from frontend.tables import (
    DOLLARS,
    SHARE,
    SHARES,
    SIGNED_DOLLARS,
    SIGNED_SHARE,
    Column,
    height,
    styled,
)
from frontend.words import count, money, percent, plain

_COLUMNS = {
    "symbol": Column("Symbol"),
    "name": Column("Name"),
    "weight": Column("Weight", SHARE),
    "target": Column("Target", SHARE),
    "drift": Column("Drift", SIGNED_SHARE),
    "value": Column("Value", DOLLARS),
    "gain": Column("Open profit", SIGNED_DOLLARS, tinted=True),
    "qty": Column("Shares", SHARES),
    "price": Column("Price", DOLLARS),
}


def show(held: Holdings, *, decided: bool) -> None:
    st.header("Positions", anchor=False)
    if held.table.empty:
        st.caption(
            f"Everything is in cash ({money(held.cash)}): positions appear after the first "
            "rebalance.".replace("$", r"\$")
        )
        return
    names = int((held.table["value"] != 0).sum())
    cash = f"{money(held.cash)} in cash"
    if held.equity > 0:
        cash += f" ({percent(held.cash / held.equity)})"
    st.caption(plain(f"{count(names, 'position')}, {cash}. Drift is weight less target."))
    left, right = st.columns([7, 4], gap="medium")
    columns = dict(_COLUMNS)
    if not decided:
        columns = {c: v for c, v in columns.items() if c not in ("target", "drift")}
    left.dataframe(
        styled(held.table, columns), hide_index=True, height=height(len(held.table), most=22)
    )
    right.plotly_chart(
        sector_chart(by_sector(held.table)), key="sectors", config={"displayModeBar": False}
    )

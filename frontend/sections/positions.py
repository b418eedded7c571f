"""What is held, beside what was decided, and how it spreads over sectors."""

from __future__ import annotations

import datetime as dt

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
from frontend.words import count, money, new_york, percent, plain, utc

_COLUMNS = {
    "symbol": Column("Symbol"),
    "name": Column("Name"),
    "weight": Column("Weight", SHARE),
    "target": Column("Target", SHARE),
    "drift": Column("Drift", SIGNED_SHARE),
    "share": Column("Of account", SHARE),
    "value": Column("Value", DOLLARS),
    "gain": Column("Open profit", SIGNED_DOLLARS, tinted=True),
    "qty": Column("Shares", SHARES),
    "price": Column("Price", DOLLARS),
    "sector": Column("Sector"),
}


def show(held: Holdings, decided_at: dt.datetime | None) -> None:
    """`decided_at` is the as-of time of the targets; None = nothing was decided."""
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
    line, at = f"{count(names, 'position')}, {cash}.", utc(held.at)
    columns = dict(_COLUMNS)
    if held.is_apart:
        line += (
            f" Weight, target and drift are of the {money(held.managed)} that are managed and of "
            "the shares that are ours; what is not has none."
        )
    else:
        del columns["share"]
    if decided_at is None:
        columns = {c: v for c, v in columns.items() if c not in ("target", "drift")}
        line += " There are no targets before this account's first decision."
    else:
        line += f" Targets were decided on {new_york(decided_at)}; drift is weight less target."
        at += f", targets {utc(decided_at)}"
    st.caption(plain(line), help=at)
    left, right = st.columns([7, 4], gap="medium")
    left.dataframe(
        styled(held.table, columns),
        hide_index=True,
        height=height(len(held.table), most=22),
        key="positions",
        column_config={"Symbol": st.column_config.Column(pinned=True)},
        alt="Positions with weight, target, drift and open profit, the largest first.",
    )
    sectors = by_sector(held.table)
    if sectors.empty:
        return
    right.plotly_chart(
        sector_chart(sectors),
        key="sectors",
        config={"displayModeBar": False},
        alt="Bar chart of weight and target by sector: "
        + ", ".join(
            f"{s} {percent(w)}" for s, w in zip(sectors["sector"], sectors["weight"], strict=True)
        ),
    )

"""Closed trades: the best and the worst, first in, first out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pandas as pd
import streamlit as st

from astra.trades import ClosedTrade, match
from frontend.account import fills
from frontend.page import Page
from frontend.tables import SHARES, SIGNED_DOLLARS, SIGNED_SHARE, Column, height, styled
from frontend.words import count, held, money, new_york, plain

_SHOWN = 10
_COLUMNS = {
    "symbol": Column("Symbol"),
    "qty": Column("Shares", SHARES),
    "profit": Column("Profit", SIGNED_DOLLARS, tinted=True),
    "share": Column("Return", SIGNED_SHARE),
    "held": Column("Held"),
    "closed": Column("Sold"),
}


def show(page: Page) -> None:
    st.header("Closed trades", anchor=False)
    found = match(fills(page.table("activities", account=page.account)))
    if not found.closed:
        st.caption("Nothing has been sold yet: a trade is closed when its shares are sold.")
        return
    total = sum((t.profit for t in found.closed), Decimal(0))
    won = sum(t.profit > 0 for t in found.closed)
    line = (
        f"{count(len(found.closed), 'trade')}, {won} with a profit; together "
        f"{money(float(total), signed=True)} before fees. First in, first out."
    )
    if found.unmatched:
        symbols = ", ".join(sorted({s.symbol for s in found.unmatched}))
        line += f" Shares sold without a purchase on record are not counted: {symbols}."
    st.caption(plain(line))
    ranked = sorted(found.closed, key=lambda t: (-t.profit, t.symbol, t.closed_at))
    best, worst = st.columns(2, gap="medium")
    best.subheader("Best ten", anchor=False)
    best.dataframe(_table(ranked[:_SHOWN]), hide_index=True, height=height(_SHOWN))
    worst.subheader("Worst ten", anchor=False)
    worst.dataframe(_table(ranked[::-1][:_SHOWN]), hide_index=True, height=height(_SHOWN))


def _table(trades: Sequence[ClosedTrade]) -> object:
    rows = [
        {
            "symbol": t.symbol,
            "qty": float(t.qty),
            "profit": float(t.profit),
            "share": t.profit_share,
            "held": held(t.held_for),
            "closed": new_york(t.closed_at).removesuffix(" New York"),
        }
        for t in trades
    ]
    return styled(pd.DataFrame(rows), _COLUMNS)

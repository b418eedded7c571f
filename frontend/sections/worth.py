"""What the account is worth now and how it moved."""

from __future__ import annotations

import streamlit as st

from frontend.account import Curve, Holdings
from frontend.words import money, new_york, percent


def show(held: Holdings, curve: Curve | None, benchmark: str) -> None:
    with st.container(key="metrics_header"):
        value, today, start, beside = st.columns(4)
    value.metric("Account value", money(held.equity))
    if curve is None:
        return
    day = curve.performance(curve.day_start)
    whole = curve.performance()
    today.metric("Today", percent(day.total_return, signed=True), _dollars(held, day.total_return))
    start.metric(
        "Since the start",
        percent(whole.total_return, signed=True),
        _dollars(held, whole.total_return),
        help=f"Since {new_york(curve.times[0])}; deposits and withdrawals are not counted.",
    )
    if curve.benchmark is None:
        beside.metric(f"{benchmark} over the same time", "n/a")
        return
    ahead = (whole.total_return - whole.benchmark_return) * 100
    beside.metric(
        f"{benchmark} over the same time",
        percent(whole.benchmark_return, signed=True),
        f"account {ahead:+.2f} points",
        delta_color="off",
        delta_arrow="off",
        help="Price only, without dividends.",
    )


def _dollars(held: Holdings, share: float) -> str | None:
    """What a return came to in today's money; None if nothing moved, which needs no arrow."""
    change = money(held.equity * share / (1 + share), signed=True)
    return change if change[0] in "+-" else None

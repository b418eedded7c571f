"""What the account is worth now, how it moved, in which market and as of when."""

from __future__ import annotations

import datetime as dt
import html

import streamlit as st

from frontend.decision import market_line
from frontend.page import BENCHMARK, Page
from frontend.words import age, money, new_york, percent


def show(page: Page) -> None:
    line = market_line(page.market)
    if line is not None:
        st.html(f'<div class="astra-market" role="note">{html.escape(line)}</div>')
    with st.container(key="metrics_header"):
        worth, today, start, benchmark = st.columns(4)
    worth.metric("Account value", money(page.holdings.equity))
    if page.curve is None:
        return
    day = page.curve.performance(page.curve.day_start)
    whole = page.curve.performance()
    today.metric("Today", percent(day.total_return, signed=True), _dollars(page, day.total_return))
    start.metric(
        "Since the start",
        percent(whole.total_return, signed=True),
        _dollars(page, whole.total_return),
        help=f"Since {new_york(page.curve.times[0])}; deposits and withdrawals are not counted.",
    )
    if page.curve.benchmark is None:
        benchmark.metric(f"{BENCHMARK} over the same time", "n/a")
        return
    ahead = (whole.total_return - whole.benchmark_return) * 100
    benchmark.metric(
        f"{BENCHMARK} over the same time",
        percent(whole.benchmark_return, signed=True),
        f"account {ahead:+.2f} points",
        delta_color="off",
        delta_arrow="off",
        help="Price only, without dividends.",
    )


def _dollars(page: Page, share: float) -> str | None:
    """What a return came to in today's money; None if nothing moved, which needs no arrow."""
    change = money(page.holdings.equity * share / (1 + share), signed=True)
    return change if change[0] in "+-" else None


def as_of(page: Page, market_now: dt.datetime) -> None:
    """Which account this is, as of when, and how old that is."""
    trading = "Paper trading" if page.paper else "LIVE trading: real money"
    if not page.market:
        trading += " · market not known before the first load"
    # A person asks how old this is by the clock on the wall; made-up markets have their own clock.
    wall = dt.datetime.now(dt.UTC)
    now = max(market_now, wall) if page.market == "real" else market_now
    old = age(now - page.holdings.at)
    st.caption(f"{trading} · as of {new_york(page.holdings.at)} · {old}")

"""Since when and beside which benchmark a person wants to see the account."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from astra.equity_curve import Curve
from astra.sessions import NEW_YORK
from frontend.account import PRESETS, first_day

_DATE = "Date"


def show(curve: Curve, benchmarks: str) -> tuple[dt.date | None, str]:
    """The first day, None = all, and the benchmark, "" = there is none to choose.

    Both stay as they are chosen for the session, on other pages too.

    Args:
        benchmarks: tickers, `SPY|QQQ`.
    """
    st.header("Performance", anchor=False)
    last = curve.times[-1].astimezone(NEW_YORK).date()
    tickers = [name.strip() for name in benchmarks.split("|") if name.strip()]
    with st.container(horizontal=True, vertical_alignment="bottom", key="asked"):
        preset = st.segmented_control(
            "Since", [*PRESETS, _DATE], default="All", required=True, key="account_since",
            persist_state="session", wrap=True,
        )  # fmt: skip
        first = first_day(str(preset), last)
        if preset == _DATE:
            first = st.date_input(
                "First day", value=curve.times[0].astimezone(NEW_YORK).date(), width=150,
                key="account_first_day", persist_state="session",
                help="In New York; what was worth at the last value before it is the start.",
            )  # fmt: skip
        benchmark = ""
        if tickers:
            benchmark = st.selectbox(
                "Beside", tickers, key="account_benchmark", persist_state="session", width=190,
                format_func=lambda name: f"{name}, price return",
                help="The return of its price: dividends are not in the store and not counted. "
                "The names are those of ASTRA_BENCHMARKS.",
            )  # fmt: skip
    return first, benchmark

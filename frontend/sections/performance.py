"""The account's value beside SPY's, its drawdowns, and the figures with what they stand on."""

from __future__ import annotations

import math

import streamlit as st

from astra.performance import Performance
from frontend.account import Curve
from frontend.charts.account import account_chart
from frontend.words import UNKNOWN, count, money, percent


def show(curve: Curve | None, benchmark: str) -> None:
    st.header("Performance", anchor=False)
    if curve is None or len(curve.times) < 2:
        st.caption(
            "One value of the account is recorded so far: the chart begins with the second, "
            "after the monitor's next run."
        )
        return
    figures = curve.performance()
    with st.container(key="metrics_performance"):
        total, sharpe, worst, wobble = st.columns(4)
    total.metric(
        "Return",
        percent(figures.total_return, signed=True),
        f"{benchmark} {percent(figures.benchmark_return, signed=True)}",
        delta_color="off",
        delta_arrow="off",
    )
    sharpe.metric(
        "Sharpe ratio, a year",
        ratio(figures),
        basis(figures),
        delta_color="off",
        delta_arrow="off",
        help=SHARPE_HELP,
    )
    worst.metric("Maximum drawdown", percent(figures.max_drawdown))
    wobble.metric("Volatility, a year", percent(figures.annual_volatility))
    st.plotly_chart(
        account_chart(curve.times, curve.equity, curve.benchmark),
        key="account",
        config={"displayModeBar": False},
    )
    notes = [f"Both lines start at {money(float(curve.equity[0]))}."]
    if curve.benchmark is None:
        notes = [
            f"{benchmark} is not in the store for this time, so the account stands alone: "
            f"load it with `astra load` ({benchmark} belongs into ASTRA_BENCHMARKS)."
        ]
    if curve.flows:
        notes.append(
            f"{count(curve.flows, 'deposit or withdrawal', 'deposits and withdrawals')} taken out."
        )
    st.caption(" ".join(notes).replace("$", r"\$"))


SHARPE_HELP = (
    "From the account's own steps, annualised, in excess of cash at 0%. The figure after ± is one "
    "standard error (Lo 2002); below two of them the steps are too few to tell the ratio from 0."
)


def ratio(figures: Performance) -> str:
    """`1.80 ± 0.90`, or n/a."""
    if not math.isfinite(figures.sharpe):
        return UNKNOWN
    return f"{figures.sharpe:.2f} ± {figures.sharpe_error:.2f}"


def basis(figures: Performance) -> str:
    """How many steps the Sharpe ratio stands on; too few if it cannot be told from 0."""
    steps = count(figures.steps, "step")
    if not math.isfinite(figures.sharpe) or abs(figures.sharpe) < 2 * figures.sharpe_error:
        return f"{steps}: too few"
    return f"over {steps}"

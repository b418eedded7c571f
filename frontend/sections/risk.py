"""Figures of risk, each with what it stands on."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from astra.equity_curve import Figures
from astra.performance import FEWEST_STEPS, Trading
from frontend.account import Span
from frontend.words import UNKNOWN, basis_points, count, money, percent

_DAYS = "Of days, the last value of each session; 252 make a year. Cash counts as earning 0%."
SHARPE_HELP = (
    f"Mean return over its deviation, a year. {_DAYS} The figure after ± is one standard error "
    "(Lo 2002): below two of them the ratio cannot be told from 0."
)
SORTINO_HELP = f"As the Sharpe ratio, with losing days alone as the deviation. {_DAYS}"
CALMAR_HELP = "The return compounded to a year over the maximum drawdown."
HIT_HELP = (
    "Days on which the account earned more than the benchmark's price, with the standard error of "
    "that share: less than two of them from a half, where chance is, the days are too few to tell."
)
EXPOSURE_HELP = "Mean share of the account that was not cash, of the days on which it was recorded."
TURNOVER_HELP = "What is bought and sold together in a year, over the account's mean value."
COSTS_HELP = (
    "For a year, as a share of the account's mean value: fees that the broker booked, and what "
    "fills were worse than the price their plan counted with (less than 0: better)."
)


def show(span: Span, benchmark: str) -> None:
    found, traded = span.figures, span.trading
    st.subheader("Risk and cost", anchor=False)
    with st.container(key="metrics_risk"):
        first, second = st.columns(4), st.columns(4)
    enough = found.days >= FEWEST_STEPS
    _tile(first[0], "Sharpe ratio, a year", ratio(found), basis(found), SHARPE_HELP)
    _tile(first[1], "Sortino ratio, a year", _number(found.sortino), None, SORTINO_HELP)
    _tile(first[2], "Calmar ratio", _number(found.calmar), None, CALMAR_HELP)
    _tile(first[3], "Volatility, a year", percent(found.annual_volatility), None, _DAYS)
    _tile(second[0], f"Days ahead of {benchmark or 'a benchmark'}", *hits(found), HIT_HELP)
    _tile(second[1], "Invested, on average", percent(span.exposure), None, EXPOSURE_HELP)
    turnover = f"{traded.turnover:,.1f} times" if enough else UNKNOWN
    _tile(second[2], "Turnover, a year", turnover, f"{money(traded.traded)} so far", TURNOVER_HELP)
    cost = percent(traded.cost_share) if enough else UNKNOWN
    _tile(second[3], "Costs, a year", cost, _cost(traded), COSTS_HELP)
    if not enough:
        st.caption(
            f"Ratios and yearly figures need {FEWEST_STEPS} days, and stand on "
            f"{count(found.days, 'day')} so far: they would say more about chance than about the "
            "account."
        )


def ratio(found: Figures) -> str:
    """`1.80 ± 0.90`, or n/a."""
    if not math.isfinite(found.sharpe):
        return UNKNOWN
    return f"{found.sharpe:.2f} ± {found.sharpe_error:.2f}"


def basis(found: Figures) -> str:
    """How many days the Sharpe ratio stands on; too few if it cannot be told from 0."""
    days = count(found.days, "day")
    if not math.isfinite(found.sharpe) or abs(found.sharpe) < 2 * found.sharpe_error:
        return f"{days}: too few"
    return f"over {days}"


def hits(found: Figures) -> tuple[str, str | None]:
    """`58% ± 3%` and what it stands on; the bare count of few days."""
    if found.hit is None:
        return UNKNOWN, None
    hit = found.hit
    if hit.steps < FEWEST_STEPS:
        return f"{hit.ahead} of {hit.steps}", "too few"
    told = abs(hit.rate - 0.5) >= 2 * hit.error
    under = f"{hit.ahead} of {hit.steps:,}" + (" days" if told else ": too few")
    return f"{hit.rate:.0%} ± {hit.error:.0%}", under


def _cost(traded: Trading) -> str | None:
    """What trading has cost so far, and of what."""
    if not traded.traded:
        return None
    return f"{money(traded.cost)} so far, {basis_points(traded.cost_bp)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else UNKNOWN


def _tile(place: DeltaGenerator, label: str, value: str, under: str | None, told: str) -> None:
    place.metric(label, value, under, delta_color="off", delta_arrow="off", help=told)

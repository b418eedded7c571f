"""The account beside a benchmark: values, returns, and how far both were under water."""

from __future__ import annotations

import datetime as dt
import math

import streamlit as st

from astra.equity_curve import Curve
from frontend.account import Span
from frontend.charts.account import DRAWN, account_chart, underwater_chart
from frontend.words import count, money, new_york, percent, plain, utc

TIME_WEIGHTED_HELP = (
    "Time-weighted: the returns between two values, chained, with deposits and withdrawals taken "
    "out of each. What the choices earned, whatever money came when."
)
MONEY_WEIGHTED_HELP = (
    "Money-weighted: the internal rate of return of this time (not of a year). What each dollar "
    "earned while it was there; without deposits and withdrawals the same as time-weighted. n/a "
    "where the flows leave no answer, or one that cannot be proven unique."
)


def missing() -> None:
    st.header("Performance", anchor=False)
    st.caption(
        "One value of the account is recorded so far: the chart begins with the second, "
        "after the monitor's next run."
    )


def nothing_since() -> None:
    st.caption("No value of the account was recorded since that day: choose an earlier one.")


def show(span: Span, benchmark: str) -> None:
    found, curve = span.figures, span.curve
    with st.container(key="metrics_performance"):
        own, money_weighted, other, worst = st.columns(4)
    own.metric(
        "Return",
        percent(found.time_weighted, signed=True),
        _flows(curve),
        delta_color="off",
        delta_arrow="off",
        help=TIME_WEIGHTED_HELP,
    )
    money_weighted.metric(
        "Money-weighted return",
        percent(found.money_weighted, signed=True),
        help=MONEY_WEIGHTED_HELP,
    )
    rebased = curve.rebased()
    if benchmark:
        other.metric(
            f"{benchmark}, price return",
            percent(found.benchmark_return, signed=True),
            _ahead(span),
            delta_color="off",
            delta_arrow="off",
            help="Without dividends, as bars hold prices only.",
        )
    worst.metric(
        "Maximum drawdown",
        percent(found.max_drawdown),
        help="The deepest that the account was below its highest value in this time, of all "
        "values, not of days only.",
    )
    st.plotly_chart(
        account_chart(curve.times, curve.equity, rebased, benchmark),
        key="account",
        config={"displayModeBar": False},
        alt=_told(span, benchmark),
    )
    st.caption(plain(" ".join(_notes(curve, benchmark))))


def underwater(span: Span, benchmark: str) -> None:
    st.header("Under water", anchor=False)
    curve, beside = span.curve, span.curve.rebased()
    figure = underwater_chart(curve.times, curve.equity, beside, benchmark)
    told = f"The account was at most {percent(-span.figures.max_drawdown)} below its highest value."
    st.plotly_chart(figure, key="underwater", config={"displayModeBar": False}, alt=told)
    st.caption(
        f"How far the value lay below the highest since {new_york(curve.times[0])}.",
        help=utc(curve.times[0]),
    )


def _flows(curve: Curve) -> str | None:
    """What was taken out, on balance; None if nothing came or went."""
    if not curve.flows:
        return None
    return f"{money(curve.paid_in, signed=True)} taken out"


def _ahead(span: Span) -> str | None:
    """By how much the account is ahead, at the last time that the benchmark is known."""
    if not math.isfinite(span.figures.ahead):
        return None
    then = " then" if _known_until(span.curve) else ""
    return f"account {span.figures.ahead * 100:+.2f} points{then}"


def _known_until(curve: Curve) -> dt.datetime | None:
    """When the benchmark was last known, if that is not the end."""
    return None if curve.beside_until == curve.times[-1] else curve.beside_until


def _told(span: Span, benchmark: str) -> str:
    """The chart in words, for whoever does not see it."""
    curve, found = span.curve, span.figures
    words = (
        f"Line chart of the account from {money(float(curve.equity[0]))} to "
        f"{money(float(curve.equity[-1]))}, {percent(found.time_weighted, signed=True)}, since "
        f"{new_york(curve.times[0])}"
    )
    if benchmark and curve.rebased() is not None:
        words += f", beside {benchmark}, {percent(found.benchmark_return, signed=True)}"
        if until := _known_until(curve):
            words += f" until {new_york(until)}"
    return f"{words}."


def _notes(curve: Curve, benchmark: str) -> list[str]:
    start = f"{money(float(curve.equity[0]))} on {new_york(curve.times[0])}"
    if not benchmark:
        notes = [f"From {start}."]
    elif curve.rebased() is None:
        notes = [
            f"From {start}. {benchmark} is not in the store for this time, so the account stands "
            f"alone: load it with `astra load` ({benchmark} belongs into ASTRA_BENCHMARKS)."
        ]
    else:
        notes = [f"Both lines start at {start}."]
        if until := _known_until(curve):
            notes.append(
                f"{benchmark} is known until {new_york(until)}, and compared up to then: "
                "`astra load` brings its later bars, if there are any."
            )
    if curve.flows:
        noun = count(len(curve.flows), "deposit or withdrawal", "deposits and withdrawals")
        notes.append(
            f"{noun} taken out, together {money(curve.paid_in, signed=True)}: the line is what the "
            "first value became without them."
        )
    if len(curve.times) > DRAWN:
        notes.append(
            f"Of {len(curve.times):,} values the chart shows the highest and lowest of each "
            "stretch; figures are of all."
        )
    return notes

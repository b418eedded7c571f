"""What a policy has to beat: SPY, and the candidates themselves without any choice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np

from astra.performance import YEAR_SECONDS
from model.backtest.fills import Costs, Tape
from model.backtest.records import EQUAL, HOLD, HOUR, SPY, SPY_TOTAL
from model.backtest.simulate import simulate
from model.panel import Floats

# A year's dividends on the price of SPY, an assumption that every report states: bars of 5 minutes
# hold no dividends.
SPY_DIVIDENDS = 0.012


def benchmarks(
    tape: Tape,
    candidates: Sequence[str],
    times: Sequence[dt.datetime],
    capital: float,
    costs: Costs,
) -> Mapping[str, Floats]:
    """USD of each benchmark at the first of `times` and the end of the hour of each of them.

    SPY is bought at the first price that could be traded and held, without costs; so is SPY with
    dividends assumed to come in evenly over the year. "hold" buys in equal parts and once all
    candidates that have an open after the first decision, "equal weight" goes back to equal parts
    of those that have one at each session's first decision, both at the policies' costs and
    prices. One without prices is absent.
    """
    found = _spy(tape, times, capital)
    mornings = [k for k, t in enumerate(times) if k == 0 or t.date() != times[k - 1].date()]
    for name, turns in ((EQUAL, mornings), (HOLD, mornings[:1])):
        opens = [tape.opens(times[k]) for k in turns]
        names = [t for t in candidates if any(t in prices for prices in opens)]
        if names:
            found[name] = _in_equal_parts(tape, names, times, turns, capital, costs)
    return found


def _spy(tape: Tape, times: Sequence[dt.datetime], capital: float) -> dict[str, Floats]:
    first = tape.opens(times[0]).get(SPY)
    if first is None:
        return {}
    ends = [t + HOUR for t in times]
    price = capital * np.array([first, *(tape.marks(t)[SPY] for t in ends)]) / first
    years = np.array([0.0, *((t - times[0]).total_seconds() / YEAR_SECONDS for t in ends)])
    return {SPY: price, SPY_TOTAL: price * (1.0 + SPY_DIVIDENDS) ** years}


def _in_equal_parts(
    tape: Tape,
    names: Sequence[str],
    times: Sequence[dt.datetime],
    turns: Sequence[int],
    capital: float,
    costs: Costs,
) -> Floats:
    """Equity at the ends of hours, from equal parts bought after the decisions `turns`."""
    rows: list[Mapping[str, float]] = []
    trades, marks = [], []
    for k, t in enumerate(times):
        if k in turns:
            trades.append(len(rows))
            rows.append(tape.opens(t))
        marks.append(len(rows))
        rows.append(tape.marks(t + HOUR))
    prices = np.array([[row.get(name, np.nan) for name in names] for row in rows])
    there = np.isfinite(prices[trades])
    weights = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    made = simulate(
        prices,
        weights,
        np.array(trades, np.int64),
        capital,
        half_spread_bp=costs.half_spread_bp,
        fee_bp=costs.fee_bp,
        whole_shares=costs.whole_shares,
    )
    return np.concatenate([[capital], made.equity[marks]])

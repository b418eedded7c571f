"""Returns, risk and what they are worth: one definition for run report, backtest, monitor and page.

An equity curve is (times, equity): aware UTC instants, ascending, and USD > 0. Deposits and
withdrawals must be taken out before. A figure that cannot be known is NaN, never 0.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError
from astra.sessions import NEW_YORK, sessions_between

YEAR_SECONDS = 365.25 * 86_400
YEAR_SESSIONS = 252
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of one equity curve; fractions, not percent.

    `sharpe` is annualised by `steps_a_year`, in excess of `cash_rate`; `sharpe_error` is
    its standard error over the same sample (Lo 2002, iid case): with few steps it is large.
    """

    steps: int
    total_return: float
    annual_volatility: float
    sharpe: float
    sharpe_error: float
    max_drawdown: float
    benchmark_return: float


@dataclass(frozen=True, slots=True)
class Moments:
    """What the returns of one curve's steps look like; the Sharpe ratio is of a step, not a year.

    Attributes:
        steps: number of returns.
        step_sharpe: mean over standard deviation (n - 1), cash earning nothing.
        skew: third standardised moment, 0 for the normal distribution.
        kurtosis: fourth standardised moment, 3 for the normal distribution, not in excess of it.
    """

    steps: int
    step_sharpe: float
    skew: float
    kurtosis: float


def returns(equity: Floats) -> Floats:
    """Simple returns between successive values, shape (n - 1,)."""
    return np.diff(equity) / equity[:-1]


def drawdowns(equity: Floats) -> Floats:
    """Fraction below the highest value so far, shape (n,), in [-1, 0]."""
    return equity / np.maximum.accumulate(equity) - 1.0


def sessions_spanned(times: Sequence[dt.datetime]) -> int:
    """Sessions that the steps between `times` fill; 0 if a time lies on no session's day.

    The first session counts if a step ends in it: hourly steps of one day span one session, and
    so do two closes in a row.

    Raises:
        DataError: times that the exchange calendar doesn't cover.
    """
    if len(times) < 2:
        return 0
    day = dt.timedelta(days=1)
    around = sessions_between(times[0] - day, times[-1] + day)
    place = {session.date: i for i, session in enumerate(around)}
    places = [place.get(t.astimezone(NEW_YORK).date()) for t in times]
    first, second, last = places[0], places[1], places[-1]
    if first is None or last is None or None in places:
        return 0
    return last - first + (first == second)


def steps_a_year(times: Sequence[dt.datetime]) -> float:
    """Steps of a year of 252 sessions that has them as dense as between `times`; of a year of
    365.25 days where not all times are of sessions. NaN of fewer than two times.
    """
    if len(times) < 2:
        return math.nan
    if sessions := sessions_spanned(times):
        return (len(times) - 1) / sessions * YEAR_SESSIONS
    return (len(times) - 1) * YEAR_SECONDS / (times[-1] - times[0]).total_seconds()


def summarize(
    times: Sequence[dt.datetime],
    equity: Floats,
    benchmark: Floats | None = None,
    cash_rate: float = 0.0,
) -> Performance:
    """The figures of an equity curve, beside a benchmark's value at the same times.

    Raises:
        DataError: no values, or values that are not finite and above 0.
    """
    _check(equity)
    steps = returns(equity)
    total = float(equity[-1] / equity[0] - 1.0)
    against = float(benchmark[-1] / benchmark[0] - 1.0) if benchmark is not None else math.nan
    worst = float(drawdowns(equity).min())
    if len(steps) < 2:
        nan = math.nan
        return Performance(len(steps), total, nan, nan, nan, worst, against)
    per_year = steps_a_year(times)
    excess = steps - cash_rate / per_year
    deviation = float(excess.std(ddof=1))
    ratio = float(excess.mean()) / deviation if deviation > 0 else math.nan
    error = math.sqrt((1 + ratio * ratio / 2) / len(steps))
    scale = math.sqrt(per_year)
    return Performance(
        len(steps), total, deviation * scale, ratio * scale, error * scale, worst, against
    )


def moments(equity: Floats) -> Moments:
    """Moments of a curve's step returns; NaN for fewer than two steps or steps that are all alike.

    Raises:
        DataError: no values, or values that are not finite and above 0.
    """
    _check(equity)
    steps = returns(equity)
    off = steps - steps.mean() if len(steps) else steps
    variance = float((off**2).mean()) if len(steps) > 1 else 0.0
    # Equal steps differ by the rounding of equity: their ratio would be noise.
    if variance <= (4 * np.finfo(np.float64).eps) ** 2:
        return Moments(len(steps), math.nan, math.nan, math.nan)
    ratio = float(steps.mean() / steps.std(ddof=1))
    skew = float((off**3).mean()) / variance**1.5
    return Moments(len(steps), ratio, skew, float((off**4).mean()) / variance**2)


def _check(equity: Floats) -> None:
    if len(equity) == 0 or not (np.isfinite(equity).all() and (equity > 0).all()):
        raise DataError(
            f"an equity curve of positive values is required, found {len(equity)} values"
        )

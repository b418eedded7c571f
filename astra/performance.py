"""Returns, risk and what they are worth: one definition for run report, backtest, monitor and page.

An equity curve is (times, equity): aware UTC instants, ascending, and USD > 0; the last may be 0, a
total loss. Deposits and withdrawals must be taken out before. A figure that cannot be known is NaN,
never 0.
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
# Below so many steps no ratio is told: their deviation is itself known to no better than one part
# in six (1 / sqrt(2 (n - 1)) for normal steps), and Lo's error, which holds for many, is too small.
FEWEST_STEPS = 20
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of one equity curve; fractions, not percent.

    `sharpe` is annualised by `steps_a_year`, in excess of `cash_rate`; `sharpe_error` is
    its standard error over the same sample (Lo 2002, iid case): with few steps it is large. Both
    are NaN of steps that are all alike.
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


@dataclass(frozen=True, slots=True)
class HitRate:
    """On how many of `steps` the account earned more than a benchmark; NaN rates of no steps.

    `error` is the standard error of `rate` p, sqrt(p (1 - p) / n), of independent steps.
    """

    steps: int
    ahead: int

    @property
    def rate(self) -> float:
        return self.ahead / self.steps if self.steps else math.nan

    @property
    def error(self) -> float:
        return math.sqrt(self.rate * (1 - self.rate) / self.steps) if self.steps else math.nan


@dataclass(frozen=True, slots=True)
class Trading:
    """What was traded and what that cost, USD, and both for a year as fractions of mean equity."""

    traded: float
    cost: float
    turnover: float
    cost_share: float

    @property
    def cost_bp(self) -> float:
        """Cost in basis points of what was traded; NaN of nothing."""
        return 1e4 * self.cost / self.traded if self.traded else math.nan


def returns(equity: Floats) -> Floats:
    """Simple returns between successive values, shape (n - 1,)."""
    return np.diff(equity) / equity[:-1]


def drawdowns(equity: Floats) -> Floats:
    """Fraction below the highest value so far, shape (n,), in [-1, 0]; NaN where a value is."""
    return equity / np.fmax.accumulate(equity) - 1.0


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
    ratio = math.nan if _are_alike(steps) else float(excess.mean()) / deviation
    error = math.sqrt((1 + ratio * ratio / 2) / len(steps))
    scale = math.sqrt(per_year)
    return Performance(
        len(steps), total, deviation * scale, ratio * scale, error * scale, worst, against
    )


def sortino(times: Sequence[dt.datetime], equity: Floats, cash_rate: float = 0.0) -> float:
    """Mean return over cash, a year, over the downside deviation, a year.

    The deviation is the root of the mean of min(0, r - target)^2 over all steps, those above the
    target counting 0; the target is what cash earns in a step. Sortino and Price (1994),
    "Performance measurement in a downside risk framework", Journal of Investing 3(3). NaN of fewer
    than two steps and of steps of which none is below the target.

    Raises:
        DataError: no values, or values that are not finite and above 0.
    """
    _check(equity)
    steps = returns(equity)
    if len(steps) < 2:
        return math.nan
    per_year = steps_a_year(times)
    excess = steps - cash_rate / per_year
    downside = math.sqrt(float((np.minimum(excess, 0.0) ** 2).mean()))
    return float(excess.mean()) / downside * math.sqrt(per_year) if downside > 0 else math.nan


def annual_return(times: Sequence[dt.datetime], equity: Floats) -> float:
    """The return of a year that compounds to that of the curve; NaN of fewer than two steps.

    Raises:
        DataError: no values, or values that are not finite and above 0.
    """
    _check(equity)
    if len(equity) < 3:
        return math.nan
    years = (len(equity) - 1) / steps_a_year(times)
    return float((equity[-1] / equity[0]) ** (1 / years) - 1)


def calmar(annual: float, max_drawdown: float) -> float:
    """The return of a year over the maximum drawdown, which is 0 or less; NaN without one.

    Young (1991), "Calmar ratio: a smoother tool", Futures 20(1), who took 36 months.
    """
    return annual / -max_drawdown if max_drawdown < 0 else math.nan


def by_month(times: Sequence[dt.datetime], equity: Floats) -> dict[dt.date, float]:
    """The return of each month in New York (named by its first day), oldest first.

    From the last value of the month before to its own last; the first month from the first value.
    """
    return _by_period([t.astimezone(NEW_YORK).date().replace(day=1) for t in times], equity)


def by_year(times: Sequence[dt.datetime], equity: Floats) -> dict[dt.date, float]:
    """As `by_month`, of calendar years: the returns of its months, chained."""
    return _by_period(
        [t.astimezone(NEW_YORK).date().replace(month=1, day=1) for t in times], equity
    )


def _by_period(periods: Sequence[dt.date], equity: Floats) -> dict[dt.date, float]:
    last = {period: i for i, period in enumerate(periods)}
    found, start = dict[dt.date, float](), 0
    for period, end in last.items():
        found[period] = float(equity[end] / equity[start] - 1.0)
        start = end
    return found


def hit_rate(equity: Floats, benchmark: Floats) -> HitRate:
    """How often a step's return was above the benchmark's; an equal one is not.

    Steps on which the benchmark is not known at both ends (NaN) are not counted.
    """
    other = returns(benchmark)
    ahead = returns(equity) > other
    return HitRate(int(np.isfinite(other).sum()), int(ahead.sum()))


def exposure(invested: Sequence[tuple[dt.datetime, float]]) -> float:
    """Mean share of equity that was not cash: of each day in New York, then of the days, so that a
    day that was recorded more often counts no more. NaN of no values.
    """
    days = dict[dt.date, list[float]]()
    for at, share in invested:
        days.setdefault(at.astimezone(NEW_YORK).date(), []).append(share)
    if not days:
        return math.nan
    return math.fsum(math.fsum(day) / len(day) for day in days.values()) / len(days)


def trading(traded: float, cost: float, times: Sequence[dt.datetime], equity: Floats) -> Trading:
    """What trading came to over a curve.

    Args:
        traded: USD bought and sold together.
        cost: USD.
        times, equity: of the same time, 0 or less where the account was empty; what is a year's is
            NaN of fewer than two values.

    Raises:
        DataError: values that are not finite, or none of them above 0.
    """
    if not (np.isfinite(equity).all() and (equity > 0).any()):
        raise DataError(
            "an account's values must be finite and one of them above 0, found "
            f"{len(equity)} that are not"
        )
    years = (len(equity) - 1) / steps_a_year(times) if len(equity) > 1 else math.nan
    scale = years * float(np.maximum(equity, 0.0).mean())
    return Trading(traded, cost, traded / scale, cost / scale)


def moments(equity: Floats) -> Moments:
    """Moments of a curve's step returns; NaN for fewer than two steps or steps that are all alike.

    Raises:
        DataError: no values, or values that are not finite and above 0.
    """
    _check(equity)
    steps = returns(equity)
    if len(steps) < 2 or _are_alike(steps):
        return Moments(len(steps), math.nan, math.nan, math.nan)
    off = steps - steps.mean()
    variance = float((off**2).mean())
    ratio = float(steps.mean() / steps.std(ddof=1))
    skew = float((off**3).mean()) / variance**1.5
    return Moments(len(steps), ratio, skew, float((off**4).mean()) / variance**2)


def _are_alike(steps: Floats) -> bool:
    """Whether steps differ by no more than the rounding of equity: their ratio would be noise."""
    return bool(steps.std() <= 4 * np.finfo(np.float64).eps)


def _check(equity: Floats) -> None:
    is_lost = len(equity) > 1 and equity[-1] == 0
    alive = equity[:-1] if is_lost else equity
    if len(equity) == 0 or not (np.isfinite(equity).all() and (alive > 0).all()):
        raise DataError(
            f"an equity curve of positive values is required, found {len(equity)} values"
        )

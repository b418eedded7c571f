"""The account's value over time, deposits and withdrawals taken out, beside a benchmark. Pure.

One definition for page, report and monitor: which values count, where a flow is placed, what an
account returned and on what its figures of risk stand. Ratios are of days, the last value of each
session, as an account's values within a day may stand before or after the money that came in.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astra import performance
from astra.flows import believed, growth, money_weighted, placed
from astra.performance import FEWEST_STEPS, HitRate, drawdowns, summarize
from astra.risk import Amount
from astra.sessions import (
    BAR_SECONDS,
    HORIZON_BARS,
    NEW_YORK,
    Session,
    closed_grid,
    sessions_between,
)

Floats = NDArray[np.float64]
_MARGIN = dt.timedelta(days=10)  # longer than the exchange was ever closed since 1998


@dataclass(frozen=True, slots=True)
class Figures:
    """What an account did from one value to another; fractions, not percent, NaN = not known.

    Attributes:
        days: returns that the ratios stand on, one a session; below `FEWEST_STEPS` they are NaN:
            annual_volatility, sharpe, sharpe_error, sortino, calmar.
        gain: USD, without what came in or went.
        time_weighted: returns of the steps chained, flows taken out of each.
        money_weighted: see `astra.flows.money_weighted`.
        max_drawdown: of all values, not of days only; 0 or less.
        benchmark_return: of its price, without dividends, until the last time it is known; NaN
            without a benchmark.
        ahead: the account's return until then, less the benchmark's.
        hit: days on which the account was ahead of the benchmark; None without one.
    """

    days: int
    gain: float
    time_weighted: float
    money_weighted: float
    max_drawdown: float
    annual_volatility: float
    sharpe: float
    sharpe_error: float
    sortino: float
    calmar: float
    benchmark_return: float
    ahead: float
    hit: HitRate | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Values of an account, oldest first; at least one.

    Attributes:
        times: aware UTC instants, ascending, no two alike.
        values: USD as recorded, the first above 0, others too unless the account was emptied.
        flows: USD that came in (or went, < 0) and when, after the first value and up to the last.
        equity: USD, what the first value became without the flows; above 0, but 0 at the end of a
            curve that a total loss has ended.
        benchmark: its price at each time, NaN where it is not known; None = none at all.
    """

    times: tuple[dt.datetime, ...]
    values: Floats
    flows: tuple[Amount, ...]
    equity: Floats
    benchmark: Floats | None = None

    @property
    def paid_in(self) -> float:
        """USD that came in, less what went."""
        return math.fsum(amount for _, amount in self.flows)

    def beside(self, starts: NDArray[np.int64], closes: Floats) -> Curve:
        """With a benchmark: at each time the close of the last bar that had ended, if that was one
        of the last `HORIZON_BARS` of the exchange.

        Args:
            starts: of its bars, epoch seconds, ascending.
            closes: USD, same shape; split-adjusted, so that they tell the return of the price and
                not that of the dividends.
        """
        if len(starts) == 0:
            return replace(self, benchmark=None)
        seconds = self._seconds()
        last = np.searchsorted(starts + BAR_SECONDS, seconds, side="right") - 1
        grid = closed_grid(self.times[-1], self._sessions())
        passed = np.searchsorted(grid + BAR_SECONDS, seconds, side="right")
        is_known = (last >= 0) & (starts[last] >= grid[passed - HORIZON_BARS])
        return replace(self, benchmark=np.where(is_known, closes[last], np.nan))

    def since(self, first: dt.date | None) -> Curve:
        """From the last value before that day in New York; from the first one if there is none.

        It begins at what the account was worth then; if it was empty, at what it was worth next,
        and if that never came, before. None = all.
        """
        i = 0
        if first is not None:
            midnight = dt.datetime.combine(first, dt.time(), NEW_YORK).timestamp()
            i = max(0, int(np.searchsorted(self._seconds(), midnight)) - 1)
        above = np.flatnonzero(self.values > 0)
        i = int(above[min(int(np.searchsorted(above, i)), len(above) - 1)])
        flows = tuple(flow for flow in self.flows if flow[0] > self.times[i])
        equity = self.equity[i:] * (self.values[i] / self.equity[i])
        benchmark = None if self.benchmark is None else self.benchmark[i:]
        return Curve(self.times[i:], self.values[i:], flows, equity, benchmark)

    def today(self) -> Curve:
        """From the last value of an earlier day in New York than the last one's."""
        return self.since(self.times[-1].astimezone(NEW_YORK).date())

    def daily(self) -> Curve:
        """The first value and the last of each session, at the close of these sessions.

        What was recorded after a session and before the day of the next one is that session's, and
        so is what was recorded on that day as long as it has not opened.
        """
        sessions = self._sessions()
        days = [dt.datetime.combine(s.date, dt.time(), NEW_YORK).timestamp() for s in sessions]
        of = np.searchsorted(days, self._seconds(), side="right") - 1
        kept = np.union1d(0, np.flatnonzero(np.diff(of, append=-1)))
        times = tuple(sessions[of[i]].closes_at for i in kept)
        benchmark = None if self.benchmark is None else self.benchmark[kept]
        return Curve(times, self.values[kept], self.flows, self.equity[kept], benchmark)

    def rebased(self) -> Floats | None:
        """The benchmark's value at each time had it been bought for the first value, NaN where its
        price is not known; None if it was not known then."""
        if self.benchmark is None or not math.isfinite(self.benchmark[0]):
            return None
        found: Floats = self.benchmark / self.benchmark[0] * self.equity[0]
        return found

    @property
    def beside_until(self) -> dt.datetime | None:
        """The last time at which the benchmark is known; None if it was not at the first."""
        i = self._last_beside()
        return None if i is None else self.times[i]

    def figures(self) -> Figures:
        """What the account did over this curve; cash counts as earning nothing."""
        daily, nan = self.daily(), math.nan
        worst = float(drawdowns(self.equity).min())
        found = summarize(daily.times, daily.equity)
        other, ahead, hit = self._against(daily)
        enough = found.steps >= FEWEST_STEPS
        annual = performance.annual_return(daily.times, daily.equity)
        return Figures(
            days=found.steps,
            gain=float(self.values[-1] - self.values[0]) - self.paid_in,
            time_weighted=found.total_return,
            money_weighted=money_weighted(self.times, self.values, self.flows),
            max_drawdown=worst,
            annual_volatility=found.annual_volatility if enough else nan,
            sharpe=found.sharpe if enough else nan,
            sharpe_error=found.sharpe_error if enough else nan,
            sortino=performance.sortino(daily.times, daily.equity) if enough else nan,
            calmar=performance.calmar(annual, worst) if enough else nan,
            benchmark_return=other,
            ahead=ahead,
            hit=hit,
        )

    def _against(self, daily: Curve) -> tuple[float, float, HitRate | None]:
        """The benchmark's return, the account's less it, and the days ahead."""
        rebased, days, last = self.rebased(), daily.rebased(), self._last_beside()
        if rebased is None or days is None or not last:
            return math.nan, math.nan, None
        own, other = (float(line[last] / line[0] - 1.0) for line in (self.equity, rebased))
        return other, own - other, performance.hit_rate(daily.equity, days)

    def _last_beside(self) -> int | None:
        rebased = self.rebased()
        return None if rebased is None else int(np.flatnonzero(np.isfinite(rebased))[-1])

    def _sessions(self) -> tuple[Session, ...]:
        """Those that had opened, and enough before the first value for what was known then."""
        return sessions_between(self.times[0] - _MARGIN, self.times[-1])

    def _seconds(self) -> Floats:
        return np.array([t.timestamp() for t in self.times])


def curve_of(
    history: Sequence[Amount], summaries: Sequence[Amount], flows: Iterable[Amount]
) -> Curve | None:
    """The account's curve; None if no value above 0 was recorded.

    The broker's own `history` is taken as far as it goes, as its steps are even; what `summaries`
    knows before and after (or, without history, all of it) stands around it. The curve ends where
    all was lost, see also `astra.flows.believed`.

    Args:
        history, summaries: USD at times, in any order; of two at one time the later counts.
        flows: deposits (> 0) and withdrawals, `astra.risk.FLOWS`.
    """
    above = [at for at, value in history if value > 0]
    first, last = min(above, default=None), max(above, default=None)
    points = dict(history)
    for at, value in summaries:
        if first is None or last is None or not first <= at <= last:
            points[at] = value
    ordered = sorted(flows)
    known = believed(points, ordered)
    if not known:
        return None
    times, values = tuple(known), np.array(list(known.values()))
    moved, found = np.zeros(len(values)), placed(times, values, ordered)
    for i, _, amount in found:
        moved[i] += amount
    steps = growth(values, moved)
    size = int(np.argmin(steps)) + 2 if (steps == 0).any() else len(values)
    equity: Floats = values[0] * np.concatenate([[1.0], np.cumprod(steps)])
    kept = sorted((at, amount) for i, at, amount in found if i < size)
    return Curve(times[:size], values[:size], tuple(kept), equity[:size])

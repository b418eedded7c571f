"""Risk: a covariance for the weights and a volatility for the scale, over any stretch of bars.

Two estimators on purpose. Out of sample, Ledoit-Wolf over 20 days of within-session 5-minute
returns gave the least realised variance of a minimum-variance portfolio; EWMA x time of day gave
the best calibrated volatility. So the first makes weights, the second sigma and the bands; other
estimators of the covariance are in `estimators`.

Nothing is estimated from a forecast. Time is counted in bars of average variance; a year is 252
sessions of 78 bars and 252 nights.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError, InsufficientDataError
from astra.sessions import (
    BAR_SECONDS,
    FULL_DAY_BARS,
    HORIZON_BARS,
    next_decision_time,
    sessions_between,
)
from model.forecast.target import Normalised
from model.panel import Floats, Panel
from model.portfolio.factored import Factored

SESSIONS_A_YEAR = 252
NIGHT_BARS = 2.9 * HORIZON_BARS  # a night's variance for the median stock, measured on 81 tickers
MIN_NIGHTS = 5  # with fewer the measured constant stands for all
PRIOR_NIGHTS = 20  # the median of all tickers weighs as much as this many nights of one
MIN_BARS = 78  # returns below which a covariance is refused


@dataclass(frozen=True, slots=True)
class Horizon:
    """A stretch of market time: the slots of its bars in their sessions, and its nights."""

    slots: NDArray[np.int64]
    nights: int

    @property
    def bars(self) -> int:
        return len(self.slots)


def until_next_decision(as_of: dt.datetime) -> Horizon:
    """The bars from `as_of` to the next decision time, and the night between if there is one."""
    end = next_decision_time(as_of)
    slots, dates = [], 0
    for session in sessions_between(as_of, end):
        grid = session.grid()
        inside = (grid >= int(as_of.timestamp())) & (grid + BAR_SECONDS <= int(end.timestamp()))
        slots.append(np.flatnonzero(inside))
        dates += 1
    closed_before = not sessions_between(as_of, as_of + dt.timedelta(seconds=1))
    return Horizon(np.concatenate(slots), dates - 1 + int(closed_before))


@dataclass(frozen=True, slots=True)
class Covariance:
    """Of N tickers, for one bar of average variance.

    Attributes:
        per_bar: within-session, shape (N, N), positive definite.
        diagonal: the part of it that is known to be each name's own, shape (N,), such as what
            shrinkage put there: per_bar minus it is positive semidefinite.
        night_bars: how many bars' variance a night is worth, shape (N,).
        shrinkage: weight of the target, in [0, 1]; 0 where there is no target.
        rows: bars it was estimated from.
        missing: share of prices that were not printed.
        loadings: of k factors, shape (N, k): per_bar is diag(`diagonal`) + loadings loadings'.
            None if it has no such form.
        profile: time-of-day factor of the volatility by slot, shape (78,), mean square 1. None if
            every bar counts alike.
        repair: what had to be done to make it positive definite, "" for nothing.
    """

    tickers: tuple[str, ...]
    per_bar: Floats
    diagonal: Floats
    night_bars: Floats
    shrinkage: float
    rows: int
    missing: float
    loadings: Floats | None = None
    profile: Floats | None = None
    repair: str = ""

    def only(self, names: NDArray[np.int64]) -> Covariance:
        """Of these names, in this order."""
        return replace(
            self,
            tickers=tuple(self.tickers[i] for i in names),
            per_bar=self.per_bar[np.ix_(names, names)],
            diagonal=self.diagonal[names],
            night_bars=self.night_bars[names],
            loadings=None if self.loadings is None else self.loadings[names],
        )

    def bars_in(self, horizon: Horizon) -> float:
        """How many bars of average variance the bars of `horizon` are worth."""
        if self.profile is None:
            return float(horizon.bars)
        return float((self.profile[horizon.slots] ** 2).sum())

    def over(self, bars: float, nights: float) -> tuple[Floats, Floats]:
        """The covariance of the return over `bars` and `nights`, (N, N), and its diagonal part.

        Nights have the correlations of the day and each ticker's own variance.

        Args:
            bars: of average variance, see `bars_in`.
        """
        scale = np.sqrt(bars + nights * self.night_bars)
        return self.per_bar * np.outer(scale, scale), self.diagonal * scale**2

    def factored(self, bars: float, nights: float) -> Factored | None:
        """The same as `over`, never written out; None if it has no factors."""
        if self.loadings is None:
            return None
        scale = np.sqrt(bars + nights * self.night_bars)
        return Factored(self.diagonal, self.loadings).scaled(scale)

    def year_share(self, bars: float, nights: float) -> float:
        """This stretch as a fraction of a year, in the median ticker's variance."""
        night = float(np.median(self.night_bars))
        year = SESSIONS_A_YEAR * (FULL_DAY_BARS + night)
        return (bars + nights * night) / year


@dataclass(frozen=True, slots=True)
class Recent:
    """The returns a covariance is estimated from, (T, N), and what else is known of them.

    `night_bars` and `missing` are as in `Covariance`.
    """

    returns: Floats
    night_bars: Floats
    missing: float


def recent(panel: Panel, sessions: int = 20) -> Recent:
    """The within-session returns of the panel's last `sessions`; of its nights all count.

    A bar that was not printed has no return of its own: the change appears, whole, in the next bar
    that was (previous-tick sampling), never across a night; so no price is invented and a session's
    return is kept, at the cost of correlations a little too low for tickers that seldom trade.

    Raises:
        InsufficientDataError: fewer than `MIN_BARS` rows, or tickers whose price never moved.
    """
    last = _last(panel, sessions)
    returns = previous_tick_returns(last)
    if len(returns) < MIN_BARS:
        raise InsufficientDataError(
            f"a covariance needs at least {MIN_BARS} bars, found {len(returns)}: load more history"
        )
    per_bar = np.mean(returns**2, axis=0)
    frozen = [t for t, moves in zip(panel.tickers, per_bar > 0, strict=True) if not moves]
    if frozen:
        raise InsufficientDataError(
            f"a covariance needs prices that move, {', '.join(frozen[:5])} "
            f"{'and others ' if len(frozen) > 5 else ''}never did: leave them out"
        )
    return Recent(returns, _night_bars(panel, per_bar), float(np.isnan(last.close).mean()))


def still(panel: Panel, sessions: int = 20) -> tuple[str, ...]:
    """The tickers whose price never moved within one of the last `sessions`: `recent` refuses
    them."""
    last = _last(panel, sessions)
    if not len(last.ts):
        return panel.tickers
    starts = np.flatnonzero(np.diff(last.session, prepend=-1))
    low, high = (f.reduceat(last.close, starts, axis=0) for f in (np.fmin, np.fmax))
    # What has the same close all session may have moved from the session's open.
    alike = np.flatnonzero(~(low < high).any(axis=0))
    suspects = last.only(tuple(last.tickers[i] for i in alike))
    moves = np.mean(previous_tick_returns(suspects) ** 2, axis=0) > 0
    return tuple(t for t, has_moved in zip(suspects.tickers, moves, strict=True) if not has_moved)


def _last(panel: Panel, sessions: int) -> Panel:
    """The rows of the last `sessions`."""
    start = int(np.searchsorted(panel.session, max(0, len(panel.sessions) - sessions)))
    return replace(
        panel, ts=panel.ts[start:], session=panel.session[start:], slot=panel.slot[start:],
        open=panel.open[start:], close=panel.close[start:],
    )  # fmt: skip


def ledoit_wolf(panel: Panel, sessions: int = 20) -> Covariance:
    """Shrunk covariance of the 5-minute returns of the panel's last sessions, see `recent`.

    Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
    matrices", means taken as 0.

    Raises:
        InsufficientDataError: as `recent`.
    """
    seen = recent(panel, sessions)
    matrix, diagonal, shrinkage = shrink(seen.returns)
    return Covariance(
        panel.tickers, matrix, diagonal, seen.night_bars, shrinkage, len(seen.returns), seen.missing
    )


def shrink(returns: Floats) -> tuple[Floats, Floats, float]:
    """Ledoit-Wolf of returns (T, N) around 0: the matrix, its target's diagonal and weight."""
    t, n = returns.shape
    sample = returns.T @ returns / t
    level, squared = float(sample.trace()) / n, float((sample**2).sum())
    distance = squared / n - level**2
    noise = (float((np.square(returns).sum(axis=1) ** 2).sum()) / t - squared) / (n * t)
    weight = min(1.0, max(0.0, noise / distance)) if distance > 0 else 1.0
    diagonal = np.full(n, weight * level)
    matrix: Floats = (1.0 - weight) * sample
    matrix[np.diag_indices(n)] += diagonal
    return matrix, diagonal, weight


def sigma(panel: Panel, normalised: Normalised, risk: Covariance, horizon: Horizon) -> Floats:
    """Volatility of each ticker's whole return over `horizon`, shape (N,); NaN if not known yet.

    EWMA (half-life 78 bars) of the returns without their time of day, times the time-of-day factor
    of the bars to come, plus the nights.
    """
    if not len(panel.ts):
        raise InsufficientDataError("a volatility needs bars, the panel has none: load some first")
    factor = normalised.profile[int(panel.session[-1])]
    bars = float((factor[horizon.slots] ** 2).sum())
    scale: Floats = level(normalised) * np.sqrt(bars + horizon.nights * risk.night_bars)
    return scale


def level(normalised: Normalised) -> Floats:
    """Each ticker's last known EWMA volatility per bar, time of day taken out, (N,), or NaN."""
    found: Floats = normalised.total_sigma[-1].copy()
    for column in np.flatnonzero(np.isnan(found)):
        known = normalised.total_sigma[:, column]
        known = known[np.isfinite(known)]
        found[column] = known[-1] if len(known) else np.nan
    return found


def previous_tick_returns(panel: Panel) -> Floats:
    """Within-session log returns, shape (T, N), each from the last printed price to this one.

    0 where a bar was not printed; a session's first printed bar counts from its own open.
    """
    log_close = np.log(panel.close)
    unprinted = np.isnan(log_close)
    last = log_close.copy()  # the price last printed in the session, as of each row
    for row in 1 + np.flatnonzero((unprinted.any(axis=1) & (panel.slot > 0))[1:]):
        np.copyto(last[row], last[row - 1], where=unprinted[row])
    base = np.full_like(last, np.nan)
    base[1:] = last[:-1]
    base[panel.slot == 0] = np.nan
    first = np.isnan(base)
    base[first] = np.log(panel.open[first])
    returns: Floats = log_close - base
    returns[np.isnan(returns)] = 0.0
    return returns


def _night_bars(panel: Panel, per_bar: Floats) -> Floats:
    """How many bars' variance a night is worth, (N,): each ticker's, drawn towards the median."""
    nights = panel.overnight_log_returns()
    known = np.isfinite(nights)
    counts = known.sum(axis=0)
    squares = np.where(known, nights, 0.0) ** 2
    own = squares.sum(axis=0) / np.maximum(counts, 1) / per_bar
    enough = (counts >= MIN_NIGHTS) & (own > 0)
    if not enough.any():
        return np.full(len(per_bar), NIGHT_BARS)
    middle = float(np.median(own[enough]))
    weight = np.where(enough, counts / (counts + PRIOR_NIGHTS), 0.0)
    safe = np.where(enough, own, middle)
    drawn: Floats = np.exp(weight * np.log(safe) + (1.0 - weight) * np.log(middle))
    return drawn


def annualise(ratio: float, year_share: float) -> float:
    """A Sharpe ratio over a fraction of a year as one of a year, returns taken as independent.

    Raises:
        DataError: the fraction is not above 0.
    """
    if year_share <= 0:
        raise DataError(f"a horizon above 0 is required, found {year_share} of a year")
    return ratio / float(np.sqrt(year_share))

"""Curves beside each other: how much more one earned than another, and how sure that is. Pure.

Returns are simple returns of a curve's steps; a Sharpe ratio is of a step unless it says annual.
What cannot be known is NaN.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from astra.errors import DataError
from astra.performance import returns, sessions_spanned, steps_a_year, summarize

Floats = NDArray[np.float64]
_LEVEL = 0.95
_FEWEST_BLOCKS = 3
A_YEAR = "a year"
FEWEST_SESSIONS = 60  # that are stretched to a year


@dataclass(frozen=True, slots=True)
class Interval:
    """How much more one series earned than another, and how sure that is.

    Attributes:
        difference: of the mean returns, times the steps of a year, or of what `over` says.
        low, high: its 95 % interval; NaN where there are too few steps to know.
        block: mean length of the blocks drawn, steps.
        over: what time the difference is of, in words.
    """

    difference: float
    low: float
    high: float
    block: float
    over: str = A_YEAR

    @property
    def excludes_zero(self) -> bool:
        """Whether the two differ by more than chance explains. Of many intervals one in twenty
        excludes 0 by chance."""
        return self.low > 0 or self.high < 0


def paired(
    a: Floats,
    b: Floats,
    per_year: float,
    block: float | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean return of `a` less that of `b` over the same steps, with its interval.

    Steps are drawn for both alike, in blocks of random length (the stationary bootstrap, Politis
    and Romano 1994), so that what moves both cancels out and dependence in time is kept. The
    interval is the difference +- t sqrt(T / (T - 2 block + 1)) times the standard deviation of the
    drawn means: the root because deviations from a sample's own mean come out too small by that;
    t is Student's with T / block degrees of freedom, since about so many blocks are what the
    deviation is known from (its variance is in Politis and White 2004).

    Of simulated samples of 60 to 900 steps it holds the true difference in 94 to 97 % where
    first autocorrelations are -0.2 to 0.3, and in 91 to 93 % at 0.6; 1.96 deviations alone would in
    87 to 95 % and 82 to 91 %.

    Args:
        a, b: returns of the steps, shape (T,).
        per_year: steps of a year.
        block: mean length in steps; default `block_length(T)`.

    Raises:
        DataError: series of different length, or returns that are not finite.
    """
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError(
            "a paired comparison needs finite returns of the same steps, found shapes "
            f"{a.shape} and {b.shape}"
        )
    block = block_length(len(a)) if block is None else block
    (found,) = _intervals((a - b)[np.newaxis], per_year, block, draws, seed)
    return found


def _intervals(
    off: Floats, per_year: float, block: float, draws: int = 2000, seed: int = 0
) -> list[Interval]:
    """Of several differences of returns over the same steps, shape (n, T), by the same draws."""
    size = off.shape[1]
    found = off.mean(axis=1) if size else np.full(len(off), math.nan)
    half = np.full(len(off), math.nan)
    if size >= _FEWEST_BLOCKS * block:
        rng = np.random.default_rng(seed)
        drawn = (resample(rng, size, block) for _ in range(draws))
        means = np.array([np.take(off, steps, axis=1).mean(axis=1) for steps in drawn])
        deviation = np.ascontiguousarray(means.T).std(axis=1, ddof=1)
        t = float(stdtrit(size / block, (1 + _LEVEL) / 2))
        half = t * math.sqrt(size / (size - 2 * block + 1)) * deviation
    return [
        Interval(d * per_year, (d - h) * per_year, (d + h) * per_year, block)
        for d, h in zip(found.tolist(), half.tolist(), strict=True)
    ]


def block_length(steps: int, session: int = 1) -> float:
    """Mean block of a bootstrap: 2 T^(1/3) steps, at least one session of them.

    The best length grows with T^(1/3) (Politis and White 2004); its factor is 0.8 for an
    autoregression of 0.3 and 1.5 for one of 0.6, so 2 is on the safe side.
    """
    return max(float(session), 2 * math.pow(steps, 1 / 3))


def resample(rng: np.random.Generator, size: int, block: float) -> NDArray[np.int64]:
    """Indices of one draw of the stationary bootstrap, shape (size,).

    Blocks begin anywhere, go on over the end to the beginning, and end after each step with
    probability 1 / block.
    """
    steps = np.arange(size)
    fresh = rng.random(size) < 1 / block
    fresh[0] = True
    of_block = np.cumsum(fresh) - 1
    begins = np.flatnonzero(fresh)
    starts = rng.integers(0, size, len(begins))
    drawn: NDArray[np.int64] = (steps + (starts - begins)[of_block]) % size
    return drawn


@dataclass(frozen=True, slots=True)
class LeagueRow:
    """One curve's figures; fractions, not percent.

    Attributes:
        sharpe, sharpe_error: annual, with its standard error over the same steps.
        against: mean return less that of the curve compared with, a year's or, of fewer than
            `FEWEST_SESSIONS`, that of all steps; None for that one.
    """

    name: str
    total_return: float
    sharpe: float
    sharpe_error: float
    max_drawdown: float
    against: Interval | None


def league(
    curves: Mapping[str, Floats], times: Sequence[dt.datetime], against: str
) -> tuple[LeagueRow, ...]:
    """Each curve beside one of them, the highest return first.

    Intervals are of `paired`, with blocks of at least a session (the steps of a median UTC date
    of `times`), and each stands for itself, not for all together.

    Args:
        curves: equity in USD at `times` by name.
        against: the name of the curve that the others are compared with.

    Raises:
        DataError: no such curve, or one of another length or with values not above 0.
    """
    if against not in curves or any(len(equity) != len(times) for equity in curves.values()):
        raise DataError(
            f"a league needs the curve {against!r} and a value of each curve at each of "
            f"{len(times)} times, found { ({n: len(e) for n, e in curves.items()}) }"
        )
    figures = {name: summarize(times, equity) for name, equity in curves.items()}
    steps = {name: returns(equity) for name, equity in curves.items()}
    size, sessions = len(times) - 1, sessions_spanned(times)
    is_short = 0 < sessions < FEWEST_SESSIONS
    scale = size if is_short else steps_a_year(times)
    few = "this session" if sessions == 1 else f"these {sessions} sessions"
    over = few if is_short else A_YEAR
    dates = np.unique([t.date().toordinal() for t in times[1:]], return_counts=True)[1]
    block = block_length(size, session=int(np.median(dates)) if size else 1)
    others = [name for name in curves if name != against]
    off = np.array([steps[name] - steps[against] for name in others]).reshape(len(others), size)
    intervals = dict(zip(others, _intervals(off, scale, block), strict=True))
    rows = (
        LeagueRow(
            name=name,
            total_return=found.total_return,
            sharpe=found.sharpe,
            sharpe_error=found.sharpe_error,
            max_drawdown=found.max_drawdown,
            against=None if name == against else replace(intervals[name], over=over),
        )
        for name, found in figures.items()
    )
    return tuple(sorted(rows, key=lambda row: -row.total_return))

"""How good forecasts were, from counts of what came: calibration, errors, intervals. Pure.

Days are the independent draws: names and hours of one day miss together. A close counts from the
first bar that could be traded on, see `docs/decisions/0002`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.predictions import QUANTILES

Floats = NDArray[np.float64]
ON_AT_T, OFF_BELOW_T = 2.0, 1.0  # of measured skill: from here it is used, below it no longer
BANDS = (0.5, 0.8, 0.9)
LEAST_DAYS = 10  # fewer say too little about how days differ


@dataclass(frozen=True, slots=True)
class Tally:
    """The closes of one step after one decision, counted over names.

    Attributes:
        below: closes at or below each of `QUANTILES`.
        error: sum of |close - forecast| in fractions of the last close before the decision;
            `naive`: the same of |close - that last close|.
    """

    as_of: dt.datetime
    step: int
    cases: int
    below: tuple[int, ...]
    error: float
    naive: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many of `cases` outcomes, and how many there ought to be.

    Attributes:
        error: binomial standard error of `share`, all outcomes taken for independent: the least
            that it can be.
        low, high: 95 % interval with whole days drawn; NaN for fewer than `LEAST_DAYS`.
    """

    nominal: float
    share: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares at or below each of `QUANTILES` and inside each of `BANDS`."""

    quantiles: tuple[Share, ...]
    bands: tuple[Share, ...]
    days: int
    decisions: int
    cases: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """Mean absolute error over the last value's; 1 is as good as no forecast, below 1 better.

    `low` and `high` are a 95 % interval with whole days drawn, NaN for fewer than `LEAST_DAYS`;
    `step` is 0 for all steps together.
    """

    step: int
    ratio: float
    low: float
    high: float
    cases: int


def calibration(tallies: Sequence[Tally]) -> Calibration | None:
    """Calibration over all steps; None where nothing was counted."""
    counted = [t for t in tallies if t.cases]
    if not counted:
        return None
    days, day = _days(counted)
    below = np.array([t.below for t in counted], np.float64)
    cases = np.array([t.cases for t in counted], np.float64)
    pairs = [
        [QUANTILES.index(round((1 + side * band) / 2, 4)) for side in (-1, 1)] for band in BANDS
    ]
    inside = np.stack([below[:, high] - below[:, low] for low, high in pairs], axis=1)
    shares = _shares(np.hstack([below, inside]), cases, (*QUANTILES, *BANDS), day, days)
    return Calibration(
        quantiles=shares[: len(QUANTILES)],
        bands=shares[len(QUANTILES) :],
        days=days,
        decisions=len({t.as_of for t in counted}),
        cases=int(cases.sum()),
    )


def against_last_value(tallies: Sequence[Tally]) -> tuple[Ratio, ...]:
    """The ratio over all steps first, then by step; empty where nothing was counted."""
    counted = [t for t in tallies if t.cases]
    if not counted:
        return ()
    days, day = _days(counted)
    steps = sorted({t.step for t in counted})
    column = np.array([steps.index(t.step) for t in counted]) + 1
    sums = np.zeros((3, days, len(steps) + 1))
    for total, name in zip(sums, ("error", "naive", "cases"), strict=True):
        np.add.at(total, (day, column), [float(getattr(t, name)) for t in counted])
        total[:, 0] = total.sum(axis=1)
    error, naive, cases = sums
    low, high = _interval(error, naive)
    whole = naive.sum(axis=0)
    ratio = np.divide(error.sum(axis=0), whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return tuple(
        Ratio(step, float(ratio[i]), float(low[i]), float(high[i]), int(cases[:, i].sum()))
        for i, step in enumerate((0, *steps))
    )


def day_block_interval(
    hits: Floats, cases: Floats, block: int = 1, draws: int = 1000, seed: int = 0
) -> tuple[Floats, Floats]:
    """95 % interval of hits over cases, days drawn with replacement in blocks.

    Tickers and hours of one day miss together, so days are drawn and not cases; `block` days in a
    row where outcomes reach over several (circular blocks, Politis and Romano 1992). It stays
    somewhat narrow there: of 120 days whose outcomes reach over five it holds the truth in 87 % of
    samples with blocks of ten, in 85 % with blocks of five.

    Args:
        hits, cases: sums of each day, oldest first, shape (days, K).

    Returns:
        Lower and upper end, (K,) each; NaN where there are no days.
    """
    days = len(hits)
    if not days:
        return np.full(hits.shape[1], np.nan), np.full(hits.shape[1], np.nan)
    rng = np.random.default_rng(seed)
    starts = rng.integers(days, size=(draws, -(-days // block)))
    drawn = (starts[..., None] + np.arange(block)) % days
    times = np.zeros((draws, days))
    np.add.at(times, (np.arange(draws)[:, None], drawn.reshape(draws, -1)[:, :days]), 1.0)
    total = times @ cases
    share = np.divide(times @ hits, total, out=np.full(total.shape, np.nan), where=total > 0)
    low, high = np.nanquantile(share, (0.025, 0.975), axis=0)
    return low, high


def _shares(
    hits: Floats, cases: Floats, nominal: Sequence[float], day: NDArray[np.int64], days: int
) -> tuple[Share, ...]:
    by_day = np.zeros((2, days, hits.shape[1]))
    np.add.at(by_day[0], day, hits)
    np.add.at(by_day[1], day, cases[:, None])
    low, high = _interval(by_day[0], by_day[1])
    total = float(cases.sum())
    return tuple(
        Share(level, share, math.sqrt(share * (1 - share) / total), float(low[i]), float(high[i]))
        for i, (level, share) in enumerate(
            zip(nominal, (hits.sum(axis=0) / total).tolist(), strict=True)
        )
    )


def _interval(hits: Floats, cases: Floats) -> tuple[Floats, Floats]:
    if len(hits) < LEAST_DAYS:
        return np.full(hits.shape[1], np.nan), np.full(hits.shape[1], np.nan)
    return day_block_interval(hits, cases)


def _days(tallies: Sequence[Tally]) -> tuple[int, NDArray[np.int64]]:
    """How many days, and the place of each tally's; a session lies within one day of UTC."""
    found, place = np.unique([t.as_of.toordinal() for t in tallies], return_inverse=True)
    return len(found), place.astype(np.int64)

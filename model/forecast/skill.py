"""How much a forecast has been worth, and whether it may move the portfolio.

Pure functions of a forecast record and the bars: at each past decision time after the training's
end whose horizon is over, the rank IC across tickers of score and return, from the first price
that could be traded to the horizon's last close; averaged by day, as hours of one day share their
news (Grinold and Kahn 2000, ch. 6, with days as the independent draws).
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.scoring import OFF_BELOW_T as OFF_BELOW_T
from astra.scoring import ON_AT_T as ON_AT_T
from astra.sessions import BAR_SECONDS, HORIZON_BARS
from model.forecast.record import Floats, ForecastRecord
from model.panel import Panel

LEAST_DAYS, LEAST_NAMES = 30, 5
SUSPECT_IC = 0.05
_ROUNDING = 1e-12  # ICs that differ by less are one number


@dataclass(frozen=True, slots=True)
class Skill:
    """What was measured and what follows from it.

    Attributes:
        ic: mean over days of the day's mean rank IC; 0 if nothing could be measured.
        t: its t statistic over days; 0 where it has no meaning.
        days, decisions: how many were measured.
        on: whether the forecast may move weights.
        used: the IC to use for weights, 0 when off.
        suspect: the IC is too good for hourly returns: look for a leak before believing it.
        reason: why it is on or off.
    """

    ic: float
    t: float
    days: int
    decisions: int
    on: bool
    used: float
    suspect: bool
    reason: str

    def describe(self) -> str:
        """One sentence for a report."""
        warning = f" An IC above {SUSPECT_IC} is suspect: look for a leak." if self.suspect else ""
        return (
            f"Skill {'on' if self.on else 'off'}: IC {self.ic:.3f} (t {self.t:.1f}) over "
            f"{self.days} days and {self.decisions} decisions, {self.used:.3f} used; "
            f"{self.reason}.{warning}"
        )


def measure(
    record: ForecastRecord, panel: Panel, *, trained_until: dt.datetime, as_of: dt.datetime
) -> Skill:
    """Skill of `record` as known at `as_of`.

    Counted are decision times strictly after `trained_until` with their horizon over at `as_of`
    and at least 5 tickers that have both a score and a return. Bars after `as_of` have no say.
    """
    known = panel.known_at(as_of)
    over = record.as_of + HORIZON_BARS * BAR_SECONDS <= int(as_of.timestamp())
    counted = over & (record.as_of > int(trained_until.timestamp()))
    stamps = record.as_of[counted]
    if not counted.any() or not len(known.ts):
        return judge(np.empty(0), 0)
    place = {ticker: i for i, ticker in enumerate(known.tickers)}
    ours = [i for i, ticker in enumerate(record.tickers) if ticker in place]
    score = record.score[counted][:, ours]
    returns = realised_returns(known, stamps)[:, [place[record.tickers[i]] for i in ours]]
    ics = rank_ic(score, returns)
    rows = np.clip(np.searchsorted(known.ts, stamps), 0, len(known.ts) - 1)
    return judge(by_day(ics, known.session[rows]), int(np.isfinite(ics).sum()))


def judge(daily: Floats, decisions: int) -> Skill:
    """Skill from the ICs of days, oldest first: on once t reaches 2, off once it falls below 1.

    The walk starts off and looks at t of all days so far, from the 30th day on: who looks daily
    from the 10th on lets more noise in than a t of 2 stands for (docs/decisions/0013).
    """
    is_on = False
    for days in range(LEAST_DAYS, len(daily) + 1):
        is_on = t_statistic(daily[:days]) >= (OFF_BELOW_T if is_on else ON_AT_T)
    ic, t = float(daily.mean()) if len(daily) else 0.0, t_statistic(daily)
    return Skill(
        ic=ic,
        t=t,
        days=len(daily),
        decisions=decisions,
        on=is_on,
        used=shrunk(ic, t) if is_on else 0.0,
        suspect=ic > SUSPECT_IC,
        reason=_reason(len(daily), t, is_on),
    )


def shrunk(ic: float, t: float) -> float:
    """The measured IC with its own noise taken out: ic * max(0, 1 - 1 / t^2).

    The best linear shrinkage is IC^2 / (IC^2 + se^2), and ic^2 - se^2 estimates IC^2 without bias
    (the positive-part rule of James and Stein 1961). It reaches 0 at t = 1, where skill goes
    off; when the days in which t reached 2 leave the window, skill goes off at a higher t at once.
    """
    return ic * max(0.0, 1.0 - 1.0 / t**2) if t > 0 else 0.0


def realised_returns(panel: Panel, stamps: NDArray[np.int64]) -> Floats:
    """Log return of each ticker over the horizon of each decision time, shape (D, N).

    From the open of the first bar that starts strictly after the decision to the close of the
    horizon's 12th bar. NaN where one of the two is missing or outside of the panel.
    """
    if not len(panel.ts):
        return np.full((len(stamps), len(panel.tickers)), np.nan)
    first = np.minimum(np.searchsorted(panel.ts, stamps, side="right"), len(panel.ts) - 1)
    ends = stamps + (HORIZON_BARS - 1) * BAR_SECONDS
    last = np.minimum(np.searchsorted(panel.ts, ends), len(panel.ts) - 1)
    returns: Floats = np.log(panel.close[last]) - np.log(panel.open[first])
    returns[(stamps < panel.ts[0]) | (panel.ts[last] != ends)] = np.nan
    return returns


def rank_ic(score: Floats, outcome: Floats) -> Floats:
    """Spearman's rank correlation of each row, shape (D,); ties share their mean rank.

    NaN where fewer than 5 names have both, or where all of them tie.
    """
    both = np.isfinite(score) & np.isfinite(outcome)
    names = both.sum(axis=1)
    ranked = [_centred_ranks(np.where(both, values, np.nan)) for values in (score, outcome)]
    product = (ranked[0] * ranked[1]).sum(axis=1)
    norm = np.sqrt((ranked[0] ** 2).sum(axis=1) * (ranked[1] ** 2).sum(axis=1))
    measurable = (names >= LEAST_NAMES) & (norm > 0)
    ic: Floats = np.divide(product, norm, out=np.full(len(score), np.nan), where=measurable)
    return ic


def by_day(ics: Floats, day: NDArray[np.int64]) -> Floats:
    """Mean of the finite ICs of each day, in the days' order; days without one are left out."""
    finite = np.isfinite(ics)
    days, place = np.unique(day[finite], return_inverse=True)
    means: Floats = np.bincount(place, ics[finite], len(days)) / np.bincount(
        place, minlength=len(days)
    )
    return means


def t_statistic(daily: Floats) -> float:
    """Mean over its standard error; 0 for fewer than two days or days that don't vary."""
    if len(daily) < 2:
        return 0.0
    deviation = float(daily.std(ddof=1))
    return float(daily.mean()) / deviation * math.sqrt(len(daily)) if deviation > _ROUNDING else 0.0


def _centred_ranks(values: Floats) -> Floats:
    """Ranks along each row less their mean; 0, which adds nothing, where no value is."""
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy(np.float64)
    present = np.isfinite(ranks)
    mean = (present.sum(axis=1, keepdims=True) + 1) / 2
    return np.where(present, ranks - mean, 0.0)


def _reason(days: int, t: float, is_on: bool) -> str:
    if days < LEAST_DAYS:
        return f"{days} days measured after training, {LEAST_DAYS} needed"
    if is_on:
        return (
            f"within the bars at hand t reached {ON_AT_T:.0f} and has not fallen below "
            f"{OFF_BELOW_T:.0f} since"
        )
    if t < OFF_BELOW_T:
        return f"t is below {OFF_BELOW_T:.0f}"
    return (
        f"within the bars at hand t has not reached {ON_AT_T:.0f} since it was last below "
        f"{OFF_BELOW_T:.0f}"
    )

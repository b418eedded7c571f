"""`evaluate`: walk forward, then the figures of what was walked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError, InsufficientDataError
from astra.scoring import day_block_interval
from model.evaluation import baselines as simple
from model.evaluation import metrics
from model.evaluation.metrics import Tested, tested
from model.evaluation.walk import (
    BANDS,
    BASELINES,
    NORMAL,
    OURS,
    Band,
    Points,
    Walked,
    decision_times,
    walk,
)
from model.forecast.bundle import Bundle
from model.forecast.serving import Forecaster
from model.forecast.skill import SUSPECT_IC, by_day, rank_ic
from model.panel import Panel

Floats = NDArray[np.float64]
BP = 1e4
HALF_SPREAD_AND_FEE_BP = 2.3
TRADES_OF_A_SPREAD = 4  # both legs, in and out again
NEAR_NOMINAL = 0.02


@dataclass(frozen=True, slots=True)
class PointFigures:
    """One point forecast; means over tickers, steps and decision times.

    Attributes:
        mae_bp: mean absolute error of the close, in basis points of the price.
        mase: error over the look-back's mean absolute move of one bar.
        smape: symmetric absolute error of the price in %.
        against: daily mean of its absolute error less the last value's, bp, and its test;
            None for the last value itself.
        direction: daily share of decisions whose sign the score had right, from the first tradable
            price to the horizon's end; `t` and `p` are against one half. None without a score.
        ic: daily rank IC from the first tradable price. None where no IC is defined.
        days: days on which it could be compared.
    """

    mae_bp: float
    mase: float
    smape: float
    against: Tested | None
    direction: Tested | None
    ic: Tested | None
    days: int


@dataclass(frozen=True, slots=True)
class BandFigures:
    """One set of quantiles, by step of the horizon.

    Attributes:
        pinball_bp: mean quantile loss, (horizon,).
        coverage, low, high: share of closes inside each of `BANDS` and its 95 % day-block
            interval, (horizon, 3).
        overall: share over all steps, (3,).
    """

    pinball_bp: Floats
    coverage: Floats
    low: Floats
    high: Floats
    overall: Floats


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a bundle was worth on sessions it had not seen.

    Attributes:
        horizon_days: sessions that one forecast reaches over; tests over days know of it.
        dates: the days compared, ascending.
        decisions: with a rank IC.
        closes: compared, over tickers, steps and decision times.
        points: by name, ours (`OURS`) first.
        bands: ours and the EWMA x time-of-day normal (`NORMAL`).
        against_normal: our daily quantile loss less that of the normal band, bp; and of each step.
        close_ic: our rank IC counted from the last close, which has the bid-ask bounce in it.
        daily_ic: the days' tradable rank IC, by ISO date.
        daily_pinball: our mean quantile loss of each day, bp, by ISO date.
        spread_bp: top fifth less bottom fifth by our score, bp a decision, from the first tradable
            price; `net_spread_bp` after `spread_cost_bp`, both legs opened and closed again.
        missing: why a baseline is not there, by name.
    """

    bundle: str
    frequency: str
    horizon_days: int
    dates: tuple[dt.date, ...]
    decisions: int
    closes: int
    points: dict[str, PointFigures]
    bands: dict[str, BandFigures]
    against_normal: Tested
    against_normal_by_step: tuple[Tested, ...]
    close_ic: Tested
    daily_ic: dict[str, float]
    daily_pinball: dict[str, float]
    spread_bp: Tested
    net_spread_bp: Tested
    spread_cost_bp: float
    missing: dict[str, str]

    @property
    def ic(self) -> float:
        found = self.points[OURS].ic
        return found.mean if found else 0.0

    @property
    def t(self) -> float:
        """Of `ic`, over days."""
        found = self.points[OURS].ic
        return found.t if found else 0.0

    @property
    def leak(self) -> bool:
        """The IC is too good to be true: look for a leak before believing it."""
        return self.ic > SUSPECT_IC

    def off_nominal(self, band: float) -> tuple[int, float]:
        """The step (from 1) whose coverage of `band` is furthest from it, and by how much."""
        off = self.bands[OURS].coverage[:, BANDS.index(band)] - band
        worst = int(np.abs(off).argmax())
        return worst + 1, float(off[worst])

    def metrics(self) -> dict[str, float]:
        """The main figures by name, for a bundle's specification."""
        ours, band = self.points[OURS], self.bands[OURS]
        found = {
            "decisions": self.decisions,
            "days": len(self.dates),
            "closes": self.closes,
            "mae_bp": ours.mae_bp,
            "mase": ours.mase,
            "smape": ours.smape,
            "pinball_bp": float(band.pinball_bp.mean()),
            "normal_pinball_bp": float(self.bands[NORMAL].pinball_bp.mean()),
            "ic": self.ic,
            "t": self.t,
            "close_ic": self.close_ic.mean,
            "spread_bp": self.spread_bp.mean,
            "net_spread_bp": self.net_spread_bp.mean,
        }
        if "last value" in self.points:
            found["naive_mae_bp"] = self.points["last value"].mae_bp
        if ours.direction:
            found["direction"] = ours.direction.mean
        for share, level in zip(band.overall, BANDS, strict=True):
            found[f"coverage_{level * 100:.0f}"] = float(share)
        return {name: round(float(value), 6) for name, value in found.items()}

    def document(self) -> dict[str, Any]:
        """Everything as plain values for JSON; arrays by step are lists."""
        return {
            "bundle": self.bundle,
            "frequency": self.frequency,
            "horizon_days": self.horizon_days,
            "first_day": self.dates[0].isoformat(),
            "last_day": self.dates[-1].isoformat(),
            "metrics": self.metrics(),
            "leak_alarm": self.leak,
            "points": {name: asdict(found) for name, found in self.points.items()},
            "missing": self.missing,
            "bands": {
                name: {
                    "pinball_bp": found.pinball_bp.tolist(),
                    "overall": dict(zip(_NAMES, found.overall.tolist(), strict=True)),
                    **{
                        key: dict(zip(_NAMES, getattr(found, key).T.tolist(), strict=True))
                        for key in ("coverage", "low", "high")
                    },
                }
                for name, found in self.bands.items()
            },
            "against_normal_bp": asdict(self.against_normal),
            "against_normal_by_step_bp": [asdict(found) for found in self.against_normal_by_step],
            "close_ic": asdict(self.close_ic),
            "spread_bp": asdict(self.spread_bp),
            "net_spread_bp": asdict(self.net_spread_bp),
            "spread_cost_bp": self.spread_cost_bp,
            "daily_ic": self.daily_ic,
            "daily_pinball_bp": self.daily_pinball,
        }


_NAMES = tuple(f"{band * 100:.0f}" for band in BANDS)


def evaluate(
    bundle: Bundle,
    panel: Panel,
    times: Sequence[dt.datetime] | None = None,
    *,
    baselines: Sequence[str] = BASELINES,
    cost_bp: float = HALF_SPREAD_AND_FEE_BP,
    unseen_since: dt.datetime | None = None,
    pretrained: simple.Pretrained | None = None,
) -> Evaluation:
    """Forecast at each of `times` and hold it against what came.

    Args:
        panel: earlier sessions in it are history for look-backs, volatilities and fitted baselines.
        times: decision times after the bundle's training; default: all of the panel's.
        baselines: some of `BASELINES`. LightGBM is left out where it is not installed, and said so.
        cost_bp: half spread and fee of one purchase or sale.
        unseen_since: what the bundle has learned from ends here; default: its training's end. A
            training measures its own held-out sessions by it.
        pretrained: a foundation model that stands beside the baselines.

    Raises:
        DataError: a time lies before that end, or is no decision time of the panel.
        InsufficientDataError: no decision time is after that end, or nothing could be compared.
    """
    spec = bundle.spec
    end = unseen_since or spec.training.end
    if times is None:
        asked = [t for t in decision_times(panel, spec.horizon) if t > end]
    else:
        asked = sorted(times)
    if asked and asked[0] < end:
        raise DataError(
            f"{bundle.id} learned from bars until {end.isoformat()}, {asked[0].isoformat()} is not "
            "after them: evaluate later sessions, or train on earlier ones"
        )
    names = [n for n in baselines if n != "LightGBM" or simple.has_lightgbm()]
    if asked:
        walked = walk(Forecaster(bundle), panel, asked, names, pretrained)
        if walked.points[OURS].cases.any():
            return figures(bundle, walked, baselines, cost_bp)
    if panel.sessions and not any(t > end for t in decision_times(panel, spec.horizon)):
        raise InsufficientDataError(
            f"{bundle.id} learned from bars until {end.date()}, the last of these is of "
            f"{panel.sessions[-1].date}: give it later ones, or train with --keep-back"
        )
    raise InsufficientDataError(
        f"an evaluation needs forecasts with known outcomes, {len(asked)} decision times after "
        f"{end.date()} in {len(panel.sessions)} sessions of {len(panel.tickers)} tickers gave "
        "none: load more history, or more tickers"
    )


def figures(bundle: Bundle, walked: Walked, baselines: Sequence[str], cost_bp: float) -> Evaluation:
    """The figures of what was walked; at least one close must have been compared."""
    reach = bundle.spec.horizon if bundle.spec.frequency == "1d" else 1
    ours = walked.points[OURS]
    ics = rank_ic(ours.score, walked.tradable)
    ic_days = np.unique(walked.day[np.isfinite(ics)])
    bands = walked.bands
    seen = bands[OURS].cases.sum(axis=1) > 0
    losses = {name: BP * _share(band.loss[seen], band.cases[seen]) for name, band in bands.items()}
    spread = BP * metrics.spread(ours.score, np.expm1(walked.tradable))
    cost = TRADES_OF_A_SPREAD * cost_bp
    dates = tuple(date for date, there in zip(walked.dates, seen, strict=True) if there)
    return Evaluation(
        bundle=bundle.id,
        frequency=bundle.spec.frequency,
        horizon_days=reach,
        dates=dates,
        decisions=int(np.isfinite(ics).sum()),
        closes=int(ours.cases.sum()),
        points={
            name: _pointfigures(name, points, walked, reach)
            for name, points in walked.points.items()
            if points.cases.any()
        },
        bands={name: _bandfigures(band, reach) for name, band in bands.items()},
        against_normal=tested(losses[OURS] - losses[NORMAL], reach),
        against_normal_by_step=_by_step(bands[OURS], bands[NORMAL], reach),
        close_ic=tested(by_day(rank_ic(ours.score, walked.from_close), walked.day), reach),
        daily_ic={
            walked.dates[day].isoformat(): float(ic)
            for day, ic in zip(ic_days, by_day(ics, walked.day), strict=True)
        },
        daily_pinball={
            date.isoformat(): float(loss) for date, loss in zip(dates, losses[OURS], strict=True)
        },
        spread_bp=tested(by_day(spread, walked.day), reach),
        net_spread_bp=tested(by_day(spread - cost, walked.day), reach),
        spread_cost_bp=cost,
        missing=_missing(baselines, walked),
    )


def _missing(baselines: Sequence[str], walked: Walked) -> dict[str, str]:
    reasons = {}
    for name in baselines:
        if name not in walked.points:
            reasons[name] = "not installed: pip install lightgbm"
        elif not walked.points[name].cases.any():
            reasons[name] = "no sessions before to fit it on: give it more history"
    return reasons


def _pointfigures(name: str, points: Points, walked: Walked, reach: int) -> PointFigures:
    seen = points.cases.sum(axis=1) > 0
    cases = points.cases[seen]
    worse = BP * (_share(points.error[seen], cases) - _share(points.naive[seen], cases))
    ics = rank_ic(points.score, walked.tradable)
    return PointFigures(
        mae_bp=BP * float(points.error.sum() / points.cases.sum()),
        mase=float(points.scaled.sum() / max(points.scalable.sum(), 1.0)),
        smape=float(points.smape.sum() / points.cases.sum()),
        against=None if name == "last value" else tested(worse, reach),
        direction=_direction(points.score, walked, reach),
        ic=tested(by_day(ics, walked.day), reach) if np.isfinite(ics).any() else None,
        days=int(seen.sum()),
    )


def _direction(score: Floats, walked: Walked, reach: int) -> Tested | None:
    """Daily share of right signs where both have one, tested against one half."""
    signs = np.sign(score) * np.sign(walked.tradable)
    told = np.isfinite(signs) & (signs != 0)
    if not told.any():
        return None
    days = len(walked.dates)
    right, cases = (
        np.bincount(walked.day, what.sum(axis=1), days) for what in (told & (signs > 0), told)
    )
    found = tested(right[cases > 0] / cases[cases > 0] - 0.5, reach)
    return Tested(found.mean + 0.5, found.error, found.t, found.p, found.days)


def _bandfigures(band: Band, reach: int) -> BandFigures:
    cases = band.cases.sum(axis=0)
    counted = np.maximum(cases, 1.0)
    steps, levels = band.inside.shape[1:]
    # Shorter blocks cut too many of the overlaps; fewer than four leave nothing to draw from.
    block = 1 if reach == 1 else max(1, min(2 * reach, len(band.cases) // 4))
    low, high = day_block_interval(
        band.inside.reshape(len(band.inside), -1), np.repeat(band.cases, levels, axis=1), block
    )
    return BandFigures(
        pinball_bp=BP * band.loss.sum(axis=0) / counted,
        coverage=band.inside.sum(axis=0) / counted[:, None],
        low=low.reshape(steps, levels),
        high=high.reshape(steps, levels),
        overall=band.inside.sum(axis=(0, 1)) / cases.sum(),
    )


def _by_step(ours: Band, normal: Band, reach: int) -> tuple[Tested, ...]:
    """Daily quantile loss of ours less the normal's at each step, bp."""
    found = []
    for step in range(ours.cases.shape[1]):
        cases = ours.cases[:, step]
        less = BP * (ours.loss - normal.loss)[:, step]
        found.append(tested(less[cases > 0] / cases[cases > 0], reach))
    return tuple(found)


def _share(sums: Floats, cases: Floats) -> Floats:
    """Mean of each day over its steps and cases, (days,)."""
    mean: Floats = sums.sum(axis=1) / cases.sum(axis=1)
    return mean

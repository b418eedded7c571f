"""Walks forward over past decision times: forecasts, baselines and what came, added up by day.

Blocks of `REFIT_SESSIONS` sessions, in order; the fitted baselines are fitted anew for each block,
on the windows that end before it, so the first block of a panel that begins with it has none.
Only tickers that the network had a say on count, for everybody alike.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from astra.scoring import BANDS as BANDS
from astra.sessions import HORIZON_BARS
from model.evaluation import baselines as simple
from model.evaluation import metrics
from model.forecast.record import Forecast, Mark
from model.forecast.serving import Forecaster
from model.forecast.spec import Spec
from model.forecast.target import Normalised, horizon_scale, normalise
from model.panel import Panel

Floats = NDArray[np.float64]
REFIT_SESSIONS = 20
DAILY_HORIZON = 5
OURS, NORMAL = "forecast", "normal"
BASELINES = ("last value", "drift", "seasonal", "ridge", "LightGBM")


@dataclass(frozen=True, slots=True)
class Points:
    """Sums of a point forecast's errors by day and step, shape (days, horizon) each.

    Attributes:
        cases: closes compared.
        error: absolute error of the log close; `naive`: the last value's on the same cases.
        scaled: error over the look-back's mean absolute return; `scalable`: cases that have one.
        smape: symmetric error in %.
        score: of each decision, (D, N): expected move over the horizon in units of volatility.
    """

    cases: Floats
    error: Floats
    naive: Floats
    scaled: Floats
    scalable: Floats
    smape: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Band:
    """Sums by day and step; `inside` has the bands of `BANDS` last, (days, horizon, 3)."""

    cases: Floats
    loss: Floats
    inside: Floats


Sums = TypeVar("Sums", Points, Band)


@dataclass(frozen=True, slots=True)
class Walked:
    """Everything an evaluation is made of.

    Attributes:
        as_of: decision times, epoch seconds, (D,).
        day: place of each decision's day in `dates`, (D,).
        dates: the days, ascending.
        tradable: log return from the first price that could be traded to the horizon's end, (D, N),
            NaN where nothing is compared.
        from_close: the same from the last close.
        points: by name, ours first. bands: ours and the normal one.
    """

    as_of: NDArray[np.int64]
    day: NDArray[np.int64]
    dates: tuple[dt.date, ...]
    tradable: Floats
    from_close: Floats
    points: dict[str, Points]
    bands: dict[str, Band]


def decision_times(panel: Panel, horizon: int | None = None) -> list[dt.datetime]:
    """The decision times of the panel's sessions whose whole horizon lies in its rows.

    Args:
        horizon: bars; default: an hour of 5-minute bars, a week of daily ones.
    """
    if panel.frequency == "1d":
        ends = panel.ends[panel.room(horizon or DAILY_HORIZON)]
        return [dt.datetime.fromtimestamp(int(end), dt.UTC) for end in ends]
    least = horizon or HORIZON_BARS
    known = set(panel.ends[panel.room(least)].tolist())
    return [t for s in panel.sessions for t in s.decision_times() if int(t.timestamp()) in known]


def walk(
    forecaster: Forecaster,
    panel: Panel,
    times: Sequence[dt.datetime],
    names: Sequence[str],
    pretrained: simple.Pretrained | None = None,
) -> Walked:
    """Forecast at each of `times` (ascending, not empty) and at once by the baselines of `names`.

    Raises:
        DataError: as `Forecaster.forecasts_at` and `baselines.pretrained`.
    """
    spec = forecaster.bundle.spec
    normalised = normalise(panel, spec.scaler)
    stamps = np.array([int(t.timestamp()) for t in times], np.int64)
    session = panel.session[np.minimum(np.searchsorted(panel.ends, stamps), len(panel.ts) - 1)]
    block = np.unique(session, return_inverse=True)[1] // REFIT_SESSIONS
    parts = []
    for number in range(int(block[-1]) + 1):
        asked = [t for t, b in zip(times, block, strict=True) if b == number]
        forecasts = list(forecaster.forecasts_at(panel, asked))
        rows = np.searchsorted(panel.ends, stamps[block == number])
        simple_moves = _baselines(panel, normalised, rows, spec, names)
        if pretrained:
            moves = simple.pretrained(pretrained, panel, normalised, rows, spec)
            simple_moves[pretrained.name] = moves
        parts.append(_compared(forecasts, simple_moves, panel, normalised, rows, spec))
    return reduce(_joined, parts)


def _baselines(
    panel: Panel,
    normalised: Normalised,
    rows: NDArray[np.int64],
    spec: Spec,
    names: Sequence[str],
) -> dict[str, Floats]:
    """Moves of the baselines of `names`, (rows, N, horizon); NaN where one could not be fitted."""
    fitted = {"ridge", "LightGBM"} & set(names)
    before = int(rows[0]) if fitted else 0
    seen = simple.examples(panel, normalised, spec, before)
    made: dict[str, Callable[[], Floats | None]] = {
        "last value": lambda: simple.last_value(panel, rows, spec.horizon),
        "drift": lambda: simple.drift(panel, rows, spec.window, spec.horizon),
        "seasonal": lambda: simple.seasonal(panel, rows, spec.horizon),
        "ridge": lambda: simple.ridge(seen, panel, normalised, rows),
        "LightGBM": lambda: simple.lightgbm(seen, panel, normalised, rows),
    }
    found = {name: made[name]() for name in names}
    unfitted = np.full((len(rows), len(panel.tickers), spec.horizon), np.nan)
    return {name: unfitted if moves is None else moves for name, moves in found.items()}


def _compared(
    forecasts: Sequence[Forecast],
    simple_moves: dict[str, Floats],
    panel: Panel,
    normalised: Normalised,
    rows: NDArray[np.int64],
    spec: Spec,
) -> Walked:
    """The forecasts at the close of `rows`, held against what came."""
    sessions, day = np.unique(panel.session[rows], return_inverse=True)
    served = np.array([[mark is Mark.FORECAST for mark in f.marks] for f in forecasts])
    last = np.log(np.array([f.last_close for f in forecasts]))[..., None]
    ahead = rows[:, None] + np.arange(1, spec.horizon + 1)
    outcome = np.log(panel.close[ahead]).transpose(0, 2, 1) - last
    outcome[~served] = np.nan
    # A bar that starts at the decision cannot be bought at its open: of 5-minute bars the second
    # is the first that can; after a daily close it is the next session's.
    entry = np.log(panel.open[rows + (1 if panel.frequency == "1d" else 2)])
    quantiles = np.log(np.array([f.closes for f in forecasts])) - last[..., None]
    levels = np.array(spec.quantiles)
    normal = simple.normal_band(panel, normalised, rows, spec.horizon, levels)
    scale = horizon_scale(normalised.profile, panel, rows, spec.horizon)[:, -1:]
    scores = {k: m[..., -1] / (normalised.sigma[rows] * scale) for k, m in simple_moves.items()}
    scores = {OURS: np.array([f.score for f in forecasts]), **scores}
    moves = {OURS: quantiles[..., spec.quantiles.index(0.5)], **simple_moves}
    usual = simple.look_back_move(panel, rows, spec.window)[..., None]
    return Walked(
        as_of=panel.ends[rows],
        day=day,
        dates=tuple(panel.sessions[s].date for s in sessions),
        tradable=outcome[..., -1] + last[..., 0] - entry,
        from_close=outcome[..., -1],
        points={k: point_sums(outcome, moves[k], usual, day, scores[k]) for k in moves},
        bands={
            OURS: band_sums(outcome, quantiles, levels, day),
            NORMAL: band_sums(outcome, normal, levels, day),
        },
    )


def point_sums(
    outcome: Floats, moves: Floats, usual: Floats, day: NDArray[np.int64], score: Floats
) -> Points:
    """Sums of moves' errors by day.

    Args:
        outcome, moves: (D, N, horizon), NaN where nothing is compared.
        usual: what MASE is scaled by, (D, N, 1). day: place of each decision's day, (D,).
        score: (D, N).
    """
    error = np.abs(outcome - moves)
    cases = np.isfinite(error)
    scaled = error / usual
    return Points(
        cases=_daily(cases, day),
        error=_daily(error, day),
        naive=_daily(np.where(cases, np.abs(outcome), np.nan), day),
        scaled=_daily(scaled, day),
        scalable=_daily(np.isfinite(scaled), day),
        smape=_daily(metrics.smape(outcome, moves), day),
        score=np.where(np.isfinite(outcome).any(axis=-1), score, np.nan),
    )


def band_sums(outcome: Floats, quantiles: Floats, levels: Floats, day: NDArray[np.int64]) -> Band:
    """Sums of the quantiles' losses and hits by day; `quantiles` is (D, N, horizon, Q)."""
    loss = metrics.pinball(outcome, quantiles, levels)
    cases = np.isfinite(loss)
    inside = []
    for band in BANDS:
        low, high = (int(np.abs(levels - (1 + side * band) / 2).argmin()) for side in (-1, 1))
        inside.append(cases & (outcome >= quantiles[..., low]) & (outcome <= quantiles[..., high]))
    return Band(
        _daily(cases, day), _daily(loss, day), np.stack([_daily(i, day) for i in inside], axis=-1)
    )


def _daily(values: Floats | NDArray[np.bool_], day: NDArray[np.int64]) -> Floats:
    """Sums over the tickers and decisions of each day of (D, N, horizon), NaN left out."""
    total = np.zeros((int(day.max()) + 1, values.shape[-1]))
    np.add.at(total, day, np.nansum(values, axis=1, dtype=np.float64))
    return total


def _joined(first: Walked, second: Walked) -> Walked:
    return Walked(
        as_of=np.concatenate([first.as_of, second.as_of]),
        day=np.concatenate([first.day, second.day + len(first.dates)]),
        dates=first.dates + second.dates,
        tradable=np.concatenate([first.tradable, second.tradable]),
        from_close=np.concatenate([first.from_close, second.from_close]),
        points={k: _stacked(first.points[k], second.points[k]) for k in first.points},
        bands={k: _stacked(first.bands[k], second.bands[k]) for k in first.bands},
    )


def _stacked(first: Sums, second: Sums) -> Sums:
    pairs = [(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)]
    return type(first)(*(np.concatenate(pair) for pair in pairs))

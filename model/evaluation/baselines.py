"""The simple forecasts that every result stands beside.

All speak of the same thing as a bundle's median: log moves of the close over the next 1..horizon
bars, shape (rows, N, horizon), of what is known at the close of each row. Nights inside of a
look-back of 5-minute bars are left out, as they are in the network's, and an unknown return adds
nothing.

Last value, drift and the seasonal mean have nothing to fit. Ridge and LightGBM look at the lags the
network sees, predict the market-free return in units of its volatility, as the network does, and
are fitted on `examples` that end before the first of the rows. A pretrained model that the user
has brought goes on with the network's own look-back.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from astra.errors import DataError
from model.forecast.spec import Spec
from model.forecast.target import Normalised, horizon_scale, look_backs, outcomes
from model.panel import Panel

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Examples = tuple[Floats, Floats]
SEASON_SESSIONS = 20
WEEK_SESSIONS = 5
MOST_WINDOWS = 100_000
# What all lags together may explain of the variance: an information coefficient of 0.045.
EXPECTED_R2 = 0.002
TREES = 100


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model that others have trained: medians of the next levels of paths.

    Attributes:
        name: of its row.
        medians: paths (M, window + 1) to levels (M, horizon), each path on its own.
    """

    name: str
    medians: Callable[[Floats], Floats]


def last_value(panel: Panel, rows: Rows, horizon: int) -> Floats:
    """No change."""
    return np.zeros((len(rows), len(panel.tickers), horizon))


def drift(panel: Panel, rows: Rows, window: int, horizon: int) -> Floats:
    """The look-back's mean return a bar goes on (darts' NaiveDrift on the path)."""
    summed = np.zeros((len(panel.ts) + 1, len(panel.tickers)))
    np.cumsum(_known(panel.log_returns()), axis=0, out=summed[1:])
    mean = (summed[rows + 1] - summed[np.maximum(rows + 1 - window, 0)]) / window
    moves: Floats = mean[..., None] * np.arange(1, horizon + 1)
    return moves


def seasonal(panel: Panel, rows: Rows, horizon: int, sessions: int = SEASON_SESSIONS) -> Floats:
    """The mean path of the same bars of the `sessions` sessions before.

    Of sessions with one bar a day: the same place in the week of five sessions, over as many. With
    one earlier session it is darts' NaiveSeasonal on the returns.
    """
    returns = panel.log_returns()
    total = np.zeros((len(rows), horizon, len(panel.tickers)))
    count = np.zeros_like(total)
    for back in range(1, sessions + 1):
        earlier = _same_bars(panel, rows, horizon, back)
        found = np.where((earlier >= 0)[..., None], returns[earlier], np.nan)
        total += _known(found)
        count += np.isfinite(found)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    moves: Floats = np.cumsum(mean, axis=1).transpose(0, 2, 1)
    return moves


def ridge(seen: Examples, panel: Panel, normalised: Normalised, rows: Rows) -> Floats | None:
    """Ridge regression of each step on the lags; None where there are no examples to fit it on.

    The penalty is the ratio of the noise's variance, 1, to that of a coefficient of which `window`
    together explain `EXPECTED_R2`: the posterior mean under that prior (Hoerl and Kennard 1970).
    """
    lags, outcome = seen
    if not len(lags):
        return None
    window = lags.shape[1]
    gram = lags.T @ lags + window / EXPECTED_R2 * np.eye(window)
    coefficients = np.linalg.solve(gram, lags.T @ outcome)
    return _moves(_lags(normalised, rows, window) @ coefficients, panel, normalised, rows)


def lightgbm(seen: Examples, panel: Panel, normalised: Normalised, rows: Rows) -> Floats | None:
    """Boosted trees on the lags; None where there are no examples to fit them on.

    One model of the whole horizon's return; its expectation is spread over the steps as the
    variance is.
    """
    import lightgbm as library

    lags, outcome = seen
    if not len(lags):
        return None
    settings = {
        "objective": "regression", "learning_rate": 0.05, "num_leaves": 15, "max_bin": 63,
        "min_data_in_leaf": 200, "feature_fraction": 0.5, "seed": 0, "deterministic": True,
        "force_row_wise": True, "bin_construct_sample_cnt": 20_000, "verbosity": -1,
    }  # fmt: skip
    trees = library.train(settings, library.Dataset(lags, outcome[:, -1]), TREES)
    asked = _lags(normalised, rows, lags.shape[1])
    whole = np.asarray(trees.predict(asked.reshape(-1, lags.shape[1]))).reshape(asked.shape[:2])
    scale = horizon_scale(normalised.profile, panel, rows, outcome.shape[1])
    steps = whole[..., None] * (scale / scale[:, -1:])[:, None, :]
    return _moves(steps, panel, normalised, rows)


def pretrained(
    model: Pretrained, panel: Panel, normalised: Normalised, rows: Rows, spec: Spec
) -> Floats:
    """How `model` goes on, zero-shot, with the look-back paths that the network sees.

    A path leaves out its end, which is 0 by construction: a model that does not know so is told.
    It is in units of the look-back's volatility, the network's answer in those of each step's: the
    root of window over steps lies between.

    Raises:
        DataError: it gave a number that is not finite.
    """
    paths, _ = look_backs(normalised.feature, rows, spec.window, spec.allowed_gaps)
    known = np.isfinite(paths).all(axis=-1)
    levels = np.full((*known.shape, spec.horizon), np.nan)
    if known.any():
        levels[known] = model.medians(np.pad(paths[known], ((0, 0), (0, 1))))
    broken = known & ~np.isfinite(levels).all(axis=-1)
    if broken.any():
        raise DataError(
            f"a forecast must be finite, {model.name} gave {int(broken.sum())} of "
            f"{int(known.sum())} that are not: download its weights anew"
        )
    units = np.sqrt(spec.window / np.arange(1, spec.horizon + 1))
    return _moves(levels * units, panel, normalised, rows)


def has_lightgbm() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("lightgbm") is not None


def normal_band(
    panel: Panel, normalised: Normalised, rows: Rows, horizon: int, levels: Floats
) -> Floats:
    """Quantiles of a normal with EWMA volatility times time of day, (rows, N, horizon, Q).

    RiskMetrics (1996) around the last value: the band to beat.
    """
    scale = horizon_scale(normalised.profile, panel, rows, horizon)
    sigma = normalised.total_sigma[rows][..., None] * scale[:, None, :]
    band: Floats = sigma[..., None] * ndtri(levels)
    return band


def look_back_move(panel: Panel, rows: Rows, window: int) -> Floats:
    """Mean absolute return a bar over the look-back, (rows, N); NaN where there is none above 0.

    The in-sample error of the one-step last value: what MASE is scaled by (Hyndman and Koehler
    2006).
    """
    moved = np.abs(panel.log_returns())
    total = np.zeros((len(panel.ts) + 1, len(panel.tickers)))
    count = np.zeros_like(total)
    np.cumsum(_known(moved), axis=0, out=total[1:])
    np.cumsum(np.isfinite(moved), axis=0, out=count[1:])
    first = np.maximum(rows + 1 - window, 0)
    many = count[rows + 1] - count[first]
    mean = np.divide(
        total[rows + 1] - total[first], many, out=np.full(many.shape, np.nan), where=many > 0
    )
    return np.where(mean > 1e-12, mean, np.nan)


def examples(
    panel: Panel, normalised: Normalised, spec: Spec, before: int, most: int = MOST_WINDOWS
) -> Examples:
    """Lags (M, window) and outcomes (M, horizon) of complete windows that end before row `before`.

    Of at most `most` places, drawn with a seed of their own. Empty where there are none.
    """
    origins = np.flatnonzero(panel.room(spec.horizon))
    origins = origins[(origins >= spec.window - 1) & (origins + spec.horizon < before)]
    tickers = len(panel.tickers)
    pairs = np.arange(len(origins) * tickers)
    if len(pairs) > most:
        pairs = np.random.default_rng(0).choice(pairs, most, replace=False)
    rows, columns = origins[pairs // tickers], pairs % tickers
    lags = normalised.feature[rows[:, None] + np.arange(1 - spec.window, 1), columns[:, None]]
    outcome = outcomes(normalised, panel, rows, columns, spec.horizon)
    whole = np.isfinite(lags).all(axis=1) & np.isfinite(outcome).all(axis=1)
    return lags[whole], outcome[whole]


def _lags(normalised: Normalised, rows: Rows, window: int) -> Floats:
    """The last `window` normalised returns at each row, (rows, N, window)."""
    taken = _known(normalised.feature[rows[:, None] + np.arange(1 - window, 1)])
    return np.ascontiguousarray(taken.transpose(0, 2, 1))


def _moves(steps: Floats, panel: Panel, normalised: Normalised, rows: Rows) -> Floats:
    """Expectations in units of the horizon's volatility, (rows, N, horizon), as log moves."""
    scale = horizon_scale(normalised.profile, panel, rows, steps.shape[-1])
    moves: Floats = steps * normalised.sigma[rows][..., None] * scale[:, None, :]
    return moves


def _same_bars(panel: Panel, rows: Rows, horizon: int, back: int) -> Rows:
    """Rows of the bars `back` sessions before each row's horizon, (rows, horizon); -1 for none."""
    steps = np.arange(1, horizon + 1)
    if panel.frequency == "1d":
        earlier = rows[:, None] + steps - back
        same = (back % WEEK_SESSIONS == 0) & (earlier >= 0) & (earlier <= rows[:, None])
        return np.where(same, earlier, -1)
    starts = np.searchsorted(panel.session, np.arange(len(panel.sessions)))
    lengths = np.diff(np.append(starts, len(panel.ts)))
    there = panel.session[rows] >= back
    session = np.where(there, panel.session[rows] - back, 0)
    slot = panel.slot[rows][:, None] + steps
    inside = there[:, None] & (slot < lengths[session][:, None])
    return np.where(inside, starts[session][:, None] + slot, -1)


def _known(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)

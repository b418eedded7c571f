"""The competitions' reference methods: last value, same value of the last season, Naive2.

Each maps the pasts of S series to forecasts of shape (S, horizon).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENT = 1.645  # 90 %, the M4 organisers' choice


def naive(past: Sequence[Floats], horizon: int) -> Floats:
    """The last value."""
    return np.repeat([[one[-1]] for one in past], horizon, axis=1)


def seasonal_naive(past: Sequence[Floats], horizon: int, period: int) -> Floats:
    """The value of one season ago, again and again."""
    return np.stack([np.resize(one[-period:], horizon) for one in past])


def naive2(past: Sequence[Floats], horizon: int, period: int) -> Floats:
    """The last value, seasonally adjusted where the series is found seasonal.

    The method of the M4 organisers (github.com/Mcompetitions/M4-methods), multiplicative.
    """
    return np.stack([_naive2(one, horizon, period) for one in past])


def is_seasonal(values: Floats, period: int) -> bool:
    """M4's test: the autocorrelation at the season exceeds Bartlett's 90 % bound."""
    if period == 1 or len(values) < 3 * period:
        return False
    centred = values - values.mean()
    variance = centred @ centred
    if variance == 0:
        return False
    acf = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, period + 1)]) / variance
    bound = CONFIDENT * np.sqrt((1 + 2 * np.sum(acf[:-1] ** 2)) / len(values))
    return bool(abs(acf[-1]) > bound)


def seasonal_factors(values: Floats, period: int) -> Floats:
    """Classical multiplicative decomposition: factor of each value's season, shape of `values`."""
    weights = np.ones(period)
    if period % 2 == 0:
        weights = np.concatenate([[0.5], np.ones(period - 1), [0.5]])
    trend = np.convolve(values, weights / period, mode="valid")
    start = len(weights) // 2
    ratios = values[start : start + len(trend)] / trend
    season = (start + np.arange(len(ratios))) % period
    figure = np.bincount(season, ratios, period) / np.bincount(season, minlength=period)
    factors: Floats = np.resize(figure / figure.mean(), len(values))
    return factors


def _naive2(values: Floats, horizon: int, period: int) -> Floats:
    if not is_seasonal(values, period):
        return np.full(horizon, values[-1])
    factors = seasonal_factors(values, period)
    ahead: Floats = np.resize(factors[-period:], horizon)
    return float(values[-1] / factors[-1]) * ahead

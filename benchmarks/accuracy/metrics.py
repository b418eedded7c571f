"""The competitions' error measures. Forecasts and outcomes have shape (S, horizon)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.data import Series
from benchmarks.accuracy.naive import naive2

Floats = NDArray[np.float64]


def smape(forecast: Floats, actual: Floats) -> float:
    """Symmetric mean absolute percentage error, 0 to 200, as M3 and M4 define it.

    Makridakis, Spiliotis and Assimakopoulos (2020), "The M4 Competition". Both values 0: no error.
    """
    size = np.abs(forecast) + np.abs(actual)
    missed = np.abs(forecast - actual)
    return float(200 * np.divide(missed, size, out=np.zeros_like(size), where=size > 0).mean())


def mape(forecast: Floats, actual: Floats) -> float:
    """Mean absolute percentage error, as Athanasopoulos et al. (2011) score Tourism.

    Outcomes of 0 have no such error and are left out; the test parts have none.
    """
    known = actual != 0
    return float(100 * np.mean(np.abs(forecast - actual)[known] / np.abs(actual)[known]))


def naive_errors(past: Sequence[Floats], period: int) -> Floats:
    """Mean absolute error of the seasonal naive method within each past, shape (S,)."""
    return np.array([np.abs(one[period:] - one[:-period]).mean() for one in past])


def mase(forecast: Floats, actual: Floats, scale: Floats) -> float:
    """Mean absolute error in units of `scale`, see `naive_errors`; Hyndman and Koehler (2006)."""
    return float(np.mean(np.abs(forecast - actual).mean(axis=1) / scale))


def owa(smape: float, mase: float, naive2_smape: float, naive2_mase: float) -> float:
    """M4's overall weighted average: the mean of both errors relative to Naive2's."""
    return (smape / naive2_smape + mase / naive2_mase) / 2


def weighted(errors: Sequence[float], points: Sequence[int]) -> float:
    """Mean error of a competition over all its points, as the N-BEATS paper averages."""
    return float(np.average(errors, weights=points))


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one method on one data set."""

    smape: float
    mape: float
    owa: float


def errors(forecast: Floats, series: Series) -> Errors:
    """All measures of a forecast of the series' futures.

    A series whose past never changed from season to season has no scale: it counts in no MASE.
    """
    actual, period = series.future, series.period
    reference = naive2(series.past, series.horizon, period)
    scale = naive_errors(series.past, period)
    scaled = scale > 0

    def masked(said: Floats) -> float:
        return mase(said[scaled], actual[scaled], scale[scaled])

    found = smape(forecast, actual)
    return Errors(
        found,
        mape(forecast, actual),
        owa(found, masked(forecast), smape(reference, actual), masked(reference)),
    )

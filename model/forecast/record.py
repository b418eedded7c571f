"""What a forecast is once made: frozen nouns between serving, skill, decisions and reports."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Mark(StrEnum):
    """Where a ticker's numbers come from."""

    FORECAST = "forecast"  # the network
    BASELINE = "baseline"  # no expected return, bands from volatility alone
    UNUSABLE = "unusable"  # no price or no volatility yet: its numbers are NaN


@dataclass(frozen=True, slots=True)
class Forecast:
    """The next bars of N tickers as seen at `as_of`.

    Attributes:
        model_id: the bundle's id.
        as_of: the close of the last bar the forecast knows.
        tickers: N names, in the panel's order.
        score: expected market-free return over the whole horizon in units of its volatility,
            shape (N,); 0 for the baseline, NaN if unusable.
        last_close: USD, the last price printed at or before `as_of`, shape (N,), NaN if none was.
        step_ts: starts of the forecast bars, epoch seconds, shape (horizon,).
        quantiles: levels, Q of them, ascending.
        closes: quantiles of each bar's close in USD, counted from `last_close`, shape
            (N, horizon, Q), ascending along the last axis; NaN if unusable.
        volatility: of the whole log return over the horizon, shape (N,); NaN if unusable.
        marks: N of them.
        reasons: why a ticker's mark is not `FORECAST`, N of them; "" where it is.
        gaps: unknown returns in each look-back, shape (N,).
    """

    model_id: str
    as_of: dt.datetime
    tickers: tuple[str, ...]
    score: Floats
    last_close: Floats
    step_ts: NDArray[np.int64]
    quantiles: tuple[float, ...]
    closes: Floats
    volatility: Floats
    marks: tuple[Mark, ...]
    reasons: tuple[str, ...]
    gaps: NDArray[np.int64]

    @property
    def close(self) -> Floats:
        """The point forecast of each bar's close in USD: the median, shape (N, horizon)."""
        return self.closes[..., self.quantiles.index(0.5)]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which tickers have finite numbers, shape (N,)."""
        return np.array([mark is not Mark.UNUSABLE for mark in self.marks], np.bool_)

    def counts(self) -> dict[Mark, int]:
        """How many tickers carry each mark, for the report."""
        return {mark: self.marks.count(mark) for mark in Mark}


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    """What was said at D past decision times of N tickers, for measuring skill and drift.

    Attributes:
        as_of: decision times, epoch seconds, shape (D,), ascending.
        tickers: N names, ascending.
        score: shape (D, N), NaN where the network had no say (baseline or unusable).
        volatility: of the whole log return over the horizon, as the forecast took it, shape
            (D, N); NaN where it was not known.
    """

    model_id: str
    as_of: NDArray[np.int64]
    tickers: tuple[str, ...]
    score: Floats
    volatility: Floats

    def as_kept(self) -> ForecastRecord:
        """With the precision in which a record is kept: a float32's."""
        score, volatility = (
            values.astype(np.float32).astype(np.float64) for values in (self.score, self.volatility)
        )
        return replace(self, score=score, volatility=volatility)

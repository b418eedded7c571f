"""What a bundle's forecasts were worth on past bars, beside the naive forecast "no change"."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import InsufficientDataError
from astra.sessions import BAR_SECONDS, HORIZON_BARS
from model.forecast.bundle import Bundle
from model.forecast.record import Floats, Forecast, Mark
from model.forecast.serving import Forecaster
from model.forecast.skill import by_day, rank_ic, realised_returns, t_statistic
from model.panel import Panel


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Averages over tickers, steps and decision times; errors in basis points of the price.

    Attributes:
        mae_bp: of the median forecast; `naive_mae_bp` of the last close.
        pinball_bp: mean quantile loss over the forecast's levels.
        coverage_90, coverage_50: share of closes inside the 5-95 % and the 25-75 % band.
        ic, t: mean over days of the rank IC from the first tradable price, and its t over days.
    """

    decisions: int
    days: int
    closes: int
    mae_bp: float
    naive_mae_bp: float
    pinball_bp: float
    coverage_90: float
    coverage_50: float
    ic: float
    t: float

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Name and value, for a table."""
        return (
            ("decision times", f"{self.decisions} on {self.days} days"),
            ("closes compared", f"{self.closes:,}"),
            ("mean absolute error", f"{self.mae_bp:.2f} bp, last value {self.naive_mae_bp:.2f} bp"),
            ("quantile loss", f"{self.pinball_bp:.3f} bp"),
            ("inside the 90 % band", f"{self.coverage_90:.1%}"),
            ("inside the 50 % band", f"{self.coverage_50:.1%}"),
            ("rank IC", f"{self.ic:.4f} (t {self.t:.1f})"),
        )

    def metrics(self) -> dict[str, float]:
        """The same as numbers, for a bundle's specification."""
        return {name: round(float(value), 6) for name, value in asdict(self).items()}


def evaluate(
    bundle: Bundle, panel: Panel, times: Sequence[dt.datetime] | None = None
) -> Evaluation:
    """Forecast at each of `times` (default: the panel's decision times) and compare.

    Only tickers the network had a say on are compared.

    Raises:
        InsufficientDataError: nothing could be compared.
    """
    asked = decision_times(panel) if times is None else list(times)
    sums, scores, stamps = np.zeros(6), [], []
    for forecast in Forecaster(bundle).forecasts_at(panel, asked):
        served = np.array([mark is Mark.FORECAST for mark in forecast.marks])
        sums += _errors(forecast, panel, served)
        scores.append(np.where(served, forecast.score, np.nan))
        stamps.append(int(forecast.as_of.timestamp()))
    if not sums[0]:
        raise InsufficientDataError(
            f"an evaluation needs forecasts with known outcomes, {len(asked)} decision times of "
            f"{len(panel.sessions)} sessions gave none: load more history"
        )
    decisions = np.array(stamps, np.int64)
    ics = rank_ic(np.array(scores), realised_returns(panel, decisions))
    daily = by_day(ics, panel.session[np.searchsorted(panel.ts, decisions)])
    mae, naive, pinball, in_90, in_50 = (sums[1:] / sums[0]).tolist()
    return Evaluation(
        decisions=int(np.isfinite(ics).sum()),
        days=len(daily),
        closes=int(sums[0]),
        mae_bp=mae,
        naive_mae_bp=naive,
        pinball_bp=pinball,
        coverage_90=in_90,
        coverage_50=in_50,
        ic=float(daily.mean()) if len(daily) else 0.0,
        t=t_statistic(daily),
    )


def decision_times(panel: Panel) -> list[dt.datetime]:
    """The decision times of the panel's sessions whose whole horizon lies in its rows."""
    end = HORIZON_BARS * BAR_SECONDS
    return [
        t
        for session in panel.sessions
        for t in session.decision_times()
        if panel.ts[0] < t.timestamp() and t.timestamp() + end <= panel.ts[-1] + BAR_SECONDS
    ]


def _errors(forecast: Forecast, panel: Panel, served: NDArray[np.bool_]) -> Floats:
    """Count, and sums of the errors of `Evaluation` in its order, over tickers and steps."""
    rows = np.searchsorted(panel.ts, forecast.step_ts)
    actual = np.log(panel.close[rows].T)
    compared = np.isfinite(actual) & served[:, None]
    moved = (actual - np.log(forecast.last_close)[:, None])[compared]
    missed = actual[compared][:, None] - np.log(forecast.closes[compared])
    levels = np.array(forecast.quantiles)
    low, middle, high = (forecast.quantiles.index(q) for q in (0.25, 0.5, 0.75))
    loss = np.maximum(levels * missed, (levels - 1) * missed).mean(axis=1)
    inside_90 = (missed[:, 0] >= 0) & (missed[:, -1] <= 0)
    inside_50 = (missed[:, low] >= 0) & (missed[:, high] <= 0)
    errors = (1e4 * np.abs(missed[:, middle]), 1e4 * np.abs(moved), 1e4 * loss)
    return np.array([e.sum() for e in (compared, *errors, inside_90, inside_50)], np.float64)

"""Forecast all tickers of a panel in one batch with ONNX Runtime on one thread.

Arrays only: numpy and onnxruntime. torch and darts stay on the training side, and pandas, which
would take most of the time and memory of a first forecast, with whoever reads bars.

A ticker whose look-back says nothing about what comes (gaps, a halt, a price that stands still)
gets the baseline and a mark with its reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from astra.errors import BundleError, DataError, InsufficientDataError
from astra.sessions import BAR_SECONDS, sessions_between
from model.forecast.bundle import Bundle
from model.forecast.record import Forecast, ForecastRecord, Mark
from model.forecast.target import Floats, Normalised, horizon_scale, look_backs, normalise, path
from model.panel import Panel

HALT_BARS = 3  # without a print up to the decision: 15 minutes, or three sessions
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
_UNUSABLE = "no price or no volatility yet"

# onnxruntime 1.31: its errors have no base of their own, and names in a broken file may be no text.
_FAILURES: tuple[type[Exception], ...] = (
    UnicodeDecodeError,
    *(kind for kind in vars(onnxruntime_pybind11_state).values()
      if isinstance(kind, type) and issubclass(kind, Exception)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _LookBack:
    """What the network would be told of N tickers, and why it is not asked about some.

    Attributes:
        paths: shape (N, window).
        gaps: unknown returns in them, shape (N,).
        silent: by reason, for which tickers it holds, shape (N,).
        served: for which no reason holds, shape (N,).
    """

    paths: Floats
    gaps: Integers
    silent: dict[str, Flags]
    served: Flags


class Forecaster:
    """A bundle with its network loaded once.

    Raises:
        BundleError: ONNX Runtime can't load or run the network, its shapes are not the specified
            ones, or its answer to a path that never moved is not finite.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._session = _session(bundle)
        spec = bundle.spec
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [[value.shape[1:] for value in values] for values in (inputs, outputs)]
        if found != [[[spec.window]], [[spec.horizon, len(spec.quantiles)]]]:
            raise BundleError(f"{bundle.id}: the network's shapes {found} differ from spec.json")
        self._input = inputs[0].name
        self._location = np.array(spec.location)
        quiet = _ascending(self._run(path(np.zeros((1, spec.window)))))
        if not np.isfinite(quiet).all():
            raise BundleError(
                f"{bundle.id}: the network's answer to a quiet path must be finite, it is not: "
                "train it again"
            )
        self._quiet = quiet - (quiet @ self._location)[..., None]

    def forecast(self, panel: Panel, normalised: Normalised | None = None) -> Forecast:
        """The next `horizon` bars of every ticker, as seen at the close of the panel's last bar.

        A ticker with more than `allowed_gaps` unknown returns in its look-back, without a print in
        the last bars, or whose price stood still all the while, gets the baseline: no expected
        return, and the bands of a quiet path. So do all of fewer tickers than make a market. A
        ticker without any price, or too young for a volatility, is marked unusable.

        Args:
            normalised: the panel's returns by the bundle's scaler, where they are known already.

        Raises:
            DataError: the panel's bars are not the bundle's, the horizon crosses the close, or the
                network's answer is not finite.
            InsufficientDataError: the panel is empty or no ticker is usable.
        """
        self._check_frequency(panel)
        if not len(panel.ts):
            raise InsufficientDataError("a forecast needs bars, the panel has none: load some")
        end = dt.datetime.fromtimestamp(panel.end(-1), dt.UTC)
        (row,) = _rows(panel, [end], self.bundle.spec.horizon)
        if normalised is None:
            normalised = normalise(panel, self.bundle.spec.scaler)
        forecast = self._forecast(panel, normalised, row)
        if not forecast.usable.any():
            raise InsufficientDataError(
                f"no ticker has the price and the volatility a forecast needs at the end of a "
                f"panel of {len(panel.ts)} bars: load more history"
            )
        return forecast

    def scores_at(self, panel: Panel, times: Sequence[dt.datetime]) -> ForecastRecord:
        """The scores of `forecast(panel.known_at(t))` at each of `times`, ascending.

        NaN where the network had no say, and at times before the panel's first bar closed.

        Raises:
            DataError: as `forecasts_at`.
        """
        spec, ordered = self.bundle.spec, sorted(times)
        stamps = np.array([int(t.timestamp()) for t in ordered], np.int64)
        score = np.full((len(stamps), len(panel.tickers)), np.nan)
        volatility = np.full_like(score, np.nan)
        early = int((stamps < panel.ends[0]).sum()) if len(panel.ts) else len(stamps)
        normalised, rows = self._prepared(panel, ordered[early:])
        scale = horizon_scale(normalised.profile, panel, rows, spec.horizon)[:, -1:]
        volatility[early:] = normalised.total_sigma[rows] * scale
        for k, row in enumerate(rows, early):
            seen = self._look_back(panel, normalised, row)
            last_step = _ascending(self._answer(seen, panel.tickers)[:, -1])
            score[k, seen.served] = last_step @ self._location
        return ForecastRecord(self.bundle.id, stamps, panel.tickers, score, volatility)

    def forecasts_at(self, panel: Panel, times: Sequence[dt.datetime]) -> Iterator[Forecast]:
        """What `forecast(panel.known_at(t))` is at each of `times`, to the last bit.

        The panel is normalised once, as no row of it depends on later bars; each time is one batch.

        Raises:
            DataError: the panel's bars are not the bundle's, a time is not the close of one of
                them, fewer bars than the horizon are left in its session, or a number is not
                finite.
        """
        normalised, rows = self._prepared(panel, times)
        for row in rows:
            yield self._forecast(panel, normalised, row)

    def _prepared(self, panel: Panel, times: Sequence[dt.datetime]) -> tuple[Normalised, Integers]:
        self._check_frequency(panel)
        rows = _rows(panel, times, self.bundle.spec.horizon)
        return normalise(panel, self.bundle.spec.scaler), rows

    def _check_frequency(self, panel: Panel) -> None:
        wanted = self.bundle.spec.frequency
        if panel.frequency != wanted:
            raise DataError(
                f"{self.bundle.id} forecasts bars of {wanted}, the panel's are of "
                f"{panel.frequency}: give it bars of {wanted} or load a bundle of "
                f"{panel.frequency}"
            )

    def _forecast(self, panel: Panel, normalised: Normalised, row: int) -> Forecast:
        spec = self.bundle.spec
        seen = self._look_back(panel, normalised, row)
        served = seen.served
        answer = _ascending(self._answer(seen, panel.tickers))
        location = np.zeros((len(served), spec.horizon))
        location[served] = answer @ self._location
        spread = np.tile(self._quiet, (len(served), 1, 1))
        spread[served] = answer - location[served][..., None]
        sigma, total_sigma = normalised.sigma[row], normalised.total_sigma[row]
        last_close = panel.last_close(row)
        usable = np.isfinite(last_close) & np.isfinite(total_sigma)
        expected = location * np.where(served, sigma, 0.0)[:, None]
        scale = horizon_scale(normalised.profile, panel, np.array([row]), spec.horizon)[0]
        moves = (expected[..., None] + spread * total_sigma[:, None, None]) * scale[:, None]
        closes = _prices(last_close, moves)
        _require_finite(closes[usable], np.array(panel.tickers)[usable], self.bundle.id)
        return Forecast(
            model_id=self.bundle.id,
            as_of=dt.datetime.fromtimestamp(panel.end(row), dt.UTC),
            tickers=panel.tickers,
            score=np.where(usable, location[:, -1], np.nan),
            last_close=last_close,
            step_ts=_starts_after(panel, row, spec.horizon),
            quantiles=spec.quantiles,
            closes=closes,
            volatility=np.where(usable, total_sigma * scale[-1], np.nan),
            marks=tuple(_mark(u, s) for u, s in zip(usable, served, strict=True)),
            reasons=_reasons(usable, seen.silent),
            gaps=seen.gaps,
        )

    def _look_back(self, panel: Panel, normalised: Normalised, row: int) -> _LookBack:
        spec, at = self.bundle.spec, np.array([row])
        (paths,), (gaps,) = look_backs(normalised.feature, at, spec.window, spec.allowed_gaps)
        seen = panel.close[max(0, row - spec.window + 1) : row + 1]
        few = np.full(len(gaps), len(panel.tickers) < spec.scaler.min_names)
        silent = {
            f"no bar among the last {HALT_BARS}": np.isnan(seen[-HALT_BARS:]).all(axis=0),
            f"{spec.scaler.min_names} tickers are needed to tell the market from one": few,
            f"more than {spec.allowed_gaps} of the last {spec.window} returns unknown": (
                gaps > spec.allowed_gaps
            ),
            # What would be left of its returns is the market's with the sign turned.
            f"no move of the price in {spec.window} bars": (
                np.fmax.reduce(seen) == np.fmin.reduce(seen)
            ),
        }
        return _LookBack(paths, gaps, silent, ~np.any(list(silent.values()), axis=0))

    def _answer(self, seen: _LookBack, tickers: tuple[str, ...]) -> NDArray[np.float32]:
        """The network's answer of the tickers that are served, (served, horizon, Q).

        Raises:
            DataError: it is not finite.
        """
        spec = self.bundle.spec
        if not seen.served.any():
            return np.empty((0, spec.horizon, len(spec.quantiles)), np.float32)
        answer = self._run(seen.paths[seen.served])
        _require_finite(answer, np.array(tickers)[seen.served], self.bundle.id)
        return answer

    def _run(self, paths: Floats) -> NDArray[np.float32]:
        try:
            (answer,) = self._session.run(None, {self._input: paths.astype(np.float32)})
        except _FAILURES as error:
            raise BundleError(_unusable(self.bundle, "run")) from error
        if answer.shape[1:] != (self.bundle.spec.horizon, len(self.bundle.spec.quantiles)):
            raise BundleError(_unusable(self.bundle, "run"))
        found: NDArray[np.float32] = answer
        return found


def _session(bundle: Bundle) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    try:
        return onnxruntime.InferenceSession(
            bundle.onnx, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _FAILURES as error:
        raise BundleError(_unusable(bundle, "load")) from error


def _unusable(bundle: Bundle, what: str) -> str:
    exported = bundle.spec.versions.get("onnxruntime", "?")
    return (
        f"ONNX Runtime {onnxruntime.__version__} can't {what} the network of {bundle.id}, exported "
        f"for {exported}: run make train"
    )


def _mark(usable: bool, served: bool) -> Mark:
    if not usable:
        return Mark.UNUSABLE
    return Mark.FORECAST if served else Mark.BASELINE


def _reasons(usable: Flags, silent: dict[str, Flags]) -> tuple[str, ...]:
    """Why the network has no say on each ticker: the first reason that holds, or ""."""
    found = [""] * len(usable)
    for reason, flags in reversed({_UNUSABLE: ~usable, **silent}.items()):
        for i in np.flatnonzero(flags):
            found[i] = reason
    return tuple(found)


def _ascending(answer: NDArray[np.float32]) -> Floats:
    """Quantiles in their order: a network may let two of them cross."""
    found: Floats = np.sort(answer, axis=-1).astype(np.float64)
    return found


def _prices(last_close: Floats, moves: Floats) -> Floats:
    """Last closes (N,) moved by log returns (N, horizon, Q); inf where beyond all numbers."""
    with np.errstate(over="ignore"):
        prices: Floats = last_close[:, None, None] * np.exp(moves)
    return prices


def _require_finite(numbers: NDArray[np.floating], tickers: NDArray[np.str_], bundle: str) -> None:
    """That each ticker's numbers (N, horizon, Q) are.

    Raises:
        DataError: naming the first whose are not.
    """
    broken = ~np.isfinite(numbers).all(axis=(1, 2))
    if broken.any():
        raise DataError(
            f"a forecast must be finite, {bundle} gave one of {tickers[broken][0]} and "
            f"{int(broken.sum()) - 1} others that is not: check their bars, or go back to another "
            "bundle"
        )


def _starts_after(panel: Panel, row: int, horizon: int) -> Integers:
    """Starts of the `horizon` bars after `row`, epoch seconds: of daily ones, opens."""
    end = panel.end(row)
    if panel.frequency == "5m":
        return end + BAR_SECONDS * np.arange(horizon, dtype=np.int64)
    close = panel.sessions[panel.session[row]].closes_at
    ahead = sessions_between(close, close + dt.timedelta(days=2 * horizon + 10))
    return np.array([int(s.opens_at.timestamp()) for s in ahead[:horizon]], np.int64)


def _rows(panel: Panel, times: Sequence[dt.datetime], horizon: int) -> Integers:
    """The row that closes at each of `times`, checked."""
    ends, rows = panel.ends, []
    for t in times:
        end = int(t.timestamp())
        row = int(np.searchsorted(ends, end))
        if row == len(ends) or ends[row] != end:
            raise DataError(
                f"a decision time must be the close of a bar in the panel, {t.isoformat()} is not"
            )
        left = panel.sessions[panel.session[row]].bars - 1 - int(panel.slot[row])
        if panel.frequency == "5m" and left < horizon:
            raise DataError(
                f"a forecast needs {horizon} more bars in its session, at {t.isoformat()} {left} "
                "are left: ask at a decision time (Panel.known_at)"
            )
        rows.append(row)
    return np.array(rows, np.int64)

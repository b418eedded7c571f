"""Forecast all tickers of a panel in one batch with ONNX Runtime on one thread.

Numbers only: numpy, pandas and onnxruntime. torch and darts stay on the training side.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from astra.errors import BundleError, DataError, InsufficientDataError
from astra.sessions import BAR_SECONDS
from model.forecast.bundle import Bundle
from model.forecast.record import Forecast, ForecastRecord, Mark
from model.forecast.target import Floats, Normalised, horizon_scale, look_backs, normalise, path
from model.panel import Panel

# onnxruntime 1.31: its errors have no base of their own.
_UNLOADABLE = tuple(
    getattr(onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented",
                 "RuntimeException")
)  # fmt: skip


class Forecaster:
    """A bundle with its network loaded once.

    Raises:
        BundleError: ONNX Runtime can't load the network, or its shapes are not the specified ones.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._session = _session(bundle)
        spec = bundle.spec
        self._input = self._session.get_inputs()[0].name
        found = self._session.get_inputs()[0].shape[1:], self._session.get_outputs()[0].shape[1:]
        if found != ([spec.window], [spec.horizon, len(spec.quantiles)]):
            raise BundleError(f"{bundle.id}: the network's shapes {found} differ from spec.json")
        self._location = np.array(spec.location)
        quiet = self._quantiles(path(np.zeros((1, spec.window))))
        self._quiet = quiet - (quiet @ self._location)[..., None]

    def forecast(self, panel: Panel) -> Forecast:
        """The next `horizon` bars of every ticker, as seen at the close of the panel's last bar.

        A ticker with more than `allowed_gaps` unknown returns in its look-back gets the baseline:
        no expected return, and the bands of a quiet path. A ticker without any price, or too
        young for a volatility, is marked unusable.

        Raises:
            DataError: the horizon crosses the close, or the network's answer is not finite.
            InsufficientDataError: the panel is empty or no ticker is usable.
        """
        if not len(panel.ts):
            raise InsufficientDataError("a forecast needs bars, the panel has none: load some")
        end = int(panel.ts[-1]) + BAR_SECONDS
        forecast = next(self.forecasts_at(panel, [dt.datetime.fromtimestamp(end, dt.UTC)]))
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
        early = int((stamps <= panel.ts[0]).sum()) if len(panel.ts) else len(stamps)
        rows = _rows(panel, ordered[early:], spec.horizon)
        normalised = normalise(panel, spec.scaler)
        for k, row in enumerate(rows, early):
            at = np.array([row])
            paths, _ = look_backs(normalised.feature, at, spec.window, spec.allowed_gaps)
            quantiles, served = self._answer(paths[0])
            score[k] = np.where(served, (quantiles @ self._location)[:, -1], np.nan)
            scale = horizon_scale(normalised.profile, panel, at, spec.horizon)[0, -1]
            volatility[k] = normalised.total_sigma[row] * scale
        return ForecastRecord(self.bundle.id, stamps, panel.tickers, score, volatility)

    def forecasts_at(self, panel: Panel, times: Sequence[dt.datetime]) -> Iterator[Forecast]:
        """What `forecast(panel.known_at(t))` is at each of `times`, to the last bit.

        The panel is normalised once, as no row of it depends on later bars; each time is one batch.

        Raises:
            DataError: a time is not the close of one of the panel's bars, or fewer bars than the
                horizon are left in its session.
        """
        spec = self.bundle.spec
        rows = _rows(panel, times, spec.horizon)
        normalised = normalise(panel, spec.scaler)
        last_close = pd.DataFrame(panel.close).ffill().to_numpy(np.float64)
        for row in rows:
            yield self._forecast(panel, normalised, last_close[row], row)

    def _forecast(
        self, panel: Panel, normalised: Normalised, last_close: Floats, row: int
    ) -> Forecast:
        spec, at = self.bundle.spec, np.array([row])
        paths, gaps = look_backs(normalised.feature, at, spec.window, spec.allowed_gaps)
        quantiles, served = self._answer(paths[0])
        sigma, total_sigma = normalised.sigma[row], normalised.total_sigma[row]
        usable = np.isfinite(last_close) & np.isfinite(total_sigma)
        location = np.where(served[:, None], quantiles @ self._location, 0.0)
        spread = np.where(served[:, None, None], quantiles - location[..., None], self._quiet)
        expected = np.where(served[:, None], location * sigma[:, None], 0.0)
        scale = horizon_scale(normalised.profile, panel, at, spec.horizon)[0]
        moves = (expected[..., None] + spread * total_sigma[:, None, None]) * scale[:, None]
        end = int(panel.ts[row]) + BAR_SECONDS
        return Forecast(
            model_id=self.bundle.id,
            as_of=dt.datetime.fromtimestamp(end, dt.UTC),
            tickers=panel.tickers,
            score=np.where(usable, location[:, -1], np.nan),
            last_close=last_close,
            step_ts=end + BAR_SECONDS * np.arange(spec.horizon, dtype=np.int64),
            quantiles=spec.quantiles,
            closes=last_close[:, None, None] * np.exp(moves),
            volatility=np.where(usable, total_sigma * scale[-1], np.nan),
            marks=tuple(_mark(u, s) for u, s in zip(usable, served, strict=True)),
            gaps=gaps[0],
        )

    def _answer(self, paths: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Quantiles (N, horizon, Q) of the tickers with a path, and which those are."""
        spec = self.bundle.spec
        served = np.asarray(np.isfinite(paths).all(axis=1))
        quantiles = np.full((len(paths), spec.horizon, len(spec.quantiles)), np.nan)
        if served.any():
            quantiles[served] = self._quantiles(paths[served])
        return quantiles, served

    def _quantiles(self, paths: Floats) -> Floats:
        """The network's answer, ascending along the last axis."""
        (answer,) = self._session.run(None, {self._input: paths.astype(np.float32)})
        if not np.isfinite(answer).all():
            raise DataError(f"{self.bundle.id} gave a forecast that is not finite: retrain it")
        ascending: Floats = np.sort(answer.astype(np.float64), axis=-1)
        return ascending


def _session(bundle: Bundle) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            bundle.onnx, options, providers=["CPUExecutionProvider"]
        )
    except _UNLOADABLE as error:
        raise BundleError(
            f"ONNX Runtime {onnxruntime.__version__} can't load the network of {bundle.id}, "
            f"exported for {bundle.spec.versions.get('onnxruntime', '?')}: run make train"
        ) from error


def _mark(usable: bool, served: bool) -> Mark:
    if not usable:
        return Mark.UNUSABLE
    return Mark.FORECAST if served else Mark.BASELINE


def _rows(panel: Panel, times: Sequence[dt.datetime], horizon: int) -> list[int]:
    """The row that closes at each of `times`, checked."""
    rows = []
    for t in times:
        start = int(t.timestamp()) - BAR_SECONDS
        row = int(np.searchsorted(panel.ts, start))
        if row == len(panel.ts) or panel.ts[row] != start:
            raise DataError(
                f"a decision time must be the close of a bar in the panel, {t.isoformat()} is not"
            )
        left = panel.sessions[panel.session[row]].bars - 1 - int(panel.slot[row])
        if left < horizon:
            raise DataError(
                f"a forecast needs {horizon} more bars in its session, at {t.isoformat()} {left} "
                "are left: ask at a decision time (Panel.known_at)"
            )
        rows.append(row)
    return rows

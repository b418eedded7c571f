"""Training windows a second on one thread: ours against darts `fit` and neuralforecast.

Same depth, width, batch, steps and quantiles, same series; neuralforecast's heads are larger, as
its row says. The first steps are left out: each library builds its data set and wakes its trainer
there.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from astra.predictions import QUANTILES
from astra.settings import HOUSE
from benchmarks import inputs
from benchmarks.forecast import serving
from benchmarks.results import Row
from benchmarks.rivals import answer_of
from model.forecast.export import one_thread, quiet
from model.forecast.networks import Network
from model.forecast.presets import Plan, Preset, read
from model.forecast.target import normalise
from model.forecast.training import Pinball, fit
from model.forecast.windows import Windows, complete_windows
from model.panel import Panel

RIVALS = HOUSE / ".venv-rivals" / "bin" / "python"
SCRIPT = "fit_neuralforecast.py"
WARM_UP = 20  # steps
ROUNDS = 3
LIMIT_SECONDS = 500


def measure(tickers: int, days: int, steps: int) -> list[Row]:
    """Median of `ROUNDS` turns. Without the rivals' environment its row says so."""
    preset = read("small")
    panel = serving.panel_of(tickers, days)
    windows, series = _windows(preset, panel)
    ours, darts, neural = [], [], []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "series.npy"
        np.save(path, series)
        for _ in range(ROUNDS):
            ours.append(_ours(preset, windows, steps))
            darts.append(_darts(preset, series, steps))
            if RIVALS.exists():
                neural.append(_neuralforecast(preset, path, steps))
    rate, against_darts = statistics.median(ours), statistics.median(darts)
    case = f"training, small, batches of {preset.plan.batch}"
    note = "not measured: run make rivals"
    ratio = None
    if neural:
        ratio = rate / statistics.median(one["windows_per_second"] for one in neural)
        size = f"{neural[0]['parameters']:,} parameters, ours {_size(preset):,}"
        note = f"neuralforecast {neural[0]['version']}, {size}"
    return [
        Row("forecast", case, rate, "windows/s", 20_000, "higher"),
        Row("forecast", f"{case}, speed-up over darts", rate / against_darts, "ratio", 1.5,
            "higher", f"fit, {_size(preset):,} parameters as ours"),
        Row("forecast", f"{case}, speed-up over neuralforecast", ratio, "ratio", 1.2, "higher",
            note),
    ]  # fmt: skip


class _Clock(pl.Callback):  # type: ignore[misc]  # Lightning is not typed for mypy here
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def _rate(batch: int, steps: int, seconds: float) -> float:
    return batch * (steps - WARM_UP) / seconds


def _ours(preset: Preset, windows: Windows, steps: int) -> float:
    ends: dict[int, float] = {}
    plan = Plan(
        steps=steps, batch=preset.plan.batch, learning_rate=1e-3, weight_decay=0.0,
        check_every=steps, patience=1,
    )  # fmt: skip
    fit(
        _network(preset), windows, None, plan, inputs.SEED, loss=Pinball(QUANTILES),
        progress=lambda step, *_: ends.update({step: time.perf_counter()}),
    )  # fmt: skip
    return _rate(plan.batch, steps, ends[steps] - ends[WARM_UP])


def _darts(preset: Preset, series: NDArray[np.float32], steps: int) -> float:
    from darts.models import NBEATSModel
    from darts.utils.likelihood_models.torch import QuantileRegression

    clock = _Clock()
    with one_thread(), quiet(), torch.random.fork_rng():
        model = NBEATSModel(
            preset.sight.window, preset.sight.horizon, batch_size=preset.plan.batch, n_epochs=1_000,
            likelihood=QuantileRegression(list(QUANTILES)),
            pl_trainer_kwargs=serving.quiet_trainer(max_steps=steps, callbacks=[clock]),
            **preset.sizes,
        )  # fmt: skip
        model.fit(serving.as_series(series), verbose=False)
    return _rate(preset.plan.batch, steps, clock.ends[steps - 1] - clock.ends[WARM_UP - 1])


def _neuralforecast(preset: Preset, series: Path, steps: int) -> dict[str, Any]:
    """What the rival's script says.

    Raises:
        AstraError: it failed; its last line says why.
    """
    asked = {
        "window": preset.sight.window, "horizon": preset.sight.horizon, "quantiles": QUANTILES,
        "stacks": preset.sizes["num_stacks"], "layers": preset.sizes["num_layers"],
        "width": preset.sizes["layer_widths"], "batch": preset.plan.batch, "steps": steps,
        "warm_up": WARM_UP,
    }  # fmt: skip
    return answer_of(RIVALS, SCRIPT, series, json.dumps(asked), seconds=LIMIT_SECONDS)


def _windows(preset: Preset, panel: Panel) -> tuple[Windows, NDArray[np.float32]]:
    """Our windows of a panel, and the same normalised returns as series (N, T) without a gap."""
    sight = preset.sight
    normalised = normalise(panel, sight.scaler)
    windows = complete_windows(panel, normalised, sight.window, sight.horizon, before=len(panel.ts))
    known = np.isfinite(normalised.feature).all(axis=1)
    return windows, np.ascontiguousarray(normalised.feature[known].T, np.float32)


def _network(preset: Preset) -> Network:
    sight = preset.sight
    with torch.random.fork_rng():
        torch.manual_seed(inputs.SEED)
        return Network(preset.network, preset.sizes, 1, sight.window, sight.horizon, QUANTILES)


def _size(preset: Preset) -> int:
    return sum(p.numel() for p in _network(preset).parameters() if p.requires_grad)

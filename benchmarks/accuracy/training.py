"""One network trained on one data set and asked for its future: by the product's own training."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy.cases import BATCH, Case, Variant
from benchmarks.accuracy.data import Series
from benchmarks.accuracy.metrics import Errors, errors
from benchmarks.accuracy.sampler import look_backs, ragged
from model.forecast.networks import Network
from model.forecast.training import Plan, fit

Floats = NDArray[np.float64]

SHAPE = {"num_stacks": 4, "num_blocks": 1, "num_layers": 3}
LEAST_SIZES = 1e-3  # of both values together, in levels of the look-back
LEAST_SIZE = 0.3  # of the outcome: below these a percentage would drown the others
MOST_VARIANTS = 10  # so that no two networks of a case share a seed


@dataclass(frozen=True, slots=True)
class Trained:
    """What one seed reached; `seconds` is of the processor."""

    name: str
    seed: int
    errors: Errors
    seconds: float


def reached(case: Case, series: Series, seed: int) -> Trained:
    """Train on the pasts, forecast, and compare with the futures."""
    began = time.process_time()
    each = [
        _forecast(case, variant, series, MOST_VARIANTS * seed + k)
        for k, variant in enumerate(case.variants)
    ]
    found = errors(np.mean(each, axis=0), series)
    return Trained(series.name, seed, found, time.process_time() - began)


def _forecast(case: Case, variant: Variant, series: Series, seed: int) -> Floats:
    """One network's answer in the series' own units, shape (S, horizon)."""
    horizon, window = series.horizon, variant.window * series.horizon
    sizes = SHAPE | {"layer_widths": case.width, "expansion_coefficient_dim": case.rank}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: torch.nn.Module = Network("nbeats", sizes, 1, window, horizon, (0.5,))
    if variant.anchored:
        network = _Anchored(network)
    windows = ragged(series.past, window, horizon, case.history * horizon)
    plan = Plan(
        steps=case.steps, batch=BATCH, learning_rate=case.learning_rate, weight_decay=0.0,
        check_every=case.steps, patience=1,
    )  # fmt: skip
    fit(network, windows, None, plan, seed, loss=_LOSSES[variant.loss])
    paths, level = look_backs(series.past, window)
    with torch.inference_mode():
        answer = network(torch.from_numpy(paths))[..., 0].numpy()
    found: Floats = (answer * level).astype(np.float64)
    return found


class _Anchored(torch.nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """A network that sees and says differences from the last value, where there is a value."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, paths: torch.Tensor) -> torch.Tensor:
        last = paths[:, -1:]
        return self.network(torch.where(paths == 0, 0, paths - last)) + last[..., None]


def _smape(prediction: torch.Tensor, outcome: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The N-BEATS authors' loss: sMAPE whose denominator passes no gradient on."""
    said = prediction[..., 0]
    size = outcome.abs() + said.detach().abs()
    return ((outcome - said).abs() / size.clamp_min(LEAST_SIZES)).mean()


def _mape(prediction: torch.Tensor, outcome: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    missed = (outcome - prediction[..., 0]).abs()
    return (missed / outcome.abs().clamp_min(LEAST_SIZE)).mean()


def _mae(prediction: torch.Tensor, outcome: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return (outcome - prediction[..., 0]).abs().mean()


_LOSSES = {"smape": _smape, "mape": _mape, "mae": _mae}

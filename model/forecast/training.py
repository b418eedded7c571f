"""Train N-BEATS on bars, export it, verify the export, register the bundle, make it champion.

The training side: imports torch, Lightning and darts. Steps are fixed, not epochs, and seeded: the
same bars, preset and seed give the same weights on the same machine and libraries.
"""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from safetensors.torch import save

from astra import __version__
from astra.errors import InsufficientDataError
from astra.predictions import QUANTILES
from model.forecast.bundle import Bundle, promote, register
from model.forecast.evaluate import decision_times, evaluate
from model.forecast.export import export, one_thread, quiet, verify
from model.forecast.networks import Network, Sizes
from model.forecast.spec import Reference, Spec, Training, check
from model.forecast.target import Scaler, normalise
from model.forecast.windows import Windows, complete_windows
from model.panel import Panel, build

Progress = Callable[[int, int, float], None]
LIBRARIES = ("darts", "numpy", "onnx", "onnxruntime", "pandas", "pytorch-lightning", "torch")

SMALL: Sizes = {
    "num_stacks": 4, "num_blocks": 1, "num_layers": 2, "layer_widths": 128,
    "expansion_coefficient_dim": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preset:
    """What to train: the network, what it sees and predicts, and how long.

    Attributes:
        location: weight of each quantile in the expected value; the middle three, as the tails are
            estimated with the most noise.
        weight_decay: strong, as what can be learned is a thousandth of the variance: on the same
            bars 1.0 found a drift in half the steps of 0.01, 3.0 lost some of it.
        validation: share of the sessions, the last ones, held out for the metrics; one session
            between is left out of both.
    """

    frequency: str = "5m"
    network: str = "nbeats"
    sizes: Sizes = field(default_factory=lambda: dict(SMALL))
    members: int = 1
    scaler: Scaler = field(default_factory=Scaler)
    window: int = 60
    horizon: int = 12
    allowed_gaps: int = 6
    location: tuple[float, ...] = (0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0)
    steps: int = 2000
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    validation: float = 0.15


STANDARD = Preset()


def train(
    frame: pd.DataFrame,
    *,
    preset: Preset = STANDARD,
    seed: int,
    trained_on: str,
    market: str,
    folder: Path,
    progress: Progress | None = None,
) -> Bundle:
    """Train on a bars frame and leave the champion in `folder`.

    Args:
        frame: all its bars have a say: the bundle's `training.end` is the close of its last
            session, and skill counts only after that.
        trained_on: simulated, real or replay; `market`: its identity, as the store names it.
        progress: called with (step, steps, loss) after each step.

    Raises:
        InsufficientDataError: too few sessions or no complete window.
        BundleError: preset or `trained_on` make no sense, or the exported network does not say
            what the trained one says.
    """
    panel = build(frame)
    held_out = _first_held_out(panel, preset)
    windows = complete_windows(
        panel, normalise(panel, preset.scaler), preset.window, preset.horizon,
        before=int(np.flatnonzero(panel.session == held_out - 1)[0]),
    )  # fmt: skip
    spec = check(_spec(panel, preset, seed, trained_on, market, len(windows)))
    network = fit(windows, preset, seed, progress)
    onnx_bytes = export(network, preset.window)
    verify(onnx_bytes, network, windows)
    candidate = Bundle("candidate", spec, onnx_bytes, folder)
    validation = [t for t in decision_times(panel) if t >= panel.sessions[held_out].opens_at]
    metrics = evaluate(candidate, panel, validation).metrics()
    bundle = register(
        folder, replace(spec, metrics=metrics), onnx_bytes, save(network.state_dict())
    )
    promote(folder, bundle)
    return bundle


def fit(windows: Windows, preset: Preset, seed: int, progress: Progress | None = None) -> Network:
    """The trained network, on one thread of the CPU."""
    with one_thread(), torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        network = Network(
            preset.network, preset.sizes, preset.members, preset.window, preset.horizon, QUANTILES
        )
        network.train()  # darts 0.48 shares one loss module, in eval mode after a first training
        trainer = pl.Trainer(
            max_steps=preset.steps, accelerator="cpu", devices=1, gradient_clip_val=1.0,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        batches = torch.utils.data.DataLoader(_Batches(windows, preset, seed), batch_size=None)
        trainer.fit(_Learner(network, preset, progress), batches)
    network.eval()
    return network


class _Learner(pl.LightningModule):  # type: ignore[misc]  # Lightning is not typed for mypy here
    """Minimises the quantile (pinball) loss of Koenker and Bassett (1978)."""

    def __init__(self, network: Network, preset: Preset, progress: Progress | None) -> None:
        super().__init__()
        self.network, self.preset, self.progress = network, preset, progress
        self.register_buffer("levels", torch.tensor(QUANTILES))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        paths, outcome = batch
        missed = outcome[..., None] - self.network(paths)
        loss = torch.maximum(self.levels * missed, (self.levels - 1) * missed).mean()
        if self.progress is not None:
            self.progress(self.global_step + 1, self.preset.steps, float(loss.detach()))
        return loss

    def configure_optimizers(self) -> dict[str, object]:
        preset = self.preset
        adam = torch.optim.AdamW(
            self.network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay
        )
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            adam, preset.learning_rate, total_steps=preset.steps, pct_start=0.1
        )
        return {"optimizer": adam, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Batches(torch.utils.data.IterableDataset):  # type: ignore[misc]  # as above
    def __init__(self, windows: Windows, preset: Preset, seed: int) -> None:
        self.windows, self.preset, self.seed = windows, preset, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        preset = self.preset
        for paths, outcome in self.windows.batches(preset.batch, preset.steps, self.seed):
            yield torch.from_numpy(paths), torch.from_numpy(outcome)


def _first_held_out(panel: Panel, preset: Preset) -> int:
    sessions = len(panel.sessions)
    held_out = sessions - max(1, round(preset.validation * sessions))
    if held_out < 3:
        raise InsufficientDataError(
            f"training needs 3 sessions and {preset.validation:.0%} more to hold out, found "
            f"{sessions}: give it more history"
        )
    return held_out


def _spec(
    panel: Panel, preset: Preset, seed: int, trained_on: str, market: str, windows: int
) -> Spec:
    training = Training(
        trained_on=trained_on,
        market=market,
        start=panel.sessions[0].opens_at,
        end=panel.sessions[-1].closes_at.astimezone(dt.UTC),
        tickers=len(panel.tickers),
        windows=windows,
        steps=preset.steps,
        batch=preset.batch,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        seed=seed,
    )
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return Spec(
        frequency=preset.frequency,
        network=preset.network,
        sizes=dict(preset.sizes),
        members=preset.members,
        scaler=preset.scaler,
        window=preset.window,
        horizon=preset.horizon,
        allowed_gaps=preset.allowed_gaps,
        quantiles=QUANTILES,
        location=preset.location,
        training=training,
        reference=Reference((0.0,) * 9, 0.0, 0.0),
        versions=versions | {"astra": __version__, "python": platform.python_version()},
        metrics={},
    )

"""Fit a network to windows: vectorised batches, fixed seeds, checks, and a way back after a kill.

The training side: imports torch and Lightning. Knows nothing of bars; `candidate.py` does. The
same windows, plan and seed give the same weights on the CPU of the same machine and libraries.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from astra.errors import DataError
from model.forecast.export import one_thread, quiet
from model.forecast.presets import Plan as Plan

Progress = Callable[[int, int, float], None]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Batch = tuple[NDArray[np.float32] | torch.Tensor, NDArray[np.float32] | torch.Tensor]

CHECK_BATCHES = 32  # of the validation windows, at most: a fixed draw of them, the same each time
TOLD_EVERY = 10  # steps; to read the loss waits for the GPU


class Sampler(Protocol):
    """Windows to learn from: float32 inputs (B, window) and outcomes (B, horizon)."""

    def __len__(self) -> int: ...

    def batches(self, size: int, steps: int, seed: int) -> Iterator[Batch]: ...


@dataclass(frozen=True, slots=True)
class Device:
    """Where to train, in Lightning's and in torch's words."""

    accelerator: str
    precision: str
    torch: str


def best_device() -> Device:
    """The GPU where there is one, in mixed precision; else the CPU, in single."""
    if torch.cuda.is_available():
        brain_float = torch.cuda.is_bf16_supported()
        return Device("gpu", "bf16-mixed" if brain_float else "16-mixed", "cuda")
    return Device("cpu", "32-true", "cpu")


class Pinball(torch.nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """The quantile loss of Koenker and Bassett (1978), mean over batch, steps and levels."""

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels))

    def forward(
        self, prediction: torch.Tensor, outcome: torch.Tensor, inputs: torch.Tensor
    ) -> torch.Tensor:
        missed = outcome[..., None] - prediction
        return (self.levels * missed + torch.relu(-missed)).mean()


def fit(
    network: torch.nn.Module,
    training: Sampler,
    validation: Sampler | None,
    plan: Plan,
    seed: int,
    *,
    loss: Loss,
    progress: Progress | None = None,
    resume: Path | None = None,
) -> int:
    """Train `network` in place; the steps that its weights took.

    Every `check_every` steps it is tried on validation windows. The weights of the best check are
    the result, and after `patience` checks that were no better training stops. Without validation
    windows it takes all the steps.

    Args:
        network: (B, window) -> (B, horizon, Q), its first weights drawn by the caller.
        loss: of (prediction, outcome, inputs); a module's buffers move to the device with it.
        progress: called with (step, steps, loss) now and then, and after the last step.
        resume: a folder of this training alone. A checkpoint is left there at each check, and a
            training that finds one goes on from it to the same weights as an unbroken one.

    Raises:
        DataError: the loss is not finite.
    """
    device = best_device()
    # Lightning 2.6 refuses to clip a fused optimizer's gradients in mixed precision.
    learner = _Learner(network, loss, plan, fused=device.precision == "32-true")
    learner.train()  # darts 0.48 shares one loss module, in eval mode after a first training
    watch = _Watch(plan, progress, resume)
    gpus = range(torch.cuda.device_count())
    with one_thread(), torch.random.fork_rng(gpus), quiet():
        trainer = pl.Trainer(
            max_steps=plan.steps, accelerator=device.accelerator, devices=1,
            precision=device.precision, gradient_clip_val=1.0, num_sanity_val_steps=0,
            callbacks=[watch], logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        checks = None if validation is None else _Checks(validation, plan, seed)
        trainer.fit(
            learner, _Stretches(training, plan, seed, learner), checks,
            ckpt_path=watch.checkpoint, weights_only=True,
        )  # fmt: skip
    network.to("cpu")
    if watch.best is not None:
        network.load_state_dict(watch.best)
    network.eval()
    return watch.best_step if watch.best is not None else int(trainer.global_step)


class _Learner(pl.LightningModule):  # type: ignore[misc]  # Lightning is not typed for mypy here
    def __init__(self, network: torch.nn.Module, loss: Loss, plan: Plan, *, fused: bool) -> None:
        super().__init__()
        self.network, self.loss, self.plan, self.fused = network, loss, plan, fused

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        inputs, outcome = batch
        return self.loss(self.network(inputs).float(), outcome, inputs)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        inputs, outcome = batch
        found = self.loss(self.network(inputs).float(), outcome, inputs)
        self.log("check", found, on_epoch=True, batch_size=len(inputs))

    def configure_optimizers(self) -> dict[str, object]:
        plan = self.plan
        adam = torch.optim.AdamW(
            self.network.parameters(),
            lr=plan.learning_rate,
            weight_decay=plan.weight_decay,
            fused=self.fused,
        )
        rise = max(0.1, min(2 / plan.steps, 0.6))  # torch 2.13 divides by 0 if it is one step long
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            adam, plan.learning_rate, total_steps=plan.steps, pct_start=rise
        )
        return {"optimizer": adam, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Watch(pl.Callback):  # type: ignore[misc]  # as above
    """Keeps the best weights, stops in time, reports, and leaves a checkpoint at each check."""

    def __init__(self, plan: Plan, progress: Progress | None, folder: Path | None) -> None:
        self.plan, self.progress, self.folder = plan, progress, folder
        self.best: dict[str, torch.Tensor] | None = None
        self.best_step, self.score, self.waited = 0, math.inf, 0

    @property
    def checkpoint(self) -> Path | None:
        """The last one, unless a power cut left half of it."""
        if self.folder is None or not zipfile.is_zipfile(path := self.folder / "last.ckpt"):
            return None
        return path

    def on_train_start(self, trainer: pl.Trainer, learner: pl.LightningModule) -> None:
        self._stop_in_time(trainer)  # a finished training that is opened again

    def on_train_batch_end(
        self, trainer: pl.Trainer, learner: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        step = int(trainer.global_step)
        if step % TOLD_EVERY == 0 or step == self.plan.steps:
            loss = _finite(float(outputs["loss"]), step)
            if self.progress is not None:
                self.progress(step, self.plan.steps, loss)

    def on_validation_end(self, trainer: pl.Trainer, learner: _Learner) -> None:
        step = int(trainer.global_step)
        score = _finite(float(trainer.callback_metrics["check"]), step)
        self.waited += 1
        if score < self.score:
            state = learner.network.state_dict()
            self.best = {name: value.cpu().clone() for name, value in state.items()}
            self.best_step, self.score, self.waited = step, score, 0
        self._stop_in_time(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, learner: pl.LightningModule) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / "part.ckpt"
            trainer.save_checkpoint(part, weights_only=False)
            part.replace(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_step", "score", "waited")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def _stop_in_time(self, trainer: pl.Trainer) -> None:
        if self.waited >= self.plan.patience:
            trainer.should_stop = True


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise DataError(
            f"training needs a finite loss, found {loss} after {step} steps: lower the learning "
            "rate or look for absurd bars"
        )
    return loss


class _Stretches:
    """What Lightning takes for an epoch: the batches up to the next check, drawn by their place.

    So a training that goes on from a checkpoint draws what an unbroken one does, dropout included.
    """

    def __init__(self, windows: Sampler, plan: Plan, seed: int, learner: _Learner) -> None:
        self.windows, self.plan, self.seed, self.learner = windows, plan, seed, learner

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        plan, done = self.plan, int(self.learner.global_step)
        steps = min(plan.check_every, plan.steps - done)
        seed = int(np.random.SeedSequence((self.seed, done)).generate_state(1)[0])
        torch.manual_seed(seed)
        for inputs, outcome in self.windows.batches(plan.batch, steps, seed):
            yield torch.as_tensor(inputs), torch.as_tensor(outcome)


class _Checks:
    def __init__(self, windows: Sampler, plan: Plan, seed: int) -> None:
        self.windows, self.plan, self.seed = windows, plan, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        size = self.plan.batch
        steps = min(CHECK_BATCHES, math.ceil(len(self.windows) / size))
        for inputs, outcome in self.windows.batches(size, steps, self.seed):
            yield torch.as_tensor(inputs), torch.as_tensor(outcome)

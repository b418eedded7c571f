"""Fitting: the same seed, the same weights; the best check wins; a kill costs nothing."""

import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from astra.errors import DataError
from model.forecast import training
from model.forecast.training import Device, Loss, Pinball, Plan, best_device, fit

LEVELS = (0.1, 0.5, 0.9)
PLAN = Plan(steps=50, batch=32, learning_rate=1e-2, weight_decay=0.01, check_every=10, patience=9)


class Drawn:
    """Made-up windows whose outcome is `slope` times the last input, and noise."""

    def __init__(self, slope: float, seed: int, size: int = 400) -> None:
        rng = np.random.default_rng(seed)
        self.inputs = rng.normal(size=(size, 6)).astype(np.float32)
        noise = rng.normal(scale=0.3, size=(size, 2))
        self.outcomes = (slope * self.inputs[:, -1:] + noise).astype(np.float32)

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(
        self, size: int, steps: int, seed: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            which = rng.integers(len(self), size=size)
            yield self.inputs[which], self.outcomes[which]


def network(seed: int) -> torch.nn.Module:
    """With dropout, so that torch's own generator has a say."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2),
        torch.nn.Linear(16, 6), torch.nn.Unflatten(1, (2, 3)),
    )  # fmt: skip


def weights(of: torch.nn.Module) -> NDArray[np.float32]:
    return torch.cat([p.detach().flatten() for p in of.parameters()]).numpy()


def fitted(seed: int = 1, plan: Plan = PLAN, folder: Path | None = None) -> NDArray[np.float32]:
    trained = network(seed)
    fit(trained, Drawn(1, 1), Drawn(1, 2), plan, seed, loss=Pinball(LEVELS), resume=folder)
    return weights(trained)


def killed_at(step_of_death: int, folder: Path) -> None:
    """Runs in a process of its own, which ends by signal 9."""

    def die(step: int, steps: int, loss: float) -> None:
        if step == step_of_death:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(
        network(1), Drawn(1, 1), Drawn(1, 2), PLAN, 1, loss=Pinball(LEVELS), progress=die,
        resume=folder,
    )  # fmt: skip


def loss_of(trained: torch.nn.Module, windows: Drawn) -> float:
    inputs, outcomes = torch.from_numpy(windows.inputs), torch.from_numpy(windows.outcomes)
    with torch.no_grad():
        return float(Pinball(LEVELS)(trained(inputs), outcomes, inputs))


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = fitted()
    np.testing.assert_array_equal(first, fitted())
    assert not np.array_equal(first, fitted(seed=2))
    torch.random.set_rng_state(state)
    trained = network(1)
    state = torch.random.get_rng_state()
    fit(trained, Drawn(1, 1), None, PLAN, 1, loss=Pinball(LEVELS))
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()
    assert not trained.training


def test_it_learns_the_quantiles_of_what_is_there() -> None:
    plan = Plan(400, 64, 1e-2, 0.0, 100, 9)
    trained, unseen = network(1), Drawn(1, 3)
    steps = fit(trained, Drawn(1, 1), Drawn(1, 2), plan, 1, loss=Pinball(LEVELS))
    assert steps in (100, 200, 300, 400)
    inside = trained(torch.from_numpy(unseen.inputs)).detach().numpy()
    covered = (unseen.outcomes >= inside[..., 0]) & (unseen.outcomes <= inside[..., 2])
    assert 0.7 < covered.mean() < 0.9
    assert np.corrcoef(inside[:, 0, 1], unseen.outcomes[:, 0])[0, 1] > 0.9


def test_the_quantile_loss_is_the_one_of_koenker_and_bassett() -> None:
    prediction = torch.tensor([[[1.0, 2.0, 4.0]]])
    found = float(Pinball(LEVELS)(prediction, torch.tensor([[3.0]]), torch.zeros(1, 6)))
    assert found == pytest.approx((0.1 * 2 + 0.5 * 1 + 0.1 * 1) / 3)


def test_progress_is_told_now_and_then_and_last() -> None:
    told: list[tuple[int, int, float]] = []
    plan = Plan(25, 8, 1e-2, 0.0, 7, 9)
    fit(
        network(1), Drawn(1, 1), Drawn(1, 2), plan, 1, loss=Pinball(LEVELS),
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert [step for step, _, _ in told] == [10, 20, 25]
    assert all(steps == 25 and math.isfinite(loss) for _, steps, loss in told)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 11])
def test_a_training_of_a_few_steps_takes_them(steps: int) -> None:
    plan = Plan(steps, 8, 1e-2, 0.0, 100, 9)
    assert fit(network(1), Drawn(1, 1), None, plan, 1, loss=Pinball(LEVELS)) == steps


def test_the_weights_of_the_best_check_are_kept_and_training_stops_in_time() -> None:
    plan = Plan(500, 32, 1e-2, 0.0, check_every=10, patience=3)
    told: list[int] = []
    opposite = Drawn(-1, 2)
    stopped, went_on = network(1), network(1)
    steps = fit(
        stopped, Drawn(1, 1), opposite, plan, 1, loss=Pinball(LEVELS),
        progress=lambda step, steps, loss: told.append(step),
    )  # fmt: skip
    assert told[-1] == steps + 3 * 10, "three checks that were no better"
    assert fit(went_on, Drawn(1, 1), None, plan, 1, loss=Pinball(LEVELS)) == 500
    assert loss_of(stopped, opposite) < loss_of(went_on, opposite)


def test_a_killed_training_goes_on_to_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=killed_at, args=(40, tmp_path))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / "last.ckpt").exists()
    told: list[int] = []
    trained = network(7)
    fit(
        trained, Drawn(1, 1), Drawn(1, 2), PLAN, 1, loss=Pinball(LEVELS), resume=tmp_path,
        progress=lambda step, steps, loss: told.append(step),
    )  # fmt: skip
    assert told == [40, 50], "it went on from the check at step 30"
    np.testing.assert_array_equal(weights(trained), fitted())


def test_a_training_that_stopped_early_is_not_taken_up_again(tmp_path: Path) -> None:
    plan = Plan(500, 32, 1e-2, 0.0, check_every=10, patience=2)
    loss = Pinball(LEVELS)
    told: list[tuple[int, int, float]] = []
    first, again = network(1), network(5)
    steps = fit(first, Drawn(1, 1), Drawn(-1, 2), plan, 1, loss=loss, resume=tmp_path)
    taken = fit(
        again, Drawn(1, 1), Drawn(-1, 2), plan, 1, loss=loss, resume=tmp_path,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert (taken, told) == (steps, [])
    np.testing.assert_array_equal(weights(first), weights(again))


def test_half_a_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    whole = fitted(folder=tmp_path)
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:2000])
    np.testing.assert_array_equal(fitted(folder=tmp_path), whole)


def test_a_training_that_diverges_is_an_error() -> None:
    broken = Drawn(1, 1)
    broken.outcomes[:] = np.nan
    with pytest.raises(DataError, match="found nan after 10 steps: lower the learning rate"):
        fit(network(1), broken, Drawn(1, 2), PLAN, 1, loss=Pinball(LEVELS))


def test_any_loss_of_prediction_outcome_and_inputs_will_do() -> None:
    def scaled(
        prediction: torch.Tensor, outcome: torch.Tensor, inputs: torch.Tensor
    ) -> torch.Tensor:
        return (
            ((prediction[..., 1] - outcome) / (1 + inputs.abs().mean(1, keepdim=True)))
            .pow(2)
            .mean()
        )

    loss: Loss = scaled
    trained, before = network(1), loss_of(network(1), Drawn(1, 3))
    fit(trained, Drawn(1, 1), None, PLAN, 1, loss=loss)
    assert loss_of(trained, Drawn(1, 3)) < before


@pytest.mark.parametrize(
    ("has_gpu", "has_bf16", "wanted"),
    [
        (False, False, Device("cpu", "32-true", "cpu")),
        (True, True, Device("gpu", "bf16-mixed", "cuda")),
        (True, False, Device("gpu", "16-mixed", "cuda")),
    ],
)
def test_the_gpu_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, has_bf16: bool, wanted: Device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert best_device() == wanted


def test_mixed_precision_learns_too_and_leaves_single_precision_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the CPU, whose bfloat16 takes the same way through Lightning as a GPU's."""
    single = fitted()
    monkeypatch.setattr(training, "best_device", lambda: Device("cpu", "bf16-mixed", "cpu"))
    trained = network(1)
    fit(trained, Drawn(1, 1), Drawn(1, 2), PLAN, 1, loss=Pinball(LEVELS))
    assert weights(trained).dtype == np.float32
    assert loss_of(trained, Drawn(1, 3)) < loss_of(network(1).eval(), Drawn(1, 3))
    assert not np.array_equal(weights(trained), single)

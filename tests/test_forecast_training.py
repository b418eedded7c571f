"""Training: what may be learned from, and a tiny run from bars to a served champion."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load as load_tensors

from astra.errors import BundleError, InsufficientDataError
from model.forecast.bundle import Bundle, load_bundle
from model.evaluation import decision_times
from model.forecast.export import verify
from model.forecast.nbeats import NBeats
from model.forecast.serving import Forecaster
from model.forecast.spec import Architecture
from model.forecast.target import Scaler, look_backs, normalise
from model.forecast.training import Preset, fit, train
from model.forecast.windows import Windows, complete_windows
from model.panel import build
from sandbox.market import simulated_bars

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
TINY = Preset(architecture=Architecture(stacks=2, width=16, expansion=4), steps=50, batch=64)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    first, last = dt.date(2023, 5, 1), dt.date(2023, 5, 12)
    return simulated_bars(TICKERS, seed=7, edge=0.04, first=first, last=last)


@pytest.fixture(scope="module")
def windows(frame: pd.DataFrame) -> Windows:
    panel = build(frame)
    return complete_windows(panel, normalise(panel, Scaler()), 60, 12, before=500)


@pytest.fixture(scope="module")
def losses() -> list[float]:
    return []


@pytest.fixture(scope="module")
def bundle(
    frame: pd.DataFrame, losses: list[float], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles")
    return train(
        frame,
        preset=TINY,
        seed=7,
        trained_on="simulated",
        market="simulated:7",
        folder=folder,
        progress=lambda step, steps, loss: losses.append(loss) if step <= steps else None,
    )


def test_a_tiny_run_leaves_a_champion_that_serves(bundle: Bundle, frame: pd.DataFrame) -> None:
    champion = load_bundle(bundle.folder.parent)
    assert champion == bundle
    panel = build(frame)
    forecast = Forecaster(champion).forecast(panel.known_at(decision_times(panel)[-1]))
    assert forecast.model_id == bundle.id
    assert np.isfinite(forecast.closes[forecast.usable]).all()


def test_the_specification_says_how_it_was_trained(bundle: Bundle, frame: pd.DataFrame) -> None:
    training, panel = bundle.spec.training, build(frame)
    assert training.end == panel.sessions[-1].closes_at, "held-out sessions had a say in metrics"
    assert training.start == panel.sessions[0].opens_at
    assert (training.tickers, training.steps, training.seed) == (8, 50, 7)
    assert bundle.spec.versions["torch"] == str(torch.__version__)
    held_out = 2  # of ten sessions
    assert 0 < bundle.spec.metrics["decisions"] <= 6 * held_out
    written = json.loads((bundle.folder / "spec.json").read_bytes())
    assert written["metrics"]["naive_mae_bp"] > 0


def test_every_step_reports_its_loss_and_it_falls(bundle: Bundle, losses: list[float]) -> None:
    assert len(losses) == bundle.spec.training.steps
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_the_weights_of_record_are_the_served_ones(bundle: Bundle, windows: Windows) -> None:
    spec = bundle.spec
    network = NBeats(spec.architecture, spec.window, spec.horizon, len(spec.quantiles))
    saved = load_tensors((bundle.folder / "weights.safetensors").read_bytes())
    network.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in saved.items()})
    verify(bundle.onnx, network.eval(), windows)


def test_an_export_that_differs_from_its_network_is_refused(
    bundle: Bundle, windows: Windows
) -> None:
    torch.manual_seed(1)
    other = NBeats(TINY.architecture, 60, 12, 5).eval()
    with pytest.raises(BundleError, match="nothing was registered"):
        verify(bundle.onnx, other, windows)


def test_the_export_holds_no_folder_of_this_machine(bundle: Bundle) -> None:
    assert b"site-packages" not in bundle.onnx and b".py" not in bundle.onnx


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(windows: Windows) -> None:
    preset = dataclasses.replace(TINY, steps=3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first, again, other = (fit(windows, preset, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()


def test_windows_have_no_gap_and_end_before_the_limit(windows: Windows) -> None:
    panel, normalised = windows.panel, windows.normalised
    assert len(windows) > 500
    for row, column in zip(windows.rows[::37], windows.columns[::37], strict=True):
        assert np.isfinite(normalised.feature[row - 59 : row + 1, column]).all()
        assert np.isfinite(normalised.residual[row + 1 : row + 13, column]).all()
        assert panel.session[row] == panel.session[row + 12]
    assert windows.rows.max() + 12 < 500
    holes = np.isnan(panel.close[:500]).any(axis=0)
    assert holes.any(), "the market must have gaps for this test to say anything"


def test_training_and_serving_see_the_same_input(windows: Windows) -> None:
    which = np.arange(0, len(windows), 101)
    paths, outcome = windows.taken(which)
    served, _ = look_backs(windows.normalised.feature, windows.rows[which], 60)
    wanted = served[np.arange(len(which)), windows.columns[which]].astype(np.float32)
    np.testing.assert_array_equal(paths, wanted)
    assert np.isfinite(outcome).all()


def test_batches_are_drawn_by_the_seed(windows: Windows) -> None:
    once, again = (next(windows.batches(8, 1, seed=3))[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, next(windows.batches(8, 1, seed=4))[0])


def test_too_little_history_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    two_days = frame[frame["ts"] < frame["ts"].min() + 2 * 86400]
    with pytest.raises(InsufficientDataError, match="give it more history"):
        train(two_days, preset=TINY, seed=1, trained_on="real", market="real", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_market_of_unknown_kind_is_refused_before_training(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="trained_on must be in"):
        train(frame, preset=TINY, seed=1, trained_on="dreams", market="x", folder=tmp_path)

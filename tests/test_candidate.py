"""From bars to a bundle: what has a say in the weights, and a tiny run to a served champion."""

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load

from astra.errors import BundleError, ConfigError, InsufficientDataError
from astra.predictions import QUANTILES
from astra.sessions import sessions_between
from model.evaluation import decision_times
from model.forecast import drift
from model.forecast.candidate import (
    LEAST_ERROR_DAYS,
    Candidate,
    normal_error,
    parts,
    train,
    workplace,
)
from model.forecast.export import verify
from model.forecast.homes import Folder
from model.forecast.networks import Network
from model.forecast.presets import Preset, read
from model.forecast.registry import Registry
from model.forecast.serving import Forecaster
from model.forecast.spec import Reference
from model.forecast.target import normalise
from model.forecast.windows import complete_windows
from model.panel import Panel, build, build_daily
from sandbox.markets import simulated_bars

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
SIZES = {"num_stacks": 2, "num_blocks": 1, "num_layers": 1, "layer_widths": 16,
         "expansion_coefficient_dim": 4}  # fmt: skip


def tiny(name: str) -> Preset:
    preset = read(name)
    plan = dataclasses.replace(preset.plan, steps=40, batch=64, check_every=10)
    return dataclasses.replace(preset, sizes=SIZES, plan=plan, members=2)


TINY, TINY_DAILY = tiny("small"), dataclasses.replace(tiny("daily"), members=1)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    first, last = dt.date(2023, 5, 1), dt.date(2023, 5, 12)
    return simulated_bars(TICKERS, seed=7, edge=0.04, first=first, last=last)


@pytest.fixture(scope="module")
def panel(frame: pd.DataFrame) -> Panel:
    return build(frame)


@pytest.fixture(scope="module")
def daily() -> Panel:
    """Random walks over 200 sessions."""
    start = dt.datetime(2023, 1, 3, tzinfo=dt.UTC)
    days = [s.opens_at for s in sessions_between(start, start + dt.timedelta(days=300))][:200]
    rng = np.random.default_rng(1)
    frames = []
    for ticker in TICKERS:
        close = 100 * np.exp(np.cumsum(rng.normal(scale=0.01, size=len(days))))
        ts = [int(d.timestamp()) for d in days]
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frames.append(pd.DataFrame({"ticker": ticker, "ts": ts, **prices, "volume": 1}))
    return build_daily(pd.concat(frames, ignore_index=True))


def trained(panel: Panel, preset: Preset = TINY, **more: object) -> Candidate:
    asked = {"seed": 7, "trained_on": "simulated", "market": "simulated:7"} | more
    return train(panel, preset=preset, **asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def candidate(panel: Panel) -> Candidate:
    return trained(panel)


def test_a_tiny_run_becomes_a_champion_that_serves(
    candidate: Candidate, panel: Panel, tmp_path: Path
) -> None:
    registry = Registry(Folder(tmp_path))
    bundle = registry.register(candidate.spec, candidate.onnx, candidate.weights)
    assert registry.promote_if_first(bundle.id, dt.datetime(2023, 6, 1, tzinfo=dt.UTC))
    forecast = Forecaster(registry.load()).forecast(panel.known_at(decision_times(panel)[-1]))
    assert forecast.model_id == bundle.id
    assert np.isfinite(forecast.closes[forecast.usable]).all()


def test_the_specification_says_how_it_was_trained(candidate: Candidate, panel: Panel) -> None:
    spec, training = candidate.spec, candidate.spec.training
    assert training.end == panel.sessions[-1].closes_at, "held-out sessions had a say in metrics"
    assert training.start == panel.sessions[0].opens_at
    assert (training.tickers, training.seed, spec.members) == (8, 7, 2)
    assert training.steps in (10, 20, 30, 40)
    assert spec.versions["torch"] == str(torch.__version__)
    held_out = 2  # of ten sessions
    assert 0 < spec.metrics["decisions"] <= 6 * held_out
    assert spec.metrics["naive_mae_bp"] > 0


def test_the_reference_is_that_of_normal_returns(candidate: Candidate) -> None:
    reference = candidate.spec.reference
    deciles = np.array(reference.deciles)
    assert (np.diff(deciles) > 0).all()
    assert abs(deciles[4]) < 0.1, "the median of a market-free return"
    assert (reference.error, reference.error_deviation) == (0.0, 0.0), "two days are no measure"


def test_a_handful_of_days_is_no_measure_of_errors() -> None:
    daily = np.random.default_rng(1).normal(0.8, 0.1, LEAST_ERROR_DAYS)
    assert normal_error(daily[:-1]) == (0.0, 0.0)
    assert normal_error(np.empty(0)) == (0.0, 0.0)
    error, deviation = normal_error(daily)
    assert error == pytest.approx(daily.mean(), abs=1e-6)
    assert deviation == pytest.approx(daily.std(ddof=1) * np.sqrt(1 + 1 / len(daily)), abs=1e-6)


@pytest.mark.parametrize("days", [6, LEAST_ERROR_DAYS, 38])
def test_a_market_that_stays_as_it_was_is_rarely_in_alarm(days: int) -> None:
    """However few days were held out; the window is as long as the service's."""
    rng, alarms = np.random.default_rng(days), 0
    for _ in range(1000):
        held_out, quiet = rng.normal(0.8, 0.1, days), rng.normal(0.8, 0.1, 40)
        found = drift.cusum(quiet, Reference((0.0,) * 9, *normal_error(held_out)))
        alarms += found is not None and found > drift.CUSUM_LIMIT
    assert alarms <= 30


def test_the_weights_of_record_are_the_served_ones(candidate: Candidate, panel: Panel) -> None:
    windows = complete_windows(panel, normalise(panel, TINY.sight.scaler), 60, 12, before=500)
    network = Network("nbeats", SIZES, 2, 60, 12, QUANTILES)
    network.load_state_dict(load(candidate.weights))
    verify(candidate.onnx, network.eval(), windows)
    first, second = (m.state_dict() for m in network.members)
    assert any(not torch.equal(first[name], second[name]) for name in first), "seeds of their own"
    other = Network("nbeats", SIZES, 2, 60, 12, QUANTILES).eval()
    with pytest.raises(BundleError, match="nothing was registered"):
        verify(candidate.onnx, other, windows)


def test_the_export_holds_no_folder_of_this_machine(candidate: Candidate) -> None:
    assert b"site-packages" not in candidate.onnx and b".py" not in candidate.onnx


def test_an_interrupted_ensemble_goes_on_to_the_same_bytes(
    candidate: Candidate, panel: Panel, tmp_path: Path
) -> None:
    class PulledPlugError(Exception):
        pass

    def pull(step: int, steps: int, loss: float) -> None:
        if step == 70:  # of 80: in the second network
            raise PulledPlugError

    work = workplace(tmp_path, panel, TINY, 7)
    with pytest.raises(PulledPlugError):
        trained(panel, progress=pull, resume=work)
    told: list[tuple[int, int]] = []
    again = trained(
        panel, resume=work, progress=lambda step, steps, loss: told.append((step, steps))
    )
    assert told == [(70, 80), (80, 80)]
    assert again == candidate


def test_another_bar_preset_or_seed_is_another_training(panel: Panel, tmp_path: Path) -> None:
    open_later = panel.open.copy()
    open_later[0, 0] += 0.01
    places = {
        workplace(tmp_path, panel, TINY, 7),
        workplace(tmp_path, dataclasses.replace(panel, open=open_later), TINY, 7),
        workplace(tmp_path, panel, dataclasses.replace(TINY, members=3), 7),
        workplace(tmp_path, panel, TINY, 8),
    }
    assert len(places) == 4
    assert workplace(tmp_path, panel, TINY, 7) in places


@pytest.mark.parametrize("which", ["panel", "daily"])
def test_between_two_parts_lies_a_session_that_is_in_neither(
    which: str, request: pytest.FixtureRequest
) -> None:
    bars: Panel = request.getfixturevalue(which)
    preset = TINY if which == "panel" else TINY_DAILY
    found, normalised = parts(bars, preset), normalise(bars, preset.sight.scaler)
    window, horizon = preset.sight.window, preset.sight.horizon
    (since, before), (from_row, to_row) = found.learnt, found.checked
    learnt = complete_windows(bars, normalised, window, horizon, before, since)
    checked = complete_windows(bars, normalised, window, horizon, to_row, from_row)
    held_out = int(np.searchsorted(bars.ends, int(found.unseen_since.timestamp()), side="right"))
    last_learnt = bars.session[int(learnt.rows.max()) + horizon]
    assert bars.session[from_row] - last_learnt >= 2
    assert bars.session[int(checked.rows.min())] >= bars.session[from_row]
    last_checked = bars.session[int(checked.rows.max()) + horizon]
    assert bars.session[held_out] - last_checked >= 2


def test_daily_bars_make_a_daily_bundle_that_serves(daily: Panel) -> None:
    candidate = trained(daily, TINY_DAILY)
    spec = candidate.spec
    assert (spec.frequency, spec.window, spec.horizon) == ("1d", 60, 5)
    assert spec.metrics["days"] > 10
    assert 0.2 < spec.reference.error < 2


def test_too_little_history_is_refused(frame: pd.DataFrame) -> None:
    two_days = frame[frame["ts"] < frame["ts"].min() + 2 * 86400]
    with pytest.raises(InsufficientDataError, match=r"found 2 in all: give it more history"):
        trained(build(two_days))


def test_one_ticker_alone_is_refused(frame: pd.DataFrame) -> None:
    alone = build(frame[frame["ticker"] == "AAPL"])
    with pytest.raises(InsufficientDataError, match=r"needs 5 tickers .* found 1"):
        trained(alone)


def test_what_makes_no_sense_is_refused_before_training(panel: Panel) -> None:
    def fail(step: int, steps: int, loss: float) -> None:
        raise AssertionError("it trained")

    with pytest.raises(BundleError, match="trained_on must be in"):
        trained(panel, trained_on="dreams", progress=fail)
    with pytest.raises(ConfigError, match="darts cannot build tide"):
        trained(panel, dataclasses.replace(TINY, network="tide"), progress=fail)
    large = dataclasses.replace(TINY, members=3, sizes=read("paper").sizes)
    with pytest.raises(ConfigError, match="67 million weights, 3 x nbeats have 8"):
        trained(panel, large, progress=fail)

"""A pretrained model as one more row: its own words in the network's units, and nothing fetched."""

import dataclasses
import datetime as dt
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from darts.models import Chronos2Model
from darts.models.components import timesfm2p5_submodels as timesfm_parts
from darts.models.forecasting import timesfm2p5_model as timesfm
from darts.models.forecasting.chronos2_model import _Chronos2Module
from safetensors.torch import save_file
from typer.testing import CliRunner

from astra.cli.commands import app
from astra.errors import ConfigError, DataError
from model.evaluation import baselines as simple
from model.evaluation import decision_times, evaluate
from model.evaluation.foundation import _NOWHERE, load
from model.forecast.bundle import Bundle
from model.forecast.target import Scaler, horizon_scale, normalise
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars
from tests.bundles import a_network, a_spec

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
CHRONOS = {
    "architectures": ["Chronos2Model"],
    "model_type": "t5",
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "chronos_config": {
        "context_length": 128,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "output_patch_size": 16,
        "max_output_patches": 4,
        "quantiles": [0.1, 0.5, 0.9],
        "time_encoding_scale": 128,
        "use_arcsinh": True,
        "use_reg_token": True,
    },
}
TIMESFM = {"model_type": "timesfm", "context_length": 16384, "patch_length": 32}


def checkpoint(folder: Path, config: dict[str, object], network: torch.nn.Module) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def chronos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chronos-2 of a few weights drawn at random, as its files are published."""
    torch.manual_seed(1)
    sizes = {k: v for k, v in CHRONOS.items() if k not in ("architectures", "model_type")}
    network = _Chronos2Module(input_chunk_length=61, output_chunk_length=12, **sizes)
    return checkpoint(tmp_path_factory.mktemp("models") / "chronos-2", CHRONOS, network)


@pytest.fixture(scope="module")
def panel() -> Panel:
    first, last = dt.date(2026, 5, 20), dt.date(2026, 6, 3)
    return build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last))


@pytest.fixture(scope="module")
def daily() -> Panel:
    first, last = dt.date(2026, 2, 2), dt.date(2026, 6, 3)
    return daily_of(build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last)))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    for way in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, way, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def bundle(horizon: int = 12, **changes: object) -> Bundle:
    spec = a_spec(horizon=horizon, **changes)
    every_step = np.sqrt(horizon / np.arange(1, horizon + 1))[:, None]
    network = a_network(every_step, window=spec.window, horizon=horizon)
    return Bundle(f"nbeats-{spec.frequency}-00000000", spec, network, b"")


OF_5M = bundle()
OF_1D = bundle(
    horizon=5, frequency="1d", window=20,
    scaler=Scaler(sigma_half_life=10, beta_half_life=20, warm_up=10),
)  # fmt: skip


@pytest.mark.parametrize(("asked", "market"), [(OF_5M, "panel"), (OF_1D, "daily")])
@pytest.mark.usefixtures("no_network")
def test_it_stands_beside_the_baselines_of_both_frequencies(
    asked: Bundle, market: str, chronos: Path, request: pytest.FixtureRequest
) -> None:
    bars = request.getfixturevalue(market)
    model = load(chronos, asked.spec.window, asked.spec.horizon)
    times = decision_times(bars, asked.spec.horizon)[-30:]
    found = evaluate(asked, bars, times, baselines=("last value",), pretrained=model)
    assert list(found.points) == ["forecast", "last value", "Chronos-2"]
    theirs, naive = found.points["Chronos-2"], found.points["last value"]
    assert np.isfinite([theirs.mae_bp, theirs.mase, theirs.smape]).all()
    assert theirs.days == naive.days and theirs.against.t > 0  # of weights that know nothing
    assert theirs.ic is not None and theirs.direction is not None


def test_a_path_that_goes_on_at_its_mean_is_the_drift_of_the_normalised_returns(
    panel: Panel,
) -> None:
    def go_on(paths: np.ndarray) -> np.ndarray:
        assert (paths[:, -1] == 0).all()
        steps = np.arange(1, 13)
        return (paths[:, -1] - paths[:, 0])[:, None] / (paths.shape[1] - 1) * steps

    spec = OF_5M.spec
    normalised = normalise(panel, spec.scaler)
    rows = np.flatnonzero(panel.room(12))[-20::5]
    found = simple.pretrained(simple.Pretrained("x", go_on), panel, normalised, rows, spec)
    scale = horizon_scale(normalised.profile, panel, rows, 12)
    for k, row in enumerate(rows):
        seen = normalised.feature[row - 59 : row + 1]
        gappy = np.isnan(seen).sum(axis=0) > spec.allowed_gaps
        in_units = (np.nansum(seen, axis=0) / 60)[:, None] * np.sqrt(np.arange(1, 13))
        expected = in_units * normalised.sigma[row][:, None] * scale[k]
        np.testing.assert_allclose(found[k][~gappy], expected[~gappy], atol=1e-15)
        assert np.isnan(found[k][gappy]).all()
    assert np.isfinite(found).mean() > 0.5


def test_a_path_is_answered_alike_whatever_stands_beside_it_and_whatever_it_is_a_multiple_of(
    chronos: Path,
) -> None:
    model = load(chronos, 60, 12)
    paths = np.random.default_rng(1).normal(size=(300, 61)).cumsum(axis=1)
    paths -= paths[:, -1:]
    told = model.medians(paths)
    assert told.shape == (300, 12)
    np.testing.assert_allclose(model.medians(paths[:1]), told[:1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.medians(7 * paths), 7 * told, rtol=1e-3, atol=1e-4)


def test_a_number_that_is_not_finite_is_refused(panel: Panel) -> None:
    broken = simple.Pretrained("Chronos-2", lambda paths: np.full((len(paths), 12), np.nan))
    with pytest.raises(DataError, match=r"Chronos-2 gave (\d+) of \1 that are not"):
        evaluate(OF_5M, panel, decision_times(panel)[-6:], baselines=(), pretrained=broken)


@pytest.mark.usefixtures("no_network")
def test_timesfm_is_known_by_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sizes are constants of darts; with small ones the same code runs."""
    whole = timesfm._TimesFM2p5_200M_Definition()
    sizes = {"hidden_dims": 32, "output_dims": 32}
    transformer = dataclasses.replace(
        whole.stacked_transformers.transformer, model_dims=32, hidden_dims=32, num_heads=2
    )
    small = dataclasses.replace(
        whole,
        tokenizer=dataclasses.replace(whole.tokenizer, **sizes),
        stacked_transformers=timesfm_parts._StackedTransformersConfig(1, transformer),
        output_projection_point=dataclasses.replace(
            whole.output_projection_point, input_dims=32, hidden_dims=32, output_dims=1280
        ),
        output_projection_quantiles=dataclasses.replace(
            whole.output_projection_quantiles, input_dims=32, hidden_dims=32
        ),
    )
    monkeypatch.setattr(timesfm._TimesFM2p5Module, "config", small)
    network = timesfm._TimesFM2p5Module(input_chunk_length=61, output_chunk_length=12)
    model = load(checkpoint(tmp_path, TIMESFM, network), 60, 12)
    assert model.name == "TimesFM 2.5"
    told = model.medians(np.random.default_rng(1).normal(size=(3, 61)))
    assert told.shape == (3, 12) and np.isfinite(told).all()


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as found:
        load(folder, 60, 12)
    said = str(found.value)
    assert "\n" not in said and ". " not in said.replace("TimesFM 2.", "")  # one sentence
    return said


@pytest.mark.usefixtures("no_network")
def test_missing_files_are_named_and_not_fetched(tmp_path: Path, chronos: Path) -> None:
    assert "has no config.json and no model.safetensors" in refusal(tmp_path / "none")
    assert "has no config.json and no model.safetensors" in refusal(tmp_path)
    (tmp_path / "config.json").write_bytes((chronos / "config.json").read_bytes())
    assert "has no model.safetensors: download them there" in refusal(tmp_path)
    with pytest.raises(ValueError, match="Repo id"):  # darts' own way to the hub ends at the name
        Chronos2Model(61, 12, hub_model_name=_NOWHERE, local_dir=tmp_path / "..")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CHRONOS))
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert "pytorch_model.bin, a pickle, is never opened" in refusal(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    assert "darts cannot make Chronos-2" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "timesfm", "context_length": 2048}, "says timesfm: TiRex and TimesFM 3"),
        ({"architectures": ["ChronosBoltModelForForecasting"], "chronos_config": {}}, "Bolt"),
        ({"model_type": "tirex"}, "says tirex: TiRex and TimesFM 3 restrict it"),
        ({}, "nothing known"),
        ([], "nothing known"),
    ],
)
def test_other_families_are_refused_with_the_reason(
    config: object, said: str, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert said in refusal(tmp_path) and "commercial use" in refusal(tmp_path)


def test_files_that_do_not_fit_are_refused(tmp_path: Path, chronos: Path) -> None:
    weights = (chronos / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text("{")
    assert "must be JSON" in refusal(tmp_path)
    for changed in (
        {"d_model": 32},
        {"chronos_config": {}},
        {"chronos_config": CHRONOS["chronos_config"] | {"context_length": 32}},
        {"chronos_config": CHRONOS["chronos_config"] | {"quantiles": [0.1, 0.9]}},
        {"chronos_config": CHRONOS["chronos_config"] | {"surprise": 1}},
        {"chronos_config": CHRONOS["chronos_config"] | {"use_reg_token": False}},
        {"chronos_config": None},
    ):
        (tmp_path / "config.json").write_text(json.dumps(CHRONOS | changed))
        assert "darts cannot make Chronos-2" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CHRONOS))
    (tmp_path / "model.safetensors").write_bytes(weights[:-100])
    assert "darts cannot make Chronos-2" in refusal(tmp_path)


def run(*options: str) -> str:
    asked = ["evaluate", "--tickers", "8", "--last-sessions", "1", *options]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_shows_its_row_and_what_it_is_worth(chronos: Path) -> None:
    shown = run("--foundation", str(chronos))
    assert "Chronos-2 " in shown.split("Quantile loss")[0]
    assert "Chronos-2, zero-shot: what others trained it on may hold these very days." in shown
    answer = json.loads(run("--foundation", str(chronos), "--json"))
    assert answer["points"]["Chronos-2"]["mae_bp"] > 0

"""Networks by darts' names: each exports for any batch, and opens in darts again."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from darts import TimeSeries
from safetensors.torch import save

from astra.errors import BundleError, ConfigError
from astra.predictions import QUANTILES
from model.forecast.export import export, quiet
from model.forecast.networks import Network, as_darts
from model.forecast.presets import SIZES, Sizes
from model.forecast.spec import Spec
from tests.bundles import a_spec

TINY: dict[str, Sizes] = {
    "nbeats": {"num_stacks": 2, "num_blocks": 1, "num_layers": 1, "layer_widths": 8,
               "expansion_coefficient_dim": 2},
    "nhits": {"num_stacks": 2, "num_blocks": 1, "num_layers": 1, "layer_widths": 8},
    "nlinear": {},
    "tide": {"hidden_size": 8, "decoder_output_dim": 2, "temporal_decoder_hidden": 4},
    "tsmixer": {"hidden_size": 4, "ff_size": 4, "num_blocks": 1},
}  # fmt: skip
WINDOW, HORIZON = 24, 5


MEMBERS = {"nlinear": 2}  # else 1: the exporter takes its time for each


def network(name: str) -> Network:
    torch.manual_seed(3)
    members = MEMBERS.get(name, 1)
    return Network(name, TINY[name], members, WINDOW, HORIZON, QUANTILES).eval()


def paths(batch: int) -> Any:
    return np.random.default_rng(batch).normal(size=(batch, WINDOW)).astype(np.float32)


@pytest.fixture(scope="module", params=sorted(TINY))
def served(request: pytest.FixtureRequest) -> tuple[str, Network, onnxruntime.InferenceSession]:
    built = network(request.param)
    return request.param, built, onnxruntime.InferenceSession(export(built, WINDOW))


def test_every_name_has_small_sizes_that_darts_builds() -> None:
    assert set(SIZES) == set(TINY)
    for name, sizes in SIZES.items():
        answer = Network(name, sizes, 1, WINDOW, HORIZON, QUANTILES)(torch.zeros(2, WINDOW))
        assert answer.shape == (2, HORIZON, len(QUANTILES)), name


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_one_export_serves_any_batch(
    served: tuple[str, Network, onnxruntime.InferenceSession], batch: int
) -> None:
    _, built, session = served
    (found,) = session.run(None, {"paths": paths(batch)})
    with torch.no_grad():
        wanted = built(torch.from_numpy(paths(batch))).numpy()
    assert found.shape == (batch, HORIZON, len(QUANTILES))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_a_bundle_opens_as_darts_models_that_say_the_same(
    served: tuple[str, Network, onnxruntime.InferenceSession],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, built, session = served
    monkeypatch.chdir(tmp_path)
    models = as_darts(specified(name), save(built.state_dict()))
    assert len(models) == MEMBERS.get(name, 1)
    series = [TimeSeries.from_values(path) for path in paths(3)]
    with quiet():
        answers = [
            model.predict(HORIZON, series=series, predict_likelihood_parameters=True, verbose=False)
            for model in models
        ]
    said = np.mean([[one.values() for one in answer] for answer in answers], axis=0)
    (served_by_onnx,) = session.run(None, {"paths": paths(3)})
    np.testing.assert_allclose(said, served_by_onnx, atol=1e-4)
    assert not list(tmp_path.iterdir()), "darts must leave no folder behind"


def test_weights_of_another_network_are_refused() -> None:
    weights = save(network("nbeats").state_dict())
    with pytest.raises(BundleError, match="no weights of 1 tide"):
        as_darts(specified("tide"), weights)
    with pytest.raises(BundleError, match="no weights of 1 nbeats"):
        as_darts(specified("nbeats"), weights[:-100])


@pytest.mark.parametrize(
    ("name", "sizes", "found"),
    [
        ("prophet", {}, "a network is one of nbeats, nhits, nlinear, tide, tsmixer"),
        ("nbeats", {"width": 3}, "darts cannot build nbeats"),
        ("tide", {"hidden_size": "wide"}, "darts cannot build tide"),
    ],
)
def test_a_network_that_darts_does_not_know_is_refused(name: str, sizes: Sizes, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        Network(name, sizes, 1, WINDOW, HORIZON, QUANTILES)


def specified(name: str) -> Spec:
    return a_spec(
        network=name,
        sizes=dict(TINY[name]),
        members=MEMBERS.get(name, 1),
        window=WINDOW,
        horizon=HORIZON,
    )

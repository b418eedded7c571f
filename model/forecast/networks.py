"""darts' networks as plain modules: (batch, window) -> (batch, horizon, quantiles).

The only importer of darts' networks. They are named as in darts and built by its own classes, so
what is trained here opens there again, see `as_darts`. Private names of darts 0.48 (written against
0.48.1): `_init_model`, `_train_sample_from_shapes`, `_fit_called`; its public `fit` builds a series
object per ticker, and its ONNX export fixes the batch at 1. Training side: imports torch and darts,
5 s and 500 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from darts.models import NBEATSModel, NHiTSModel, NLinearModel, TiDEModel, TSMixerModel
from darts.models.forecasting.torch_forecasting_model import (
    TorchForecastingModel,
    _train_sample_from_shapes,
)
from darts.utils.data.torch_datasets.utils import PLModuleInput
from darts.utils.likelihood_models.torch import QuantileRegression
from safetensors import SafetensorError
from safetensors.torch import load

from astra.errors import BundleError, ConfigError
from model.forecast.presets import Sizes
from model.forecast.spec import Spec

_CLASSES: dict[str, type[TorchForecastingModel]] = {
    "nbeats": NBEATSModel,
    "nhits": NHiTSModel,
    "nlinear": NLinearModel,
    "tide": TiDEModel,
    "tsmixer": TSMixerModel,
}
_ALWAYS: dict[str, dict[str, Any]] = {"nlinear": {"normalize": False}}  # else it has no quantiles


class Network(torch.nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """The mean of `members` networks of one kind that differ in their first weights."""

    def __init__(
        self, name: str, sizes: Sizes, members: int, window: int, horizon: int,
        quantiles: Sequence[float],
    ) -> None:  # fmt: skip
        super().__init__()
        built = [darts_model(name, sizes, window, horizon, quantiles) for _ in range(members)]
        self.members = torch.nn.ModuleList([model.model for model in built])

    def forward(self, paths: torch.Tensor) -> torch.Tensor:
        """Quantiles of the normalised return over 1..horizon bars, from look-back paths."""
        said = [member(PLModuleInput(past_target=paths.unsqueeze(-1))) for member in self.members]
        return torch.stack([one.prediction[:, :, 0, :] for one in said]).mean(dim=0)


def darts_model(
    name: str, sizes: Sizes, window: int, horizon: int, quantiles: Sequence[float]
) -> TorchForecastingModel:
    """darts' own model with its network built and its weights drawn from torch's generator.

    Raises:
        ConfigError: there is no such network, or darts refuses the sizes.
    """
    if name not in _CLASSES:
        raise ConfigError(f"a network is one of {', '.join(_CLASSES)}, found {name!r}")
    try:
        model = _CLASSES[name](
            input_chunk_length=window,
            output_chunk_length=horizon,
            likelihood=QuantileRegression(list(quantiles)),
            **{**sizes, **_ALWAYS.get(name, {})},
        )
        model.train_sample = _train_sample_from_shapes(
            {"past_target": (window, 1), "future_target": (horizon, 1)}, dtype=np.float32
        )
        model.model = model._init_model()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"darts cannot build {name} of {dict(sizes)}: {error}") from error
    return model


def as_darts(spec: Spec, weights: bytes) -> list[TorchForecastingModel]:
    """A bundle's members as darts' own models, ready to `predict`; their mean is the bundle's.

    A series to predict from is a path of `target.path` in float32, of at least `spec.window` steps
    and any index: `model.predict(n, series=TimeSeries.from_values(path),
    predict_likelihood_parameters=True)` gives the quantiles, in `target.outcomes`' unit.

    Args:
        weights: of the bundle, safetensors.

    Raises:
        BundleError: they are not the weights of such a network.
    """
    models = [
        darts_model(spec.network, spec.sizes, spec.window, spec.horizon, spec.quantiles)
        for _ in range(spec.members)
    ]
    try:
        found = load(weights)
        for k, model in enumerate(models):
            own = f"members.{k}."
            model.model.load_state_dict(
                {name.removeprefix(own): w for name, w in found.items() if name.startswith(own)}
            )
            model._fit_called = True
    except (SafetensorError, RuntimeError) as error:
        raise BundleError(
            f"these are no weights of {spec.members} {spec.network}: {error}"
        ) from error
    return models

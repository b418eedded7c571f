"""darts' N-BEATS network as a plain module: (batch, window) -> (batch, horizon, quantiles).

The only importer of darts. `_NBEATSModule` and `PLModuleInput` are private names of darts 0.48
(written against 0.48.1); its public `NBEATSModel` builds a series object per ticker and exports
ONNX with the batch fixed at 1. Training only: imports torch and darts, 5 s and 500 MB.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from darts.models.forecasting.nbeats import _NBEATSModule
from darts.utils.data.torch_datasets.utils import PLModuleInput

from model.forecast.spec import Architecture


class NBeats(torch.nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """Generic N-BEATS (Oreshkin et al. 2020), one output per step and quantile."""

    def __init__(
        self, architecture: Architecture, window: int, horizon: int, quantiles: int
    ) -> None:
        super().__init__()
        sizes = asdict(architecture)
        self.network = _NBEATSModule(
            input_dim=1,
            output_dim=1,
            nr_params=quantiles,
            generic_architecture=True,
            num_stacks=sizes["stacks"],
            num_blocks=sizes["blocks"],
            num_layers=sizes["layers"],
            layer_widths=[sizes["width"]] * sizes["stacks"],
            expansion_coefficient_dim=sizes["expansion"],
            trend_polynomial_degree=2,  # of the interpretable form, unused here
            batch_norm=False,
            dropout=0.0,
            activation="ReLU",
            input_chunk_length=window,
            output_chunk_length=horizon,
            train_sample_shape={"past_target": (window, 1), "future_target": (horizon, 1)},
        )

    def forward(self, paths: torch.Tensor) -> torch.Tensor:
        """Quantiles of the normalised return over 1..horizon bars, from look-back paths."""
        return self.network(PLModuleInput(past_target=paths.unsqueeze(-1))).prediction[:, :, 0, :]

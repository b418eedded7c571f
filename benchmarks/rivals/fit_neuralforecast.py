"""neuralforecast's N-BEATS on the series of a .npy file, in an environment of its own.

    python fit_neuralforecast.py SERIES.npy '{"window": 60, "horizon": 12, "quantiles": [...],
        "stacks": 4, "layers": 2, "width": 128, "batch": 1024, "steps": 200, "warm_up": 20}'

SERIES has shape (S, T), float32. Prints one JSON line: windows a second after the warm-up, the
network's parameters, the library's version.
"""

import json
import logging
import sys
import time
import warnings
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from neuralforecast import NeuralForecast  # type: ignore[import-not-found]  # see above
from neuralforecast.losses.pytorch import MQLoss  # type: ignore[import-not-found]
from neuralforecast.models import NBEATS  # type: ignore[import-not-found]

ENDS: list[float] = []  # of each step; neuralforecast works on a copy of what it is given


class Clock(pl.Callback):  # type: ignore[misc]
    def on_train_batch_end(self, *_: Any) -> None:
        ENDS.append(time.perf_counter())


def main(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    series = np.load(path)
    rows, columns = series.shape
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(rows), columns),
            "ds": np.tile(np.arange(columns), rows),
            "y": series.ravel(),
        }
    )
    stacks = asked["stacks"]
    model = NBEATS(
        h=asked["horizon"], input_size=asked["window"], loss=MQLoss(quantiles=asked["quantiles"]),
        stack_types=["identity"] * stacks, n_blocks=[1] * stacks,
        mlp_units=(asked["layers"] - 1) * [2 * [asked["width"]]],  # after a first layer, per block
        windows_batch_size=asked["batch"], max_steps=asked["steps"],
        learning_rate=1e-3, accelerator="cpu", devices=1, logger=False, callbacks=[Clock()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    forecaster = NeuralForecast(models=[model], freq=1)
    forecaster.fit(frame, val_size=0)
    warm_up = asked["warm_up"]
    seconds = ENDS[-1] - ENDS[warm_up - 1]
    return {
        "windows_per_second": asked["batch"] * (len(ENDS) - warm_up) / seconds,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "version": metadata.version("neuralforecast"),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))

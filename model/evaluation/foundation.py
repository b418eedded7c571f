"""A pretrained foundation model from a folder the user names, as one more row of the evaluation.

The only importer of darts' foundation models. Nothing is ever downloaded: both files must be in the
folder, and the name that darts would look for elsewhere is none, so that its hub client refuses it
before it opens a connection. Weights are safetensors, never a pickle. Of darts' families those are
taken whose published weights may be used commercially: Chronos-2 (Ansari et al. 2025) and TimesFM
2.5 (Das et al. 2024), both Apache-2.0. Training side: imports torch and darts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from darts.models import Chronos2Model, TimesFM2p5Model
from darts.models.forecasting.foundation_model import FoundationModel
from darts.models.forecasting.torch_forecasting_model import _train_sample_from_shapes
from darts.utils.data.torch_datasets.utils import PLModuleInput
from safetensors import SafetensorError

from astra.errors import ConfigError
from model.evaluation.baselines import Floats, Pretrained

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_NOWHERE = "nowhere to download from"  # no name a hub could have
_BATCH = 256
# What darts answers to a configuration or weights that are not such a model's.
_FAILURES: tuple[type[Exception], ...] = (
    SafetensorError, RuntimeError, TypeError, ValueError, LookupError, AttributeError,
    AssertionError, ArithmeticError, OSError,
)  # fmt: skip


def load(folder: Path, window: int, horizon: int) -> Pretrained:
    """Open the model in `folder` to go on with paths of `window` bars for `horizon` more.

    Raises:
        ConfigError: a file is missing, the weights are a pickle or not such a model's, or the
            family is not one whose licence allows commercial use.
    """
    name, kind = _family(folder, _config(folder))
    try:
        model = kind(
            input_chunk_length=window + 1,
            output_chunk_length=horizon,
            hub_model_name=_NOWHERE,
            local_dir=folder,
        )
        shapes = {"past_target": (window + 1, 1), "future_target": (horizon, 1)}
        model.train_sample = _train_sample_from_shapes(shapes, dtype=np.float32)
        network = model._init_model().eval()
        _medians(network, np.linspace(-1.0, 0.0, window + 1)[None])
    except _FAILURES as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(
            f"darts cannot make {name} of {folder} for {window} bars and {horizon} more "
            f"({said[0].strip()}): download {CONFIG} and {WEIGHTS} of one release anew"
        ) from error

    def medians(paths: Floats) -> Floats:
        return np.concatenate([_medians(network, part) for part in _batches(paths)])

    return Pretrained(name, medians)


def _config(folder: Path) -> dict[str, Any]:
    """What the folder says its model is, once both files are there."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        pickles = sorted(f.name for f in folder.glob("*") if f.suffix in _PICKLES)
        found = f"; {', '.join(pickles)}, a pickle, is never opened" if pickles else ""
        raise ConfigError(
            f"a foundation model is a folder with {CONFIG} and {WEIGHTS}, {folder} has no "
            f"{' and no '.join(missing)}{found}: download them there, nothing is fetched for you"
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{folder / CONFIG} must be JSON, it is not: download it anew") from error
    return config if isinstance(config, dict) else {}


def _family(folder: Path, config: dict[str, Any]) -> tuple[str, type[FoundationModel]]:
    if config.get("architectures") == ["Chronos2Model"]:
        return "Chronos-2", Chronos2Model
    # TimesFM 1 and 2 have the same type and look back 512 and 2,048 bars.
    if (config.get("model_type"), config.get("context_length")) == ("timesfm", 16384):
        return "TimesFM 2.5", TimesFM2p5Model
    said = config.get("architectures") or config.get("model_type") or "nothing known"
    raise ConfigError(
        f"a foundation model is Chronos-2 or TimesFM 2.5 (the PyTorch release), whose licence "
        f"Apache-2.0 allows commercial use, {folder / CONFIG} says {said}: TiRex and TimesFM 3 "
        "restrict it and are not taken, nor is any other"
    )


def _batches(paths: Floats) -> list[Floats]:
    return [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]


def _medians(network: torch.nn.Module, paths: Floats) -> Floats:
    """On one thread, as everything that is measured here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            past = torch.from_numpy(paths.astype(np.float32))[..., None]
            said = network(PLModuleInput(past_target=past)).prediction[:, :, 0, 0]
    finally:
        torch.set_num_threads(threads)
    found: Floats = said.numpy().astype(np.float64)
    return found

"""A trained network as one ONNX file, checked against the network it came from. Training side."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch

from astra.errors import BundleError

if TYPE_CHECKING:
    from model.forecast.networks import Network
    from model.forecast.windows import Windows

TOLERANCE = 1e-5
_TALKATIVE = ("pytorch_lightning.utilities.rank_zero", "torch.onnx")


def export(network: Network, window: int) -> bytes:
    """The network as one ONNX file for any batch size, without the exporter's notes.

    The notes hold source lines and folders of the machine that trained.
    """
    example = torch.zeros(3, window)  # 1 would be taken for a constant
    with one_thread(), quiet(), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            network, (example,), dynamo=True, external_data=False, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["paths"], output_names=["quantiles"],
        )  # fmt: skip
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def verify(onnx_bytes: bytes, network: Network, windows: Windows) -> None:
    """Compare ONNX Runtime with torch on windows of two batch sizes.

    Raises:
        BundleError: they differ by more than 1e-5 anywhere.
    """
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    for size in (1, 64):
        paths, _ = next(windows.batches(size, 1, seed=size))
        with torch.no_grad():
            wanted = network(paths).numpy()
        (found,) = session.run(None, {"paths": paths.numpy()})
        difference = float(np.abs(found - wanted).max())
        if not difference <= TOLERANCE:
            raise BundleError(
                f"the exported network must agree with the trained one to {TOLERANCE}, it is off "
                f"by {difference:.2g} at batch size {size}: nothing was registered"
            )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """More were erratic on shared cores; the caller's number comes back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning and the exporter from advertising devices, loaders and absent packages."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
            # Lightning 2.6 and the exporter of torch 2.13 use each other's retired names.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

"""Small bundles: a specification, and networks that say the same of every path."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np

from astra.predictions import QUANTILES
from model.forecast.bundle import Bundle
from model.forecast.spec import Reference, Spec, Training
from model.forecast.target import Scaler

TRAINED_UNTIL = dt.datetime(2023, 1, 31, 21, 0, tzinfo=dt.UTC)


def a_spec(seed: int = 0, end: dt.datetime = TRAINED_UNTIL, **changes: Any) -> Spec:
    """A specification of nothing in particular; seeds make different bundles."""
    training = Training(
        trained_on="simulated",
        market="simulated:7",
        start=dt.datetime(2023, 1, 3, 14, 30, tzinfo=dt.UTC),
        end=end,
        tickers=3,
        windows=10,
        steps=1,
        batch=1,
        learning_rate=0.1,
        weight_decay=0.0,
        seed=seed,
    )
    spec = Spec(
        frequency="5m",
        network="nbeats",
        sizes={"num_stacks": 1},
        members=1,
        scaler=Scaler(),
        window=60,
        horizon=12,
        allowed_gaps=6,
        quantiles=QUANTILES,
        location=(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
        training=training,
        reference=Reference((0.0,) * 9, 0.0, 0.0),
        versions={"torch": "2"},
        metrics={"ic": 0.01, "pinball_bp": 9.5},
    )
    return dataclasses.replace(spec, **changes)


def a_network(width: float = 1.0, window: int = 60, horizon: int = 12) -> bytes:
    """ONNX of a network that answers every path with `width` times a normal's quantiles.

    In units of the volatility over the step's horizon, the last one's being 1.
    """
    import onnx  # seconds that a process which only registers has no use for
    from onnx import TensorProto, helper, numpy_helper
    from scipy.stats import norm

    steps = np.sqrt(np.arange(1, horizon + 1) / horizon)[:, None]
    answer = (width * steps * norm.ppf(QUANTILES)).astype(np.float32)
    constants = {
        "nothing": np.zeros((window, answer.size), np.float32),
        "answer": answer.reshape(-1),
        "shape": np.array([-1, *answer.shape], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["paths", "nothing"], ["zero"]),
            helper.make_node("Add", ["zero", "answer"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["quantiles"]),
        ],
        "constant",
        [helper.make_tensor_value_info("paths", TensorProto.FLOAT, ["b", window])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["b", *answer.shape])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = onnx.ModelProto(graph=graph, opset_import=opset, ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def a_bundle(width: float = 1.0, **changes: Any) -> Bundle:
    """A bundle that runs, in no registry."""
    return Bundle("nbeats-5m-00000000", a_spec(**changes), a_network(width), b"weights")

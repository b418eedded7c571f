"""The champion's forecast of 500 tickers, and its network on ONNX Runtime against torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime

from benchmarks import inputs
from benchmarks.inputs import Floats
from benchmarks.results import Row
from benchmarks.timing import in_turns, require_equal, timed
from model.forecast.bundle import Bundle
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.target import look_backs, normalise
from model.panel import Panel, build

Network = Callable[[Any], Any]
AGREEMENT = 1e-4
REPEATS = 10  # of the network alone: one pass is too short for the clock of a busy machine


def measure(tickers: int = 500, days: int = 20, rounds: int = 5) -> list[Row]:
    """From a panel of bars to bands of prices, and the network alone; the first turn is a warm-up.

    Without torch the comparison is left out, with a row that says so.
    """
    bundle = shipped().load()
    forecaster = Forecaster(bundle)
    as_of = inputs.sessions(days)[-1].decision_times()[3]
    panel = build(inputs.bars(tickers, days)).known_at(as_of)
    forecaster.forecast(panel)
    (whole,) = in_turns(rounds, lambda: timed(lambda: forecaster.forecast(panel)))
    paths = _paths(bundle, panel)
    case = f"network alone, {len(paths)} tickers in one batch"
    rows = [
        Row(
            "forecast", f"{tickers} tickers, {days} sessions of bars to bands",
            1e3 * whole.seconds, "ms", 1_000, "lower",
        )
    ]  # fmt: skip
    if find_spec("torch") is None or find_spec("darts") is None:
        note = "not measured: torch and darts are not installed, run make setup"
        return [*rows, Row("forecast", f"{case}, speed-up", None, "ratio", 1, "higher", note)]
    served, direct = _session(bundle), _module(bundle)
    for network in (served, direct):
        network(paths)
    ours, torch = in_turns(
        rounds,
        lambda: timed(lambda: _repeated(served, paths)),
        lambda: timed(lambda: _repeated(direct, paths)),
    )
    difference = np.abs(ours.answer - torch.answer).max()
    require_equal(float(difference), AGREEMENT, "the quantiles of ONNX Runtime and of torch")
    located = np.sort(torch.answer, axis=-1) @ np.array(bundle.spec.location)
    apart = np.abs(located[:, -1] - whole.answer.score).max()
    require_equal(float(apart), AGREEMENT, "the forecaster's scores and those of torch")
    return [
        *rows,
        Row("forecast", case, 1e3 * ours.seconds / REPEATS, "ms", 20, "lower"),
        Row(
            "forecast", f"{case}, speed-up", torch.seconds / ours.seconds, "ratio", 1, "higher",
            "darts' module in torch with the same weights",
        ),
    ]  # fmt: skip


def _paths(bundle: Bundle, panel: Panel) -> Floats:
    """The network's input at the panel's end, one row a ticker, none left out."""
    spec = bundle.spec
    feature = normalise(panel, spec.scaler).feature
    paths, _ = look_backs(feature, np.array([len(panel.ts) - 1]), spec.window, spec.allowed_gaps)
    found: Floats = paths[0].astype(np.float32)
    return found


def _repeated(network: Network, paths: Floats) -> Any:
    for _ in range(REPEATS):
        answer = network(paths)
    return answer


def _session(bundle: Bundle) -> Network:
    """ONNX Runtime on one thread, as the forecaster has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda paths: session.run(None, {name: paths})[0]


def _module(bundle: Bundle) -> Network:
    """darts' module on one torch thread, with the bundle's weights of record."""
    import torch
    from safetensors.torch import load

    from model.forecast.networks import Network as Trained

    torch.set_num_threads(1)
    spec = bundle.spec
    network = Trained(
        spec.network, spec.sizes, spec.members, spec.window, spec.horizon, spec.quantiles
    )
    network.load_state_dict(load(bundle.weights))
    network.eval()

    def answer(paths: Floats) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(paths)).numpy()

    return answer

"""A loaded model's forecast of 500 tickers: from bars to bands, and the network against darts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.inputs import Floats
from benchmarks.results import Row
from benchmarks.timing import Timed, in_turns, require_equal, timed
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.spec import Spec
from model.forecast.target import look_backs, normalise
from model.panel import Panel, build

Answer = Callable[[Floats], Any]
AGREEMENT = 1e-4
LEAST_SECONDS = 0.1  # of one turn: a single short pass is less than a busy machine's clock resolves


def panel_of(tickers: int, days: int) -> Panel:
    """The panel of a decision time."""
    as_of = inputs.sessions(days)[-1].decision_times()[3]
    return build(inputs.bars(tickers, days)).known_at(as_of)


def whole(tickers: int, days: int, rounds: int) -> list[Row]:
    """From a panel of bars to bands of prices, the first turn left out."""
    forecaster, panel = Forecaster(shipped().load()), panel_of(tickers, days)
    forecaster.forecast(panel)
    (found,) = in_turns(rounds, lambda: timed(lambda: forecaster.forecast(panel)))
    case = f"{tickers} tickers, {days} sessions of bars to bands"
    return [Row("forecast", case, 1e3 * found.seconds, "ms", 1_000, "lower")]


def against_darts(preset: str, tickers: int, days: int, rounds: int, target: float) -> list[Row]:
    """The network alone, one batch, one thread, against the same weights in darts and in torch.

    All start from look-backs that are ready. darts' `predict` gets its series built beforehand; a
    second row counts the building, as every new bar needs new series.
    """
    import torch

    from model.forecast.export import one_thread, quiet

    spec, onnx, network = trained(preset)
    panel = panel_of(tickers, days)
    paths = look_backs_of(spec, panel)
    served = _served(onnx)
    model = in_darts(spec, network)

    def direct(given: Floats) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(given)).numpy()

    series = as_series(paths)
    works: Sequence[Callable[[], Any]] = (
        lambda: served(paths),
        lambda: direct(paths),
        lambda: _predicted(model, series, spec),
        lambda: _predicted(model, as_series(paths), spec),
    )
    with one_thread(), quiet():
        ours, torchs, darts, anew = in_turns(rounds, *[_repeating(work) for work in works])
    for other, whose in ((torchs, "torch"), (darts, "darts")):
        apart = float(np.abs(ours.answer - other.answer).max())
        require_equal(apart, AGREEMENT, f"the quantiles of ONNX Runtime and of {whose} ({preset})")
    shape = f"{preset}: {len(paths)} x {spec.window} -> {spec.horizon}"
    same = "with the same weights"

    def ratio(case: str, other: Timed, least: float, against: str) -> Row:
        value = other.seconds / ours.seconds
        return Row("forecast", f"{shape}, {case}", value, "ratio", least, "higher", against)

    limit = {"small": 20, "paper": 1_000}[preset]
    return [
        Row("forecast", f"{shape}, network alone", 1e3 * ours.seconds, "ms", limit, "lower"),
        ratio("speed-up over darts", darts, target, f"predict {same}, series built before"),
        ratio("speed-up over darts from arrays", anew, target, f"predict {same}, series built too"),
        ratio("speed-up over torch", torchs, 1, f"darts' module called in torch {same}"),
    ]


def as_series(paths: Floats | NDArray[np.float32]) -> list[Any]:
    """darts' series of look-backs, by the fastest of its constructors."""
    import pandas as pd
    from darts import TimeSeries

    times = pd.RangeIndex(paths.shape[1])
    return [TimeSeries(times=times, values=one[:, None], copy=False) for one in paths]


def _repeating(work: Callable[[], Any]) -> Callable[[], Timed]:
    """`work` as one turn of `LEAST_SECONDS`, with the seconds of one time; warmed up by the way."""
    times = max(1, round(LEAST_SECONDS / max(timed(work).seconds, timed(work).seconds / 2)))

    def turn() -> Timed:
        found = timed(lambda: [work() for _ in range(times)])
        return Timed(found.seconds / times, found.answer[-1])

    return turn


def trained(preset: str) -> tuple[Spec, bytes, Any]:
    """Specification, ONNX file and torch module: the champion's, or of random weights."""
    from dataclasses import replace

    import torch
    from safetensors.torch import load

    from model.forecast.export import export
    from model.forecast.networks import Network
    from model.forecast.presets import read

    bundle = shipped().load()
    spec, wanted = bundle.spec, read(preset)
    ours = spec.sizes == wanted.sizes
    spec = replace(spec, sizes=dict(wanted.sizes), members=spec.members if ours else 1)
    with torch.random.fork_rng():
        torch.manual_seed(inputs.SEED)
        network = Network(
            spec.network, spec.sizes, spec.members, spec.window, spec.horizon, spec.quantiles
        )
    network.eval()
    if ours:
        network.load_state_dict(load(bundle.weights))
    return spec, bundle.onnx if ours else export(network, spec.window), network


def in_darts(spec: Spec, network: Any) -> Any:
    """darts' model with the weights of our first member, by its public interface alone.

    A model that was never fitted predicts nothing, so it takes one step on one series first.
    """
    import torch
    from darts.models import NBEATSModel
    from darts.utils.likelihood_models.torch import QuantileRegression

    from model.forecast.export import quiet

    model = NBEATSModel(
        spec.window, spec.horizon, likelihood=QuantileRegression(list(spec.quantiles)),
        n_epochs=1, pl_trainer_kwargs=quiet_trainer(), **spec.sizes,
    )  # fmt: skip
    with quiet(), torch.random.fork_rng():
        model.fit(as_series(np.zeros((1, spec.window + spec.horizon), np.float32)), verbose=False)
    (member,) = network.members
    model.model.load_state_dict(member.state_dict())
    return model


def quiet_trainer(**more: Any) -> dict[str, Any]:
    """Lightning's arguments for the CPU, without what costs time and shows nothing."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return {"accelerator": "cpu", **dict.fromkeys(off, False), **more}


def _predicted(model: Any, series: list[Any], spec: Spec) -> Any:
    found = model.predict(
        spec.horizon, series, batch_size=len(series), predict_likelihood_parameters=True,
        verbose=False, show_warnings=False,
    )  # fmt: skip
    return np.stack([one.values(copy=False) for one in found])


def look_backs_of(spec: Spec, panel: Panel) -> Floats:
    """The network's input at the panel's end, one row a ticker, none left out."""
    feature = normalise(panel, spec.scaler).feature
    paths, _ = look_backs(feature, np.array([len(panel.ts) - 1]), spec.window, spec.allowed_gaps)
    found: Floats = paths[0].astype(np.float32)
    return found


def _served(onnx: bytes) -> Answer:
    """ONNX Runtime on one thread, as the forecaster has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda paths: session.run(None, {name: paths})[0]

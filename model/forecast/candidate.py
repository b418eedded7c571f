"""From bars to a bundle's content: train, export, verify the export, measure what was held out.

Training side. Nothing is written here but the checkpoints of a training under way; who calls it
registers what comes back.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from astra import __version__
from astra.errors import ConfigError, InsufficientDataError
from astra.predictions import QUANTILES
from model.evaluation import decision_times, evaluate
from model.forecast.bundle import FILES, Bundle
from model.forecast.export import export, verify
from model.forecast.networks import Network
from model.forecast.presets import Preset
from model.forecast.record import Mark
from model.forecast.serving import Forecaster
from model.forecast.spec import Reference, Spec, Training, check
from model.forecast.target import Normalised, horizon_scale, normalise
from model.forecast.training import Pinball, Progress, best_device, fit
from model.forecast.windows import Windows, complete_windows
from model.panel import Panel

LIBRARIES = ("darts", "numpy", "onnx", "onnxruntime", "pandas", "pytorch-lightning", "torch")
CHECKED, HELD_OUT = 0.1, 0.15  # shares of the sessions
LEAST_ERROR_DAYS = 20  # fewer held out don't say what a normal day's error is


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a bundle is made of."""

    spec: Spec
    onnx: bytes
    weights: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """What each part of a panel is for; one session between two parts is in neither.

    Attributes:
        learnt: rows (since, before) to learn from.
        checked: rows (since, before) of the windows that say when to stop.
        unseen_since: nothing after it had a say in the weights; UTC.
    """

    learnt: tuple[int, int]
    checked: tuple[int, int]
    unseen_since: dt.datetime


def train(
    panel: Panel,
    *,
    preset: Preset,
    seed: int,
    trained_on: str,
    market: str,
    progress: Progress | None = None,
    resume: Path | None = None,
) -> Candidate:
    """Train on all but the last part of a panel, measure on that.

    Args:
        panel: all its bars have a say: `training.end` is the close of its last session, and skill
            counts only after that.
        trained_on: simulated, real or replay; `market`: its identity, as the store names it.
        progress: called with (step, steps, loss) now and then, over all members.
        resume: a folder of this training alone, see `workplace`.

    Raises:
        InsufficientDataError: too few sessions or tickers, or no complete window.
        ConfigError: darts refuses the network's sizes, or no registry takes so many weights.
        BundleError: preset or `trained_on` make no sense, or the exported network does not say
            what the trained one says.
        DataError: the training diverged.
    """
    part = parts(panel, preset)
    normalised = normalise(panel, preset.sight.scaler)
    learnt = _windows(panel, normalised, preset, part.learnt)
    checked = _windows(panel, normalised, preset, part.checked)
    spec = check(_spec(panel, preset, seed, trained_on, market, len(learnt)))
    network, steps = _fitted(learnt, checked, preset, seed, progress, resume)
    onnx_bytes = export(network, preset.sight.window)
    verify(onnx_bytes, network, checked)
    spec = replace(spec, training=replace(spec.training, steps=steps))
    weights = save(network.state_dict())
    bundle = Bundle("candidate", spec, onnx_bytes, weights)
    unseen = part.unseen_since
    times = [t for t in decision_times(panel, spec.horizon) if t > unseen]
    spec = replace(
        spec,
        metrics=evaluate(
            bundle, panel, times, baselines=("last value",), unseen_since=unseen
        ).metrics(),
        reference=_reference(bundle, panel, normalised, part, times),
    )
    return Candidate(check(spec), onnx_bytes, weights)


def parts(panel: Panel, preset: Preset) -> Parts:
    """The sessions to learn from, then those to check on, then those held out.

    Raises:
        InsufficientDataError: too few sessions, or too few tickers to tell the market from one.
    """
    sessions, tickers = len(panel.sessions), len(panel.tickers)
    least_tickers = preset.sight.scaler.min_names
    if tickers < least_tickers:
        raise InsufficientDataError(
            f"training needs {least_tickers} tickers to tell the market from a ticker, found "
            f"{tickers}: give it more of them"
        )
    daily = preset.sight.frequency == "1d"
    least = preset.sight.horizon + 1 if daily else 1  # of a night's other side, or of one session
    held_out = sessions - max(least, round(HELD_OUT * sessions))
    checked = held_out - 1 - max(least, round(CHECKED * sessions))
    if checked < 4:
        raise InsufficientDataError(
            f"training needs 3 sessions, {CHECKED:.0%} more to know when to stop and "
            f"{HELD_OUT:.0%} to hold out, found {sessions} in all: give it more history"
        )
    before, since, end = np.searchsorted(
        panel.session, (checked - 1, checked, held_out - 1)
    ).tolist()
    return Parts((0, before), (since, end), panel.sessions[held_out - 1].closes_at)


def workplace(var: Path, panel: Panel, preset: Preset, seed: int) -> Path:
    """Where the checkpoints of this training lie: another bar, preset or seed is another folder."""
    told = f"{panel.digest()['digest']} {preset} {seed} {_versions()}"
    return var / "training" / hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def _fitted(
    learnt: Windows, checked: Windows, preset: Preset, seed: int,
    progress: Progress | None, resume: Path | None,
) -> tuple[Network, int]:  # fmt: skip
    """The mean of the members, each trained apart, and the most steps that one of them took."""
    device, plan = best_device().torch, preset.plan
    learnt, checked = learnt.to(device), checked.to(device)
    together = _network(preset, preset.members, seed)
    _check_size(together, preset)
    taken = []
    for k, own_seed in enumerate(np.random.SeedSequence(seed).generate_state(preset.members)):
        member = _network(preset, 1, int(own_seed))
        taken.append(
            fit(
                member, learnt, checked, plan, int(own_seed), loss=Pinball(QUANTILES),
                progress=_over_members(progress, k, preset.members),
                resume=resume and resume / f"member-{k}",
            )
        )  # fmt: skip
        together.members[k] = member.members[0]
    return together.eval(), max(taken)


def _network(preset: Preset, members: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(
            preset.network, preset.sizes, members, preset.sight.window, preset.sight.horizon,
            QUANTILES,
        )  # fmt: skip


def _check_size(network: Network, preset: Preset) -> None:
    """Hours before a registry would refuse it."""
    count = sum(p.numel() for p in network.parameters())
    most = FILES["model.onnx"] // 4
    if count > most:
        raise ConfigError(
            f"a bundle may have {most / 1e6:.0f} million weights, {preset.members} x "
            f"{preset.network} have {count / 1e6:.0f}: take fewer members or smaller sizes"
        )


def _over_members(progress: Progress | None, k: int, members: int) -> Progress | None:
    if progress is None:
        return None
    return lambda step, steps, loss: progress(k * steps + step, members * steps, loss)


def _windows(
    panel: Panel, normalised: Normalised, preset: Preset, rows: tuple[int, int]
) -> Windows:
    since, before = rows
    sight = preset.sight
    return complete_windows(panel, normalised, sight.window, sight.horizon, before, since)


def normal_error(daily: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the days' errors, as `drift.cusum` takes them; 0, 0 if few.

    The deviation is that of a new day from the mean estimated here, which has an error of its own:
    s sqrt(1 + 1 / n).
    """
    count = len(daily)
    if count < LEAST_ERROR_DAYS:
        return 0.0, 0.0
    deviation = float(daily.std(ddof=1)) * math.sqrt(1 + 1 / count)
    return round(float(daily.mean()), 6), round(deviation, 6)


def _reference(
    bundle: Bundle, panel: Panel, normalised: Normalised, part: Parts, times: list[dt.datetime]
) -> Reference:
    """What `spec.Reference` says: returns of the sessions learnt from, errors of those held out."""
    horizon, middle = bundle.spec.horizon, QUANTILES.index(0.5)
    rows = np.searchsorted(panel.ends, [int(t.timestamp()) for t in times])
    scale = horizon_scale(normalised.profile, panel, rows, horizon)[:, -1]
    forecasts = Forecaster(bundle).forecasts_at(panel, times)
    errors = np.full((len(rows), len(panel.tickers)), np.nan)
    for k, (forecast, row) in enumerate(zip(forecasts, rows, strict=True)):
        served = np.array([mark is Mark.FORECAST for mark in forecast.marks])
        missed = np.log(panel.close[row + horizon] / forecast.closes[:, -1, middle])
        unit = normalised.total_sigma[row] * scale[k]
        errors[k, served] = np.abs(missed / unit)[served]
    by_day = pd.Series(errors.ravel()).groupby(np.repeat(panel.session[rows], errors.shape[1]))
    daily = by_day.mean().dropna().to_numpy(np.float64)
    since, before = part.learnt
    deciles = np.nanquantile(normalised.feature[since:before], np.arange(1, 10) / 10)
    return Reference(tuple(np.round(deciles, 6).tolist()), *normal_error(daily))


def _versions() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return versions | {"astra": __version__, "python": platform.python_version()}


def _spec(
    panel: Panel, preset: Preset, seed: int, trained_on: str, market: str, windows: int
) -> Spec:
    plan, sight = preset.plan, preset.sight
    training = Training(
        trained_on=trained_on,
        market=market,
        start=panel.sessions[0].opens_at,
        end=panel.sessions[-1].closes_at.astimezone(dt.UTC),
        tickers=len(panel.tickers),
        windows=windows,
        steps=plan.steps,
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay,
        seed=seed,
    )
    return Spec(
        frequency=sight.frequency,
        network=preset.network,
        sizes=dict(preset.sizes),
        members=preset.members,
        scaler=sight.scaler,
        window=sight.window,
        horizon=sight.horizon,
        allowed_gaps=sight.allowed_gaps,
        quantiles=QUANTILES,
        location=preset.location,
        training=training,
        reference=Reference((0.0,) * 9, 0.0, 0.0),
        versions=_versions(),
        metrics={},
    )

"""`astra train`: finds the bars, trains with a progress bar, registers what comes out."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from astra.cli.panels import from_file, simulated, without_last
from astra.errors import ConfigError
from astra.settings import Settings

if TYPE_CHECKING:
    from model.forecast.candidate import Candidate
    from model.forecast.presets import Preset
    from model.forecast.registry import Registry
    from model.forecast.training import Progress as Told

# The simulated market to learn from: other days and, by default, another seed than `run` trades.
DAYS = {
    "5m": (dt.date(2023, 1, 3), dt.date(2023, 12, 29)),
    "1d": (dt.date(2021, 1, 4), dt.date(2023, 12, 29)),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options.

    Attributes:
        frequency: by default the preset's.
        preset: a name or a file, by default the frequency's own.
        keep_back: sessions at the end of the bars that are not learned from.
    """

    bars: Path | None
    frequency: str | None
    preset: str | None
    network: str | None
    members: int | None
    seed: int
    edge: float
    tickers: int
    promote: bool
    keep_back: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """What was registered, and whether it is in use now."""

    bundle: str
    metrics: dict[str, float]
    promoted: bool


def run(asked: Asked, settings: Settings, console: Console) -> Trained:
    """Train on a file or on the simulated market, and register the bundle.

    It becomes champion where there is none of its frequency, or if that was asked for; else it is a
    challenger. A training that was killed goes on from its last check.

    Raises:
        ConfigError: the training packages are not installed, or the preset makes no sense.
        DataError: the bars cannot be used.
        InsufficientDataError: there are too few of them, or all are to be kept back.
    """
    from model.forecast.registry import open_registry

    preset = _preset(asked)
    frequency = preset.sight.frequency
    registry = open_registry(settings)
    try:
        from model.forecast.candidate import train, workplace
    except ImportError as error:
        raise ConfigError(
            f"training needs the extra packages ({error.name} is missing): run make setup"
        ) from error
    if asked.bars:
        panel, market = from_file(asked.bars, frequency)
    else:
        panel, market = simulated(
            frequency, seed=asked.seed, edge=asked.edge, tickers=asked.tickers,
            days=DAYS[frequency],
        )  # fmt: skip
    panel = without_last(panel, asked.keep_back)
    work = workplace(settings.var, panel, preset, asked.seed)
    if work.exists():
        console.print(f"going on with the training that was interrupted, {work}")
    with _bar(console) as told:
        candidate = train(
            panel, preset=preset, seed=asked.seed, market=market, progress=told, resume=work,
            trained_on="replay" if asked.bars else "simulated",
        )  # fmt: skip
    trained = _register(registry, candidate, asked.promote)
    shutil.rmtree(work, ignore_errors=True)
    return trained


def show(trained: Trained, console: Console) -> None:
    """The held-out figures, and what became of the bundle."""
    for name, value in sorted(trained.metrics.items()):
        console.print(f"  {name:18} {value:.4f}")
    if trained.promoted:
        console.print(f"promoted {trained.bundle}")
    else:
        console.print(
            f"registered {trained.bundle}, a challenger: astra models promote {trained.bundle}"
        )


def _preset(asked: Asked) -> Preset:
    from model.forecast.presets import BY_FREQUENCY, of_network, read, seen_at

    preset = read(asked.preset or BY_FREQUENCY.get(asked.frequency or "5m", "small"))
    if asked.frequency is not None:
        preset = seen_at(preset, asked.frequency)
    if asked.network is not None:
        preset = of_network(preset, asked.network)
    return preset if asked.members is None else replace(preset, members=asked.members)


def _register(registry: Registry, candidate: Candidate, promote: bool) -> Trained:
    bundle = registry.register(candidate.spec, candidate.onnx, candidate.weights)
    now = dt.datetime.now(dt.UTC)
    promoted = registry.promote_if_first(bundle.id, now)
    if promote and not promoted:
        registry.promote(bundle.id, now, "asked for by astra train --promote")
    return Trained(bundle.id, dict(bundle.spec.metrics), promoted or promote)


@contextmanager
def _bar(console: Console) -> Iterator[Told]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None)

        def told(step: int, steps: int, loss: float) -> None:
            bar.update(task, completed=step, total=steps, description=f"loss {loss:.4f}")

        yield told

"""The command: train every case with every seed, set the results beside the naive methods."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from astra.errors import AstraError, ConfigError
from benchmarks import results
from benchmarks.accuracy.cases import CASES, GOALS, NOTE, SEEDS, Goal
from benchmarks.accuracy.data import Series, held_out, read
from benchmarks.accuracy.metrics import Errors, errors, weighted
from benchmarks.accuracy.naive import naive, naive2, seasonal_naive
from benchmarks.accuracy.training import Trained, reached

RESULTS = results.LATEST.with_name("accuracy.json")
METHODS = ("naive", "seasonal naive", "Naive2")


@dataclass(frozen=True, slots=True)
class Line:
    """One goal and what was reached: `value` is the median of `seeds`, all in the goal's measure.

    Attributes:
        naive: of each of `METHODS`.
        holds: None if the figure is only stated.
    """

    title: str
    measure: str
    value: float
    seeds: tuple[float, ...]
    naive: dict[str, float]
    most: float | None
    holds: bool | None
    published: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if everything was measured, whether the goals are met or not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument(
        "--held-out", action="store_true",
        help="score on the last horizon of the training parts, where choices are made; no file",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    try:
        measured = measure(_folder(), SEEDS, on_held_out=chosen.held_out)
    except AstraError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    if not chosen.held_out:
        RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
    show(measured)
    return 0


def measure(folder: Path, seeds: Sequence[int], *, on_held_out: bool = False) -> dict[str, Any]:
    """Everything, a process for each core; the whole result as it is written.

    Raises:
        DataError: the series can't be read.
    """
    began = time.perf_counter()
    tasks = {case.name: read(folder, case.name) for case in CASES}
    if on_held_out:
        tasks = {name: held_out(series) for name, series in tasks.items()}
    longest_first = sorted(CASES, key=lambda case: -case.steps * len(case.variants))
    jobs = [(case, tasks[case.name], seed) for case in longest_first for seed in seeds]
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(reached, *zip(*jobs, strict=True)))
    lines = [line(goal, tasks, found) for goal in GOALS]
    return {
        "machine": results.machine(),
        "commit": results.commit(),
        "versions": results.versions(),
        "seeds": list(seeds),
        "seconds": round(time.perf_counter() - began),
        "scored_on": "held-out horizon of the training part" if on_held_out else "test part",
        "note": NOTE,
        "goals": [asdict(one) for one in lines],
        "trainings": [_rounded(one) for one in found],
    }


def line(goal: Goal, tasks: dict[str, Series], found: Sequence[Trained]) -> Line:
    """A goal's line; several data sets are averaged by their points, seed by seed."""
    by_seed: dict[int, dict[str, Errors]] = {one.seed: {} for one in found}
    for one in found:
        by_seed[one.seed][one.name] = one.errors

    def overall(of_one: dict[str, Errors]) -> float:
        points = [tasks[name].future.size for name in goal.names]
        each = [float(getattr(of_one[name], goal.measure.lower())) for name in goal.names]
        return round(weighted(each, points), 3)

    seeds = tuple(overall(of_seed) for of_seed in by_seed.values())
    value = statistics.median(seeds)
    return Line(
        title=goal.title,
        measure=goal.measure,
        value=value,
        seeds=seeds,
        naive={
            method: overall({name: naive_errors_of(method, tasks[name]) for name in goal.names})
            for method in METHODS
        },
        most=goal.most,
        holds=None if goal.most is None else value <= goal.most,
        published=goal.published,
    )


def show(measured: dict[str, Any]) -> None:
    """The goals as a table."""
    title = (
        f"{measured['machine']}; commit {measured['commit']}; {measured['scored_on']}; median of "
        f"seeds {', '.join(map(str, measured['seeds']))}; {measured['seconds']} s"
    )
    table = Table(
        title=title, title_justify="left", caption=measured["note"], caption_justify="left"
    )
    for name in ("series", "measure", "ours", "each seed", *METHODS, "published", "goal"):
        table.add_column(name)
    table.add_column("holds")
    for one in measured["goals"]:
        table.add_row(
            one["title"], one["measure"], f"{one['value']:g}",
            " ".join(f"{seed:g}" for seed in one["seeds"]),
            *(f"{one['naive'][method]:g}" for method in METHODS),
            one["published"] or "-",
            "stated" if one["most"] is None else f"<= {one['most']:g}",
            {None: "-", True: "yes", False: "NO"}[one["holds"]],
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _folder() -> Path:
    given = os.environ.get("ASTRA_TEST_DATA")
    if not given:
        raise ConfigError(
            "the accuracy bench needs ASTRA_TEST_DATA, the folder of the competitions' series, "
            "it is not set"
        )
    return Path(given)


def naive_errors_of(method: str, series: Series) -> Errors:
    """What one of `METHODS` scores."""
    past, horizon, period = series.past, series.horizon, series.period
    forecast = {
        "naive": lambda: naive(past, horizon),
        "seasonal naive": lambda: seasonal_naive(past, horizon, period),
        "Naive2": lambda: naive2(past, horizon, period),
    }[method]()
    return errors(forecast, series)


def _rounded(one: Trained) -> dict[str, Any]:
    return {
        "name": one.name,
        "seed": one.seed,
        **{name: round(value, 3) for name, value in asdict(one.errors).items()},
        "cpu_seconds": round(one.seconds, 1),
    }

"""The command: seeds shared among processes, then a report of what held and what did not."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from astra.settings import HOUSE
from benchmarks.chaos.mutants import MUTANTS
from benchmarks.chaos.report import Report
from benchmarks.chaos.work import How, Result, catch, work
from benchmarks.results import commit, machine, versions

SEEDS = 10_000
KILLED, FUZZED = 0.05, 2.0  # of the seeds: real processes killed, and fuzz inputs besides
PROCESSES = 2
BATCH = 20
MUTANT_SEEDS = range(200)  # each mutant must be caught within
RESULTS = HOUSE / "benchmarks" / "results" / "chaos.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if nothing was violated and every mutant was caught."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument(
        "--seeds",
        type=int,
        default=int(os.environ.get("SEEDS") or SEEDS),
        help=f"workers aborted in process; {100 * KILLED:g} %% as many are killed, {FUZZED:g} "
        f"times as many fuzz inputs offered; default SEEDS, else {SEEDS}",
    )
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed; of others than 0 no file is written"
    )
    parser.add_argument("--seed", type=int, help="this one only, in the way of --how")
    parser.add_argument("--how", choices=("aborted", "killed", "fuzzed"), default="aborted")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _repeat(chosen.how, chosen.seed)
    report = run(chosen.seeds, chosen.first)
    print(report.text())
    if chosen.first == 0:
        _write(chosen.results, report)
    return 0 if report.holds else 1


def run(seeds: int, first: int = 0) -> Report:
    """All three ways and the mutants, on `PROCESSES` processes."""
    started = time.monotonic()
    report = Report()
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        hunts = {pool.submit(catch, name, MUTANT_SEEDS): name for name in MUTANTS}
        batches = [pool.submit(work, how, batch) for how, batch in _batches(seeds, first)]
        for count, future in enumerate(as_completed(batches), start=1):
            report.add(future.result())
            _tell(f"\r{count} of {len(batches)} batches, {len(report.wrong)} violations")
        report.mutants = {name: future.result() for future, name in hunts.items()}
    _tell("\n")
    report.seconds = time.monotonic() - started
    return report


def _batches(seeds: int, first: int) -> list[tuple[How, range]]:
    counts: dict[How, int] = {
        "killed": round(seeds * KILLED),
        "fuzzed": round(seeds * FUZZED),
        "aborted": seeds,
    }
    return [
        (how, range(start, min(start + size, first + count)))
        for how, count in counts.items()
        for size in [BATCH * (10 if how == "fuzzed" else 1)]
        for start in range(first, first + count, size)
    ]


def _repeat(how: How, seed: int) -> int:
    """One seed again, with all that is known of it."""
    found: Result = work(how, [seed])
    for verdict in found.verdicts:
        print(verdict.case)
        print(f"deaths: {verdict.deaths}; {verdict.deliveries} deliveries, {verdict.seconds:.2f} s")
    for _, sentence in found.wrong:
        print(f"violated: {sentence}")
    print("nothing was violated" if not found.wrong else "")
    return 1 if found.wrong else 0


def _write(path: Path, report: Report) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"commit": commit(), "machine": machine(), "versions": versions(), **report.as_json()}
    path.write_text(json.dumps(whole, indent=1) + "\n")


def _tell(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)

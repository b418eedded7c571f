"""The whole trading loop as a person starts it: `astra run --json`, a process of its own, twice.

The first run meets cold file caches. The second must decide the same, and is the one reported.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from astra.errors import AstraError
from astra.settings import HOUSE
from benchmarks.results import Row
from benchmarks.timing import Timed, require_equal, timed

LIMIT_SECONDS = 600
ATTEMPTS = 3
STEPS = (
    ("forecast", "forecast of a decision", 2.0),
    ("optimize", "weights and trade of a decision", 2.0),
    ("total", "one decision from load to account log", 20.0),
)


def measure(arguments: Sequence[str] = ()) -> list[Row]:
    """Wall seconds of the second run, and of the steps of its median decision."""
    with TemporaryDirectory() as name:
        first, second = (_run(Path(name), arguments) for _ in range(2))
    decisions = [_chosen(run) for run in (first, second)]
    require_equal(float(decisions[0] != decisions[1]), 0, "the weights of two runs of one seed")
    report = second.answer
    case = f"astra run: {report['tickers']} tickers, {len(report['decisions'])} decisions"
    rows = [Row("cycle", f"{case}, second run", second.seconds, "s", 60, "lower")]
    for step, label, target in STEPS:
        seconds = statistics.median(d["seconds"][step] for d in report["decisions"])
        rows.append(Row("cycle", label, seconds, "s", target, "lower"))
    return rows


def _chosen(run: Timed) -> list[tuple[str, dict[str, float]]]:
    return [(d["as_of"], d["weights"]) for d in run.answer["decisions"]]


def _run(folder: Path, arguments: Sequence[str]) -> Timed:
    """One run of this checkout with default settings, whatever the shell or a .env file says.

    Raises:
        AstraError: the run failed; its last line says why.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith("ASTRA_")}
    ours = {**plain, "ASTRA_VAR": str(folder / "var"), "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-m", "astra.cli", "run", "--json", *arguments]

    def once() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=ours, capture_output=True, text=True,
            timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip

    for _ in range(ATTEMPTS):
        done = timed(once)
        if done.answer.returncode == 0:
            return Timed(done.seconds, _last_object(done.answer.stdout))
        if "is taken" not in done.answer.stderr:
            break  # a port lost to another program between probing and use is worth a new run
    said = done.answer.stderr.strip().splitlines()
    raise AstraError(f"astra run must succeed to be measured, it said: {said[-1] if said else ''}")


def _last_object(stdout: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return found

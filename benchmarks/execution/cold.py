"""The function in a fresh interpreter, until it could take its first event."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from astra.errors import AstraError
from astra.settings import HOUSE
from benchmarks.execution.house import opened
from benchmarks.results import Row
from benchmarks.timing import Timed, require_equal, timed

BANNED = ("torch", "darts", "skfolio", "pytorch_lightning", "mlflow", "alembic", "model")
LIMIT_SECONDS = 60
# Loads the function as functions-framework does, then connects it as its first event would.
_SCRIPT = """
import json, sys
import functions_framework
functions_framework.create_app("rebalance", sys.argv[1], "cloudevent")
loaded = sorted(sys.modules)
from astra import settings
from astra.execution.desk import Desk
from astra.gcs import Bucket
found = settings.load()
Bucket.from_settings(found), Desk.from_settings(found)
print(json.dumps(loaded + sorted(sys.modules)))
"""


def starts(rounds: int) -> list[Row]:
    """Wall seconds of the whole process, its end included; none of `BANNED` is loaded."""
    with TemporaryDirectory() as name, opened(Path(name), 2) as house:
        ready = [_start(house.environment) for _ in range(rounds)]
    return [
        Row("execution", "cold start of the function, store and vendors connected",
            statistics.median(t.seconds for t in ready), "s", 2, "lower",
            f"{statistics.median(t.answer for t in ready):.2f} s of CPU; without "
            f"{', '.join(BANNED)}: checked"),
    ]  # fmt: skip


def _start(environment: dict[str, str]) -> Timed:
    """One process, with the seconds of CPU that it took."""
    source = str(HOUSE / "rebalance_function" / "main.py")
    command = [sys.executable, "-c", _SCRIPT, source]
    ours = {**os.environ, **environment, "PYTHONPATH": str(HOUSE)}
    before = _children_cpu()
    done = timed(
        lambda: subprocess.run(
            command, env=ours, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    )
    if done.answer.returncode:
        said = done.answer.stderr.strip().splitlines()
        raise AstraError(f"the function must start to be measured, it said: {said[-1:]}")
    loaded = {name.partition(".")[0] for name in json.loads(done.answer.stdout.splitlines()[-1])}
    require_equal(len(loaded & set(BANNED)), 0, f"modules loaded and {', '.join(BANNED)}")
    return Timed(done.seconds, _children_cpu() - before)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""The result file: one row per case, each group with the commit and the machine it was measured on.

The machine is described by what decides speed. Its name and its folders are nobody's business.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from astra.settings import HOUSE

LATEST = HOUSE / "benchmarks" / "results" / "latest.json"
PACKAGES = (
    "numpy", "scipy", "pandas", "pyarrow", "sqlalchemy", "onnxruntime", "torch", "darts",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and what it should be.

    Attributes:
        value: in `unit`; None if it could not be measured, with the reason in `against`.
        against: what a ratio compares with, "" for a figure of its own.
    """

    group: str
    case: str
    value: float | None
    unit: str
    target: float
    better: Literal["lower", "higher"]
    against: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met; what was not measured does not hold."""
        if self.value is None:
            return False
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "case": self.case,
            "value": None if self.value is None else float(f"{self.value:.4g}"),
            "unit": self.unit,
            "against": self.against,
            "target": self.target,
            "better": self.better,
            "holds": self.holds,
        }


def record(path: Path, group: str, rows: Sequence[Row]) -> None:
    """Put `rows` in the place of the group's former ones; the other groups stay as they are.

    `machine`, `commit` and `versions` are of this run, `measured` has each group's own.
    """
    held = json.loads(path.read_text()) if path.exists() else {}
    others = [r for r in held.get("results", []) if r["group"] != group]
    here = {"commit": commit(), "machine": machine()}
    measured = {g: m for g, m in held.get("measured", {}).items() if g != group}
    whole = {
        **here,
        "versions": versions(),
        "measured": dict(sorted({**measured, group: here}.items())),
        "results": others + [r.as_json() for r in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(whole, indent=1) + "\n")
    fresh.replace(path)


def machine() -> str:
    """Cores, processor, memory, system, Python and BLAS threads in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {memory:.0f} GiB, {_system()}, "
        f"Python {platform.python_version()}, BLAS threads: {_blas_threads()}"
    )


def _blas_threads() -> int:
    """As the loaded libraries have it, whatever the environment asked for; 0 if there are none."""
    import_module("numpy")  # a group that only starts processes has not loaded it
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=0)


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"


def commit() -> str:
    """The commit measured, with "-dirty" if code had been changed since; "unknown" outside git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        ours = f":(exclude){LATEST.parent.relative_to(HOUSE)}"  # written group by group
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ours)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head


def _git(*words: str) -> str:
    command = ["git", "-C", str(HOUSE), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    """Of the libraries that do the work; those not installed are left out."""
    found = {"sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

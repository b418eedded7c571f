"""The command: measure groups, write each one's rows as soon as it is done, show a table."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from astra.errors import AstraError, ConfigError
from benchmarks import results

GROUPS = ("store", "forecast", "portfolio", "execution", "pages", "cycle")
# Modules of a group that has more than its own.
PARTS = {"portfolio": ("portfolio", "ledger", "walk")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if everything was measured, whether the targets hold or not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="GROUP", help="one of " + ", ".join(GROUPS))
    parser.add_argument("--results", type=Path, default=results.LATEST, metavar="FILE")
    chosen = parser.parse_args(arguments)
    try:
        run(groups(chosen.only), chosen.results)
    except AstraError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def groups(only: str | None) -> tuple[str, ...]:
    """All, or the one named.

    Raises:
        ConfigError: there is no such group.
    """
    if only is None:
        return GROUPS
    if only not in GROUPS:
        raise ConfigError(f"--only needs one of {', '.join(GROUPS)}, found {only!r}")
    return (only,)


def run(chosen: Sequence[str], path: Path) -> None:
    """Measure and show."""
    for group in chosen:
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        # One group's libraries must not slow another's first turn, so each is loaded on its turn.
        rows: list[results.Row] = []
        for part in PARTS.get(group, (group,)):
            rows += importlib.import_module(f"benchmarks.{part}").measure()
        results.record(path, group, rows)
    show(json.loads(path.read_text()), chosen)


def show(whole: dict[str, Any], chosen: Sequence[str]) -> None:
    """The rows of the chosen groups as a table."""
    table = Table(title=f"{whole['machine']}; commit {whole['commit']}", title_justify="left")
    for name in ("group", "case", "value", "target", "against"):
        table.add_column(name, justify="right" if name in ("value", "target") else "left")
    table.add_column("holds")
    for row in whole["results"]:
        if row["group"] not in chosen:
            continue
        sign = "<=" if row["better"] == "lower" else ">="
        value = "-" if row["value"] is None else f"{row['value']:,g} {row['unit']}"
        target = f"{sign} {row['target']:,g}"
        holds = "yes" if row["holds"] else "NO"
        table.add_row(row["group"], row["case"], value, target, row["against"], holds)
    Console(width=None if sys.stdout.isatty() else 160).print(table)

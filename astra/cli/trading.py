"""`rebalance`: drops an allocation file, shows what it would do, or goes on with what was begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astra.cli.options import out, read_settings
from astra.errors import ConfigError, DataError, TemporaryError

if TYPE_CHECKING:
    from astra.settings import Settings


def rebalance(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="target_<YYYYMMDD-HHMMSS>_<tag>.csv: ticker,weight"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan, send nothing")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with what was begun and not finished")
    ] = False,
) -> None:
    """Drop an allocation file in the bucket, which triggers the trade; or show what it would do.

    With --resume no file is given, and the exit code is 4 while something is still unfinished.
    """
    if resume == (file is not None) or (resume and dry_run):
        raise ConfigError(
            "rebalance takes a FILE (with --dry-run to look only), or --resume alone: give one of "
            "them"
        )
    settings = read_settings()
    if file is None:
        _resume(settings)
        return
    if not file.is_file():
        raise DataError(f"an allocation file is required, {file} is none")
    if dry_run:
        _show(file.name, file.read_bytes(), settings)
    else:
        _drop(file.name, file.read_bytes(), settings)


def _drop(name: str, content: bytes, settings: Settings) -> None:
    from astra.allocation import parse
    from astra.gcs import Bucket

    parse(name, content, {}, settings.k)
    generation = Bucket.from_settings(settings).create_once(name, content, "text/csv", {})
    out.print(f"dropped {name} (generation {generation}) in {settings.bucket}")


def _show(name: str, content: bytes, settings: Settings) -> None:
    from astra.cli.preview import look, report
    from astra.execution.desk import Desk

    desk = Desk.from_settings(settings)
    costs = settings.half_spread_bp, settings.fee_bp
    for part in report(look(desk, settings.bucket, name, content), *costs):
        out.print(part)


def _resume(settings: Settings) -> None:
    from astra.execution.desk import Desk
    from astra.execution.executor import Executor

    rows = Executor(Desk.from_settings(settings)).resume()
    for row in rows:
        reason = f": {row.reason}" if row.reason else ""
        out.print(f"{row.object} {row.status}{reason}", soft_wrap=True, markup=False)
    unfinished = sum(not row.is_final for row in rows)
    if unfinished:
        out.print(f"{unfinished} of {len(rows)} not finished yet: try again in a minute")
        raise typer.Exit(TemporaryError.exit_code)
    if not rows:
        out.print("nothing is unfinished")

"""`rebalance`: drops an allocation file, shows what it would do, or goes on with what was begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astra.cli.options import err, out, read_settings
from astra.errors import ConfigError, DataError, TemporaryError

if TYPE_CHECKING:
    from astra.gcs import Bucket
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
    do = _show if dry_run else _drop
    do(file.name, _read(file), settings)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"an allocation file is required, {file}: {error.strerror}") from error


def _drop(name: str, content: bytes, settings: Settings) -> None:
    from astra.allocation import parse
    from astra.gcs import Bucket

    parse(name, content, {}, settings.k)
    generation = Bucket.from_settings(settings).create_once(name, content, "text/csv", {})
    _say(f"dropped {name} (generation {generation}) in {settings.bucket}")


def _show(name: str, content: bytes, settings: Settings) -> None:
    from astra.cli.preview import look, report
    from astra.execution.desk import Desk

    desk = Desk.from_settings(settings)
    costs = settings.half_spread_bp, settings.fee_bp
    for part in report(look(desk, settings.bucket, name, content), *costs):
        out.print(part)


def _resume(settings: Settings) -> None:
    from astra.execution.desk import Desk
    from astra.execution.resuming import resume

    found = resume(Desk.from_settings(settings), _bucket(settings))
    if found.stopped:
        _say(f"the breakers stopped the account: {found.stopped}; astra lift says what now holds")
    for row in found.allocations:
        _say(f"{row.object} {row.status}{f': {row.reason}' if row.reason else ''}")
    unfinished = sum(not row.is_final for row in found.allocations)
    if unfinished:
        _say(f"{unfinished} of {len(found.allocations)} not finished yet: try again in a minute")
        raise typer.Exit(TemporaryError.exit_code)
    if not found.allocations:
        _say("nothing is unfinished")


def _bucket(settings: Settings) -> Bucket | None:
    """None, and said so, where this machine has no credentials for it: orders come first."""
    from astra.gcs import Bucket

    try:
        return Bucket.from_settings(settings)
    except ConfigError as error:
        err.print(f"refused files are not copied aside: {error}", soft_wrap=True, markup=False)
        return None


def _say(text: str) -> None:
    out.print(text, soft_wrap=True, markup=False)

"""`astra audit verify`: whether the log of what was done still is what was written."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from astra import settings as astra_settings
from astra.errors import DataError

app = typer.Typer(help="The audit log: what was done, line by line.", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(metavar="HASH", help="the head that an earlier verify printed")
    ] = "",
) -> None:
    """Follow the chain of hashes through the whole log; exit 3 at the first line that breaks it."""
    from astra.store import open_store

    store = open_store(astra_settings.load().database_url)
    try:
        found = store.audit.verify(head)
    finally:
        store.close()
    out.print(f"{found.lines:,} lines hold, {_until(found.last_at)}")
    out.print(f"head {found.head}")
    if found.broken is not None:
        raise DataError(
            f"an unbroken audit log is required, line {found.broken.seq:,} breaks it: "
            f"{found.broken.reason}; hold it against a backup"
        )
    if head and found.noted is None:
        raise DataError(
            "the noted head must be the hash of a line, none of this log has it: its end was cut "
            "off, or lines up to it were written anew; hold it against a backup"
        )
    if head:
        out.print(f"the noted head is line {found.noted:,}: nothing up to it was changed")
    else:
        out.print(
            "note the head elsewhere and give it as --head next time: the chain alone does not "
            "show lines cut off at its end, nor lines that were all written anew"
        )


def _until(at: object) -> str:
    return f"the last of {at:%Y-%m-%d %H:%M:%S} UTC" if at else "the log is empty"

"""`astra audit`: what was done, line by line, and whether the log still is what was written."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from astra.cli.options import AsJson, out, read_settings
from astra.errors import DataError
from astra.sessions import NEW_YORK

if TYPE_CHECKING:
    from astra.store.audit import Audit, Entry

app = typer.Typer(help="The audit log: what was done, line by line.", no_args_is_help=True)

_FOR_MACHINES = ("broker_id", "generation")
_LONG = 80  # characters of a table of its own


@app.command()
def show(
    last: Annotated[int, typer.Option(min=1, metavar="N", help="the newest N lines")] = 20,
    about: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="only lines that hold it: an order, an allocation, an account, a file, a day",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the newest lines of the log: what was received, planned, sent, filled, halted, by whom.

    Times are the market's, that of a fill the broker's. --json tells all of a line.
    """
    with _log() as log:
        lines = (entry for entry in log.entries() if about in json.dumps(_whole(entry)))
        found = deque(lines, maxlen=last)
    if as_json:
        print(json.dumps({"lines": [_whole(e) for e in found]}))  # noqa: T201 - the answer itself
    elif found:
        out.print(_table(found))
        accounts = sorted({entry.account for entry in found})
        out.print(f"account {', '.join(accounts)}", style="dim", markup=False)
    else:
        held = f"no line of the log holds {about!r}" if about else "the log is empty"
        out.print(held, soft_wrap=True, markup=False)


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(metavar="HASH", help="the head that an earlier verify printed")
    ] = "",
) -> None:
    """Follow the chain of hashes through the whole log; exit 3 at the first line that breaks it."""
    with _log() as log:
        found = log.verify(head)
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


@contextmanager
def _log() -> Iterator[Audit]:
    from astra.store import open_store

    store = open_store(read_settings().database_url)
    try:
        yield store.audit
    finally:
        store.close()


def _until(at: object) -> str:
    return f"the last of {at:%Y-%m-%d %H:%M:%S} UTC" if at else "the log is empty"


def _whole(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "account": entry.account,
        "kind": entry.kind,
        "subject": entry.subject,
        "content": entry.content,
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _table(entries: deque[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("line", justify="right")
    for name in ("UTC", "New York"):
        table.add_column(name, no_wrap=True)
    table.add_column("what was done", overflow="fold")
    for entry in entries:
        table.add_row(
            str(entry.seq),
            f"{entry.at:%Y-%m-%d %H:%M}",
            f"{entry.at.astimezone(NEW_YORK):%H:%M}",
            escape(_told(entry)),
        )
    return table


def _told(entry: Entry) -> str:
    """A line in words, whatever its kind; what only machines read is left to --json."""
    status = entry.content.get("status")
    others = (
        f"{name.removeprefix('filled_').replace('_', ' ')} {_short(value)}"
        for name, value in entry.content.items()
        if value not in (None, "", {}) and name not in ("status", *_FOR_MACHINES)
    )
    told = ", ".join([status, *others] if status else others)
    return f"{entry.kind} {entry.subject}{f': {told}' if told else ''}"


def _short(value: object) -> str:
    """What has parts is counted."""
    return str(len(value)) if isinstance(value, Mapping) and len(str(value)) > _LONG else str(value)

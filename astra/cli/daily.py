"""`astra report`: writes a day of the account on one page and says where it is."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from astra.cli.options import AsJson, out, read_settings


def report(
    date: Annotated[
        dt.datetime | None,
        typer.Argument(
            formats=["%Y-%m-%d"], metavar="DATE", help="default: the last session on record"
        ),
    ] = None,
    day: Annotated[
        bool, typer.Option("--day", help="of a session's day; every report is of one so far")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="default: reports in ASTRA_VAR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a session's day of the account on one page, as HTML and as PDF."""
    from astra.report import files

    settings = read_settings()
    asked = None if date is None else date.date()
    found = files.report(settings, asked, folder or settings.var / "reports")
    if as_json:
        answer = {
            "account": found.account,
            "market": found.market,
            "day": found.day.isoformat(),
            "as_of": found.as_of.isoformat(),
            "html": str(found.html),
            "pdf": str(found.pdf),
        }
        print(json.dumps(answer))  # noqa: T201 - the answer itself
        return
    out.print(f"Account {escape(found.account)} on {found.day}:", soft_wrap=True)
    for path in (found.html, found.pdf):
        out.print(f"  {escape(str(path))}", soft_wrap=True)

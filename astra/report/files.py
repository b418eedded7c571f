"""A report's files: whole or not there, and the same again of the same day."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from astra.errors import ConfigError
from astra.report import paper, web, wording
from astra.report.day import gather
from astra.settings import Settings
from frontend.feed import Feed


@dataclass(frozen=True, slots=True)
class Written:
    """Where the report of a day is, and of what it is."""

    account: str
    market: str
    day: dt.date
    as_of: dt.datetime
    html: Path
    pdf: Path


def report(settings: Settings, asked: dt.date | None, folder: Path) -> Written:
    """Write the report of a day, None = the last session with a record, in both forms.

    Raises:
        ConfigError: there is no such day, see `astra.report.session.chosen`, no database or no
            account in it, or the folder cannot be written to; nothing is written then.
        DataError: a record cannot be read.
        TemporaryError: the store does not answer.
    """
    feed = Feed(settings)
    try:
        day = gather(feed.store, feed.pulse(), settings, asked)
    finally:
        feed.store.close()
    sheet, date = wording.sheet(day), day.bounds.session.date
    name = f"report-{re.sub(r'[^A-Za-z0-9_-]', '_', day.account)}-{date}"
    contents = {f"{name}.html": web.page(sheet, day), f"{name}.pdf": paper.page(sheet, day)}
    html, pdf = write(folder, contents)
    return Written(day.account, day.market, date, day.as_of, html, pdf)


def write(folder: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Put files into a folder, made if need be; a reader sees the former or the new one whole.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    staged: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            part = folder / f".{name}.{os.getpid()}.part"
            staged[part] = folder / name
            part.write_bytes(content)
        for path, final in staged.items():
            path.replace(final)
    except OSError as error:
        raise ConfigError(
            f"a report needs a folder to write to, {folder} is none: {error}"
        ) from error
    finally:
        for path in staged:
            with suppress(OSError):  # what has been said above counts
                path.unlink(missing_ok=True)
    return tuple(folder / name for name in contents)

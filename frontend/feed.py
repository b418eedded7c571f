"""The page's only source: the store, which it reads and never writes. Nothing is decided here."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from astra.errors import ConfigError
from astra.settings import Settings
from astra.store import Store, connect


@dataclass(frozen=True, slots=True)
class Pulse:
    """What there is to read right now.

    `prices` and `books` are counters that grow with each change of these tables; `now` is the
    market's time, None before the first load; `market` is the store's identity, "" if none is
    known; `accounts` has the one that was recorded last first.
    """

    prices: int
    books: int
    now: dt.datetime | None
    market: str
    accounts: tuple[str, ...]


class Feed:
    """An open store.

    Args:
        settings: whose database.

    Raises:
        ConfigError: there is no database yet, or its tables are not those of this release.
        TemporaryError: it does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.database_url
        _require_file(self.url)
        self.store = connect(self.url)
        _require_tables(self.store)

    def pulse(self) -> Pulse:
        """Five short statements, cheap enough for every refresh. Raises as the constructor."""
        store = self.store
        versions = store.versions()
        return Pulse(
            prices=versions.get("prices", 0),
            books=versions.get("books", 0),
            now=store.now(),
            market=store.market() or "",
            accounts=tuple(store.books.accounts()),
        )


def _require_file(url: str) -> None:
    found = make_url(url)
    if found.get_backend_name() != "sqlite" or not found.database:
        return
    if not Path(found.database).is_file():
        raise ConfigError(
            f"a database is required, there is none at {found.database} yet: start the services "
            "with `astra up`, or bring it up to date with `astra db upgrade`"
        )


def _require_tables(store: Store) -> None:
    if store.is_current():
        return
    raise ConfigError(
        f"tables of this release are required, the database is at revision "
        f"{store.revision() or 'none'}: run `astra db upgrade`, or start the services with "
        "`astra up`"
    )

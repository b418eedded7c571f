"""The page's only source: tables over HTTP from the ETL service. Nothing is decided here."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import pandas as pd

from astra.services import Services
from astra.settings import Settings


@dataclass(frozen=True, slots=True)
class Pulse:
    """What there is to read right now.

    `version` changes when something that the page shows changed; `now` is the market's time, None
    before the first load; `market` is the store's identity, "" if none is known; `accounts` has
    the one that was recorded last first.
    """

    version: str
    now: dt.datetime | None
    market: str
    accounts: tuple[str, ...]


class Feed:
    """Reads tables from the ETL service.

    Every call raises TemporaryError when the service is down or busy, ConfigError when it refuses
    our credential, DataError when it does not know what was asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.etl_url
        self._services = Services(settings, read_seconds=settings.vendor_timeout)

    def pulse(self) -> Pulse:
        """Ask the two tables that every hour adds to, keys only; cheap enough for every refresh."""
        books = self._services.dump("account_summary", columns="account,at")
        made = self._services.dump("decisions", columns="object,as_of")
        seen = (books.table.to_pydict(), made.table.to_pydict(), books.as_of, books.market)
        version = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
        recorded = books.table.sort_by([("at", "descending")])["account"].to_pylist()
        return Pulse(version, books.now, books.market, tuple(dict.fromkeys(recorded)))

    def table(self, name: str, **filters: str) -> pd.DataFrame:
        """A table's rows; instants as UTC timestamps, amounts as decimal strings."""
        frame: pd.DataFrame = self._services.dump(name, **filters).table.to_pandas()
        # tickers may travel as a dictionary; here they are plain text
        coded = frame.select_dtypes("category").columns
        return frame.astype(dict.fromkeys(coded, "str"))

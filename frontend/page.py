"""What every page is handed: one account, at one version of the store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from astra.settings import Settings
from astra.store import Store
from frontend import decision
from frontend.decision import Decision
from frontend.feed import Pulse
from frontend.reader import Reader


@dataclass(frozen=True, slots=True)
class Page:
    """One account at one version of the store.

    Attributes:
        account: its number.
        now: the market's time.
        market: the store's identity, "" if not known yet.
    """

    reader: Reader
    settings: Settings
    account: str
    now: dt.datetime
    market: str

    @classmethod
    def of(cls, reader: Reader, settings: Settings, pulse: Pulse, account: str) -> Page:
        """The page of `account`, which has been recorded."""
        at = reader.read(recorded_at, account)
        return cls(reader, settings, account, max(pulse.now or at, at), pulse.market)

    def table(self, name: str, **filters: object) -> pd.DataFrame:
        """A table's rows, see `Reader.table`."""
        return self.reader.table(name, **filters)

    def universe(self) -> pd.DataFrame:
        """The members of today: ticker, name, sector, ..."""
        members = self.table("universe")
        return members[members["valid_to"].isna()]

    def names(self) -> dict[str, str]:
        """Company names by ticker."""
        members = self.universe()
        return dict(zip(members["ticker"], members["name"], strict=True))

    def latest_decision(self) -> Decision | None:
        """The decision of the newest as_of, or None before the first."""
        known = self.table("decisions", columns=("object", "as_of"))
        if known.empty:
            return None
        newest = known["as_of"].max().to_pydatetime()
        documents = self.table("decisions", columns=("as_of", "document"), start=newest)
        return decision.parse(str(documents["document"].iloc[-1]))

    def recorded_at(self) -> dt.datetime:
        """When the account was recorded last."""
        return self.reader.read(recorded_at, self.account)


def recorded_at(store: Store, account: str) -> dt.datetime:
    """When the account was recorded last; it must have been."""
    return store.books.accounts()[account]

"""What every page is handed: one account, at one version of the store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from astra.settings import Settings
from astra.store import Store
from frontend import decided, decision
from frontend.decision import Decision
from frontend.feed import Pulse
from frontend.reader import Reader

_SECOND = dt.timedelta(seconds=1)


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

    def decisions(self) -> pd.DataFrame:
        """The account's decisions: object, as_of, policy, tau; the newest last."""
        known = self.table("decisions", columns=("object", "as_of", "policy", "tau"))
        own = known[known["object"].isin(self.reader.read(decided.own, self.account))]
        return own.sort_values(["as_of", "object"], ignore_index=True)

    def decision(self, name: str, as_of: dt.datetime) -> Decision:
        """The decision of this object, which is on record with this as_of."""
        told = self.table("decisions", columns=("object", "document"), start=as_of,
                          end=as_of + _SECOND)  # fmt: skip
        return decision.parse(str(told[told["object"] == name]["document"].iloc[0]))

    def own_decision(self) -> Decision | None:
        """The account's newest decision, or None before the first."""
        return self._newest(self.decisions())

    def latest_decision(self) -> Decision | None:
        """The newest decision, whose ever it is, or None before the first: forecasts are nobody's
        own."""
        known = self.table("decisions", columns=("object", "as_of"))
        return self._newest(known.sort_values(["as_of", "object"]))

    def _newest(self, known: pd.DataFrame) -> Decision | None:
        if known.empty:
            return None
        last = known.iloc[-1]
        return self.decision(str(last["object"]), last["as_of"].to_pydatetime())

    def recorded_at(self) -> dt.datetime:
        """When the account was recorded last."""
        return self.reader.read(recorded_at, self.account)


def recorded_at(store: Store, account: str) -> dt.datetime:
    """When the account was recorded last; it must have been."""
    return store.books.accounts()[account]

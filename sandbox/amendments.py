"""What was done to a market at run time: splits, corrections, stops, comings, goings, new names.

Here is the memory of it, empty at first. What an event must look like and when it is possible is
`sandbox.market_events`' business, what follows from it `sandbox.market`'s and `sandbox.view`'s.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.tape import CorporateAction, Tape

ALL = "*"


@dataclass(frozen=True, slots=True)
class Correction:
    """A closed bar's new close (USD) and volume, per share of when it was made.

    `shares` are those for each share of the record's beginning then; None leaves a value alone.
    """

    ts: int
    close: float | None
    volume: int | None
    shares: float


@dataclass(frozen=True, slots=True)
class Joiner:
    """A ticker listed later than the rest: its own record, shown from `at` on, row 0."""

    tape: Tape
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Renaming:
    """A ticker that is another one from `at` on."""

    at: dt.datetime
    before: str
    after: str


@dataclass(slots=True)
class Amendments:
    """Thread-safe: each mapping is replaced, never changed, so that readers need no lock.

    All but `renamings` and `names` goes by the name that a ticker has in its record.

    Attributes:
        splits: by ticker, ascending.
        corrections: by ticker, then by the bar's start in epoch seconds.
        stops: (vendor, ticker or *) to the time after which its feed holds nothing.
        delisted: when a ticker's last trade could be.
        joined: tickers listed at run time.
        renamings: oldest first.
        names: every name that was taken later, to the record's.
        done: every event as it was taken, oldest first.
    """

    splits: Mapping[str, tuple[CorporateAction, ...]] = field(default_factory=dict)
    corrections: Mapping[str, Mapping[int, Correction]] = field(default_factory=dict)
    stops: Mapping[tuple[str, str], dt.datetime] = field(default_factory=dict)
    delisted: Mapping[str, dt.datetime] = field(default_factory=dict)
    joined: Mapping[str, Joiner] = field(default_factory=dict)
    renamings: tuple[Renaming, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    done: tuple[Mapping[str, Any], ...] = ()
    lock: threading.RLock = field(default_factory=threading.RLock)  # held while an event is taken

    def split(self, action: CorporateAction) -> None:
        """Split a ticker's shares at `action.at`."""
        known = (*self.splits.get(action.ticker, ()), action)
        self.splits = {**self.splits, action.ticker: tuple(sorted(known, key=lambda a: a.at))}

    def correct(self, ticker: str, correction: Correction) -> None:
        """Show another value for a closed bar, in the place of any earlier correction of it."""
        known = {**self.corrections.get(ticker, {}), correction.ts: correction}
        self.corrections = {**self.corrections, ticker: known}

    def stop(self, vendors: tuple[str, ...], ticker: str, at: dt.datetime) -> None:
        """Let the feeds of `vendors` end at `at`, for one ticker or for all."""
        self.stops = {**self.stops, **{(vendor, ticker): at for vendor in vendors}}

    def resume(self, vendors: tuple[str, ...], ticker: str) -> bool:
        """Lift the stops of one ticker, or all of them; False if there were none."""
        lifted = {k for k in self.stops if k[0] in vendors and ticker in (k[1], ALL)}
        self.stops = {k: at for k, at in self.stops.items() if k not in lifted}
        return bool(lifted)

    def stopped_at(self, vendor: str, ticker: str) -> dt.datetime | None:
        """The time after which a vendor's feed of a ticker holds nothing; None = it goes on."""
        if not self.stops:
            return None
        found = (self.stops.get((vendor, name)) for name in (ticker, ALL))
        return min((at for at in found if at is not None), default=None)

    def delist(self, ticker: str, at: dt.datetime) -> None:
        """End a ticker's trading."""
        self.delisted = {**self.delisted, ticker: at}

    def join(self, ticker: str, joiner: Joiner) -> None:
        """List a new ticker."""
        self.joined = {**self.joined, ticker: joiner}

    def rename(self, renaming: Renaming) -> None:
        """Let a ticker be another one."""
        record = self.names.get(renaming.before, renaming.before)
        self.names = {**self.names, renaming.after: record}
        self.renamings = (*self.renamings, renaming)

    def name_of(self, record: str) -> str:
        """The name that a ticker of the record has now."""
        later = [r.after for r in self.renamings if self.names.get(r.after) == record]
        return later[-1] if later else record

    def note(self, event: Mapping[str, Any]) -> None:
        """Remember an event for `/sandbox/state`."""
        self.done = (*self.done, event)

"""What a source of bars is: from tickers, each with a start, to what each of them brought."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd

from astra.store.feeds import Feed

Status = Literal["ok", "empty", "error", "rate_limited"]
# No two answers of one load lie further apart, not even on a clock that runs 600 times as fast.
_APART = dt.timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What asking for one ticker brought.

    Attributes:
        frame: offered bars with the columns of `astra.bars.COLUMNS`, forming one included: to be
            validated at `now`.
        now: the vendor's time of the answer.
        message: one sentence if the status is not ok.
        split: shares for one of a split that lies in the window, so that older bars are on
            another scale; None if the vendor tells of none.
        passes: the failure passes, the same request may succeed later.
        unreachable: there was no answer, or one that would be anybody's: the vendor is down, or
            refuses us.
        unknown: the vendor does not know the ticker: delisted, renamed or misspelt.
    """

    ticker: str
    status: Status
    frame: pd.DataFrame
    now: dt.datetime
    message: str = ""
    split: float | None = None
    passes: bool = False
    unreachable: bool = False
    unknown: bool = False


class Source(Protocol):
    """A vendor of 5-minute bars. Safe to share between threads."""

    @property
    def name(self) -> str:
        """For people and for the source's row in the store: yahoo, alpaca."""

    @property
    def feed(self) -> Feed:
        """What the bars it serves are marked with."""

    @property
    def market(self) -> str:
        """Identity of the market that answered last; a real vendor names none: `real`."""

    @property
    def retry_after(self) -> float:
        """Seconds after which the vendor wants to be asked again."""

    def ask_now(self) -> dt.datetime:
        """The vendor's time, by one small request.

        Raises:
            TemporaryError: no answer, or one without a date.
            ConfigError: the vendor wants keys that are missing or wrong.
        """

    def earliest(self, now: dt.datetime) -> dt.datetime:
        """The start of the oldest bars that it serves."""

    def requests(self, tickers: int) -> int:
        """How many requests `tickers` tickers cost, at least."""

    def fetch(self, starts: Mapping[str, dt.datetime | None]) -> Iterator[Fetched]:
        """Bars of each ticker from its start (None, or too old: as far back as it reaches) to now.

        In the order in which the answers come, one `Fetched` for each ticker; a failure is a
        status, never an exception. Closing the iterator stops asking.
        """


def agree(one: dt.datetime, other: dt.datetime) -> bool:
    """Whether both times can be true within one load; a clock a day off does not agree."""
    return abs(one - other) < _APART

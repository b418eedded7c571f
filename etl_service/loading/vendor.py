"""A source of bars behind its breaker and its budget, which all loads of all processes share."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, Self, cast

from astra import bars
from astra.errors import TemporaryError
from astra.store.feeds import Feed
from astra.store.loads import Loads, SourceRow
from etl_service.loading import breaker, budget
from etl_service.loading.breaker import Admission, Failure
from etl_service.loading.priority import Tier
from etl_service.sources.source import Fetched, Source, Status, agree

log = logging.getLogger("etl_service")


class Vendor:
    """One vendor of bars.

    Args:
        limit: requests an hour of its time, one for each ticker; None = they are only counted.
        wall: seconds of the machine's clock, for the breaker only.
    """

    def __init__(
        self,
        source: Source,
        loads: Loads,
        limit: int | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.loads = loads
        self.limit = limit
        self.wall = wall

    @property
    def name(self) -> str:
        return self.source.name

    def is_open(self) -> bool:
        """Whether nobody may ask it now."""
        return breaker.position(self.loads.source(self.name), self.wall()) == "open"

    def retry_after(self) -> float:
        """Seconds after which it may be asked again; 0 if it may be now."""
        row = self.loads.source(self.name)
        wall = self.wall()
        return row.retry_at - wall if breaker.position(row, wall) == "open" else 0.0

    def visit(self) -> Visit:
        """Come to ask; `stopped` says why not, if the breaker is open."""
        row = self.loads.source(self.name)
        admission = Admission("closed")
        if row.retry_at:
            row, admission = self.change(lambda r: breaker.enter(r, self.wall()))
        return Visit(self, row, admission)

    def change(self, rule: Callable[[SourceRow], tuple[SourceRow, Any]]) -> tuple[SourceRow, Any]:
        """Apply a rule to the shared row; a breaker that moves is logged, by who moves it."""

        def watched(row: SourceRow) -> tuple[SourceRow, Any]:
            after, found = rule(row)
            return after, (found, after.retry_at != row.retry_at)

        after, (found, has_moved) = self.loads.change_source(self.name, watched)
        is_probe = isinstance(found, Admission)
        state = "half-open" if is_probe else breaker.position(after, self.wall())
        if has_moved and (is_probe or state != "half-open"):
            log.warning(
                "source=%s breaker=%s failures=%d message=%s",
                self.name, state, after.failures, after.message,
            )  # fmt: skip
        return after, found

    def describe(self, now: dt.datetime | None) -> dict[str, Any]:
        """Its state, as it stands in the answer of a load at `now`, the vendor's time."""
        row = self.loads.source(self.name)
        retry_at = dt.datetime.fromtimestamp(row.retry_at, dt.UTC) if row.retry_at else None
        return {
            "name": self.name,
            "feed": row.feed,
            "breaker": breaker.position(row, self.wall()),
            "retry_at": retry_at and retry_at.isoformat(timespec="seconds"),
            "spent": row.spent if now is None else budget.spent(row, now),
            "budget": self.limit,
        }


class Visit:
    """The asking of one load.

    Attributes:
        stopped: why nobody asks any more, as a sentence; "" while one may.
        stopped_as: what that is for tickers that are not asked for.
    """

    def __init__(self, vendor: Vendor, row: SourceRow, admission: Admission) -> None:
        self._vendor = vendor
        self._source = vendor.source
        self._admission = admission
        self._failures = row.failures
        self._taken_at: dt.datetime | None = None
        self._now: dt.datetime | None = None
        self.stopped = _closed(vendor.name, row) if admission.position == "open" else ""
        self.stopped_as: Status = "rate_limited"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A probe that was not made is another call's to make."""
        if self._admission.position == "half-open":
            wall = self._vendor.wall()
            self._vendor.change(lambda r: (breaker.leave(r, self._admission, wall), None))

    def begin(self, known: dt.datetime | None) -> tuple[dt.datetime, Feed]:
        """The vendor's time and feed, by a small request that the budget does not count.

        Args:
            known: its latest time that any load has met; one far from it is asked for twice, since
                bars, budgets and decisions go by it.

        Raises:
            TemporaryError: there is no answer, or two that cannot both be true.
            ConfigError: the vendor wants keys that are missing or wrong.
        """
        try:
            self._now = self._source.ask_now()
            if known is None or not agree(self._now, known):
                self._now = _confirmed(self._now, self._source.ask_now())
            return self._now, self._source.feed
        except TemporaryError as error:
            self._fail(str(error), is_limit=False)
            raise

    def take(self, ranks: Mapping[str, Tier], now: dt.datetime, feed: Feed) -> dict[str, str]:
        """Take from the budget what asking for these tickers costs, the first ones first.

        Returns: those it has nothing left for, each with a sentence.
        """
        limit, tickers = self._vendor.limit, list(ranks)
        if limit is None:
            wanted = {Tier.HELD: self._source.requests(len(tickers))}
        else:
            wanted = {tier: sum(r is tier for r in ranks.values()) for tier in Tier}
        at = int(now.timestamp())
        _, granted = self._vendor.change(
            lambda row: budget.take(replace(row, feed=feed, asked_at=at), now, wanted, limit)
        )
        self._taken_at = now
        if limit is None:
            return {}
        refused = (
            (t, tier)
            for tier in Tier
            for t in [t for t in tickers if ranks[t] is tier][granted[tier] :]
        )
        return {ticker: budget.refusal(tier, now, limit) for ticker, tier in refused}

    def fetch(self, starts: Mapping[str, dt.datetime | None]) -> Iterator[Fetched]:
        """As `Source.fetch`, for requests that were taken; ends when the breaker opens."""
        waiting = dict(starts)
        while waiting and not self.stopped:
            is_probe = self._admission.position == "half-open"
            part = dict(islice(waiting.items(), 1)) if is_probe else dict(waiting)
            asked = cast(Generator[Fetched, None, None], self._source.fetch(part))
            with closing(asked):  # stops the asking
                for fetched in map(self._dated, asked):
                    del waiting[fetched.ticker]
                    goes_on = self._hear(fetched)
                    yield fetched
                    if not goes_on:
                        break
        self._give_back(len(waiting))

    def _dated(self, fetched: Fetched) -> Fetched:
        """An answer as it came, or failed if its date is not of this load."""
        if self._now is None or agree(fetched.now, self._now):
            return fetched
        if fetched.status not in ("ok", "empty"):
            return replace(fetched, now=self._now)
        message = _apart(fetched.now, self._now)
        return Fetched(fetched.ticker, "error", bars.empty(), self._now, message, passes=True)

    def _hear(self, fetched: Fetched) -> bool:
        """Note how an answer speaks of the vendor; whether asking may go on."""
        if fetched.status == "rate_limited" or fetched.unreachable:
            self._fail(fetched.message, is_limit=fetched.status == "rate_limited")
        elif self._failures or self._admission.position != "closed":
            row, _ = self._vendor.change(lambda r: (breaker.succeed(r, self._admission), None))
            self._failures = row.failures
            self._admission = Admission("closed")
        return not self.stopped

    def _fail(self, message: str, *, is_limit: bool) -> None:
        wall, failure = self._vendor.wall(), Failure(message, is_limit, self._source.retry_after)
        row, _ = self._vendor.change(
            lambda r: (breaker.fail(r, self._admission, wall, failure), None)
        )
        self._failures = row.failures
        if breaker.position(row, wall) == "open":
            self.stopped = _closed(self._vendor.name, row)
            self.stopped_as = "rate_limited" if is_limit else "error"

    def _give_back(self, tickers: int) -> None:
        if tickers and self._taken_at and self._vendor.limit is not None:
            taken_at = self._taken_at
            self._vendor.change(lambda row: (budget.give_back(row, taken_at, tickers), None))


def _closed(name: str, row: SourceRow) -> str:
    until = dt.datetime.fromtimestamp(row.retry_at, dt.UTC)
    reason = row.message or "it is being tried"
    return f"{name} is not asked before {until:%Y-%m-%d %H:%M:%S} UTC: {reason}"


def _confirmed(one: dt.datetime, other: dt.datetime) -> dt.datetime:
    if agree(one, other):
        return max(one, other)
    raise TemporaryError(_apart(other, one))


def _apart(one: dt.datetime, other: dt.datetime) -> str:
    return (
        "answers of one time are required, found one dated "
        f"{one.isoformat()} and one {other.isoformat()}: ask again"
    )

"""One load: gather what is known, decide what to ask for, ask, keep what is valid, count."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock

from astra.errors import ConfigError, DataError, TemporaryError
from astra.measured import summary
from astra.settings import Settings
from astra.store import Store
from astra.store.loads import TickerStatus
from etl_service.loading import budget
from etl_service.loading.answer import Load, TickerLoad
from etl_service.loading.keep import Keeper, Role
from etl_service.loading.plan import Asked, Known, due, start
from etl_service.loading.priority import Tier
from etl_service.loading.vendor import Vendor, Visit
from etl_service.sources.alpaca import AlpacaBars
from etl_service.sources.source import Fetched, Source, Status
from etl_service.sources.yahoo_workers import Yahoo

log = logging.getLogger("etl_service")

GROUP_TICKERS = 100
GROUP_ROWS = 200_000
GROUP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Vendors:
    """Whom to ask: the chosen one, the one that stands in while that one's breaker is open, and
    the one that has bars older than the chosen one reaches; None where keys are missing."""

    chosen: Vendor
    stand_in: Vendor | None = None
    older: Vendor | None = None

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        store: Store,
        yahoo: Source | None = None,
        wall: Callable[[], float] = time.time,
    ) -> Vendors:
        """As the settings have it. Connects nothing yet.

        Args:
            yahoo: shared with others; None = one of its own.
            wall: seconds of the machine's clock, for the breakers only.

        Raises:
            ConfigError: Alpaca is chosen and has no keys.
        """

        def alpaca(is_delayed: bool = False) -> Vendor:
            return Vendor(AlpacaBars(settings, is_delayed=is_delayed), store.loads, wall=wall)

        has_keys = bool(settings.alpaca_key and settings.alpaca_secret.get_secret_value())
        if settings.source == "alpaca":
            return cls(alpaca())
        limit = settings.yahoo_requests_per_hour
        chosen = Vendor(yahoo or Yahoo(settings), store.loads, limit, wall)
        return cls(chosen, alpaca(), alpaca(is_delayed=True)) if has_keys else cls(chosen)


class Loader:
    """Brings bars up to date; doing it again changes nothing."""

    def __init__(self, store: Store, vendors: Vendors) -> None:
        self._store = store
        self._vendors = vendors
        # Loads wait for vendors together and work one at a time: several at work in one process
        # only hand Python's lock to and fro, which took twice the CPU for ten at once.
        self._working = Lock()

    def load(self, asked: Asked) -> Load:
        """Ask the chosen vendor, and the other one for what that one refuses.

        Raises:
            DataError: `since` lies before what any vendor reaches, or in the future.
            ConfigError: the store holds another market, or keys are wrong.
        """
        began = time.monotonic()
        chosen, other = self._vendors.chosen, self._vendors.stand_in
        done, now = self._round(chosen, "chosen", asked)
        refused = tuple(t for t, one in done.items() if one.has_failed and one.passes)
        # A stand-in brings what is newer than the stored: no stretch from `since` on.
        asks_other = bool(other and refused and asked.since is None and chosen.is_open())
        if other and asks_other:
            found, seen = self._stood_in(other, replace(asked, tickers=refused))
            done |= {t: one for t, one in found.items() if not one.has_failed}
            now = now or seen
        quality = None
        if now is not None:
            self._store.record_now(now)
            with self._working:
                quality = summary(self._store, asked.tickers, now)
        return Load(
            {ticker: done[ticker] for ticker in asked.tickers},
            time.monotonic() - began,
            max(1.0, chosen.retry_after() or self._wait(done, now)),
            chosen.describe(now),
            other.describe(None) if other and asks_other else None,
            quality,
        )

    def _stood_in(
        self, vendor: Vendor, asked: Asked
    ) -> tuple[dict[str, TickerLoad], dt.datetime | None]:
        """As `_round`; a stand-in that is not set up costs nothing of what the chosen one did."""
        try:
            return self._round(vendor, "stand-in", asked)
        except ConfigError as error:
            log.warning("source=%s stand_in=unusable message=%s", vendor.name, error)
            return {}, None

    def _wait(self, done: Mapping[str, TickerLoad], now: dt.datetime | None) -> float:
        """Seconds until it pays to ask again, where the breaker is closed."""
        is_spent = any(one.status == "rate_limited" for one in done.values())
        if now is None or not is_spent:
            return self._vendors.chosen.source.retry_after
        return (budget.refills_at(now) - now).total_seconds()

    def _round(
        self, vendor: Vendor, role: Role, asked: Asked
    ) -> tuple[dict[str, TickerLoad], dt.datetime | None]:
        """All tickers at one vendor; and its time, None if it did not say."""
        with vendor.visit() as visit:
            if visit.stopped:
                return _refused(dict.fromkeys(asked.tickers, visit.stopped), visit.stopped_as), None
            try:
                now, feed = visit.begin(self._store.now())
            except TemporaryError as error:
                return _refused(dict.fromkeys(asked.tickers, str(error)), "error"), None
            if asked.since and asked.since >= now:
                raise DataError(
                    f"bars since {asked.since.isoformat()} were asked for, it is "
                    f"{now.isoformat()}: name an earlier time"
                )
            if role != "chosen" or not asked.since or asked.since >= vendor.source.earliest(now):
                self._store.claim_market(vendor.source.market)
                known = self._known(vendor, role, asked, now)
                last_ts = dict(known.last_ts)
                keeper = Keeper(self._store, vendor.name, feed, role, last_ts, now)
                return self._run(visit, keeper, asked, known), keeper.now
        return self._round(self._reaching(vendor, asked.since, now), "backfill", asked)

    def _run(
        self, visit: Visit, keeper: Keeper, asked: Asked, known: Known
    ) -> dict[str, TickerLoad]:
        """Decide what to ask for, ask, keep; every ticker with what became of it."""
        now = keeper.now
        ranks, reasons = due(asked, known, now)
        over = visit.take(ranks, now, keeper.feed) if ranks else {}
        starts = {t: start(t, asked, known, now) for t in ranks if t not in over}
        self._ask(visit, keeper, starts)
        silent = {t: visit.stopped for t in starts if t not in keeper.done}
        refused = _refused(over, "rate_limited") | _refused(silent, visit.stopped_as)
        keeper.note(
            TickerStatus(t, keeper.source, one.status, one.message, now)
            for t, one in refused.items()
        )
        left_out = {t: _left_out(known.statuses.get(t), reasons[t]) for t in reasons}
        unasked, last = refused | left_out, known.last_ts
        return keeper.done | {t: replace(unasked[t], last_bar=last.get(t)) for t in unasked}

    def _ask(self, visit: Visit, keeper: Keeper, starts: Mapping[str, dt.datetime | None]) -> None:
        """Ask for all, then for the whole of those that were split: their history is rewritten."""
        keeper.whole.update(t for t, begin in starts.items() if begin is None)
        self._keep(keeper, visit.fetch(starts))
        if keeper.restated and not visit.stopped:
            again = dict.fromkeys(keeper.restated, Tier.HELD)  # half of a split is worse than none
            over = visit.take(again, keeper.now, keeper.feed)
            keeper.whole.update(again)
            keeper.done.update(_refused(over, "rate_limited"))
            self._keep(keeper, visit.fetch({t: None for t in again if t not in over}))

    def _keep(self, keeper: Keeper, answers: Iterable[Fetched]) -> None:
        for group in _groups(answers):
            with self._working:
                keeper.keep(group)

    def _reaching(self, chosen: Vendor, since: dt.datetime, now: dt.datetime) -> Vendor:
        """The vendor that has bars from `since` on."""
        older = self._vendors.older
        earliest = (older or chosen).source.earliest(now)
        if older and since >= earliest:
            return older
        hint = "" if older else ", and only alpaca has older ones: set ASTRA_ALPACA_KEY and _SECRET"
        name = (older or chosen).name
        raise DataError(
            f"bars since {since.isoformat()} were asked for, {name} has them from "
            f"{earliest.isoformat(timespec='seconds')} on{hint}"
        )

    def _known(self, vendor: Vendor, role: Role, asked: Asked, now: dt.datetime) -> Known:
        loads = self._store.loads
        earliest = vendor.source.earliest(now)
        has_stand_in = role == "chosen" and self._vendors.stand_in is not None
        return Known(
            self._store.prices.last_ts(asked.tickers),
            loads.statuses(asked.tickers) if asked.is_selective else {},
            loads.first_of_other_feeds(vendor.name, earliest) if has_stand_in else {},
            loads.held(),
            loads.candidates(),
        )


def _groups(answers: Iterable[Fetched]) -> Iterator[list[Fetched]]:
    """Answers as they come, in groups to be stored together."""
    group: list[Fetched] = []
    rows, began = 0, time.monotonic()
    for fetched in answers:
        if not group:
            rows, began = 0, time.monotonic()
        group.append(fetched)
        rows += len(fetched.frame)
        is_late = time.monotonic() - began >= GROUP_SECONDS
        if len(group) == GROUP_TICKERS or rows >= GROUP_ROWS or is_late:
            yield group
            group = []
    if group:
        yield group


def _refused(reasons: Mapping[str, str], status: Status) -> dict[str, TickerLoad]:
    """Tickers that were not asked for, by why not."""
    return {t: TickerLoad(status, message=text, passes=True) for t, text in reasons.items()}


def _left_out(status: TickerStatus | None, reason: str) -> TickerLoad:
    is_unknown = status is not None and status.status == "unknown"
    return TickerLoad("error" if is_unknown else "ok", message=reason)

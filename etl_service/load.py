"""One load: ask the source for each ticker, keep what is valid, store it, count."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from astra import bars
from astra.errors import DataError, TemporaryError
from astra.sessions import last_sessions
from astra.store import Counts, Store
from etl_service.yahoo import Fetched, Status, Yahoo

# Tickers in a row without any answer after which the rest is not asked any more.
PATIENCE = 3
_DAYS = {"d": 1, "mo": 30}


@dataclass(frozen=True, slots=True)
class TickerLoad:
    """What a load did for one ticker."""

    status: Status
    counts: Counts = field(default_factory=Counts)
    message: str = ""
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What a load did; `retry_after` in seconds, `seconds` on the wall."""

    tickers: dict[str, TickerLoad]
    seconds: float
    retry_after: float

    @property
    def failed(self) -> list[TickerLoad]:
        return [t for t in self.tickers.values() if t.status in ("error", "rate_limited")]

    @property
    def status(self) -> int:
        """200: all are there; 503: none, for reasons that pass; 207: some, or none for good."""
        if not self.failed:
            return 200
        all_pass = all(t.passes for t in self.failed)
        return 503 if all_pass and len(self.failed) == len(self.tickers) else 207

    def document(self) -> dict[str, Any]:
        """The answer of `/load_price_history`."""
        total = sum((t.counts for t in self.tickers.values()), Counts())
        tickers = {
            ticker: {"status": t.status, **asdict(t.counts), "message": t.message}
            for ticker, t in self.tickers.items()
        }
        return {"tickers": tickers, **asdict(total), "seconds": round(self.seconds, 3)}


def load(store: Store, source: Yahoo, tickers: Sequence[str], period: str | None = None) -> Load:
    """Bring the bars of `tickers` up to date; running it again changes nothing.

    A ticker seen for the first time is loaded as far back as the source reaches, later from one
    session before its last stored bar, or in both cases over `period` (`5d`, `1mo`, `max`).

    Raises:
        DataError: no such period.
        ConfigError: the store holds another market.
    """
    began = time.monotonic()
    days = parse_period(period) if period else None
    done: dict[str, TickerLoad] = {}
    try:
        now = source.ask_now()
        store.claim_market(source.market)
    except TemporaryError as error:
        done = {t: TickerLoad("error", message=str(error), passes=True) for t in tickers}
        return Load(done, time.monotonic() - began, source.retry_after)
    stored = store.prices.last_ts(tickers)
    silent, stopped = 0, None
    for ticker in tickers:
        if stopped:  # asking on would only make it worse
            done[ticker] = stopped
            continue
        start = _start(stored.get(ticker), now, days)
        fetched = _whole(source, source.fetch(ticker, start), start)
        now = max(now, fetched.now)
        done[ticker] = _store(store, fetched)
        silent = silent + 1 if fetched.unreachable else 0
        if fetched.status == "rate_limited" or silent == PATIENCE:
            message = f"not asked any more after {ticker}: {fetched.message}"
            stopped = replace(done[ticker], message=message)
    store.record_now(now)
    return Load(done, time.monotonic() - began, source.retry_after)


def parse_period(period: str) -> int:
    """`5d`, `2mo` or `max` as calendar days, at most 60.

    Raises:
        DataError: it is none of these.
    """
    if period == "max":
        return 60
    found = re.fullmatch(r"([1-9]\d?)(d|mo)", period)
    days = int(found[1]) * _DAYS[found[2]] if found else 0
    if not 1 <= days <= 60:
        raise DataError(f"a period is 1d to 60d, 1mo, 2mo or max, found {period!r}")
    return days


def _start(last_ts: int | None, now: dt.datetime, days: int | None) -> dt.datetime | None:
    if days is not None:
        return now - dt.timedelta(days=days)
    if last_ts is None:
        return None
    return last_sessions(2, dt.datetime.fromtimestamp(last_ts, dt.UTC))[0].opens_at


def _whole(source: Yahoo, fetched: Fetched, start: dt.datetime | None) -> Fetched:
    """After a split all that the source has: it has rewritten the bars before."""
    return source.fetch(fetched.ticker) if fetched.has_split and start else fetched


def _store(store: Store, fetched: Fetched) -> TickerLoad:
    if fetched.status != "ok":
        return TickerLoad(fetched.status, message=fetched.message, passes=fetched.passes)
    valid, rejected = bars.validate(fetched.frame, fetched.now)
    left_out = replace(rejected, forming=0).describe()  # forming bars are no news
    if valid.empty:
        return TickerLoad("empty", message=left_out)
    return TickerLoad("ok", store.prices.upsert(valid, fetched.now), left_out)

"""Yahoo as a source of bars: several worker processes ask it, this one hands out and collects.

Loading yfinance costs a second and 150 MB, so only the workers do it.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    wait,
)
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from werkzeug.http import parse_date

from astra import bars
from astra.errors import TemporaryError
from astra.settings import Settings
from astra.store.feeds import Feed
from etl_service.sources.folders import OwnFolder
from etl_service.sources.source import Fetched, agree

if TYPE_CHECKING:
    from etl_service.sources.yahoo import Client

# Yahoo refuses requests for 5-minute bars of more than 60 days; the margin is for the time that
# passes, on a fast clock too, between learning Yahoo's time and asking.
REACH = dt.timedelta(days=60) - dt.timedelta(hours=1)
RETRY_AFTER = 60.0
_HOST = "https://query1.finance.yahoo.com"
_TIME = "/v1/test/getcrumb"  # small, and any answer is dated
_NEVER = dt.datetime.fromtimestamp(0, dt.UTC)
# Requests under way for one caller, for each process: one that is asked, one that waits for it.
_AHEAD = 2
Answer = tuple[Fetched, str | None, float]
"""What a worker sends: the bars, the market that answered (None: nobody), its `Retry-After`."""


class Yahoo:
    """A `Source`, shared by all threads; its processes start with the first fetch.

    They are spawned, so a script that fetches needs the `if __name__ == "__main__"` guard.

    Raises:
        ConfigError: there is no place for yfinance's caches.
    """

    name = "yahoo"
    feed: Feed = "yahoo"

    def __init__(self, settings: Settings) -> None:
        self._url = settings.yahoo_url.rstrip("/")
        self._timeout = settings.vendor_timeout
        self._workers = _Workers(settings)
        self._ahead = _AHEAD * settings.load_processes
        # Each the word of the last answer, whichever thread got it.
        self._market = ""
        self._wait = 0.0
        self._now: dt.datetime | None = None

    @property
    def market(self) -> str:
        """Identity of the market that answered last; a real vendor names none."""
        return self._market or "real"

    @property
    def retry_after(self) -> float:
        """Seconds after which Yahoo wants to be asked again."""
        return self._wait or RETRY_AFTER

    def ask_now(self) -> dt.datetime:
        """Yahoo's time, by one small request.

        Raises:
            TemporaryError: no answer, or one without a date.
        """
        try:
            answer = requests.get((self._url or _HOST) + _TIME, timeout=self._timeout)
        except OSError as error:
            raise TemporaryError(f"Yahoo cannot be reached: {error}", RETRY_AFTER) from error
        if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:  # else maybe a gateway's words
            self._market = answer.headers.get("X-Astra-Market", "")
        wait_s = answer.headers.get("Retry-After", "")
        self._wait = float(wait_s) if wait_s.isdigit() else 0.0
        dates = answer.raw.headers.getlist("Date")  # a server in front may put its own before
        now = parse_date(dates[-1] if dates else None)
        if now is None:
            raise TemporaryError("Yahoo's answer has no date", RETRY_AFTER)
        self._now = now
        return now

    def earliest(self, now: dt.datetime) -> dt.datetime:
        """The start of the oldest bars that it serves."""
        return now - REACH

    def requests(self, tickers: int) -> int:
        """One for each ticker, as soon as the workers have their crumbs."""
        return tickers

    def fetch(self, starts: Mapping[str, dt.datetime | None]) -> Generator[Fetched, None, None]:
        """As `Source.fetch`, up to the time that `ask_now` or an answer told last.

        A process that dies fails the tickers that are left of this call, and others under way.
        """
        try:
            now = self._now or self.ask_now()
        except TemporaryError as error:
            for ticker in starts:
                yield _failed(ticker, _NEVER, str(error), unreachable=True)
            return
        pool = self._workers.started()
        left, under_way = iter(starts.items()), dict[Future[Answer], str]()
        try:
            while True:
                for ticker, start in islice(left, self._ahead - len(under_way)):
                    now = self._now or now
                    begin = max(start or self.earliest(now), self.earliest(now))
                    under_way[_submitted(pool, ticker, begin, now)] = ticker
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    yield self._collected(under_way.pop(future), future, now, pool)
        finally:
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """End the processes and remove their caches; a later fetch starts new ones."""
        self._workers.close()

    def _collected(
        self, ticker: str, future: Future[Answer], now: dt.datetime, pool: ProcessPoolExecutor
    ) -> Fetched:
        error = CancelledError() if future.cancelled() else future.exception()
        if isinstance(error, (BrokenExecutor, CancelledError)):
            self._workers.replace(pool)
            return _failed(ticker, now, "the process that asks Yahoo has ended: ask again")
        if error is not None:
            message = f"Yahoo's answer cannot be read: {type(error).__name__} {error}"
            return Fetched(ticker, "error", bars.empty(), now, message)
        fetched, market, seconds = future.result()
        self._market = self._market if market is None else market
        self._wait = seconds or self._wait
        if agree(fetched.now, now):
            self._now = max(self._now or now, fetched.now)
        return fetched


class _Workers:
    """The processes and their caches, made when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._caches = OwnFolder(settings.var / "yfinance")

    def started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                address = (self._settings.yahoo_url, self._settings.vendor_timeout)
                self._pool = ProcessPoolExecutor(
                    self._settings.load_processes,
                    # Forking a service in the middle of its threads would copy their locks.
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_enter,
                    initargs=(*address, self._caches.made()),
                )
            return self._pool

    def replace(self, broken: ProcessPoolExecutor) -> None:
        """End what is left of a pool; the next call starts another."""
        with self._lock:
            if self._pool is not broken:
                return
            self._pool = None
        broken.shutdown()

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        self._caches.remove()


_client: Client


def _enter(url: str, timeout: float, caches: Path) -> None:
    """Begin a worker's life."""
    global _client
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from etl_service.sources.yahoo import Client

    _client = Client(url, timeout, caches / str(os.getpid()))


def _ask(ticker: str, begin: dt.datetime, end: dt.datetime) -> Answer:
    fetched = _client.fetch(ticker, begin, end)
    return fetched, _client.session.market, _client.session.retry_after


def _end_with_the_parent() -> None:
    """A pool's idle processes would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _submitted(
    pool: ProcessPoolExecutor, ticker: str, begin: dt.datetime, end: dt.datetime
) -> Future[Answer]:
    try:
        return pool.submit(_ask, ticker, begin, end)
    except RuntimeError as error:  # it is broken, or closed by another thread
        failed = Future[Answer]()
        failed.set_exception(BrokenExecutor(str(error)))
        return failed


def _failed(ticker: str, now: dt.datetime, message: str, *, unreachable: bool = False) -> Fetched:
    return Fetched(
        ticker, "error", bars.empty(), now, message, passes=True, unreachable=unreachable
    )

"""Alpaca's 5-minute bars: many symbols a request, page by page, each symbol once it is whole.

Written for `GET /v2/stocks/bars`, which answers sorted by symbol, then by time. Which bars are
valid is `astra.bars`' business.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astra.alpaca.failures import RefusedError
from astra.alpaca.transport import Answer, Api, data_api
from astra.alpaca.values import read_time
from astra.errors import DataError, TemporaryError
from astra.sessions import BAR_SECONDS
from astra.settings import Settings

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

MarketFeed = Literal["sip", "iex"]
FIRST_BARS = datetime(2016, 1, 1, tzinfo=UTC)
ROWS_A_PAGE = 10_000  # Alpaca's largest
_SIP_DELAY = timedelta(minutes=15)  # from which on every account may read all exchanges' trades
_PROBE = "SPY"
_COLUMNS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


@dataclass(frozen=True, slots=True)
class SymbolBars:
    """All that was asked for of one symbol.

    Attributes:
        rows: as Alpaca sent them, oldest first; none where it has none, or does not know the
            symbol.
        now: Alpaca's time, of the first of the answers that brought them.
    """

    symbol: str
    rows: Sequence[Mapping[str, Any]]
    now: datetime

    def frame(self) -> pd.DataFrame:
        """Offered bars with the columns of `astra.bars.COLUMNS`, the forming one included: to be
        validated at `now`; volume is float64, and NaN stands where Alpaca left a value out.

        Raises:
            DataError: a row has no time, or a value is no number.
        """
        return _frame(self.symbol, self.rows)


@dataclass(frozen=True, slots=True)
class _Page:
    """One answer: rows by symbol, and the token of the next page, None if it is the last."""

    rows: dict[str, list[Any]]
    token: str | None
    now: datetime


class MarketData:
    """Alpaca's market data as one account may see it. Safe to share between threads.

    Attributes:
        market: identity of the market that answered last; the real Alpaca names none: `real`.
        now: Alpaca's time of that answer, None before the first.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._entitled: MarketFeed | None = None
        self._probing = threading.Lock()
        self.market = "real"
        self.now: datetime | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> MarketData:
        """Connects nothing yet.

        Raises:
            ConfigError: key or secret are missing.
        """
        # One try: whoever loads bars has a budget and a breaker of its own.
        return cls(data_api(settings, patience=0.0))

    def entitled(self) -> MarketFeed:
        """The best feed of the present that the account may read: `sip`, all exchanges, or `iex`,
        one exchange with about 2.5 % of the volume. Probed once, then remembered.

        Raises:
            TemporaryError: no answer, or one without a date.
            ConfigError: the keys are wrong.
        """
        with self._probing:
            if self._entitled is None:
                try:
                    self._latest("sip")
                    self._entitled = "sip"
                except RefusedError as refusal:
                    if not refusal.is_of_subscription:
                        raise
                    self._entitled = "iex"
            return self._entitled

    def ask_now(self) -> datetime:
        """Alpaca's time, by one small request; errors as `entitled`."""
        return self._latest(self.entitled())

    def bars(
        self, symbols: Sequence[str], start: datetime, feed: MarketFeed, end: datetime | None = None
    ) -> Iterator[SymbolBars]:
        """Split-adjusted 5-minute bars with start <= their start <= end (None: up to the present)
        of at most `SYMBOLS_A_REQUEST` symbols; each symbol once, in alphabetical order, as soon
        as its last page is there.

        Raises:
            TemporaryError: no answer, 429 or 5xx: the symbols not yielded yet are to be asked for
                again.
            ConfigError: the keys are wrong.
            RefusedError: a symbol is malformed, or the account may not see the feed.
            DataError: the answer cannot be read.
        """
        query = {
            "symbols": ",".join(symbols),
            "timeframe": "5Min",
            "start": start.isoformat(),
            "end": None if end is None else end.isoformat(),
            "adjustment": "split",
            "feed": feed,
            "limit": ROWS_A_PAGE,
        }
        waiting = sorted(symbols, reverse=True)
        rows: list[Any] = []  # of waiting[-1]
        since: datetime | None = None  # the time of their first answer
        for page in self._pages(query):
            _check_order(page.rows, waiting)
            newest = max(page.rows, default="")
            while waiting and (not page.token or waiting[-1] < newest):
                symbol = waiting.pop()
                rows += page.rows.get(symbol, ())
                yield SymbolBars(symbol, rows, since or page.now)
                rows, since = [], None
            if waiting and (more := page.rows.get(waiting[-1])):
                rows, since = rows + more, since or page.now

    def _pages(self, query: Mapping[str, object]) -> Iterator[_Page]:
        """Page by page; the next is under way while one is worked on."""
        with ThreadPoolExecutor(1, "alpaca") as pool:
            ahead = pool.submit(self._page, query)
            while True:
                page = ahead.result()
                if page.token:
                    ahead = pool.submit(self._page, {**query, "page_token": page.token})
                yield page
                if not page.token:
                    return

    def _page(self, query: Mapping[str, object]) -> _Page:
        answer = self._api.call("GET", "/stocks/bars", query)
        now, body = self._heard(answer), answer.body
        if not isinstance(body, dict) or not {"bars", "next_page_token"} <= body.keys():
            raise DataError(
                "Alpaca's bars need the fields bars and next_page_token, one is missing"
            )
        rows = {} if body["bars"] is None else body["bars"]
        if not isinstance(rows, dict) or not all(isinstance(r, list) for r in rows.values()):
            raise DataError("Alpaca's bars are required as lists by symbol, found another shape")
        token = body["next_page_token"] or None
        if token and token == query.get("page_token"):
            raise DataError(f"a new page is required from Alpaca, it names {token!r} again")
        return _Page(rows, token, now)

    def _latest(self, feed: MarketFeed) -> datetime:
        query = {"symbols": _PROBE, "feed": feed}
        return self._heard(self._api.call("GET", "/stocks/trades/latest", query))

    def _heard(self, answer: Answer) -> datetime:
        if answer.now is None:
            raise TemporaryError("a date is required in Alpaca's answer, it has none: try again")
        self.market, self.now = answer.market, answer.now
        return answer.now


def last_open_to_all(now: datetime) -> datetime:
    """The last `end` for which every account may read `sip`: it ends a bar, so none is cut."""
    whole = int((now - _SIP_DELAY).timestamp()) // BAR_SECONDS * BAR_SECONDS
    return datetime.fromtimestamp(whole, UTC) - timedelta(seconds=1)


def _frame(symbol: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    try:
        columns = {
            ours: np.array([row.get(theirs) for row in rows], np.float64)
            for ours, theirs in _COLUMNS.items()
        }
        ts = _seconds([row["t"] for row in rows])
        ticker = pd.array([symbol] * len(rows), dtype="str")
        return pd.DataFrame({"ticker": ticker, "ts": ts, **columns})
    except (AttributeError, KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(
            f"Alpaca's bars of {symbol} need a time and numbers, found one without "
            f"({type(error).__name__} {error})"
        ) from error


def _seconds(times: Sequence[str]) -> NDArray[np.int64]:
    """RFC 3339 times as epoch seconds."""
    if all(len(time) == 20 and time[-1] == "Z" for time in times):
        # Alpaca's only form: numpy reads it without an object for each, but knows no zones.
        plain = np.array([time[:-1] for time in times], "datetime64[s]")
        if not np.isnat(plain).any():
            return plain.astype(np.int64)
    found = [read_time(time) for time in times]
    if None in found:
        raise ValueError("an empty time")
    return np.array([int(time.timestamp()) for time in found if time], np.int64)


def _check_order(page: Collection[str], waiting: Sequence[str]) -> None:
    """Bars of a symbol that is done, or was not asked for, would be lost without a word."""
    if lost := set(page).difference(waiting):
        raise DataError(
            "Alpaca's bars are required sorted by symbol, of those asked for; found "
            f"{', '.join(sorted(lost))} out of turn"
        )

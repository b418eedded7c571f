"""A source of bars: Alpaca's, hundreds of tickers a request.

What the requests are and how answers are read is `astra.alpaca`'s business; here is which tickers
go together, and what became of each. Alpaca adjusts for splits and tells of none.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping

from astra import bars
from astra.alpaca import MarketData, SymbolBars
from astra.alpaca.bars import FIRST_BARS, ROWS_A_PAGE, MarketFeed, last_open_to_all
from astra.alpaca.failures import RateLimitError, RefusedError, UnreachableError
from astra.alpaca.transport import SYMBOLS_A_REQUEST
from astra.errors import AstraError, ConfigError, DataError, TemporaryError
from astra.sessions import next_session, sessions_between
from astra.settings import Settings
from astra.store.feeds import Feed
from etl_service.sources.source import Fetched

FIRST_SIGHT = dt.timedelta(days=60)  # of a ticker's history, as much as Yahoo has
RETRY_AFTER = 60.0
_MARKS: dict[MarketFeed, Feed] = {"sip": "alpaca-sip", "iex": "alpaca-iex"}


class AlpacaBars:
    """A `Source`: from tickers, each with a start, to `Fetched`.

    It asks for one feed as long as it lives: the best that the account may read of the present.
    """

    name = "alpaca"

    def __init__(self, settings: Settings, *, is_delayed: bool = False) -> None:
        """Connects nothing yet.

        Args:
            is_delayed: all exchanges' bars, which any account may read, but none of the last 15
                minutes: for history.

        Raises:
            ConfigError: key or secret are missing.
        """
        self._data = MarketData.from_settings(settings)
        self._is_delayed = is_delayed
        self._malformed: set[str] = set()
        self._retry_after = RETRY_AFTER
        self._none = bars.empty()  # for all that brought nothing

    @property
    def feed(self) -> Feed:
        """What the bars are marked with; the first time it may take a request.

        Raises:
            TemporaryError, ConfigError: as `ask_now`.
        """
        return "alpaca-sip" if self._is_delayed else _MARKS[self._data.entitled()]

    @property
    def market(self) -> str:
        return self._data.market

    @property
    def retry_after(self) -> float:
        return self._retry_after

    def ask_now(self) -> dt.datetime:
        try:
            return self._data.ask_now()
        except TemporaryError as error:
            self._retry_after = error.retry_after or RETRY_AFTER
            raise

    def earliest(self, now: dt.datetime) -> dt.datetime:
        return FIRST_BARS

    def requests(self, tickers: int) -> int:
        return math.ceil(tickers / SYMBOLS_A_REQUEST)

    def fetch(self, starts: Mapping[str, dt.datetime | None]) -> Iterator[Fetched]:
        """As `Source.fetch`; a ticker without a start is loaded over 60 calendar days.

        A limit, silence or wrong keys end the asking; any other failure costs the tickers of its
        request that are not whole yet, bars that cannot be read only their own.
        """
        try:
            now = self._data.now or self.ask_now()
            feed: MarketFeed = "sip" if self._is_delayed else self._data.entitled()
        except AstraError as error:
            yield from (self._failed(ticker, error) for ticker in starts)
            return
        end = last_open_to_all(now) if self._is_delayed else None
        asked = {ticker: _resolved(start, now) for ticker, start in starts.items()}
        for done in self._without_asking(asked, end or now):
            del asked[done.ticker]
            yield done
        batches = _batches(asked, now)
        for batch in batches:
            waiting = dict.fromkeys(batch)
            try:
                for found in self._asked(batch, feed, end):
                    del waiting[found.ticker]
                    yield found
            except AstraError as error:
                lost = list(waiting)
                if isinstance(error, RateLimitError | UnreachableError | ConfigError):
                    lost += [ticker for rest in batches for ticker in rest]
                yield from (self._failed(ticker, error) for ticker in lost)

    def _without_asking(self, starts: Mapping[str, dt.datetime], end: dt.datetime) -> list[Fetched]:
        """What is known beforehand: malformed symbols, and windows without a bar."""
        unknown = [self._unknown(ticker) for ticker in starts if ticker in self._malformed]
        early = [t for t, start in starts.items() if start >= end and t not in self._malformed]
        return unknown + [Fetched(t, "empty", self._none, self._now()) for t in early]

    def _asked(
        self, batch: Mapping[str, dt.datetime], feed: MarketFeed, end: dt.datetime | None
    ) -> Iterator[Fetched]:
        """One request, in pages; a list refused for a symbol is halved down to the culprit."""
        try:
            for found in self._data.bars(list(batch), min(batch.values()), feed, end):
                yield _fetched(found, batch[found.symbol])
        except RefusedError as refusal:  # comes before any bars do
            if not refusal.is_of_symbol:
                raise
            if len(batch) == 1:
                self._malformed.update(batch)
                yield from map(self._unknown, batch)
                return
            tickers = list(batch)
            half = len(tickers) // 2
            for part in (tickers[:half], tickers[half:]):
                yield from self._asked({ticker: batch[ticker] for ticker in part}, feed, end)

    def _unknown(self, ticker: str) -> Fetched:
        message = f"Alpaca does not accept the symbol {ticker}: correct or drop it"
        return Fetched(ticker, "error", self._none, self._now(), message, unknown=True)

    def _failed(self, ticker: str, error: AstraError) -> Fetched:
        if isinstance(error, TemporaryError):
            self._retry_after = error.retry_after or RETRY_AFTER
        return Fetched(
            ticker,
            "rate_limited" if isinstance(error, RateLimitError) else "error",
            self._none,
            self._now(),
            str(error),
            passes=isinstance(error, TemporaryError),
            unreachable=isinstance(error, UnreachableError),
        )

    def _now(self) -> dt.datetime:
        return self._data.now or dt.datetime.fromtimestamp(0, dt.UTC)


def _resolved(start: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    return now - FIRST_SIGHT if start is None else max(start, FIRST_BARS)


def _batches(
    starts: Mapping[str, dt.datetime], now: dt.datetime
) -> Iterator[dict[str, dt.datetime]]:
    """Tickers to ask for together, from their earliest start; those named first come first.

    Those that start in one session are; those of a later one join them where that saves a request.
    """
    place = {ticker: i for i, ticker in enumerate(starts)}
    groups: list[dict[str, dt.datetime]] = []
    sessions: dict[dt.datetime, dict[str, dt.datetime]] = {}
    for ticker, start in starts.items():
        sessions.setdefault(next_session(start).opens_at, {})[ticker] = start
    for _, group in sorted(sessions.items(), key=lambda item: item[0]):
        apart = _pages(groups[-1], now) + _pages(group, now) if groups else 0
        if groups and _pages(together := groups[-1] | group, now) < apart:
            groups[-1] = together
        else:
            groups.append(group)
    for group in sorted(groups, key=lambda group: min(place[ticker] for ticker in group)):
        tickers = sorted(group, key=place.__getitem__)
        for i in range(0, len(tickers), SYMBOLS_A_REQUEST):
            yield {ticker: group[ticker] for ticker in tickers[i : i + SYMBOLS_A_REQUEST]}


def _pages(starts: Mapping[str, dt.datetime], now: dt.datetime) -> int:
    """Requests that it takes to load `starts` together, with every bar there."""
    rows = len(starts) * sum(s.bars for s in sessions_between(min(starts.values()), now))
    return max(math.ceil(len(starts) / SYMBOLS_A_REQUEST), math.ceil(rows / ROWS_A_PAGE))


def _fetched(found: SymbolBars, start: dt.datetime) -> Fetched:
    """Its bars from `start` on: others in the request may start earlier."""
    try:
        frame = found.frame()
    except DataError as error:
        return Fetched(found.symbol, "error", bars.empty(), found.now, str(error))
    if len(frame) and frame["ts"].iloc[0] < start.timestamp():
        frame = frame[frame["ts"] >= start.timestamp()].reset_index(drop=True)
    return Fetched(found.symbol, "ok" if len(frame) else "empty", frame, found.now)

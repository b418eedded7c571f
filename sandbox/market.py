"""The market all three vendors of the sandbox serve: one clock, one record, nothing of the future.

What has not begun at `clock.now()` is handed out by `next_open` alone, which exists for fills.
Splits, listings and delistings made at run time are part of it; corrections and stopped feeds are
not, for they are the vendors' (`sandbox.view`). How markets are made: `sandbox.markets`.
"""

from __future__ import annotations

import bisect
import copy
import datetime as dt
from dataclasses import replace

import numpy as np

from astra.errors import DataError
from astra.sessions import BAR_SECONDS, Session, next_session, session_at
from sandbox.amendments import Amendments
from sandbox.clock import Clock
from sandbox.corporate import restated, shares_at
from sandbox.forming import Forming, partial
from sandbox.listing import default_tickers
from sandbox.tape import Bars, CorporateAction, Tape, bars_between

__all__ = [
    "Bars",
    "Clock",
    "CorporateAction",
    "Forming",
    "Market",
    "default_tickers",
]
_FAR = dt.timedelta(days=30)  # the longest a search for the next print looks ahead
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Market:
    """A record seen through a clock. Prices are adjusted for the splits that have happened.

    A ticker that was renamed is known by each of its names, and listed by the last.

    Attributes:
        identity: "simulated:<seed>" or "replay:<12 hex of the file's sha256>".
        clock: the market's time.
        planted_edge: rank IC planted in a simulated market, None in a recorded one.
        amendments: what was done to it at run time.
    """

    def __init__(self, tape: Tape, clock: Clock, amendments: Amendments | None = None) -> None:
        self.tape = tape
        self.clock = clock
        self.identity = tape.identity
        self.planted_edge = tape.planted_edge
        self.amendments = amendments or Amendments()
        self._row = {ticker: i for i, ticker in enumerate(tape.tickers)}
        tape.extended_to(clock.now())

    @property
    def first_ts(self) -> int:
        """Start of the record's first bar, epoch seconds."""
        return int(self.tape.extended_to(self.clock.now())[0].timestamp())

    @property
    def last_ts(self) -> int:
        """Start of the record's last bar made so far; a simulation goes on when asked beyond."""
        count = len(self.tape.extended_to(self.clock.now()))
        block = self.tape.block(count - 1)
        return int(block.session.grid()[-1]) if block else self.first_ts

    @property
    def tickers(self) -> tuple[str, ...]:
        """Canonical names of what is listed now, stocks before ETFs, those listed later last."""
        if not self.amendments.delisted:
            return self.known
        return tuple(ticker for ticker in self.known if not self.has_left(ticker))

    @property
    def known(self) -> tuple[str, ...]:
        """As `tickers`, with those that have left."""
        now, joined = self.clock.now(), self.amendments.joined
        found = (*self.tape.tickers, *(t for t, joiner in joined.items() if joiner.at <= now))
        return tuple(map(self.amendments.name_of, found)) if self.amendments.names else found

    def record_name(self, ticker: str) -> str:
        """The name in the record of a ticker by any name it has or had."""
        return self.amendments.names.get(ticker, ticker)

    def is_name(self, ticker: str) -> bool:
        """Whether a ticker has or had this name."""
        known = self.amendments
        return ticker in {*self.tape.tickers, *known.joined, *known.names}

    def has(self, ticker: str) -> bool:
        """Whether the market lists it now, by this name."""
        record = self.record_name(ticker)
        joiner = self.amendments.joined.get(record)
        is_known = record in self._row if joiner is None else joiner.at <= self.clock.now()
        is_current = self.amendments.name_of(record) == ticker
        return is_known and is_current and not self.has_left(ticker)

    def has_left(self, ticker: str) -> bool:
        """Whether it was delisted."""
        left_at = self.amendments.delisted.get(self.record_name(ticker))
        return left_at is not None and left_at <= self.clock.now()

    def first_trade(self, ticker: str) -> int:
        """When its record begins, epoch seconds."""
        joiner = self.amendments.joined.get(self.record_name(ticker))
        return self.first_ts if joiner is None else _epoch(joiner.at)

    def name(self, ticker: str) -> str:
        """The company's or fund's name."""
        record = self.record_name(ticker)
        return self._source(record)[0].name(record)

    def session(self) -> Session | None:
        """The session open now, or None."""
        return session_at(self.clock.now())

    def session_open(self) -> bool:
        """Whether the exchange is open now."""
        return self.session() is not None

    def history(self, ticker: str, start: int, end: int) -> Bars:
        """Bars with start <= ts < end that have closed now; empty arrays if there are none.

        Raises:
            DataError: the market does not list `ticker`.
        """
        ticker = self.record_name(ticker)
        closed = _epoch(self.reach(ticker)) - BAR_SECONDS + 1
        return self._bars(ticker, start, min(end, closed), self.clock.now())

    def reach(self, ticker: str) -> dt.datetime:
        """The time up to which its trading is known: now, or when it left."""
        return self._alive(self.record_name(ticker))

    def frozen(self) -> Market:
        """This market with its clock stopped now, so that one answer is of one moment."""
        other = copy.copy(self)
        other.clock = Clock(self.clock.now())
        return other

    def forming(self, ticker: str) -> Forming | None:
        """The bar forming now; None while closed, at no print, and after a recording's end."""
        now, ticker = self.clock.now(), self.record_name(ticker)
        begun = self._begun(ticker, now)
        return partial(ticker, begun, now.timestamp() - float(begun.ts[0])) if begun else None

    def last_price(self, ticker: str) -> tuple[dt.datetime, float] | None:
        """Time and price: the forming bar's open, else the close of the last bar that printed.

        At the very instant of its start nothing of a bar has been traded yet.
        """
        now, ticker = self.clock.now(), self.record_name(ticker)
        begun = self._begun(ticker, now)
        if begun and begun.ts[0] < now.timestamp():
            return _utc(int(begun.ts[0])), float(begun.open[0])
        reach, opens = self.reach(ticker), self.tape.extended_to(now)
        closed = _epoch(reach) - BAR_SECONDS + 1
        for i in range(bisect.bisect_right(opens, reach) - 1, -1, -1):
            start = _epoch(opens[i])
            bars = self._bars(ticker, start, min(start + 86_400, closed), now)
            if bars:
                return _utc(int(bars.ts[-1]) + BAR_SECONDS), float(bars.close[-1])
        return None

    def next_open(self, ticker: str, after: dt.datetime) -> tuple[dt.datetime, float] | None:
        """Start and open of the first bar the ticker printed strictly after `after`.

        Looks past the clock: for fills only. None if the recording ends or it leaves before.
        """
        ticker = self.record_name(ticker)
        (tape, row), seconds, last = self._source(ticker), after.timestamp(), after + _FAR
        opens = tape.extended_to(next_session(after).closes_at)
        i = max(0, bisect.bisect_right(opens, after) - 1)
        while (block := tape.block(i)) and block.session.opens_at <= last:
            grid = block.session.grid()
            found = np.flatnonzero((grid > seconds) & block.printed[row])
            if len(found):
                at = _utc(int(grid[found[0]]))
                if at >= self.amendments.delisted.get(ticker, _NEVER):
                    return None
                return at, float(block.open[row, found[0]] / self.shares(ticker, at))
            i += 1
        return None

    def actions(self, ticker: str) -> tuple[CorporateAction, ...]:
        """Dividends and splits up to now; a dividend is per share of now."""
        record = self.record_name(ticker)
        recorded, made = self._actions(record, self.clock.now())
        joiner = self.amendments.joined.get(record)
        found = restated(recorded, made, self._alive(record))
        listed = (a for a in found if joiner is None or a.at > joiner.at)
        return tuple(a if a.ticker == ticker else replace(a, ticker=ticker) for a in listed)

    def shares(self, ticker: str, at: dt.datetime | None = None) -> float:
        """Shares at `at` (default: now) for each share of the record's beginning."""
        ticker = self.record_name(ticker)
        at = self._alive(ticker, at)
        recorded, made = self._actions(ticker, at)
        return shares_at((*recorded, *made), at)

    def _actions(
        self, ticker: str, at: dt.datetime
    ) -> tuple[tuple[CorporateAction, ...], tuple[CorporateAction, ...]]:
        """Those of the record, which reaches `at`, and those made at run time."""
        tape, _ = self._source(ticker)
        tape.extended_to(at)
        return tape.actions(ticker), self.amendments.splits.get(ticker, ())

    def _alive(self, ticker: str, at: dt.datetime | None = None) -> dt.datetime:
        """`at` (default: now), or when it left if that was before."""
        at = at or self.clock.now()
        return min(at, self.amendments.delisted.get(ticker, at))

    def _source(self, ticker: str) -> tuple[Tape, int]:
        """The record that has it, and its row there."""
        joiner = self.amendments.joined.get(ticker)
        if joiner is not None:
            return joiner.tape, 0
        row = self._row.get(ticker)
        if row is None:
            raise DataError(f"this market lists {len(self.tickers)} tickers, {ticker!r} is not one")
        return self.tape, row

    def _begun(self, ticker: str, now: dt.datetime) -> Bars:
        """The bar that has begun and not closed, whole; empty if there is none."""
        session = session_at(now)
        seconds = _epoch(now)
        if session is None or self.reach(ticker) < now:
            return self._bars(ticker, seconds, seconds, now)
        ts = seconds - (seconds - _epoch(session.opens_at)) % BAR_SECONDS
        return self._bars(ticker, ts, ts + 1, now)

    def _bars(self, ticker: str, start: int, end: int, known_at: dt.datetime) -> Bars:
        tape, row = self._source(ticker)
        joiner = self.amendments.joined.get(ticker)
        if joiner is not None:
            start = max(start, _epoch(joiner.at))
        opens = tape.extended_to(known_at)
        first = max(0, bisect.bisect_right(opens, _utc(start)) - 1)
        stop = bisect.bisect_left(opens, _utc(max(start, end)))
        bars = bars_between(tape, row, range(first, stop), start, end)
        shares = self.shares(ticker, known_at)
        if shares == 1:
            return bars
        o, h, low, c = (p / shares for p in (bars.open, bars.high, bars.low, bars.close))
        return Bars(bars.ts, o, h, low, c, (bars.volume * shares).astype(np.int64))


def _utc(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _epoch(t: dt.datetime) -> int:
    return int(t.timestamp())

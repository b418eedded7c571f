"""What an account's subscription shows of the sandbox's market: full, or thin and gappy.

Nothing of a bar that has not closed is shown but the last price. The `iex` feed has about 2.5 % of
the volume, and bars without one of its trades are missing.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import numpy as np

from astra.sessions import BAR_SECONDS, last_sessions, session_at
from sandbox.market import Market
from sandbox.orders import BAD_REQUEST, Refusal
from sandbox.tape import NO_BARS, Bars

Feed = Literal["sip", "iex"]
_IEX_SHARE = 0.025  # of the volume of all exchanges
_IEX_GAPS = 0.15  # of bars without any of its trades
# Half the spread of its quotes as a multiple of the market's, and how often, out of 100.
_IEX_SPREADS = ((60, 1.0), (25, 8.0), (15, 40.0))
_RECENT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class DataFeed:
    """What an account's subscription shows of the market; `half_spread` as a fraction."""

    market: Market
    entitled: Feed
    half_spread: float

    def frozen(self) -> DataFeed:
        """This feed with the clock stopped now, so that one answer is of one moment."""
        return replace(self, market=self.market.frozen())

    def chosen(self, asked: str | None, end: datetime | None) -> Feed:
        """The feed to serve; `end` is the last time asked for, None = now.

        Raises:
            Refusal: 400 unknown; 403 recent SIP data without the subscription.
        """
        if asked not in (None, "", "sip", "iex"):
            raise Refusal(400, BAD_REQUEST, f"invalid feed: {asked}")
        now = self.market.clock.now()
        recent = end is None or end > now - _RECENT
        if asked == "sip" and self.entitled == "iex" and recent:
            text = "subscription does not permit querying recent SIP data"
            raise Refusal(403, 42210000, text)
        return cast(Feed, asked or self.entitled)

    def bars(self, symbol: str, start: int, end: int, feed: Feed) -> Bars:
        """Closed 5-minute bars with start <= ts < end; none of a symbol that is not listed."""
        if not self.market.has(symbol):
            return NO_BARS
        bars = self.market.history(symbol, start, end)
        if feed == "sip":
            return bars
        volume = (bars.volume * _IEX_SHARE).astype(np.int64)
        mixed = (bars.ts // BAR_SECONDS * 2_654_435_761 + zlib.crc32(symbol.encode())) % 2**32
        kept = (volume > 0) & (mixed >= _IEX_GAPS * 2**32)
        return replace(bars, volume=volume).rows(kept)

    def last_trade(self, symbol: str, feed: Feed) -> tuple[datetime, float] | None:
        """Time and price, USD."""
        if not self.market.has(symbol):
            return None
        if feed == "sip":
            return self.market.last_price(symbol)
        now = self.market.clock.now()
        since = last_sessions(2, now)[0].opens_at
        bars = self.bars(symbol, int(since.timestamp()), int(now.timestamp()), feed)
        if not len(bars.ts):
            return None
        closed_at = datetime.fromtimestamp(int(bars.ts[-1]) + BAR_SECONDS, UTC)
        return closed_at, float(bars.close[-1])

    def quote(self, symbol: str, feed: Feed) -> tuple[datetime, float, float] | None:
        """Time, bid and ask, USD, around the last trade.

        All exchanges together quote all through the session; one of them alone often has an old
        quote, or a wide one: which, is a function of symbol and time.
        """
        last = self.last_trade(symbol, feed)
        if last is None:
            return None
        at, price = last
        half = self.half_spread
        if feed == "iex":
            half *= _iex_spread(zlib.crc32(f"{symbol}{at.timestamp():.0f}".encode()) % 100)
        elif self.market.reach(symbol) == (now := self.market.clock.now()) and session_at(now):
            at = now
        return at, price * (1 - half), price * (1 + half)


def _iex_spread(draw: int) -> float:
    for share, multiple in _IEX_SPREADS:
        if draw < share:
            return multiple
        draw -= share
    return _IEX_SPREADS[-1][1]

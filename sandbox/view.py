"""The market as one vendor's data shows it: corrected bars, and nothing after its feed stopped.

The broker's own books are kept at the market's prices, not at these.
"""

from __future__ import annotations

import datetime as dt

import numpy as np

from sandbox.market import Market
from sandbox.tape import Bars


class VendorView(Market):
    """`market` with the stops and corrections that `vendor` serves; clock and events are shared."""

    def __init__(self, market: Market, vendor: str) -> None:
        super().__init__(market.tape, market.clock, market.amendments)
        self.vendor = vendor

    def reach(self, ticker: str) -> dt.datetime:
        """The time up to which the feed holds its bars."""
        known, record = super().reach(ticker), self.record_name(ticker)
        return min(known, self.amendments.stopped_at(self.vendor, record) or known)

    def _bars(self, ticker: str, start: int, end: int, known_at: dt.datetime) -> Bars:
        bars = super()._bars(ticker, start, end, known_at)
        corrections = self.amendments.corrections.get(ticker)
        if not corrections or not len(bars):
            return bars
        shares = self.shares(ticker, known_at)
        high, low, close = (p.copy() for p in (bars.high, bars.low, bars.close))
        volume = bars.volume.copy()
        for i in np.flatnonzero(np.isin(bars.ts, list(corrections))):
            new = corrections[int(bars.ts[i])]
            split = shares / new.shares
            if new.close is not None:
                close[i] = new.close / split
            if new.volume is not None:
                volume[i] = int(new.volume * split)
            high[i], low[i] = max(high[i], close[i]), min(low[i], close[i])
        return Bars(bars.ts, bars.open, high, low, close, volume)

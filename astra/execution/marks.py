"""The last close of each symbol that an order's price is held against: the store's, else the
broker's of the session before."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection

import numpy as np

from astra.execution.desk import Desk
from astra.risk import Mark, mark_of
from astra.risk.mark import USUAL_DEVIATION, bars_since
from astra.sessions import BAR, last_sessions
from astra.store import Store

SESSIONS = 6  # today's and five whole ones before it: 390 returns and more
_SECOND = dt.timedelta(seconds=1)


def marks(desk: Desk, symbols: Collection[str], now: dt.datetime) -> dict[str, Mark]:
    """The marks of `symbols` at the market's `now`; one of which nothing is known is absent.

    The broker is asked only for symbols of which the store has no bar of the last six sessions.

    Raises:
        TemporaryError: the broker doesn't answer.
    """
    found = _stored(desk.store, symbols, now)
    lacking = sorted(set(symbols) - found.keys())
    earlier = desk.broker.earlier_prices(lacking) if lacking else {}
    for symbol, trade in earlier.items():
        deviation = USUAL_DEVIATION * math.sqrt(bars_since(trade.at, now))
        found[symbol] = Mark(trade.price, deviation)
    return found


def _stored(store: Store, symbols: Collection[str], now: dt.datetime) -> dict[str, Mark]:
    start = last_sessions(SESSIONS, now)[0].opens_at
    table = store.prices.read(
        sorted(symbols), start, now - BAR + _SECOND, columns=("ticker", "ts", "close")
    )
    if not len(table):
        return {}
    tickers = table["ticker"].combine_chunks().dictionary_encode()
    codes = tickers.indices.to_numpy()  # ascending, as the bars are sorted by ticker
    edges = np.searchsorted(codes, np.arange(len(tickers.dictionary) + 1))
    ts = table["ts"].to_numpy().astype("datetime64[s]").astype(np.int64)
    close = table["close"].to_numpy()
    return {
        symbol: mark_of(ts[low:high], close[low:high], now)
        for symbol, low, high in zip(
            tickers.dictionary.to_pylist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
        )
    }

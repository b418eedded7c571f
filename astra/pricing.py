"""Which price a plan counts with, and why that one. Pure.

The last trade where it is fresh; else the middle of a quote that is fresh and tight; else the last
stored close of the last two sessions; else none, and the name is not traded.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from astra.records import Quote, Trade
from astra.sessions import last_sessions

TRADE_FRESH = dt.timedelta(minutes=15)
QUOTE_FRESH = dt.timedelta(minutes=1)
TIGHT_BP = 20.0  # between bid and ask, of their middle
CLOSE_SESSIONS = 2  # in which a stored close is still a price

Source = Literal["trade", "quote", "close"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A price in USD, and where it is from."""

    price: float
    source: Source


def open_moment(now: dt.datetime) -> dt.datetime:
    """The last moment at which the exchange was open, from which ages are counted: a trade of the
    session before is old at the open, and one of the last minute is fresh all night."""
    return min(now, last_sessions(1, now)[-1].closes_at)


def is_fresh(trade: Trade | None, at: dt.datetime) -> bool:
    """Whether a trade may be counted with at `at`, a moment at which the exchange was open."""
    return trade is not None and _is_price(trade.price) and at - trade.at <= TRADE_FRESH


def middle(quote: Quote | None, at: dt.datetime) -> float | None:
    """The middle of a quote, USD; None where it is older than a minute at `at`, one-sided, crossed
    or wider than 20 bp."""
    if quote is None or not (_is_price(quote.bid) and _is_price(quote.ask)):
        return None
    mid = (quote.bid + quote.ask) / 2
    width = 1e4 * (quote.ask - quote.bid) / mid
    return mid if 0 <= width <= TIGHT_BP and at - quote.at <= QUOTE_FRESH else None


def references(
    symbols: Iterable[str],
    at: dt.datetime,
    trades: Mapping[str, Trade],
    quotes: Mapping[str, Quote],
    closes: Mapping[str, float],
) -> dict[str, Reference]:
    """The price of each symbol that has one.

    Args:
        at: see `open_moment`.
        closes: the last stored close of the last two sessions, USD.
    """
    found: dict[str, Reference] = {}
    for symbol in symbols:
        trade, close = trades.get(symbol), closes.get(symbol, 0.0)
        if trade is not None and is_fresh(trade, at):
            found[symbol] = Reference(trade.price, "trade")
        elif (mid := middle(quotes.get(symbol), at)) is not None:
            found[symbol] = Reference(mid, "quote")
        elif _is_price(close):
            found[symbol] = Reference(close, "close")
    return found


def _is_price(price: float) -> bool:
    return 0 < price < math.inf

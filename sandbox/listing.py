"""What is listed in the simulated market: the members of the S&P 500 and two ETFs."""

from __future__ import annotations

from astra.errors import DataError
from astra.universe import SECTORS, Listing, sp500

ETFS = {"SPY": "SPDR S&P 500 ETF Trust", "QQQ": "Invesco QQQ Trust"}


def listing(ticker: str) -> Listing:
    """A member of the index, or a stock of a made-up sector for a ticker outside of it."""
    found = sp500().get(ticker)
    if found:
        return found
    sector = SECTORS[sum(ticker.encode()) % len(SECTORS)]
    return Listing(ticker, ETFS.get(ticker, ticker), sector, "")


def default_tickers(count: int | None = None) -> tuple[str, ...]:
    """The first `count` members (all by default), household names first, then SPY and QQQ.

    Raises:
        DataError: `count` is not between 1 and the number of members.
    """
    names = tuple(sp500())
    if count is None:
        count = len(names)
    if not 1 <= count <= len(names):
        raise DataError(f"the simulated market lists 1 to {len(names)} stocks, {count} asked for")
    return (*names[:count], *ETFS)

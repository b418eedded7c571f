"""What is listed in the simulated market: the members of the S&P 500 with sectors, and two ETFs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from astra.errors import DataError

ETFS = {"SPY": "SPDR S&P 500 ETF Trust", "QQQ": "Invesco QQQ Trust"}
# The package names two sectors for some members: the one that stands first here is taken.
SECTORS = (
    "Real Estate",
    "Health Care",
    "Utilities",
    "Consumer Discretionary",
    "Financials",
    "Industrials",
    "Communication Services",
    "Consumer Staples",
    "Energy",
    "Information Technology",
    "Materials",
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A stock; `sector` is one of `SECTORS`."""

    ticker: str
    name: str
    sector: str


@lru_cache(maxsize=1)
def members() -> dict[str, Listing]:
    """The S&P 500 by canonical ticker: the S&P 100 first, then the others, each alphabetically."""
    from pytickersymbols import PyTickerSymbols

    symbols = PyTickerSymbols()
    large = {stock["symbol"] for stock in symbols.get_stocks_by_index("S&P 100")}
    rows = {
        stock["symbol"]: Listing(stock["symbol"], stock["name"], _sector(stock))
        for stock in symbols.get_stocks_by_index("S&P 500")
    }
    return {t: rows[t] for t in sorted(rows, key=lambda ticker: (ticker not in large, ticker))}


def listing(ticker: str) -> Listing:
    """A member of the index, or a stock of a made-up sector for a ticker outside of it."""
    found = members().get(ticker)
    if found:
        return found
    return Listing(ticker, ETFS.get(ticker, ticker), SECTORS[sum(ticker.encode()) % len(SECTORS)])


def default_tickers(count: int | None = None) -> tuple[str, ...]:
    """The first `count` members (all by default), household names first, then SPY and QQQ.

    Raises:
        DataError: `count` is not between 1 and the number of members.
    """
    names = tuple(members())
    if count is None:
        count = len(names)
    if not 1 <= count <= len(names):
        raise DataError(f"the simulated market lists 1 to {len(names)} stocks, {count} asked for")
    return (*names[:count], *ETFS)


def _sector(stock: dict[str, list[str]]) -> str:
    named = [s for s in SECTORS if s in stock["industries"]]
    return named[0] if named else SECTORS[sum(stock["symbol"][0].encode()) % len(SECTORS)]

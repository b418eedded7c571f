"""The members of the S&P 500 with their sectors: the only importer of pytickersymbols."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

# The 11 GICS sectors. Where a company's industries name two, the first in this order is its
# official one, as checked for the 16 such members of the S&P 500.
SECTORS = (
    "Health Care",
    "Real Estate",
    "Utilities",
    "Consumer Discretionary",
    "Financials",
    "Industrials",
    "Energy",
    "Materials",
    "Information Technology",
    "Communication Services",
    "Consumer Staples",
)
OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Listing:
    """A member of the index; `sector` is one of `SECTORS` or `OTHER`."""

    ticker: str
    name: str
    sector: str
    industry: str


@lru_cache(maxsize=1)
def sp500() -> MappingProxyType[str, Listing]:
    """The members by canonical ticker: the S&P 100 first, then the others, each alphabetically."""
    from pytickersymbols import PyTickerSymbols

    source = PyTickerSymbols()
    large = {stock["symbol"] for stock in source.get_stocks_by_index("S&P 100")}
    stocks = list(source.get_stocks_by_index("S&P 500"))
    stocks.sort(key=lambda stock: (stock["symbol"] not in large, stock["symbol"]))
    return MappingProxyType({stock["symbol"]: _listing(stock) for stock in stocks})


def _listing(stock: dict[str, list[str]]) -> Listing:
    named = stock["industries"]
    sector = next((s for s in SECTORS if s in named), OTHER)
    industry = ", ".join(i for i in named if i not in SECTORS)[:120]
    return Listing(str(stock["symbol"]), str(stock["name"]), sector, industry)

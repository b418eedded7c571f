"""Who is in the universe: the S&P 500 as the package pytickersymbols lists it, or a list."""

from __future__ import annotations

import re

from pytickersymbols import PyTickerSymbols

from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.store.books import Member

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
_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,7}(\.[A-Z]{1,3})?")


def parse_tickers(text: str) -> tuple[str, ...]:
    """`A|BRK.B` as tickers, each once, in their order.

    Raises:
        DataError: a name is not in the canonical form.
    """
    names = tuple(dict.fromkeys(text.split("|")))
    wrong = [name for name in names if not _TICKER.fullmatch(name)]
    if wrong:
        raise DataError(
            f"tickers look like AAPL|BRK.B, found {', '.join(map(repr, wrong[:5]))}: "
            "write them in capitals, classes after a dot, separated by |"
        )
    return names


def members(settings: Settings) -> list[Member]:
    """The candidates of `ASTRA_TICKERS`, and the benchmarks that are not among them.

    Raises:
        ConfigError: one of the two lists cannot be read.
    """
    try:
        benchmarks = parse_tickers(settings.benchmarks) if settings.benchmarks else ()
        listed = None if settings.tickers == "sp500" else parse_tickers(settings.tickers)
    except DataError as error:
        raise ConfigError(f"ASTRA_TICKERS and ASTRA_BENCHMARKS: {error}") from error
    known = _sp500()
    candidates = [
        known.get(ticker) or Member(ticker, ticker, OTHER, "", True)
        for ticker in (known if listed is None else listed)
    ]
    taken = {m.ticker for m in candidates}
    return candidates + [
        Member(ticker, ticker, OTHER, "Benchmark", False)
        for ticker in benchmarks
        if ticker not in taken
    ]


def _sp500() -> dict[str, Member]:
    found = {}
    for stock in PyTickerSymbols().get_stocks_by_index("S&P 500"):
        industries = stock["industries"]
        sector = next((s for s in SECTORS if s in industries), OTHER)
        industry = ", ".join(i for i in industries if i not in SECTORS)[:120]
        ticker = stock["symbol"]
        found[ticker] = Member(ticker, stock["name"], sector, industry, True)
    return dict(sorted(found.items()))

"""Candidates: the members of the S&P 500 with their sectors, or a user's own list of tickers.

The only importer of pytickersymbols.
"""

from __future__ import annotations

import csv
import hashlib
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from astra.errors import ConfigError, DataError

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
SP500 = "sp500"
# A package that names fewer members of the S&P 500 is broken: the index did not lose a fifth.
_FEWEST_MEMBERS = 400
_COLUMNS = ("ticker", "name", "sector", "industry")
_LONGEST = {"name": 200, "industry": 120}  # characters, as the store takes them
_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,7}(\.[A-Z]{1,3})?")


@dataclass(frozen=True, slots=True)
class Listing:
    """A company or fund that is traded; `sector` is one of `SECTORS` or `OTHER`."""

    ticker: str
    name: str
    sector: str
    industry: str


def parse_tickers(text: str) -> tuple[str, ...]:
    """`A|BRK.B` as tickers, each once, in their order.

    Raises:
        DataError: a name is not in the canonical form.
    """
    names = tuple(dict.fromkeys(text.split("|")))
    wrong = [name for name in names if not _TICKER.fullmatch(name)]
    if wrong:
        raise DataError(
            f"tickers look like AAPL|BRK.B, found {', '.join(map(_corrected, wrong[:5]))}: "
            "write them in capitals, classes after a dot, separated by |"
        )
    return names


def candidates(text: str) -> tuple[Listing, ...]:
    """The listings that `ASTRA_TICKERS` names: `sp500`, a list `A|BRK.B`, or the path of a `.csv`.

    The file has the columns ticker[,name,sector,industry]; what it leaves empty is taken from the
    S&P 500, or is the ticker as name and `OTHER` as sector.

    Raises:
        ConfigError: the list or the file cannot be used.
    """
    if text == SP500:
        return tuple(sp500().values())
    if text.endswith(".csv"):
        return _read(Path(text).expanduser())
    try:
        return tuple(_listed({"ticker": ticker}) for ticker in parse_tickers(text))
    except DataError as error:
        raise ConfigError(f"ASTRA_TICKERS: {error}") from error


def identity(text: str) -> str:
    """What tells the candidates of one `ASTRA_TICKERS` from another's: of a file its content.

    Raises:
        ConfigError: the file cannot be used.
    """
    if not text.endswith(".csv"):
        return text
    return hashlib.sha256(repr(candidates(text)).encode()).hexdigest()


@lru_cache(maxsize=1)
def sp500() -> MappingProxyType[str, Listing]:
    """The members by canonical ticker: the S&P 100 first, then the others, each alphabetically.

    They are those of the installed version of pytickersymbols.

    Raises:
        ConfigError: the package names too few.
    """
    from pytickersymbols import PyTickerSymbols

    source = PyTickerSymbols()
    large = {stock["symbol"] for stock in source.get_stocks_by_index("S&P 100")}
    stocks = list(source.get_stocks_by_index("S&P 500"))
    stocks.sort(key=lambda stock: (stock["symbol"] not in large, stock["symbol"]))
    return MappingProxyType(index(stocks))


def index(stocks: Iterable[Mapping[str, Any]]) -> dict[str, Listing]:
    """Members of the S&P 500, as pytickersymbols describes them, by ticker.

    Raises:
        ConfigError: there are too few for all of them to be here.
    """
    found = {listing.ticker: listing for listing in map(_listing, stocks)}
    if len(found) < _FEWEST_MEMBERS:
        raise ConfigError(
            f"at least {_FEWEST_MEMBERS} members of the S&P 500 are required, found {len(found)} "
            "in pytickersymbols: install a sound version of it"
        )
    return found


def _listing(stock: Mapping[str, Any]) -> Listing:
    named = stock["industries"]
    sector = next((s for s in SECTORS if s in named), OTHER)
    industry = ", ".join(i for i in named if i not in SECTORS)[: _LONGEST["industry"]]
    return Listing(str(stock["symbol"]), str(stock["name"]), sector, industry)


def _listed(row: Mapping[str, str]) -> Listing:
    """A row of a user's list; an empty value says nothing."""
    ticker = row["ticker"]
    known = sp500().get(ticker, Listing(ticker, ticker, OTHER, ""))
    return Listing(
        ticker,
        row.get("name") or known.name,
        row.get("sector") or known.sector,
        row.get("industry") or known.industry,
    )


def _read(path: Path) -> tuple[Listing, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(_rows(csv.reader(file, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error, DataError) as error:
        raise ConfigError(
            f"ASTRA_TICKERS must be sp500, a list AAPL|BRK.B or a CSV file with the columns "
            f"ticker[,name,sector,industry]; {path}: {error}"
        ) from error


def _rows(lines: Any) -> list[Listing]:
    """The listings of a CSV reader.

    Raises:
        DataError: names the line and what is wrong with it.
    """
    header: list[str] = next(lines, [])
    if "ticker" not in header or set(header) - set(_COLUMNS) or len(set(header)) < len(header):
        raise DataError(f"line 1 must name the columns, found {reprlib.repr(','.join(header))}")
    found: dict[str, tuple[int, Listing]] = {}
    for values in lines:
        if not values:
            continue
        where = f"line {lines.line_num}"
        row = _row(header, [value.strip() for value in values], where)
        before = found.setdefault(row["ticker"], (lines.line_num, _listed(row)))
        if before[0] != lines.line_num:
            raise DataError(f"{where} repeats {row['ticker']} of line {before[0]}")
    if not found:
        raise DataError("it holds no tickers")
    return [listing for _, listing in found.values()]


def _row(header: Sequence[str], values: Sequence[str], where: str) -> dict[str, str]:
    if len(values) != len(header):
        raise DataError(f"{where} has {len(values)} values for {len(header)} columns")
    row = dict(zip(header, values, strict=True))
    if not _TICKER.fullmatch(row["ticker"]):
        found = _corrected(row["ticker"])
        raise DataError(f"{where} needs a ticker like AAPL or BRK.B, found {found}")
    if row.get("sector") and row["sector"] not in (*SECTORS, OTHER):
        sectors = ", ".join((*SECTORS, OTHER))
        raise DataError(
            f"{where} has the sector {reprlib.repr(row['sector'])}, which is none of {sectors}"
        )
    for name, longest in _LONGEST.items():
        if len(row.get(name, "")) > longest:
            raise DataError(f"{where} has more than {longest} characters of {name}")
    return row


def _corrected(name: str) -> str:
    """A name that is no ticker, with the one it may mean: Yahoo writes BRK-B for BRK.B."""
    meant = name.strip().upper().replace("-", ".")
    hint = f" (write {meant})" if _TICKER.fullmatch(meant) else ""
    return f"{reprlib.repr(name)}{hint}"

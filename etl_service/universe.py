"""Who is in the universe: the members of the S&P 500, or a list, and the benchmarks."""

from __future__ import annotations

import re
from dataclasses import asdict

from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.store.books import Member
from astra.universe import OTHER, Listing, sp500

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
    known = sp500()
    candidates = [
        Member(**asdict(known.get(ticker) or Listing(ticker, ticker, OTHER, "")), tradable=True)
        for ticker in (known if listed is None else listed)
    ]
    taken = {m.ticker for m in candidates}
    return candidates + [
        Member(ticker, ticker, OTHER, "Benchmark", False)
        for ticker in benchmarks
        if ticker not in taken
    ]

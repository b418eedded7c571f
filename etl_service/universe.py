"""Who is in the universe: the candidates of the settings, and the benchmarks."""

from __future__ import annotations

from dataclasses import asdict

from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.store.universe import Member
from astra.universe import OTHER, candidates, parse_tickers

__all__ = ["members", "parse_tickers"]


def members(settings: Settings) -> list[Member]:
    """The candidates of `ASTRA_TICKERS`, and the benchmarks that are not among them.

    Raises:
        ConfigError: one of the two lists cannot be read, or the S&P 500 is not complete.
    """
    try:
        benchmarks = parse_tickers(settings.benchmarks) if settings.benchmarks else ()
    except DataError as error:
        raise ConfigError(f"ASTRA_BENCHMARKS: {error}") from error
    tradable = [Member(**asdict(one), tradable=True) for one in candidates(settings.tickers)]
    taken = {member.ticker for member in tradable}
    return tradable + [
        Member(ticker, ticker, OTHER, "Benchmark", False)
        for ticker in benchmarks
        if ticker not in taken
    ]

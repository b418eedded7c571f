"""The universe: the S&P 500 or a list, with sectors, and benchmarks that are only data."""

from __future__ import annotations

import pytest

from astra.errors import ConfigError, DataError
from astra.settings import Settings
from astra.universe import OTHER, SECTORS
from etl_service.universe import members, parse_tickers


def settings(**options: str) -> Settings:
    return Settings(_env_file=None, **options)  # type: ignore[call-arg, arg-type]


def test_the_sp500_has_503_members_each_in_one_of_the_eleven_sectors() -> None:
    found = members(settings())
    candidates = [m for m in found if m.tradable]
    assert len(candidates) == len({m.ticker for m in candidates}) == 503
    assert {m.sector for m in candidates} == set(SECTORS)
    sectors = {m.ticker: m.sector for m in candidates}
    assert sectors["BRK.B"] == "Financials"
    assert sectors["AES"] == "Utilities"  # the package names Energy, too
    assert sectors["GEV"] == "Industrials"
    assert sectors["STE"] == "Health Care"
    assert [m.ticker for m in found if not m.tradable] == ["SPY", "QQQ"]


def test_a_list_keeps_known_sectors_and_a_listed_benchmark_is_a_candidate() -> None:
    found = members(settings(tickers="OXY|SPY|ZZZ", benchmarks="SPY|QQQ"))
    assert [(m.ticker, m.sector, m.tradable) for m in found] == [
        ("OXY", "Energy", True),
        ("SPY", OTHER, True),
        ("ZZZ", OTHER, True),
        ("QQQ", OTHER, False),
    ]


def test_a_list_that_cannot_be_read_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigError, match=r"ASTRA_TICKERS.*'oxy'"):
        members(settings(tickers="oxy"))


@pytest.mark.parametrize(
    "text", ["", "|", "oxy", "BRK-B", "A|", "A B", "TOOLONGNAME", "A;DROP TABLE", "US0378331005"]
)
def test_names_that_are_no_tickers_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"AAPL\|BRK\.B"):
        parse_tickers(text)


def test_tickers_keep_their_order_and_come_once() -> None:
    assert parse_tickers("OXY|BRK.B|OXY|A") == ("OXY", "BRK.B", "A")

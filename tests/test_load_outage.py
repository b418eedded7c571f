"""A vendor that answers and serves nobody: it is left alone, and the other one stands in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import etl_house
from tests.etl_house import KEYS, Door, House, market, open_house, stored, truth

door, house = etl_house.door, etl_house.house  # fixtures
MANY = ("AAPL", "BAC", "CVX", "GE", "IBM", "JPM", "KO", "OXY", "PEP", "SPY", "T", "XOM")


def counted(house: House) -> list[str]:
    """Paths of the requests for bars from now on, refused ones too."""
    inner, asked = house.yahoo.wsgi_app, []

    def counting(environ: Any, start: Any) -> Any:
        if "chart" in environ["PATH_INFO"]:
            asked.append(environ["PATH_INFO"])
        return inner(environ, start)

    house.yahoo.wsgi_app = counting  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("status", [403, 500, 502, 503])
def test_a_vendor_that_refuses_everybody_is_left_alone_after_a_few(
    door: Door, tmp_path: Path, status: int
) -> None:
    with open_house(door, tmp_path, market(MANY), tickers="|".join(MANY), **KEYS) as house:
        house.arm(status=status, times=None)
        asked = counted(house)
        answer = house.load()
        assert answer["source"]["breaker"] == "open"
        assert answer["stand_in"]["name"] == "alpaca"
        assert all(stored(house, t) == truth(house, t) for t in MANY)
        assert len(asked) <= 10  # a few in a row, those under way, and second tries
        assert answer["source"]["spent"] <= 5
        asked.clear()
        house.load()
        assert asked == []
        house.wall.at += 61
        house.load()
        assert 1 <= len(asked) <= 2  # a probe


def test_one_ticker_that_fails_among_many_stops_nobody(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(MANY), tickers="|".join(MANY), **KEYS) as house:
        house.faults.arm(
            {"vendor": "yahoo", "path": "/v8/finance/chart/KO", "status": 500, "times": None}
        )
        for _ in range(4):
            answer = house.load(status=207)
            assert answer["source"]["breaker"] == "closed"
            assert [t for t, one in answer["tickers"].items() if one["status"] != "ok"] == ["KO"]

"""Loads about the past: what a backfill may not say of the present, and where windows begin."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from tests import etl_house
from tests.etl_house import (
    KEYS,
    MINUTES,
    MORNING,
    Door,
    House,
    forget,
    market,
    open_house,
    stored,
    truth,
)

door, house = etl_house.door, etl_house.house  # fixtures
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def feeds(house: House, ticker: str) -> list[str]:
    return list(house.store.prices.read([ticker], columns=("feed",))["feed"].to_pylist())


def test_a_backfill_while_yahoo_is_out_is_not_said_to_be_done(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(start=dt.date(2026, 4, 20)), **KEYS) as house:
        house.load("?ticker=AAPL&period=5d")
        house.arm(status=429, times=None)
        house.load("?ticker=AAPL")  # opens the breaker
        answer = house.load("?ticker=AAPL&since=2026-04-20", status=503)
        assert answer["tickers"]["AAPL"]["status"] == "rate_limited"
        house.faults.disarm()
        house.wall.at += 61
        house.load("?ticker=AAPL&since=2026-04-20")
        assert stored(house, "AAPL") == truth(house, "AAPL")


def test_after_a_backfill_a_name_is_still_due_for_the_decision(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(start=dt.date(2026, 4, 20)), **KEYS) as house:
        house.load("?ticker=AAPL")
        house.market.clock.step_to(MORNING + HOUR)
        house.load("?ticker=AAPL&since=2026-04-20")
        assert house.load("?part=1/1")["tickers"]["AAPL"]["inserted"] == 12
        assert stored(house, "AAPL") == truth(house, "AAPL")


def test_a_start_in_the_future_is_refused(house: House) -> None:
    response = house.client.get("/load_price_history?ticker=AAPL&since=2026-07-16")
    assert response.status_code == 400
    assert "2026-07-15T15:02:30" in response.get_json()["message"]
    assert house.load("?part=1/1")["tickers"]["AAPL"]["inserted"] > 0


def test_a_short_period_leaves_no_hole_and_misses_no_split(house: House) -> None:
    house.load("?ticker=OXY")
    house.happen(split={"ticker": "OXY", "ratio": 4})
    house.market.clock.step_to(MORNING + 6 * DAY)
    house.load("?ticker=OXY&period=1d")
    assert stored(house, "OXY") == truth(house, "OXY")


def test_a_probe_that_fails_does_not_make_a_stand_ins_bars_yahoos(
    door: Door, tmp_path: Path
) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=AAPL|OXY")
        house.arm(status=429, times=None)
        house.market.clock.step_to(MORNING + 5 * MINUTES)
        house.load("?ticker=AAPL|OXY")  # Alpaca's first bars
        house.market.clock.step_to(MORNING + 2 * DAY)
        house.load("?ticker=AAPL|OXY")
        house.wall.at += 61
        house.faults.arm({"vendor": "alpaca", "path": "/v2/stocks", "status": 500, "times": None})
        house.load("?ticker=AAPL|OXY", status=503)  # a probe fails, and nobody stands in
        house.faults.disarm()
        house.wall.at += 600
        house.load("?ticker=AAPL|OXY")
        assert {f for t in ("AAPL", "OXY") for f in feeds(house, t)} == {"yahoo"}


def test_a_stand_in_fills_no_gap_between_bars_of_the_chosen(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=AAPL")
        gap = stored(house, "AAPL")[-10][0]
        forget(house, "AAPL", [gap])
        at = dt.datetime.fromtimestamp(gap, dt.UTC) + 5 * MINUTES
        house.happen(stop={"ticker": "AAPL", "vendor": "alpaca", "at": at.isoformat()})
        house.arm(status=429, times=None)
        house.load("?ticker=AAPL")
        assert set(feeds(house, "AAPL")) == {"yahoo"}

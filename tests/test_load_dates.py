"""Answers whose date cannot be true: one clock that is off by days spoils nothing for long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.http import http_date

from tests import etl_house
from tests.etl_house import MINUTES, MORNING, House, stored, truth

door, house = etl_house.door, etl_house.house  # fixtures
DAY = dt.timedelta(days=1)


def misdate(house: House, by: dt.timedelta, is_wrong: Callable[[str], bool]) -> None:
    """Yahoo's answers to such paths are dated `by` off."""
    inner = house.yahoo.wsgi_app

    def wrong(environ: Any, start: Any) -> Any:
        def dated(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [pair for pair in headers if pair[0] != "Date"]
            return start(status, [*kept, ("Date", http_date(house.market.clock.now() + by))], *rest)

        return inner(environ, dated if is_wrong(environ["PATH_INFO"]) else start)

    house.yahoo.wsgi_app = wrong  # type: ignore[method-assign]


@pytest.mark.parametrize("days", [-400, -1, 1, 400, 9000])
def test_an_answer_dated_days_off_is_refused_and_the_others_are_kept(
    house: House, days: int
) -> None:
    inner = house.yahoo.wsgi_app
    misdate(house, days * DAY, lambda path: path.endswith("/BRK-B"))
    answer = house.load(status=207)["tickers"]
    assert {t for t, one in answer.items() if one["status"] != "ok"} == {"BRK.B"}
    assert "dated" in answer["BRK.B"]["message"]
    assert house.store.now() == MORNING
    assert stored(house, "BRK.B") == []
    house.yahoo.wsgi_app = inner  # type: ignore[method-assign]
    house.load()
    for ticker in ("AAPL", "BRK.B", "OXY", "SPY"):
        assert stored(house, ticker) == truth(house, ticker)


def once(word: str) -> Callable[[str], bool]:
    """The first path with `word` in it."""
    seen: list[str] = []

    def is_first(path: str) -> bool:
        seen.extend([path] * (word in path))
        return word in path and len(seen) == 1

    return is_first


@pytest.mark.parametrize("is_first_load", [True, False])
def test_a_time_that_jumps_counts_only_if_it_is_told_twice(
    house: House, is_first_load: bool
) -> None:
    if not is_first_load:
        house.load()
    inner = house.yahoo.wsgi_app
    misdate(house, 400 * DAY, once("crumb"))
    house.load(status=503)
    assert house.store.now() == (None if is_first_load else MORNING)
    house.yahoo.wsgi_app = inner  # type: ignore[method-assign]
    house.market.clock.step_to(MORNING + 5 * MINUTES)
    house.load()
    assert house.store.now() == MORNING + 5 * MINUTES
    assert stored(house, "AAPL") == truth(house, "AAPL")


def test_a_night_or_a_month_without_a_load_is_no_wrong_date(house: House) -> None:
    house.load()
    house.market.clock.step_to(MORNING + 30 * DAY)
    house.load()
    assert house.store.now() == MORNING + 30 * DAY


def test_a_budget_of_an_hour_to_come_does_not_last_until_then(house: House) -> None:
    inner = house.yahoo.wsgi_app
    misdate(house, DAY, lambda _: True)
    house.load()
    house.yahoo.wsgi_app = inner  # type: ignore[method-assign]
    assert house.load()["source"]["spent"] == 4


def test_a_bar_that_closed_while_it_was_asked_for_waits_for_the_next_load(house: House) -> None:
    """Its values may be from before it closed."""
    house.market.clock.step_to(MORNING.replace(minute=4, second=58))
    inner = house.yahoo.wsgi_app
    misdate(house, dt.timedelta(seconds=3), lambda path: "chart" in path)
    house.load("?ticker=AAPL")
    assert stored(house, "AAPL") == truth(house, "AAPL")  # of the closed bars
    house.yahoo.wsgi_app = inner  # type: ignore[method-assign]
    house.market.clock.step_to(MORNING.replace(minute=5, second=2))
    assert house.load("?ticker=AAPL")["updated"] == 0
    assert stored(house, "AAPL") == truth(house, "AAPL")

"""Splits where little is common to the stored and the offered, over HTTP."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tests import etl_house
from tests.etl_house import (
    KEYS,
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
DAY = dt.timedelta(days=1)


def scale(house: House, ticker: str) -> float:
    """The widest span of prices; a market's own is far below 2."""
    closes = [close for _, close, _ in stored(house, ticker)]
    return max(closes) / min(closes)


def thin(house: House, ticker: str, every: int) -> None:
    """Keep one stored bar of `every`, as a thin feed brings."""
    gone = [ts for i, (ts, _, _) in enumerate(stored(house, ticker)) if i % every]
    forget(house, ticker, gone)


@pytest.mark.parametrize("ratio", [4, 0.1])
def test_a_split_is_seen_although_hardly_a_bar_is_common(
    door: Door, tmp_path: Path, ratio: float
) -> None:
    with open_house(door, tmp_path, market(), source="alpaca", **KEYS) as house:
        house.load("?ticker=OXY")
        thin(house, "OXY", every=90)
        house.happen(split={"ticker": "OXY", "ratio": ratio})
        house.market.clock.step_to(MORNING + DAY)
        house.load("?ticker=OXY")
        assert scale(house, "OXY") < 2


def test_a_stand_in_sees_a_split_although_hardly_a_bar_is_common(
    door: Door, tmp_path: Path
) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=OXY")
        thin(house, "OXY", every=90)
        house.happen(split={"ticker": "OXY", "ratio": 4})
        house.market.clock.step_to(MORNING + DAY)
        house.arm(status=429, times=None)
        assert house.load("?ticker=OXY")["tickers"]["OXY"]["split"] == 4
        assert scale(house, "OXY") < 2


def test_corrections_of_many_bars_hide_no_split(house: House) -> None:
    house.load("?ticker=OXY")
    thin(house, "OXY", every=20)
    house.happen(split={"ticker": "OXY", "ratio": 4})
    house.market.clock.step_to(MORNING + DAY)
    early = [ts for ts, _, _ in stored(house, "OXY")][-7:]
    for ts in early[::3]:
        at = dt.datetime.fromtimestamp(ts, dt.UTC).isoformat()
        house.happen(correct={"ticker": "OXY", "ts": at, "factor": 1.1})
    assert house.load("?ticker=OXY")["tickers"]["OXY"]["split"] == 4
    found, wanted = stored(house, "OXY"), truth(house, "OXY")
    assert len(found) == len(wanted)
    differing = {row[0] for row, true in zip(found, wanted, strict=True) if row != true}
    assert differing == set(early[::3])


def test_two_splits_between_two_loads_leave_one_scale(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(start=dt.date(2026, 4, 20)), **KEYS) as house:
        house.load("?ticker=OXY&since=2026-04-20")
        house.load("?ticker=OXY")
        house.happen(split={"ticker": "OXY", "ratio": 4})
        house.market.clock.step_to(MORNING + 2 * DAY)
        house.happen(split={"ticker": "OXY", "ratio": 0.5})
        house.market.clock.step_to(MORNING + 6 * DAY)
        assert house.load("?ticker=OXY")["tickers"]["OXY"]["split"] == 2
        assert scale(house, "OXY") < 3
        found = [(ts, close) for ts, close, _ in stored(house, "OXY")]
        assert found == [(ts, pytest.approx(c, rel=1e-9)) for ts, c, _ in truth(house, "OXY")]


def test_a_correction_of_the_only_common_bar_is_no_split(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=OXY")
        thin(house, "OXY", every=90)
        ts, close, _ = stored(house, "OXY")[-1]
        at = dt.datetime.fromtimestamp(ts, dt.UTC).isoformat()
        house.happen(correct={"ticker": "OXY", "ts": at, "factor": 2})
        house.market.clock.step_to(MORNING + DAY)
        answer = house.load("?ticker=OXY")["tickers"]["OXY"]
        assert answer["split"] is None
        found = {ts: close for ts, close, _ in stored(house, "OXY")}
        wanted = {ts: close for ts, close, _ in truth(house, "OXY")}
        assert found == wanted | {ts: pytest.approx(2 * close)}

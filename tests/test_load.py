"""Loading that can be trusted: order, budget, breaker, stand-in, splits, backfill, catch-up."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from astra.records import Account, Position
from astra.sessions import last_sessions, sessions_between
from astra.settings import HOUSE
from etl_service.loading.load import GROUP_TICKERS
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from tests import etl_house
from tests.etl_house import KEYS, MINUTES, MORNING, Door, House, market, open_house, stored, truth

door, house = etl_house.door, etl_house.house  # fixtures
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def table(house: House, name: str) -> list[dict[str, Any]]:
    return list(house.client.get(f"/dump_table?table={name}&format=json").get_json())


def feeds(house: House, ticker: str) -> list[str]:
    return list(house.store.prices.read([ticker], columns=("feed",))["feed"].to_pylist())


def hold(house: House, *tickers: str) -> None:
    account = Account("A1", *[Decimal(1000)] * 3)
    positions = [Position(t, Decimal(5), 10.0, 10.0) for t in tickers]
    house.store.books.record_account_summary(account, positions, MORNING)


def weigh(house: House, *tickers: str) -> None:
    document = dict.fromkeys(("policy", "model_id", "method", "reason"), "x")
    weights = {"weights": dict.fromkeys(tickers, 0.1)}
    name = "decision_20260714-190000_x.json"
    house.store.books.record_decision(
        name, {**document, "as_of": "2026-07-14T19:00:00Z", **weights}
    )


# --- order and budget


def test_over_the_budget_held_names_come_first_and_the_rest_is_told_why(
    door: Door, tmp_path: Path
) -> None:
    with open_house(door, tmp_path, market(), yahoo_requests_per_hour=2) as house:
        hold(house, "SPY")
        weigh(house, "OXY")
        answer = house.load(status=207)
        found = {t: one["status"] for t, one in answer["tickers"].items()}
        # 100 % for what is held, 90 % (1 of 2) for candidates: SPY alone
        assert found == dict.fromkeys(("AAPL", "BRK.B", "OXY"), "rate_limited") | {"SPY": "ok"}
        assert answer["source"]["spent"] == 1 == house.charts()
        message = answer["tickers"]["AAPL"]["message"]
        assert "budget of 2 requests" in message
        assert "2026-07-15 16:00 UTC" in message
        assert "ASTRA_YAHOO_REQUESTS_PER_HOUR" in message
        house.load("?ticker=SPY")
        response = house.client.get("/load_price_history?ticker=SPY|OXY")
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) == 57 * 60 + 30
        house.market.clock.step_to(MORNING + HOUR)
        assert house.load("?ticker=OXY")["source"]["spent"] == 1


def test_ten_calls_at_once_spend_the_budget_once(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(), yahoo_requests_per_hour=10) as house:

        def ask(_: int) -> int:
            client = house.client.application.test_client()
            document = client.get("/load_price_history?ticker=AAPL|OXY").get_json()
            return sum(one["status"] == "ok" for one in document["tickers"].values())

        with ThreadPoolExecutor(10) as pool:
            loaded = sum(pool.map(ask, range(10)))
        assert loaded == house.charts() == 8  # 80 %: neither held nor candidates
        (row,) = table(house, "sources")
        assert (row["name"], row["spent"], row["feed"]) == ("yahoo", 8, "yahoo")


def test_parts_ask_for_the_rest_once_for_each_decision(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market()) as house:
        hold(house, "OXY")

        def asked() -> list[int]:
            """Requests of each of the two parts: AAPL and BRK.B, OXY and SPY."""
            before, counts = house.charts(), []
            for part in ("1/2", "2/2"):
                house.load(f"?part={part}")
                counts.append(house.charts() - before)
                before = house.charts()
            return counts

        assert asked() == [2, 2]  # first sight
        house.market.clock.step_to(MORNING + 5 * MINUTES)
        assert asked() == [0, 1]
        answer = house.load("?part=1/2")["tickers"]["AAPL"]
        assert (answer["status"], answer["inserted"], answer["unchanged"]) == ("ok", 0, 0)
        assert answer["message"] == "not due before 2026-07-15T16:00:00+00:00"
        house.market.clock.step_to(MORNING.replace(hour=16, minute=0))
        assert asked() == [2, 2]
        assert asked() == [0, 0]  # no bar has closed since
        house.market.clock.step_to(MORNING.replace(hour=16, minute=5))
        assert asked() == [0, 1]
        assert house.load("?part=1/2&period=max")["tickers"]["AAPL"]["unchanged"] > 0


def test_an_unknown_ticker_is_asked_for_once_a_session_by_parts(house: House) -> None:
    house.load()
    house.happen(delist={"ticker": "OXY"})
    house.market.clock.step_to(MORNING + HOUR)
    gone = house.load("?part=1/1", status=207)["tickers"]["OXY"]
    assert gone["status"] == "error"
    last = last_sessions(1, MORNING)[0].opens_at + 85 * MINUTES  # the 14:55 bar
    assert f"delisted or renamed: its last stored bar is {last.isoformat()}" in gone["message"]
    before = house.charts()
    again = house.load("?part=1/1", status=207)["tickers"]["OXY"]
    assert "asked again next session" in again["message"]
    assert house.charts() == before
    house.market.clock.step_to(MORNING + DAY)
    spent = house.load("?part=1/1", status=207)["source"]["spent"]
    assert spent == 4


# --- breaker


def test_a_rate_limit_of_hours_costs_one_request_at_each_probe(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.load()
    refused: list[str] = []
    inner = house.yahoo.wsgi_app

    def counting(environ: Any, start: Any) -> Any:
        if "chart" in environ["PATH_INFO"]:
            refused.append(environ["PATH_INFO"])
        return inner(environ, start)

    house.yahoo.wsgi_app = counting  # type: ignore[method-assign]
    house.arm(status=429, times=None, retry_after=120)
    house.load("?ticker=AAPL", status=503)
    for seconds, asked in ((0, 0), (119, 0), (2, 1), (60, 0), (61, 1), (239, 0), (2, 1)):
        house.wall.at += seconds
        before = len(refused)
        response = house.client.get("/load_price_history")
        assert response.status_code == 503
        assert response.get_json()["source"]["breaker"] == "open"
        assert len(refused) - before == 2 * asked, seconds  # yfinance asks twice
    assert int(response.headers["Retry-After"]) == 480
    house.faults.disarm()
    house.wall.at += 481
    answer = house.load()
    assert answer["source"]["breaker"] == "closed"
    assert {one["status"] for one in answer["tickers"].values()} == {"ok"}
    moves = [m.split()[1] for m in caplog.messages if "breaker=" in m]
    assert moves == ["breaker=open"] + ["breaker=half-open", "breaker=open"] * 3 + [
        "breaker=half-open", "breaker=closed",
    ]  # fmt: skip


def test_a_probe_that_had_nothing_to_ask_leaves_it_to_the_next_call(house: House) -> None:
    house.load()
    house.arm(status=429, times=2)  # yfinance asks twice
    house.load("?ticker=AAPL", status=503)
    house.wall.at += 61
    house.load("?part=1/1")  # nothing is due
    assert house.load("?ticker=AAPL")["source"]["breaker"] == "closed"


def test_what_was_not_asked_for_goes_back_into_the_budget(house: House) -> None:
    house.arm(status=429, times=2)  # yfinance asks twice
    answer = house.load(status=503)
    assert answer["source"]["spent"] == 1


# --- stand-in


def test_alpaca_stands_in_and_yahoo_replaces_its_bars_when_it_is_back(
    door: Door, tmp_path: Path
) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=AAPL|OXY")
        yahoos = len(stored(house, "AAPL"))
        house.market.clock.step_to(MORNING + HOUR)
        house.arm(status=429, times=None)
        answer = house.load("?ticker=AAPL|OXY|SPY")
        assert answer["source"]["breaker"] == "open"
        assert (answer["stand_in"]["name"], answer["stand_in"]["feed"]) == ("alpaca", "alpaca-sip")
        assert answer["tickers"]["AAPL"]["inserted"] == 12
        assert answer["updated"] == 0
        assert stored(house, "AAPL") == truth(house, "AAPL")
        assert feeds(house, "AAPL") == ["yahoo"] * yahoos + ["alpaca-sip"] * 12
        assert set(feeds(house, "SPY")) == {"alpaca-sip"}  # first sight
        assert house.load("?ticker=AAPL|OXY|SPY")["inserted"] == 0
        house.faults.disarm()
        house.wall.at += 61
        back = house.load("?ticker=AAPL|OXY|SPY")
        assert back["stand_in"] is None
        assert back["tickers"]["AAPL"]["updated"] == 12
        assert {f for t in ("AAPL", "OXY", "SPY") for f in feeds(house, t)} == {"yahoo"}
        again = house.load("?ticker=SPY")["tickers"]["SPY"]
        assert again["updated"] == 0
        assert again["unchanged"] < 2 * 78  # from one session before its last bar again
        then = house.store.prices.read(["AAPL"], known_at=MORNING + HOUR)
        assert then.num_rows == yahoos + 12


def test_a_hole_of_yahoos_that_alpaca_filled_does_not_widen_loads_for_ever(
    door: Door, tmp_path: Path
) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=AAPL")
        house.market.clock.step_to(MORNING + HOUR)
        house.happen(stop={"ticker": "AAPL", "vendor": "yahoo", "at": MORNING.isoformat()})
        house.arm(status=429, times=2)  # yfinance asks twice
        house.load("?ticker=AAPL")
        house.wall.at += 61
        house.load("?ticker=AAPL")
        assert feeds(house, "AAPL")[-1] == "alpaca-sip"
        assert house.store.loads.first_of_other_feeds("yahoo", MORNING - DAY) == {}


def test_a_split_while_alpaca_stands_in_leaves_one_scale(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.happen(split={"ticker": "OXY", "ratio": 4})
        house.load("?ticker=OXY")
        house.market.clock.step_to(MORNING + DAY)
        house.arm(status=429, times=None)
        answer = house.load("?ticker=OXY")["tickers"]["OXY"]
        assert answer["split"] == 4
        assert stored(house, "OXY")[-1] == truth(house, "OXY")[-1]
        closes = [close for _, close, _ in stored(house, "OXY")]
        assert max(closes) / min(closes) < 2
        assert set(feeds(house, "OXY")) == {"yahoo", "alpaca-sip"}
        house.faults.disarm()
        house.wall.at += 61
        house.load("?ticker=OXY")
        assert stored(house, "OXY") == truth(house, "OXY")


def test_without_keys_nobody_stands_in(house: House) -> None:
    house.arm(status=429, times=None)
    answer = house.load(status=503)
    assert answer["stand_in"] is None


def test_a_stand_in_with_wrong_keys_spoils_nothing(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(), **KEYS) as house:
        house.load("?ticker=AAPL")
        house.arm(status=429, times=None)
        house.faults.arm({"vendor": "alpaca", "path": "/v2/stocks", "status": 401, "times": None})
        answer = house.load("?ticker=AAPL", status=503)
        assert answer["tickers"]["AAPL"]["status"] == "rate_limited"


# --- splits and corrections


@pytest.mark.parametrize("ratio", [4, 0.1])
def test_a_split_rescales_what_is_older_than_the_source_reaches(
    door: Door, tmp_path: Path, ratio: float
) -> None:
    old = market(start=dt.date(2026, 4, 20))
    with open_house(door, tmp_path, old, **KEYS) as house:
        house.load("?ticker=OXY&since=2026-04-20")
        house.load("?ticker=OXY")
        before = stored(house, "OXY")
        assert before == truth(house, "OXY")
        house.happen(split={"ticker": "OXY", "ratio": ratio})
        house.market.clock.step_to(MORNING + DAY)
        answer = house.load("?ticker=OXY")["tickers"]["OXY"]
        assert answer["split"] == ratio
        assert "split found" in answer["message"]
        assert answer["updated"] == len(before)
        found, wanted = stored(house, "OXY"), truth(house, "OXY")
        assert [(ts, close) for ts, close, _ in found] == [
            (ts, pytest.approx(close, rel=1e-9)) for ts, close, _ in wanted
        ]
        assert [v for _, _, v in found] == [pytest.approx(v, abs=1) for _, _, v in wanted]
        assert "alpaca-sip" in feeds(house, "OXY")  # the old ones are Alpaca's still
        then = house.store.prices.read(["OXY"], known_at=MORNING)
        assert then["close"].to_pylist() == [close for _, close, _ in before]
        again = house.load("?ticker=OXY&period=max")["tickers"]["OXY"]
        assert (again["inserted"], again["updated"], again["split"]) == (0, 0, None)


def test_a_split_is_settled_later_if_its_reload_fails(house: House) -> None:
    house.load("?ticker=OXY")
    old = stored(house, "OXY")
    house.happen(split={"ticker": "OXY", "ratio": 2})
    house.market.clock.step_to(MORNING + DAY)
    inner, asked = house.yahoo.wsgi_app, []

    def failing(environ: Any, start: Any) -> Any:
        if "chart" in environ["PATH_INFO"]:
            asked.append(1)
            if len(asked) > 1:
                start("500 Internal Server Error", [])
                return [b""]
        return inner(environ, start)

    house.yahoo.wsgi_app = failing  # type: ignore[method-assign]
    house.load("?ticker=OXY", status=503)
    assert stored(house, "OXY") == old  # one scale: the old one
    house.yahoo.wsgi_app = inner  # type: ignore[method-assign]
    assert house.load("?ticker=OXY")["tickers"]["OXY"]["split"] == 2
    assert stored(house, "OXY") == truth(house, "OXY")


def test_a_correction_is_no_split_and_the_catch_up_finds_it_however_late(house: House) -> None:
    house.load("?ticker=AAPL")
    early, _, _ = stored(house, "AAPL")[5]
    at = dt.datetime.fromtimestamp(early, dt.UTC).isoformat()
    house.happen(correct={"ticker": "AAPL", "ts": at, "factor": 1.5})
    assert house.load("?ticker=AAPL")["updated"] == 0  # two weeks back
    answer = house.load("?part=1/1&period=max")["tickers"]["AAPL"]
    assert (answer["updated"], answer["inserted"], answer["split"]) == (1, 0, None)
    assert house.load("?part=1/1&period=max")["updated"] == 0


def test_bars_that_cannot_be_right_are_quarantined_once(house: House) -> None:
    inner = house.yahoo.wsgi_app

    def spoiling(environ: Any, start: Any) -> Any:
        body = b"".join(
            inner(environ, lambda s, h, *_: start(s, [x for x in h if x[0] != "Content-Length"]))
        )
        if "chart" not in environ["PATH_INFO"]:
            return [body]
        document = json.loads(body)
        quote = document["chart"]["result"][0]["indicators"]["quote"][0]
        quote["low"][3] = quote["high"][3] * 2
        quote["close"][4] = None
        return [json.dumps(document).encode()]

    house.yahoo.wsgi_app = spoiling  # type: ignore[method-assign]
    answer = house.load("?ticker=AAPL")["tickers"]["AAPL"]
    assert answer["quarantined"] == 2
    assert "1 implausible" in answer["message"]
    house.load("?ticker=AAPL&period=max")
    rows = table(house, "quarantine")
    assert [(r["ticker"], r["reason"]) for r in rows] == [
        ("AAPL", "implausible"), ("AAPL", "missing"),
    ]  # fmt: skip
    assert rows[1]["close"] is None
    assert len(stored(house, "AAPL")) == len(truth(house, "AAPL")) - 2
    assert table(house, "ticker_status")[0]["status"] == "ok"


# --- feeds that stop, names that come


def test_a_feed_that_stops_says_its_last_bar(house: House) -> None:
    house.load("?ticker=AAPL")
    house.happen(stop={"ticker": "AAPL", "at": MORNING.isoformat()})
    house.market.clock.step_to(MORNING + HOUR)
    one = house.load("?ticker=AAPL")["tickers"]["AAPL"]
    assert one["status"] == "ok"
    assert one["inserted"] == 0
    assert f"its last stored bar is {one['last_bar']}" in one["message"]
    house.happen(resume={"ticker": "AAPL"})
    one = house.load("?ticker=AAPL")["tickers"]["AAPL"]
    assert (one["inserted"], one["message"]) == (12, "")


def test_a_new_listing_is_loaded_from_its_first_bar(house: House) -> None:
    house.happen(list={"ticker": "NEWCO"})
    house.load("?ticker=NEWCO", status=207)
    house.market.clock.step_to(MORNING + DAY)
    house.load("?ticker=NEWCO")
    assert stored(house, "NEWCO") == truth(house, "NEWCO") != []


# --- backfill


def test_since_is_served_by_the_one_that_reaches_it(door: Door, tmp_path: Path) -> None:
    old = market(start=dt.date(2026, 4, 20))
    with open_house(door, tmp_path, old, feed="iex", **KEYS) as house:
        house.load("?ticker=AAPL&period=5d")
        yahoos = len(stored(house, "AAPL"))
        house.load("?ticker=AAPL&since=2026-07-02")
        assert set(feeds(house, "AAPL")) == {"yahoo"}
        assert len(stored(house, "AAPL")) > yahoos
        answer = house.load("?ticker=AAPL&since=2026-04-20")
        assert answer["updated"] == 0
        assert stored(house, "AAPL") == truth(house, "AAPL")
        assert set(feeds(house, "AAPL")) == {"alpaca-sip", "yahoo"}
        assert house.load("?ticker=AAPL&since=2026-04-20")["inserted"] == 0
        too_old = house.client.get("/load_price_history?ticker=AAPL&since=2015-01-01")
        assert too_old.status_code == 400
        assert "alpaca has them from 2016-01-01" in too_old.get_json()["message"]


def test_since_beyond_yahoo_needs_keys(house: House) -> None:
    response = house.client.get("/load_price_history?ticker=AAPL&since=2026-01-01")
    assert response.status_code == 400
    assert "ASTRA_ALPACA_KEY" in response.get_json()["message"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("part=0/10", "3/10"),
        ("part=11/10", "3/10"),
        ("part=1/101", "at most 100"),
        ("part=1/2&ticker=AAPL", "exclude each other"),
        ("since=2026-07-01&period=5d", "exclude each other"),
        ("since=yesterday", "since is an ISO time"),
    ],
)
def test_what_cannot_be_asked_for_is_said(house: House, query: str, words: str) -> None:
    response = house.client.get(f"/load_price_history?{query}")
    assert response.status_code == 400
    assert words in response.get_json()["message"]


# --- the calendar, and many at once


@pytest.mark.parametrize(
    ("start", "last", "bars"),
    [
        (dt.date(2025, 1, 8), dt.date(2025, 1, 10), 2 * 78),  # closed on the 9th
        (dt.date(2025, 11, 26), dt.date(2025, 11, 28), 78 + 42),  # a half day
        (dt.date(2025, 3, 7), dt.date(2025, 3, 10), 2 * 78),  # summer time begins
        (dt.date(2025, 10, 31), dt.date(2025, 11, 3), 2 * 78),  # and ends
    ],
)
def test_odd_days_hold_the_bars_of_their_sessions(
    door: Door, tmp_path: Path, start: dt.date, last: dt.date, bars: int
) -> None:
    at = dt.datetime.combine(last, dt.time(22), dt.UTC)
    with open_house(door, tmp_path, market(start=start, at=at)) as house:
        answer = house.load("?ticker=SPY")["tickers"]["SPY"]
        assert stored(house, "SPY") == truth(house, "SPY")
        begin = dt.datetime.combine(start, dt.time(), dt.UTC)
        assert sum(s.bars for s in sessions_between(begin, at)) == bars
        assert bars - 5 <= answer["inserted"] <= bars
        assert answer["quarantined"] == 0


def test_five_hundred_tickers_by_ten_calls_at_once_then_nothing_new(
    door: Door, tmp_path: Path
) -> None:
    at = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
    whole = simulated_market(start=at.date() - DAY, end=at.date(), at=at, splits=0.0)
    tickers = whole.tickers[:500]
    with open_house(
        door, tmp_path, whole, source="alpaca", tickers="|".join(tickers), benchmarks="", **KEYS
    ) as house:

        def ask(part: int) -> dict[str, Any]:
            client = house.client.application.test_client()
            return dict(client.get(f"/load_price_history?part={part}/10").get_json())

        with ThreadPoolExecutor(10) as pool:
            first = list(pool.map(ask, range(1, 11)))
            assert [len(answer["tickers"]) for answer in first] == [50] * 10
            inserted = sum(answer["inserted"] for answer in first)
            assert inserted == house.store.prices.count() > 500 * 90
            again = [house.client.application.test_client() for _ in range(10)]
            parts = ["|".join(tickers[i : i + 50]) for i in range(0, 500, 50)]
            answers = list(
                pool.map(
                    lambda pair: pair[0].get(f"/load_price_history?ticker={pair[1]}").get_json(),
                    zip(again, parts, strict=True),
                )
            )
        assert {(a["inserted"], a["updated"]) for a in answers} == {(0, 0)}
        assert sum(a["unchanged"] for a in answers) == inserted
        for ticker in tickers[::100]:
            assert stored(house, ticker) == truth(house, ticker)


def test_a_service_killed_in_the_middle_has_stored_whole_groups_and_goes_on_later(
    door: Door, tmp_path: Path
) -> None:
    tickers = default_tickers()[:150]
    started = market(tickers, start=dt.date(2026, 7, 14))
    chosen = {"source": "alpaca", "tickers": "|".join(tickers), "benchmarks": ""}
    with open_house(door, tmp_path, started, **chosen, **KEYS) as house:
        held_back, let_go = threading.Event(), threading.Event()
        inner = house.alpaca.wsgi_app

        def holding(environ: Any, start: Any) -> Any:
            if "page_token" in environ["QUERY_STRING"] and not held_back.is_set():
                held_back.set()
                let_go.wait(30)
            return inner(environ, start)

        house.alpaca.wsgi_app = holding  # type: ignore[method-assign]
        script = (
            "from etl_service.main import create_app\n"
            "create_app().test_client().get('/load_price_history')\n"
        )
        environment = {f"ASTRA_{name.upper()}": str(value) for name, value in house.chosen.items()}
        service = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHONPATH": str(HOUSE)},
            stderr=subprocess.DEVNULL,
        )
        assert held_back.wait(60)
        while not house.store.prices.count():  # the first group is on its way
            time.sleep(0.02)
        service.kill()
        service.wait()
        let_go.set()
        there = house.store.prices.stored_tickers()
        assert len(there) == GROUP_TICKERS
        assert all(stored(house, ticker) == truth(house, ticker) for ticker in there)
        house.load()
        assert all(stored(house, ticker) == truth(house, ticker) for ticker in tickers)

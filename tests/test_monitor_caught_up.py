"""What the monitor saves is the same however often, late and badly answered it asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from astra.alpaca import Alpaca
from astra.alpaca.orders import Orders
from astra.gcs import Bucket
from astra.records import Side
from astra.sessions import sessions_between
from astra.settings import Settings
from astra.store import Store, open_store
from monitor_service.main import create_app
from sandbox.main import Sandbox
from sandbox.markets import simulated_market
from tests.test_monitor import TEN, drop_decision, forecast_of

DAY = dt.timedelta(days=1)
JOBS = ("update_account", "activities", "history", "forecasts")
TABLES = ("activities", "history", "forecasts", "decisions")


class House:
    """A sandbox and the services' settings; each monitor has a database of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self._folder = sandbox, folder

    def settings(self, name: str) -> Settings:
        return Settings(
            _env_file=None,
            database_url=f"sqlite:///{self._folder / name}.db",
            alpaca_key="key",
            alpaca_secret="secret",
            alpaca_url=self.sandbox.urls.alpaca,
            alpaca_data_url=self.sandbox.urls.alpaca,
            storage_url=self.sandbox.urls.storage,
            vendor_timeout=5.0,
        )

    def monitor(self, name: str) -> FlaskClient:
        return create_app(self.settings(name)).test_client()

    def store(self, name: str) -> Store:
        return open_store(self.settings(name).database_url)

    def books(self, name: str) -> dict[str, list[dict[str, Any]]]:
        store = self.store(name)
        found = {table: store.books.read(table).to_pylist() for table in TABLES}
        store.close()
        return found

    def buy(self, symbol: str, qty: str, name: str) -> None:
        broker = Alpaca.from_settings(self.settings("person"))
        Orders(broker).submit(symbol, Side.BUY, Decimal(qty), name)

    def fail(self, path: str, **effect: Any) -> None:
        self.sandbox.faults.arm({"vendor": "alpaca", "method": "GET", "path": path, **effect})

    def decide(self, tag: str) -> None:
        drop_decision(self.settings("person"), tag, forecast_of("AAPL"))

    def step(self, by: dt.timedelta) -> None:
        clock = self.sandbox.market.clock
        clock.step_to(clock.now() + by)


@contextmanager
def opened(folder: Path, until: dt.date) -> Iterator[House]:
    market = simulated_market(
        ("AAPL", "JPM"), seed=5, edge=0.0, start=dt.date(2026, 1, 8), end=until, at=TEN
    )
    with Sandbox(market) as sandbox:
        yield House(sandbox, folder)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path, dt.date(2026, 1, 21)) as found:
        yield found


def busy_day(house: House, day: int) -> None:
    """Seventy fills and a decision, over six hours: the record has more than one page."""
    for i in range(70):
        house.buy(("AAPL", "JPM")[i % 2], "0.5", f"day-{day}-{i}")
    house.decide(f"{day:08x}")
    house.step(dt.timedelta(hours=6))


def ask_all(client: FlaskClient, *jobs: str) -> None:
    for job in jobs or JOBS:
        assert client.post(f"/{job}").status_code == 200, job


def test_books_are_the_same_asked_every_day_or_once_after_an_outage(house: House) -> None:
    daily = house.monitor("daily")
    ask_all(daily)
    for day in range(3):
        busy_day(house, day)
        ask_all(daily)
        ask_all(daily)
        house.step(DAY - dt.timedelta(hours=6))
    ask_all(daily)
    late = house.monitor("late")
    ask_all(late)
    assert house.books("late") == house.books("daily")
    assert len(house.books("daily")["activities"]) == 211  # the deposit and every fill


def test_books_are_whole_after_an_outage_of_two_days(house: House) -> None:
    client = house.monitor("out")
    busy_day(house, 0)
    ask_all(client)
    house.step(DAY - dt.timedelta(hours=6))
    house.fail("/v2", status=503, times=1000)
    for day in (1, 2):
        busy_day_unseen(house, day, client)
    house.sandbox.faults.disarm()
    ask_all(client)
    whole = house.monitor("whole")
    ask_all(whole)
    assert house.books("out") == house.books("whole")
    assert client.post("/reconcile?seconds=0").get_json()["status"] == "equal"


def busy_day_unseen(house: House, day: int, client: FlaskClient) -> None:
    """A day on which the broker answers the monitor nothing, while orders go on elsewhere."""
    house.sandbox.faults.disarm()
    busy_day(house, day)
    house.fail("/v2", status=503, times=1000)
    assert client.post("/activities").status_code == 503
    house.sandbox.faults.disarm()
    house.step(DAY - dt.timedelta(hours=6))
    house.fail("/v2", status=503, times=1000)


@pytest.mark.parametrize(
    "fault",
    [
        {"reorder": True, "times": 50},
        {"duplicate": True, "times": 50},
        {"status": 500, "times": 1},
        {"status": 429, "retry_after": 0, "times": 2},
    ],
    ids=["out of order", "twice", "failing once", "rate limited"],
)
def test_pages_that_come_badly_leave_the_same_record(house: House, fault: dict[str, Any]) -> None:
    for day in range(2):
        busy_day(house, day)
        house.step(DAY - dt.timedelta(hours=6))
    house.fail("/v2/account/activities", **fault)
    client = house.monitor("badly")
    client.post("/activities")
    house.sandbox.faults.disarm()
    ask_all(client)
    well = house.monitor("well")
    ask_all(well)
    assert house.books("badly") == house.books("well")


def test_a_record_that_breaks_off_on_its_second_page_is_not_kept_in_part(house: House) -> None:
    for day in range(2):
        busy_day(house, day)
        house.step(DAY - dt.timedelta(hours=6))
    client = house.monitor("cut")
    house.fail("/v2/account/activities", delay_s=0.001, times=1)  # the first page is answered
    house.fail("/v2/account/activities", status=503, times=20)
    assert client.post("/activities").status_code == 503
    assert house.books("cut")["activities"] == []
    house.sandbox.faults.disarm()
    assert client.post("/activities").get_json()["new"] == 141


def test_the_jobs_may_run_in_any_order(house: House) -> None:
    forth, back = house.monitor("forth"), house.monitor("back")
    for day in range(2):
        busy_day(house, day)
        ask_all(forth)
        ask_all(back, *reversed(JOBS))
        house.step(DAY - dt.timedelta(hours=6))
    assert house.books("forth") == house.books("back")


def test_activities_of_some_days_and_then_of_all_come_to_the_same(house: House) -> None:
    for day in range(3):
        busy_day(house, day)
        house.step(DAY - dt.timedelta(hours=6))
    some = house.monitor("some")
    assert some.post("/activities?days=1").get_json()["new"] < 211
    assert some.post("/activities?days=30").status_code == 200
    ask_all(some)
    ask_all(house.monitor("all"))
    assert house.books("some") == house.books("all")


def test_history_reaches_back_as_far_as_was_missed(tmp_path: Path) -> None:
    with opened(tmp_path, dt.date(2026, 3, 20)) as house:
        house.buy("AAPL", "100", "one")
        hourly = house.monitor("hourly")
        ask_all(hourly, "activities", "history")
        for _ in range(16):
            house.step(4 * DAY)
            ask_all(hourly, "history")
        late = house.monitor("late")
        ask_all(late, "history")  # of all jobs the first, on an account of two months
        points = house.books("late")["history"]
        assert points == house.books("hourly")["history"]
        assert points[0]["at"] <= TEN + dt.timedelta(hours=1)
        days = {point["at"].date() for point in points}
        assert len(days) == len(sessions_between(TEN, TEN + 64 * DAY)) == 45
        assert len({point["equity"] for point in points}) > 200


def test_each_run_is_on_record_also_while_the_broker_is_away(house: House) -> None:
    client = house.monitor("away")
    ask_all(client)
    house.fail("/v2", status=503, times=1000)
    for job in ("update_account", "activities", "history", "reconcile", "resume"):
        assert client.post(f"/{job}").status_code == 503
    runs = house.store("away").books.read("runs").to_pylist()
    failed = sorted(run["job"] for run in runs if run["status"] == "failed")
    assert failed == ["activities", "history", "reconcile", "resume", "update_account"]
    assert all(run["finished_at"] >= run["started_at"] >= TEN for run in runs)
    assert all("503" in run["message"] for run in runs if run["status"] == "failed")


def test_a_decision_that_came_while_the_bucket_was_away_is_read_later(house: House) -> None:
    client = house.monitor("bucket")
    house.decide("aaaaaaaa")
    house.sandbox.faults.arm(
        {"vendor": "storage", "method": "GET", "path": "/", "status": 400, "times": 100}
    )
    assert client.post("/forecasts").status_code >= 400
    house.sandbox.faults.disarm()
    house.decide("bbbbbbbb")
    assert len(client.post("/forecasts").get_json()["new"]) == 2
    assert client.post("/forecasts").get_json()["new"] == []
    assert Bucket.from_settings(house.settings("person")).names("decision_")


@pytest.mark.parametrize("days", ["36501", "9" * 12, "9" * 5000, "٣"])
def test_more_days_than_there_were_are_refused(house: House, days: str) -> None:
    answer = house.monitor("days").post("/activities", query_string={"days": days})
    assert answer.status_code == 400
    assert "whole number from 1 to 36500" in answer.get_json()["message"]

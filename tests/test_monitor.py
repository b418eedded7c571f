"""The monitor against the sandbox's broker and bucket."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from flask.testing import FlaskClient

from astra import predictions
from astra.alpaca import Alpaca
from astra.alpaca.orders import Orders
from astra.gcs import Bucket
from astra.records import Side
from astra.settings import Settings
from astra.store import Store, open_store
from monitor_service.main import create_app
from sandbox.main import Sandbox
from sandbox.markets import simulated_market

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
DECISION = {
    "as_of": TEN.isoformat(), "policy": "measured", "model_id": "m", "method": "none",
    "reason": "hold", "sharpe": 1.0, "tau": 0.0,
}  # fmt: skip


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    market = simulated_market(
        ("AAPL", "JPM"),
        seed=5,
        edge=0.0,
        start=dt.date(2026, 1, 8),
        end=dt.date(2026, 1, 16),
        at=TEN,
    )
    with Sandbox(market) as opened:
        yield opened


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=f"sqlite:///{tmp_path / 'astra.db'}",
        alpaca_key="key",
        alpaca_secret="secret",
        alpaca_url=sandbox.urls.alpaca,
        alpaca_data_url=sandbox.urls.alpaca,
        storage_url=sandbox.urls.storage,
        vendor_timeout=5.0,
    )


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings.database_url)


def buy(settings: Settings, symbol: str, qty: int, name: str) -> None:
    Orders(Alpaca.from_settings(settings)).submit(symbol, Side.BUY, Decimal(qty), name)


def drop_decision(settings: Settings, tag: str, forecast: bytes) -> None:
    bucket, stamp = Bucket.from_settings(settings), f"20260112-150000_{tag}"
    metadata = {"as_of": TEN.isoformat(), "model_id": "m"}
    bucket.create_once(f"predictions_{stamp}.csv", forecast, "text/csv", metadata)
    document = json.dumps(DECISION).encode()
    bucket.create_once(f"decision_{stamp}.json", document, "application/json", {})


def forecast_of(ticker: str) -> bytes:
    rows = [(ticker, 1, int(TEN.timestamp()), 10.0, 9.0, 9.2, 9.5, 10.0, 10.5, 10.8, 11.0)]
    return predictions.build(pd.DataFrame(rows, columns=list(predictions.COLUMNS)))


def test_the_account_is_saved_as_of_the_brokers_clock(
    client: FlaskClient, settings: Settings, store: Store
) -> None:
    buy(settings, "AAPL", 3, "by-hand")
    answer = client.post("/update_account").get_json()
    assert answer["at"] == TEN.isoformat()
    assert [(p["symbol"], p["qty"]) for p in answer["positions"]] == [("AAPL", "3")]
    client.post("/update_account")
    rows = store.books.read("account_summary").to_pylist()
    assert len(rows) == 1
    assert rows[0]["equity"] == answer["equity"]


def test_activities_are_saved_once_and_what_was_missed_is_caught_up(
    client: FlaskClient, settings: Settings, store: Store, sandbox: Sandbox
) -> None:
    assert client.post("/activities").get_json()["new"] == 1  # the first deposit
    buy(settings, "AAPL", 3, "one")
    sandbox.market.clock.step_to(TEN + dt.timedelta(days=3))
    buy(settings, "JPM", 2, "two")
    assert client.post("/activities").get_json()["new"] == 2
    assert client.get("/activities?days=30").get_json()["new"] == 0
    kinds = store.books.read("activities")["type"].to_pylist()
    assert sorted(kinds) == ["CSD", "FILL", "FILL"]


def test_the_books_are_held_against_the_brokers(client: FlaskClient, settings: Settings) -> None:
    buy(settings, "AAPL", 3, "one")
    found = client.get("/reconcile").get_json()
    assert (found["cash_diff"], found["share_diffs"], found["duplicate_orders"]) == (0, {}, 0)


def test_a_book_that_differs_is_shown(
    client: FlaskClient, settings: Settings, store: Store
) -> None:
    buy(settings, "AAPL", 3, "one")
    account = client.get("/reconcile").get_json()["account"]
    line = next(a for a in Alpaca.from_settings(settings).activities() if a.symbol == "AAPL")
    strange = replace(line, id="strange", qty=Decimal(9), net_amount=Decimal("-10.05"))
    store.books.record_activities(account, [strange])
    found = client.post("/reconcile?seconds=0").get_json()
    assert (found["status"], found["halted"]) == ("differs", True)
    assert found["cash_diff"] == -10.05
    assert found["share_diffs"] == {"AAPL": 9.0}
    assert "AAPL by +9 shares" in found["message"]
    assert [r["job"] for r in store.books.read("runs").to_pylist()] == ["reconcile"] * 2


def test_forecasts_and_decisions_are_read_from_the_bucket_once(
    client: FlaskClient, settings: Settings, store: Store
) -> None:
    drop_decision(settings, "aaaaaaaa", forecast_of("AAPL"))
    drop_decision(settings, "bbbbbbbb", b"broken")
    bucket = Bucket.from_settings(settings)
    for tag, content in (("cccccccc", b"{"), ("dddddddd", b"[1]"), ("eeeeeeee", b'{"sharpe": []}')):
        bucket.create_once(f"decision_20260112-150000_{tag}.json", content, "text/plain", {})
    assert client.post("/forecasts").get_json()["new"] == ["decision_20260112-150000_aaaaaaaa.json"]
    assert client.post("/forecasts").get_json()["new"] == []
    assert store.books.read("forecasts")["ticker"].to_pylist() == ["AAPL"]
    assert store.books.read("decisions")["reason"].to_pylist() == ["hold"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        json.dumps(DECISION).replace('"tau": 0.0', f'"tau": 1{"0" * 400}').encode(),
        json.dumps({**DECISION, "reason": "\ud800"}).encode(),
        json.dumps(
            {**DECISION, "books_of": {"account": "\ud800"},
             "books": {"equal": {"equity": "1", "cash": "1", "shares": {}}}}
        ).encode(),
    ],
    ids=["nested too deeply", "a number too large", "no UTF-8", "no UTF-8 in its books"],
)  # fmt: skip
def test_an_object_that_cannot_be_kept_does_not_stop_the_others(
    client: FlaskClient, settings: Settings, store: Store, content: bytes
) -> None:
    drop_decision(settings, "bbbbbbbb", forecast_of("AAPL"))
    bucket, stamp = Bucket.from_settings(settings), "20260112-140000_aaaaaaaa"
    metadata = {"as_of": (TEN - dt.timedelta(hours=1)).isoformat(), "model_id": "m"}
    bucket.create_once(f"predictions_{stamp}.csv", forecast_of("JPM"), "text/csv", metadata)
    bucket.create_once(f"decision_{stamp}.json", content, "application/json", {})
    answer = client.post("/forecasts")
    assert answer.get_json()["new"] == ["decision_20260112-150000_bbbbbbbb.json"]
    assert store.books.read("forecasts")["ticker"].to_pylist() == ["AAPL"]


def test_history_is_saved_and_may_be_saved_again(
    client: FlaskClient, store: Store, sandbox: Sandbox
) -> None:
    sandbox.market.clock.step_to(TEN + dt.timedelta(hours=3))
    points = client.post("/history").get_json()["points"]
    assert points > 0
    client.post("/history")
    assert len(store.books.read("history")) == points


def test_each_run_is_logged_also_the_one_that_failed(
    client: FlaskClient, store: Store, sandbox: Sandbox
) -> None:
    client.post("/update_account")
    sandbox.faults.arm(
        {"vendor": "alpaca", "method": "GET", "path": "/v2/positions", "status": 503, "times": 9}
    )
    assert client.post("/update_account").status_code == 503
    runs = store.books.read("runs").to_pylist()
    assert sorted(r["status"] for r in runs) == ["failed", "ok"]
    assert "503" in next(r["message"] for r in runs if r["status"] == "failed")


@pytest.mark.parametrize(
    "asked", ["/activities?days=0", "/activities?days=many", "/reconcile?seconds=-1"]
)
def test_a_number_that_is_none_is_refused(client: FlaskClient, asked: str) -> None:
    answer = client.get(asked)
    assert answer.status_code == 400
    assert "whole number" in answer.get_json()["message"]

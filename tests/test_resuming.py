"""What is half done is gone on with in one way, whoever asks: the command line or the monitor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astra.allocation import build
from astra.cli.commands import app
from astra.errors import ConfigError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.gcs import Bucket
from astra.settings import Settings
from astra.store import open_store
from monitor_service.main import create_app
from sandbox.main import Sandbox
from sandbox.markets import simulated_market

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
DAYS = {"start": dt.date(2026, 1, 8), "end": dt.date(2026, 1, 16)}


def by_command() -> list[list[str]]:
    done = CliRunner().invoke(app, ["rebalance", "--resume"])
    assert done.exit_code == 0
    lines = [line.split(": ")[0].split() for line in done.output.splitlines()]
    return [line for line in lines if line[0].startswith("target_")]


def by_monitor() -> list[list[str]]:
    rows = create_app().test_client().post("/resume").get_json()["allocations"]
    return [[row["object"], row["status"]] for row in rows]


WAYS = pytest.mark.parametrize("resume", [by_command, by_monitor])


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    market = simulated_market(("AAPL", "JPM"), seed=5, edge=0.0, at=TEN, **DAYS)
    with Sandbox(market) as opened:
        for name, value in {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'astra.db'}",
            "STORAGE_URL": opened.urls.storage,
            "ALPACA_URL": opened.urls.alpaca,
            "ALPACA_DATA_URL": opened.urls.alpaca,
            "ALPACA_KEY": "key",
            "ALPACA_SECRET": "secret",
            "VENDOR_TIMEOUT": "0.5",
            "FILL_TIMEOUT": "2",
        }.items():
            monkeypatch.setenv(f"ASTRA_{name}", value)
        monkeypatch.chdir(tmp_path)
        yield opened


def cut_off(
    sandbox: Sandbox, as_of: dt.datetime, weights: dict[str, float], method: str = "POST"
) -> str:
    """Drop a file and trade it while the broker fails requests about orders; the file's name."""
    settings = Settings()
    about = {"trained_until": "2026-01-01T00:00:00+00:00", "coverage": "1.0"}
    name, content, metadata = build(
        as_of, "0a1b2c3d", weights, policy="measured", model_id="m", metadata=about
    )
    generation = Bucket.from_settings(settings).create_once(name, content, "text/csv", metadata)
    fault = {"vendor": "alpaca", "method": method, "path": "/v2/orders", "status": 500}
    sandbox.faults.arm({**fault, "times": None})
    with pytest.raises(TemporaryError):
        Executor(Desk.from_settings(settings)).execute(
            Delivered(settings.bucket, name, generation, content, metadata)
        )
    sandbox.faults.disarm()
    return name


def lose_money(desk: Desk) -> None:
    """By hand, the spread."""
    for side in ("buy", "sell"):
        ticket = {"symbol": "AAPL", "side": side, "qty": "100", "type": "market",
                  "time_in_force": "day"}  # fmt: skip
        desk.broker.trading.call("POST", "/orders", ticket)


@WAYS
def test_the_same_rows_orders_and_copies_come_of_it(
    sandbox: Sandbox, resume: Callable[[], list[list[str]]]
) -> None:
    older = cut_off(sandbox, TEN - dt.timedelta(minutes=10), {"AAPL": 0.1})
    newer = cut_off(sandbox, TEN, {"JPM": 0.1}, "*")  # the older's order stays in doubt
    assert resume() == [[older, "superseded"], [newer, "done"]]
    rows = open_store(Settings().database_url).books.read("allocations").to_pylist()
    assert sorted((row["object"], row["status"], row["reason"]) for row in rows) == [
        (older, "superseded", f"{newer} is newer"),
        (newer, "done", "1 of 1 orders filled"),
    ]
    state = sandbox.vendors["alpaca"].extensions["state"]()
    assert [(o["symbol"], o["status"]) for o in state["orders"]] == [("JPM", "filled")]
    assert Bucket.from_settings(Settings()).names("failure/") == (f"failure/{older}",)
    assert resume() == []


@WAYS
def test_the_breakers_look_first(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    resume: Callable[[], list[list[str]]],
) -> None:
    half = cut_off(sandbox, TEN, {"JPM": 0.1})
    monkeypatch.setenv("ASTRA_MAX_DAILY_LOSS", "1e-9")
    desk = Desk.from_settings(Settings())
    lose_money(desk)
    assert resume() == [[half, "done"]]
    account = desk.broker.account().number
    assert desk.store.states.get(account).state.value == "REDUCING"
    (order,) = desk.store.journal.orders(desk.store.journal.newest_done(account).id)
    assert order.reason.startswith("RISK_REDUCING")


def test_the_command_says_that_the_breakers_stopped_the_account(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_MAX_DAILY_LOSS", "1e-9")
    lose_money(Desk.from_settings(Settings()))
    said = CliRunner().invoke(app, ["rebalance", "--resume"]).output
    assert "the breakers stopped the account: " in said and "lost in a day" in said


def test_without_credentials_for_the_bucket_orders_go_on_and_no_copies_is_said(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = cut_off(sandbox, TEN, {"JPM": 0.1})
    monkeypatch.delenv("ASTRA_STORAGE_URL")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "none.json")
    with pytest.raises(ConfigError):
        Bucket.from_settings(Settings())
    done = CliRunner().invoke(app, ["rebalance", "--resume"])
    assert f"{half} done" in done.output
    assert "refused files are not copied aside: no usable Google credentials" in done.stderr

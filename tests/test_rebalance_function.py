"""The Cloud Function under functions-framework: what it answers decides what comes again."""

from __future__ import annotations

import datetime as dt
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient

from astra.allocation import build
from astra.gcs import Bucket
from astra.settings import HOUSE, Settings
from astra.store import Store, open_store
from sandbox.main import Sandbox
from sandbox.markets import simulated_market

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
BUCKET = "astra-allocations"


@dataclass(frozen=True)
class Function:
    """The function, its bucket and its store."""

    client: FlaskClient
    bucket: Bucket
    store: Store
    sandbox: Sandbox

    def drop(self, weights: dict[str, float], as_of: dt.datetime = TEN) -> tuple[str, int]:
        name, content, metadata = build(
            as_of,
            "0a1b2c3d",
            weights,
            policy="measured",
            model_id="m",
            metadata={"coverage": "1.0", "trained_on": "simulated"},
        )
        return name, self.bucket.create_once(name, content, "text/csv", metadata)

    def deliver(self, name: str, generation: object, bucket: str = BUCKET) -> int:
        body = {"bucket": bucket, "name": name, "generation": str(generation)}
        return self.post(json.dumps(body).encode())

    def put(self, name: str, content: bytes, metadata: dict[str, str] | None = None) -> int:
        """An object of any content, over what is there."""
        found = self.bucket.read_or_none(name)
        before = 0 if found is None else found.generation
        made = self.bucket.replace(name, content, "text/csv", metadata or {}, before)
        assert made is not None
        return made

    def post(self, body: bytes) -> int:
        headers = {
            "ce-id": "1", "ce-specversion": "1.0", "ce-source": "//storage.googleapis.com/",
            "ce-type": "google.cloud.storage.object.v1.finalized",
        }  # fmt: skip
        return self.client.post(
            "/", data=body, headers=headers, content_type="application/json"
        ).status_code

    def allocations(self) -> list[tuple[str, str]]:
        rows = self.store.books.read("allocations").to_pylist()
        return [(row["status"], row["reason"]) for row in rows]

    def orders(self) -> int:
        state: dict[str, list[object]] = self.sandbox.vendors["alpaca"].extensions["state"]()
        return len(state["orders"])


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    days = {"start": dt.date(2026, 1, 8), "end": dt.date(2026, 1, 16)}
    market = simulated_market(("AAPL", "JPM"), seed=5, edge=0.0, at=TEN, **days)
    with Sandbox(market) as sandbox:
        settings = {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'astra.db'}",
            "STORAGE_URL": sandbox.urls.storage,
            "ALPACA_URL": sandbox.urls.alpaca,
            "ALPACA_DATA_URL": sandbox.urls.alpaca,
            "ALPACA_KEY": "key",
            "ALPACA_SECRET": "secret",
            "MAX_ORDER_WEIGHT": "0.6",
            "MAX_POSITION_WEIGHT": "0.6",
            "VENDOR_TIMEOUT": "1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"ASTRA_{name}", value)
        monkeypatch.chdir(tmp_path)
        app = functions_framework.create_app(
            "rebalance", str(HOUSE / "rebalance_function" / "main.py"), "cloudevent"
        )
        found = Settings()
        bucket = Bucket.from_settings(found)
        yield Function(app.test_client(), bucket, open_store(found.database_url), sandbox)


def test_a_dropped_file_is_traded_and_delivered_again_it_is_not(function: Function) -> None:
    dropped = function.drop({"AAPL": 0.5, "JPM": 0.4})
    assert function.deliver(*dropped) == 200
    assert function.deliver(*dropped) == 200
    assert function.allocations() == [("done", "2 of 2 orders filled")]
    assert function.orders() == 2


def test_a_refused_file_is_answered_and_copied_aside(function: Function) -> None:
    name, generation = function.drop({"AAPL": 0.5}, TEN - dt.timedelta(hours=1))
    assert function.deliver(name, generation) == 200
    assert function.allocations()[0][0] == "refused"
    assert function.bucket.names("failure/") == (f"failure/{name}",)
    assert function.orders() == 0


@pytest.mark.parametrize("name", ["predictions_1.csv", "notes.txt", "failure/target_x.csv"])
def test_other_objects_are_ignored(function: Function, name: str) -> None:
    generation = function.bucket.create_once(name, b"ticker,weight\nAAPL,1\n", "text/csv", {})
    assert function.deliver(name, generation) == 200
    assert function.allocations() == []


def test_an_object_of_another_bucket_or_one_that_is_gone_is_ignored(function: Function) -> None:
    name, generation = function.drop({"AAPL": 0.5})
    assert function.deliver(name, generation, bucket="other") == 200
    assert function.deliver(name, generation + 1) == 200
    assert function.allocations() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"x"',
        b"{}",
        b"\xff\xfe",
        b'{"bucket": "b", "name": "target_1.csv"}',
        b'{"bucket": "astra-allocations", "name": "target_1.csv", "generation": 1e400}',
        b'{"bucket": "astra-allocations", "name": "target_1.csv", "generation": [1]}',
        b'{"bucket": "astra-allocations", "name": "target_1.csv", "generation": 0}',
        b'{"bucket": "astra-allocations", "name": "target_1.csv", "generation": "9e9"}',
        b'{"bucket": "astra-allocations", "name": ["target_1.csv"], "generation": 1}',
        b'{"bucket": "astra-allocations", "name": "target_\\u0000.csv", "generation": 1}',
        b'{"bucket": 7, "name": "target_1.csv", "generation": 1}',
        b'{"bucket": "astra-allocations", "name": "target_%s.csv", "generation": 1}' % (b"a" * 500),
        b'{"bucket": "astra-allocations", "name": "target_1.csv", "generation": %d}' % 2**70,
    ],
)
def test_a_body_that_is_no_object_is_answered_so_that_it_does_not_come_again(
    function: Function, body: bytes
) -> None:
    assert function.post(body) == 200
    assert function.allocations() == []


def test_only_a_passing_fault_comes_again_and_then_it_trades(function: Function) -> None:
    dropped = function.drop({"AAPL": 0.5})
    function.sandbox.faults.arm(
        {"vendor": "alpaca", "method": "GET", "path": "/v2/account", "status": 503, "times": 99}
    )
    assert function.deliver(*dropped) == 503
    function.sandbox.faults.disarm()
    assert function.deliver(*dropped) == 200
    assert function.allocations() == [("done", "1 of 1 orders filled")]


def test_a_file_that_is_empty_first_and_full_then_is_traded_as_it_is_in_the_end(
    function: Function,
) -> None:
    name = "target_20260112-150000_byhand.csv"
    empty = function.put(name, b"")
    assert function.deliver(name, empty) == 200
    full = function.put(name, b"ticker,weight\nAAPL,0.5\n")
    assert function.deliver(name, full) == 200
    assert function.deliver(name, empty) == 200  # late, and gone
    assert sorted(status for status, _ in function.allocations()) == ["done", "refused"]
    assert function.orders() == 1


def test_a_generation_that_was_overwritten_is_left_to_the_newer_event(function: Function) -> None:
    name = "target_20260112-150000_byhand.csv"
    first = function.put(name, b"ticker,weight\nAAPL,0.5\n")
    second = function.put(name, b"ticker,weight\nJPM,0.5\n")
    assert function.deliver(name, first) == 200
    assert function.allocations() == []
    assert function.deliver(name, second) == 200
    assert [status for status, _ in function.allocations()] == ["done"]


def test_what_is_half_done_goes_on_when_its_file_is_gone(function: Function) -> None:
    name, generation = function.drop({"AAPL": 0.5})
    function.sandbox.faults.arm(
        {"vendor": "alpaca", "method": "POST", "path": "/v2/orders", "status": 503, "times": 99}
    )
    assert function.deliver(name, generation) == 503
    function.sandbox.faults.disarm()
    function.put(name, b"overwritten")
    assert function.deliver(name, generation) == 200
    assert function.allocations() == [("done", "1 of 1 orders filled")]


def test_content_that_is_cut_on_its_way_comes_again(function: Function) -> None:
    dropped = function.drop({"AAPL": 0.5})
    function.sandbox.faults.arm({"vendor": "storage", "truncate": 0.5, "times": None})
    assert function.deliver(*dropped) in (200, 503)
    function.sandbox.faults.disarm()
    assert function.deliver(*dropped) == 200
    assert function.allocations() == [("done", "1 of 1 orders filled")]


def test_a_file_of_a_megabyte_is_refused_unread(function: Function) -> None:
    name = "target_20260112-150000_byhand.csv"
    generation = function.put(name, b"ticker,weight\n" + b"\n" * 1_000_000)
    assert function.deliver(name, generation) == 200
    ((status, reason),) = function.allocations()
    assert status == "refused"
    assert "1,000,000 bytes" in reason


def test_a_file_that_is_held_back_is_not_copied_aside(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_REBALANCE_ON", "file")
    assert function.deliver(*function.drop({"AAPL": 0.5})) == 200
    assert function.allocations()[0][0] == "held"
    assert function.bucket.names("failure/") == ()


def test_an_error_nobody_expected_is_answered_503(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = function.drop({"AAPL": 0.5})
    monkeypatch.setenv("ASTRA_DATABASE_URL", "nonsense")
    assert function.deliver(*dropped) == 503
    assert function.orders() == 0


def test_the_function_starts_without_what_it_does_not_need() -> None:
    banned = (
        "torch darts skfolio pytorch_lightning scipy sklearn onnxruntime pandas alembic yfinance "
        "exchange_calendars model sandbox"
    )
    script = (
        "import sys, rebalance_function.main\n"
        f"print([m for m in '{banned}'.split() if m in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=HOUSE, check=True
    )
    assert ran.stdout.strip() == "[]"
    # Processor time: the wall's is that of a quiet machine, see benchmarks/execution.py.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 4.0

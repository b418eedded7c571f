"""A run whose vendors fail ends as one whose vendors don't: `astra run --faults`."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import desk as trading
import pytest

from astra.cli.sandboxed import Sandbox, read_faults
from astra.errors import DataError
from astra.records import Side
from astra.settings import HOUSE
from astra.store import open_store
from sandbox.main import Sandbox as Vendors
from sandbox.markets import simulated_market

EXAMPLE = HOUSE / "docs" / "faults.example.json"


@dataclass(frozen=True)
class Ended:
    """A run's report, and what its own store says."""

    report: dict[str, Any]
    cash: Decimal
    attempts: int
    log: str


def ran(folder: Path, *words: str) -> Ended:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "astra.cli", "run", "--tickers", "8", "--hours", "2",
         "--policy", "original", *words, "--json"],
        env={**os.environ, "ASTRA_VAR": str(folder / "var"), "ASTRA_SOURCE": "alpaca"}, cwd=folder,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (room,) = (folder / "var" / "sandbox").iterdir()
    store = open_store(f"sqlite:///{room / 'astra.db'}")
    saved = store.books.read("account_summary").to_pylist()[-1]
    orders = store.books.read("orders").to_pylist()
    store.close()
    return Ended(
        report=json.loads(done.stdout.splitlines()[-1]),
        cash=Decimal(saved["cash"]),
        attempts=sum(order["attempt"] > 1 for order in orders),
        log=(room / "logs" / "rebalance.log").read_text(),
    )


@pytest.mark.hour
def test_whatever_fails_on_the_way_a_run_ends_with_the_same_positions_and_cash(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor(2) as pool:
        calm_one = pool.submit(ran, tmp_path / "calm")
        rough_one = pool.submit(ran, tmp_path / "rough", "--faults", str(EXAMPLE))
        calm, rough = calm_one.result(), rough_one.result()
    assert [d["fills"] for d in calm.report["decisions"]] == [
        d["fills"] for d in rough.report["decisions"]
    ]
    assert calm.report["decisions"][0]["fills"] > 1
    for name in ("positions", "equity", "books", "duplicate_orders", "shadow"):
        assert rough.report[name] == calm.report[name], name
    assert rough.cash == calm.cash
    assert rough.report["books"] == {"cash_diff": 0.0, "share_diffs": {}}
    assert rough.report["duplicate_orders"] == 0

    assert "faults_met" not in calm.report
    assert rough.report["faults_met"] > 30
    assert calm.attempts == 0
    assert rough.attempts >= 2, "what was filled in part was tried again"
    assert "POST /orders failed with 504" in rough.log, "accepted all the same"
    assert "GET /orders failed with 503" in rough.log, "delivered again"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is none"),
        ("[{", "is none"),
        ('{"vendor": "alpaca"}', "holds something else"),
        ("[1]", "holds something else"),
    ],
)
def test_a_file_that_is_no_fault_plan_is_refused(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    path = tmp_path / "faults.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_faults(path)


def test_the_sandbox_takes_the_example_and_says_what_it_does_not_understand() -> None:
    with Vendors(simulated_market(("AAPL",), seed=1, start=dt.date(2026, 1, 9))) as vendors:
        sandbox, plan = Sandbox(vendors.urls.control), read_faults(EXAMPLE)
        assert sandbox.arm(plan) == 0
        assert len(vendors.faults.armed()) == len(plan)
        vendors.faults.take_answer("alpaca", "GET", "/v2/account")
        assert sandbox.arm(()) == 1
        assert vendors.faults.armed() == []
        with pytest.raises(DataError, match="needs an effect"):
            sandbox.arm([{"vendor": "alpaca"}])


def test_a_sale_that_fills_in_parts_costs_what_it_costs_in_one() -> None:
    left = []
    for parts in ((100,), (33, 67)):
        with trading.opened() as sandbox:
            sandbox.orders.submit("AAPL", Side.BUY, Decimal(100), "bought")
            for i, qty in enumerate(parts):
                sandbox.orders.submit("AAPL", Side.SELL, Decimal(qty), f"part-{i}")
            left.append(sandbox.alpaca.account().cash)
    assert left[0] == left[1]

"""A day of the real services in the sandbox and the backtest of that day book the same cash."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from astra.cli import backtest, specifying
from astra.settings import Settings

pytestmark = pytest.mark.hour


def traded_day(folder: Path) -> tuple[dict[str, Any], Path]:
    """What `astra run` printed, and its database."""
    words = ("run", "--tickers", "16", "--hours", "6", "--edge", "0.1", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "astra.cli", *words],
        env={**os.environ, "ASTRA_VAR": str(folder / "var")},
        capture_output=True, text=True, cwd=folder, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (database,) = folder.glob("var/sandbox/*/astra.db")
    return json.loads(done.stdout.splitlines()[-1]), database


def rows(database: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def assert_decides_trades_and_books(run: dict[str, Any]) -> None:
    """What a report of `astra run` must say of any day."""
    first, last = run["decisions"][0], run["decisions"][-1]
    assert run["market"] == "simulated:1"
    assert first["tau"] > 0.5
    assert first["fills"] > 0
    for decision in run["decisions"]:
        assert decision["fills"] == decision["orders"]
        weights = decision["weights"].values()
        assert 0 < max(weights) <= 0.1 + 1e-6
        assert sum(weights) <= 0.98 + 1e-6
        assert len(weights) <= 20
        assert decision["skill"]["days"] > 30
        assert set(decision["seconds"]) >= {"load", "forecast", "optimize", "total"}
    assert run["books"] == {"cash_diff": 0.0, "share_diffs": {}}
    assert run["duplicate_orders"] == 0
    assert set(run["positions"]) == set(last["weights"])
    assert run["benchmark"]["symbol"] == "SPY"
    assert set(run["shadow"]) == set(first["books"]) >= {"measured", "original", "equal"}
    assert run["shadow"]["measured"] == run["equity"], "its book is the account to the cent"


def test_a_sandbox_day_and_the_backtest_of_that_day_give_the_same_orders_and_cash(
    tmp_path: Path,
) -> None:
    run, database = traded_day(tmp_path)
    assert_decides_trades_and_books(run)
    settings = Settings(_env_file=None, database_url=f"sqlite:///{database}")
    day = dt.date.fromisoformat(run["decisions"][0]["as_of"][:10])
    asked = specifying.Asked(store=True, first=day, last=day, policies=("measured",))
    found = backtest.run(specifying.specify(asked, settings), settings).backtest
    curve = found.curves["measured"]

    assert len(run["decisions"]) == len(curve.steps) == 6
    for decision, step, skill in zip(run["decisions"], curve.steps, found.skill, strict=True):
        assert decision["as_of"] == step.as_of.isoformat()
        assert decision["weights"] == dict(step.weights), "to the last bit"
        assert (decision["tau"], decision["reason"]) == (step.tau, step.reason)
        theirs = decision["skill"]
        assert (theirs["ic"], theirs["t"]) == (round(skill.ic, 6), round(skill.t, 4))
        assert theirs["on"] == skill.on

    orders = rows(
        database,
        "select symbol, side, qty, filled_average_price from orders "
        "order by planned_at, side desc, symbol",
    )
    theirs = [(symbol, side, Decimal(qty), price) for symbol, side, qty, price in orders]
    assert theirs == [(x.symbol, x.side, x.qty, float(x.price)) for x in curve.trades]
    assert {x.side for x in curve.trades} == {"buy", "sell"}

    cash = Decimal(100_000)
    for x in curve.trades:
        cash += (x.qty * x.price if x.side == "sell" else -x.qty * x.price) - x.fee
    ((their_cash, their_equity),) = rows(
        database, "select cash, equity from account_summary order by at desc limit 1"
    )
    assert cash.quantize(Decimal("0.01")) == Decimal(their_cash)
    assert round(float(curve.equity[-1]), 2) == float(their_equity) == run["equity"]

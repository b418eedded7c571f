"""`astra halt` and `astra lift` at a sandbox broker, with no service running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import desk as trading
import pytest
from typer.testing import CliRunner, Result

from astra.cli.commands import app
from astra.errors import DataError
from astra.records import Side, TradingState
from astra.store import Store, open_store


@pytest.fixture
def environment(sandbox: trading.Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'astra.db'}",
        "ALPACA_URL": sandbox.url,
        "ALPACA_DATA_URL": sandbox.url,
        "ALPACA_KEY": "key",
        "ALPACA_SECRET": "secret",
        "VENDOR_TIMEOUT": "0.5",
        "MONITOR_URL": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(f"ASTRA_{name}", value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(environment: None, tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'astra.db'}")


def astra(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def state(sandbox: trading.Desk, store: Store) -> tuple[TradingState, str, str]:
    row = store.states.get(sandbox.alpaca.account().number)
    return row.state, row.reason, row.changed_by


def test_halt_says_in_one_sentence_that_it_is_confirmed(
    sandbox: trading.Desk, store: Store
) -> None:
    ticket = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "limit", "limit_price": "1",
              "time_in_force": "day"}  # fmt: skip
    sandbox.alpaca.trading.call("POST", "/orders", ticket)
    done = astra("halt", "--reason", "a [bad] feeling")
    assert done.exit_code == 0
    assert "is HALTED: the broker confirms" in done.stdout
    assert "1 orders were cancelled" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert state(sandbox, store) == (TradingState.HALTED, "a [bad] feeling", "command line")


def test_reducing_stops_purchases_only(sandbox: trading.Desk, store: Store) -> None:
    assert astra("halt", "--reducing").exit_code == 0
    found, _, _ = state(sandbox, store)
    assert found is TradingState.REDUCING
    assert found.allows(Side.SELL)


def test_a_broker_that_does_not_answer_is_said_and_shows_in_the_exit_code(
    sandbox: trading.Desk, store: Store
) -> None:
    astra("halt", "--reducing")  # from now on the account is known
    sandbox.fail("*", "/v2", status=503, times=None)
    done = astra("halt")
    assert done.exit_code == 4
    assert "is HALTED, but the broker has not confirmed it" in done.stdout
    sandbox.faults.disarm()
    assert state(sandbox, store)[0] is TradingState.HALTED


def test_lifting_takes_two_commands(sandbox: trading.Desk, store: Store) -> None:
    assert "is ACTIVE: there is nothing to lift" in astra("lift").stdout
    astra("halt", "--reason", "lunch")
    offered = astra("lift")
    assert offered.exit_code == 0
    assert "is HALTED since 2026-01-12 15:00 UTC (by command line: lunch)" in offered.stdout
    assert state(sandbox, store)[0] is TradingState.HALTED
    found = re.search(r"astra lift (\w{8}) within ten minutes", offered.stdout)
    assert found is not None
    done = astra("lift", found[1])
    assert "was HALTED and is ACTIVE, no allocation is half done" in done.stdout
    assert state(sandbox, store)[0] is TradingState.ACTIVE


def test_a_wrong_code_changes_nothing(sandbox: trading.Desk, store: Store) -> None:
    astra("halt")
    done = astra("lift", "WRONG")
    assert isinstance(done.exception, DataError)
    assert state(sandbox, store)[0] is TradingState.HALTED


def at_a_terminal(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "astra.cli", *words],
        env={**os.environ, "COLUMNS": "300"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_person_reads_what_was_done_once(environment: None, sandbox: trading.Desk) -> None:
    done = at_a_terminal("halt")
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    code = at_a_terminal("lift").stdout.split("astra lift ")[1].split()[0]
    done = at_a_terminal("lift", code)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_what_goes_wrong_is_one_sentence_and_an_exit_code(environment: None) -> None:
    done = at_a_terminal("lift", "WRONG")
    assert done.returncode == 3
    assert "it stays ACTIVE" in done.stderr
    assert "Traceback" not in done.stderr

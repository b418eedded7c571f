"""`astra rebalance`: the plan of a file in a terminal of 80 columns, and going on after a crash."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import desk as trading
import pytest
from execution_desk import dropped, opened_desk, sent, shares
from typer.testing import CliRunner, Result

from astra.cli.commands import app
from astra.errors import TemporaryError
from astra.execution.executor import Executor

HEAD = "symbol  now target plan order price why"


@pytest.fixture
def settings(
    sandbox: trading.Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Of a person at a terminal of 80 columns."""
    values = {
        "COLUMNS": "80",
        "ASTRA_ALPACA_URL": sandbox.url,
        "ASTRA_ALPACA_DATA_URL": sandbox.url,
        "ASTRA_ALPACA_KEY": "key",
        "ASTRA_ALPACA_SECRET": "secret",
        "ASTRA_STORAGE_URL": "http://127.0.0.1:9",
        "ASTRA_VENDOR_TIMEOUT": "0.5",
        "ASTRA_DATABASE_URL": f"sqlite:///{tmp_path / 'astra.db'}",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return values


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["rebalance", *words])


def file_of(folder: Path, *rows: str) -> str:
    path = folder / "target_20260112-150000_mine.csv"
    path.write_text("\n".join(["ticker,weight", *rows]) + "\n")
    return str(path)


def test_a_dry_run_shows_plan_denials_cost_and_cash_and_sends_nothing(
    sandbox: trading.Desk,
    settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    Executor(desk).execute(dropped({"JPM": 0.3, "BRK.B": 0.1}))
    before, orders = shares(sandbox), sent(sandbox)
    monkeypatch.setenv("ASTRA_MAX_POSITION_WEIGHT", "0.4")
    monkeypatch.setenv("ASTRA_MAX_GROSS", "0.5")
    found = run(file_of(tmp_path, "AAPL,0.4", "JPM,0.3", "ZZZZ,0.1"), "--dry-run")
    assert found.exit_code == 0
    assert (shares(sandbox), sent(sandbox)) == (before, orders)
    assert len(desk.store.journal.open_allocations()) == 0
    lines = found.output.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == HEAD.split()
    rows = {line.split()[0]: line.split() for line in lines[1:7]}
    assert rows["AAPL"][1:6] == ["0.00%", "40.00%", "24.87%", "buy", rows["AAPL"][5]]
    assert rows["AAPL"][-1] == "RISK_GROSS_EXPOSURE"
    assert rows["BRK.B"][2:5] == ["0.00%", "0.00%", "sell"]
    assert "unknown to the broker" in found.output
    assert "denied RISK_GROSS_EXPOSURE: AAPL: " in found.output
    assert re.search(r"sells: 1 for 10,000\.\d\d USD, buys: 0 for 0\.00 USD", found.output)
    assert re.search(r"estimated cost 2\.\d\d USD, 2\.3 bp of what is traded", found.output)
    assert re.search(r"cash 60,\d{3}\.\d\d USD now, 70,\d{3}\.\d\d USD after \(70", found.output)
    assert lines[-1] == "nothing was sent"


def test_a_dry_run_says_first_what_would_become_of_the_file(
    sandbox: trading.Desk, settings: dict[str, str], tmp_path: Path
) -> None:
    file = file_of(tmp_path, "AAPL,0.2")
    assert "this file would" not in run(file, "--dry-run").output
    later = dropped({"JPM": 0.1}, trading.TEN + dt.timedelta(minutes=20))
    sandbox.step(trading.TEN + dt.timedelta(minutes=20))
    Executor(opened_desk(sandbox, tmp_path)).execute(later)
    found = " ".join(run(file, "--dry-run").output.split())
    assert found.startswith(f"this file would be superseded: {later.name} is newer")
    sandbox.step(trading.TEN + dt.timedelta(minutes=31))
    found = " ".join(run(file, "--dry-run").output.split())
    assert found.startswith("this file would be refused: expired at 2026-01-12 15:30 UTC")
    bad = run(file_of(tmp_path, "AAPL,2"), "--dry-run")
    assert str(bad.exception).startswith("this file would be refused: target_")


def test_what_was_cut_off_is_gone_on_with(
    sandbox: trading.Desk, settings: dict[str, str], tmp_path: Path
) -> None:
    assert run("--resume").output == "nothing is unfinished\n"
    sandbox.fail("POST", "/v2/orders", status=500, times=None)
    with pytest.raises(TemporaryError):
        Executor(opened_desk(sandbox, tmp_path)).execute(dropped({"JPM": 0.2}))
    sandbox.faults.disarm()
    found = run("--resume")
    assert found.output == "target_20260112-150000_0a1b2c3d.csv done: 1 of 1 orders filled\n"
    assert (found.exit_code, list(shares(sandbox))) == (0, ["JPM"])


def test_what_cannot_be_finished_yet_is_said_so(
    sandbox: trading.Desk, settings: dict[str, str], tmp_path: Path
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    sandbox.fail("POST", "/v2/orders", status=500, times=None)
    with pytest.raises(TemporaryError):
        Executor(desk).execute(dropped({"JPM": 0.2}))
    (row,) = desk.store.journal.open_allocations()
    assert desk.store.journal.take_lease(row.id, 600.0) is not None  # a live worker is at it
    found = run("--resume")
    assert found.exit_code == TemporaryError.exit_code
    assert "1 of 1 not finished yet" in found.output


@pytest.mark.parametrize("words", [(), ("f.csv", "--resume"), ("--resume", "--dry-run")])
def test_a_file_or_resume_is_asked_for(words: tuple[str, ...]) -> None:
    found = run(*words)
    assert "give one of them" in str(found.exception)

"""The README says what is so."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from astra import errors
from astra.cli.commands import app
from astra.settings import HOUSE
from astra.universe import sp500
from model.own_policy import find
from model.panel import build
from model.portfolio.covariance import ledoit_wolf, until_next_decision
from model.portfolio.decision import decide
from model.portfolio.records import Inputs
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars

README = (HOUSE / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`([\w./]+(?:\.py|\.yaml|/))`", README)
    assert len(named) > 20
    rooms = (
        "",
        "model/backtest",
        "model/forecast",
        "model/portfolio",
        "astra",
        "astra/execution",
        "astra/store",
        "etl_service/loading",
    )
    folders = [HOUSE / room for room in rooms]
    others = {"mine.py", "failure/", "var/sandbox/"}  # the reader's, the bucket's, a run's
    missing = [n for n in named if n not in others and not any((f / n).exists() for f in folders)]
    assert missing == []


def test_the_policy_in_ten_lines_decides(tmp_path: Path) -> None:
    code = re.search(r"```python\n(# mine\.py\n.*?)```", README, re.DOTALL)
    assert code is not None
    assert len([line for line in code[1].splitlines() if line.strip()]) <= 11  # with its name
    (tmp_path / "mine.py").write_text(code[1])
    name = f"{tmp_path / 'mine.py'}:low_volatility"
    names = default_tickers(12)[:12]
    days = {"first": dt.date(2026, 1, 5), "last": dt.date(2026, 2, 6)}
    panel = build(simulated_bars(names, seed=1, edge=0.0, **days)).only(names)
    risk = ledoit_wolf(panel)
    as_of = panel.sessions[-1].decision_times()[0]
    sigma = np.sqrt(np.diag(risk.per_bar))
    nothing = np.zeros(12)
    sectors = tuple(sp500()[ticker].sector for ticker in panel.tickers)
    inputs = Inputs(
        tickers=panel.tickers, sectors=sectors, score=nothing, forecast=nothing,
        sigma=sigma, risk=risk, horizon=until_next_decision(as_of), ic=0.0, current=nothing,
    )  # fmt: skip
    decision = decide(inputs, name, find(name))
    held = np.flatnonzero(decision.target.weights)
    assert int(np.argmin(sigma)) in held
    assert max(Counter(inputs.sectors[i] for i in held).values()) <= 3


def test_the_error_table_is_the_error_tree() -> None:
    told = {
        row[0].strip("`"): (int(row[2]), int(row[3]))
        for row in rows(section("When something goes wrong").split("When trading needs you")[0])
    }
    tree = {
        name: (kind.exit_code, kind.status)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.AstraError) and name != "AstraError"
    }
    assert told == tree


def test_every_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {command.callback.__name__ for command in app.registered_commands}
    told = set(re.findall(r"`(?:astra )?(\w+)", section("Two commands")))
    assert commands <= told


def test_every_option_it_tells_of_is_one_of_its_command() -> None:
    told = 0
    for call in re.findall(r"`(?:\.venv/bin/)?astra ([a-z][^`]*)`", README):
        command = get_command(app)
        for word in call.split():
            if word not in getattr(command, "commands", {}):
                break
            command = command.commands[word]
        options = {name for parameter in command.params for name in parameter.opts}
        given = set(re.findall(r"--[a-z][a-z-]*", call))
        assert given <= options, call
        told += len(given)
    assert told > 40

"""The whole hour in the sandbox, as a person runs it: in a process of its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from astra.bars import to_arrow
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars

pytestmark = pytest.mark.hour
LEFT_OUT = "NOT.A"  # no member of the index


def astra(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "astra.cli", "run", *words]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "ASTRA_VAR": str(folder / "var"), "COLUMNS": "200"}


def left_running(folder: Path) -> list[str]:
    """Command lines of processes whose environment names our folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_bytes().decode().replace("\0", " "))
        except OSError:
            continue  # gone, or not ours
    return found


def ran(folder: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        astra(folder, *words, "--json"), env=environment(folder), capture_output=True, text=True,
        cwd=folder, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert left_running(folder) == []
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_recorded_bars_with_gaps_and_without_spy_are_traded_and_say_what_was_left_out(
    tmp_path: Path,
) -> None:
    names = default_tickers(6)
    frame = simulated_bars(
        names, seed=9, edge=0.0, first=dt.date(2026, 1, 5), last=dt.date(2026, 2, 6)
    )
    kept = frame[~frame["ticker"].isin(["SPY", "QQQ"])]
    odd = kept[kept["ticker"] == names[0]].assign(ticker=LEFT_OUT)
    halted = kept[(kept["ticker"] == names[1]) & (kept["ts"] >= int(kept["ts"].max()) - 6 * 3600)]
    thinned = pd.concat([kept.drop(halted.index).sample(frac=0.9, random_state=1), odd])
    path = tmp_path / "mine.parquet"
    import pyarrow.parquet as pq

    pq.write_table(to_arrow(thinned.sort_values(["ticker", "ts"])), path)
    found = ran(tmp_path, "--bars", str(path), "--hours", "1")
    (decision,) = found["decisions"]
    assert found["market"].startswith("replay:")
    assert found["tickers"] == 6
    assert decision["left_out"] == {names[1]: "no bar in the last hour"}
    assert set(decision["weights"]) <= set(names) - {names[1]}
    assert decision["fills"] == decision["orders"] > 0
    assert found["benchmark"] is None
    assert found["books"] == {"cash_diff": 0.0, "share_diffs": {}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_stops_everything_it_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    with (tmp_path / "out").open("w") as out:
        child = subprocess.Popen(
            astra(tmp_path, "--tickers", "4"), env=environment(tmp_path), stdout=out, stderr=out
        )
        deadline = time.monotonic() + 60
        while len(left_running(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(left_running(tmp_path)) >= 3
        child.send_signal(number)
        assert child.wait(30) == 130
    assert left_running(tmp_path) == []
    assert "Traceback" not in (tmp_path / "out").read_text()

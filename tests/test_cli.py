"""The command line: one sentence and an exit code for everything that can be wrong."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from astra.cli import doctor, loaded, up
from astra.cli.commands import app, main
from astra.cli.launcher import House, Service, free_ports
from astra.errors import BundleError, ConfigError, TemporaryError
from astra.settings import Settings
from astra.store import open_store
from astra.store.loads import SourceRow, TickerStatus
from astra.store.universe import Member
from model.portfolio.policies import POLICIES


def astra(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "astra.cli", *words],
        env={**os.environ, "COLUMNS": "300", **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("words", "variables", "code", "sentence"),
    [
        (["load"], {"ASTRA_ETL_URL": "http://127.0.0.1:9"}, 4, "start it (astra up)"),
        (["allocate"], {"ASTRA_MODEL_URL": "http://127.0.0.1:9"}, 4, "model service does not"),
        (["allocate"], {"ASTRA_POLICY": "astrology"}, 2, "a policy is one of measured"),
        (["rebalance", "nowhere.csv"], {}, 3, "an allocation file is required"),
        (["rebalance", "bad.csv", "--dry-run"], {}, 2, "ASTRA_ALPACA_KEY, ASTRA_ALPACA_SECRET"),
        (["run", "--bars", "bad.csv"], {}, 3, "a Parquet file of bars is required"),
        (["run", "--tickers", "1"], {}, 2, "greater than or equal to 2"),
        (["monitor"], {"ASTRA_ALPACA_PAPER": "false"}, 2, "ASTRA_LIVE_TRADING"),
        (["fly"], {}, 2, "No such command"),
        (["backtest", "--bars", "none.parquet"], {}, 3, "is required, there is no file /"),
        (["backtest", "--policy", "nope"], {}, 2, "an existing file.py:function; found 'nope'"),
        (
            ["backtest", "--from", "2026-04-02", "--to", "2026-04-01"],
            {},
            2,
            "--from must not be after --to, found 2026-04-02 and 2026-04-01",
        ),
        (
            ["backtest", "--tickers", "2", "--from", "2026-04-04", "--to", "2026-04-04"],
            {},
            3,
            "found none from 2026-04-04 to 2026-04-04",
        ),
        (["backtest", "--policy", "wrong.py:sums", "--report", "/proc"], {}, 2, "/proc is none"),
        (
            ["backtest", "--policy", "wrong.py:sums"],
            {"ASTRA_DATABASE_URL": "sqlite:////"},
            2,
            "the database / cannot be used",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], variables: dict[str, str], code: int, sentence: str,
) -> None:  # fmt: skip
    (tmp_path / "bad.csv").write_text("this is no allocation")
    (tmp_path / "wrong.py").write_text("def sums(inputs):\n    return [9.0] * 60\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["astra", *words])
    for name, value in {"COLUMNS": "300", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == code, said
    assert sentence in said
    assert "Traceback" not in said


def test_a_mistake_ends_the_process_with_its_sentence_alone(tmp_path: Path) -> None:
    done = astra(tmp_path, "rebalance", "nowhere.csv")
    assert done.returncode == 3
    assert done.stderr.startswith("DataError: an allocation file is required")
    assert done.stderr.count("\n") == 1


def test_the_help_of_a_backtest_names_every_policy_and_what_implies_the_store() -> None:
    said = " ".join(
        CliRunner(env={"COLUMNS": "300"}).invoke(app, ["backtest", "--help"]).stdout.split()
    )
    assert all(name in said for name in (*POLICIES, "file.py:function"))
    assert "implies --store" in said


def test_a_taken_port_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    first = free_ports(4)[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 2))
        taken.listen()
        done = astra(tmp_path, "sandbox", "--port", str(first), "--tickers", "2")
    assert done.returncode == 2
    assert f"{first + 2} cannot be used" in done.stderr
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", first))


def python(name: str, port: int, code: str) -> Service:
    return Service(name, (sys.executable, "-c", code), port)


def test_a_service_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    ours = "from astra.errors import BundleError; raise BundleError('m.onnx was changed: train')"
    with House(tmp_path, {}) as house, pytest.raises(BundleError, match=r"model .* was changed"):
        house.start([python("model", port, ours)])
    with House(tmp_path, {}) as house, pytest.raises(TemporaryError, match="ZeroDivisionError"):
        house.start([python("other", port, "1 / 0")])


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.socket() as taken, House(tmp_path, {}) as house:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            house.start([python("etl", port, "")])


def test_the_doctor_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite:///{tmp_path / 'a.db'}",
        etl_url="http://127.0.0.1:9",
        model_url="http://127.0.0.1:9",
        monitor_url="http://127.0.0.1:9",
    )
    found = {check.subject: check for check in doctor.examine(settings)}
    assert found["store"].ok is None
    assert "no file yet" in found["store"].finding
    assert found["bundle"].ok
    assert found["broker"].ok is None
    assert "astra up" in found["services"].finding
    assert all(check.ok is not False for check in found.values())
    broken = settings.model_copy(update={"bundles": tmp_path, "database_url": "oracle://x"})
    again = {check.subject: check for check in doctor.examine(broken)}
    assert again["store"].ok is False
    assert again["bundle"].ok is False
    assert "make train" in again["bundle"].finding


def test_the_doctor_asks_the_broker_and_the_bucket(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite:///{tmp_path / 'a.db'}",
        alpaca_key="key",
        alpaca_secret="hush-hush",
        alpaca_url="http://127.0.0.1:9",
        storage_url="http://127.0.0.1:9",
    )
    found = {check.subject: check for check in doctor.examine(settings)}
    assert found["broker"].ok is False
    assert found["bucket"].ok is False
    assert "hush-hush" not in str(found)


NOW = dt.datetime(2026, 10, 30, 15, tzinfo=dt.UTC)


def loaded_store(tmp_path: Path, *, retry_at: float = 0.0, status: str = "ok") -> Settings:
    """Settings of a store that Yahoo has filled with nothing but what is remembered of loading."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'a.db'}")
    store = open_store(settings.database_url)
    store.books.record_universe([Member(t, t, "Tech", "Chips", True) for t in ("AMD", "KO")], NOW)
    asked = int(NOW.timestamp())
    row = SourceRow("yahoo", asked, 46, 3, retry_at, "Too Many Requests", "yahoo", asked)
    store.loads.change_source("yahoo", lambda _: (row, None))
    store.loads.record_statuses(
        [
            TickerStatus("AMD", "yahoo", "ok", "", NOW, NOW),
            TickerStatus("KO", "yahoo", status, "no data found", NOW),
        ]
    )
    store.close()
    return settings


def findings(settings: Settings, subject: str) -> list[tuple[bool | None, str]]:
    return [(c.ok, c.finding) for c in doctor.examine(settings) if c.subject == subject]


def test_the_doctor_tells_the_state_of_the_source_of_bars(tmp_path: Path) -> None:
    settings = loaded_store(tmp_path)
    (ok, finding), (_, keys) = findings(settings, "bars")
    assert ok
    assert finding == (
        "yahoo: feed yahoo, last asked 2026-10-30 15:00 UTC, 46 of 1,500 requests in the hour "
        "from 15:00; breaker closed"
    )
    assert "nobody stands in" in keys
    assert findings(settings, "tickers") == [
        (True, "2 of 2 of the universe asked for, all answered")
    ]


def test_the_doctor_tells_an_open_breaker_and_who_failed(tmp_path: Path) -> None:
    settings = loaded_store(tmp_path, retry_at=time.time() + 600, status="error")
    (ok, finding), _ = findings(settings, "bars")
    assert ok is None
    assert re.search(r"breaker open, until .* UTC: Too Many Requests$", finding)
    ((_, tickers),) = findings(settings, "tickers")
    assert tickers.endswith("1 failed the last time: KO (no data found)")


def test_the_doctor_leaves_a_database_as_it_is(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'a.db'}")
    assert "no file yet" in findings(settings, "store")[0][1]
    assert list(tmp_path.iterdir()) == []


def load_answer(**statuses: str) -> dict[str, Any]:
    said = {"ok": "", "empty": "", "error": "gone"}
    return {
        "tickers": {t: {"status": s, "message": said[s]} for t, s in statuses.items()},
        "inserted": 1200, "updated": 1, "unchanged": 5, "seconds": 0.52,
        "source": {"name": "yahoo", "spent": 46, "budget": 1500, "breaker": "closed",
                   "retry_at": None},
        "stand_in": None,
        "quality": None,
    }  # fmt: skip


def test_the_parts_of_a_load_are_told_in_one_line() -> None:
    texts = [json.dumps(load_answer(AMD="ok", KO="error")), json.dumps(load_answer(PG="empty"))]
    assert up.digest(texts) == "3 tickers, 2,400 bars new, 2 corrected, 0.5 s; 1 failed: KO (gone)"
    assert up.digest([*texts, "ConnectionError: down"]).endswith("KO (gone); ConnectionError: down")
    assert up.digest(['{"error": "DataError", "message": "no"}'] * 3) == "no"


def test_many_failures_are_told_by_their_reasons() -> None:
    failed = {f"T{i}": "limited" for i in range(7)} | {"X": "a", "Y": "b", "Z": "c"}
    assert loaded.reasons(failed) == (
        "T0, T1, T2, T3, T4 and 2 more (limited), X (a), Y (b) and 1 more reasons"
    )


def test_the_doctor_misses_the_keys_of_the_chosen_source_before_any_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    settings = Settings(_env_file=None, database_url=url, source="alpaca")
    assert findings(settings, "bars") == [
        (False, "ASTRA_SOURCE=alpaca needs ASTRA_ALPACA_KEY and ASTRA_ALPACA_SECRET")
    ]


def test_a_load_of_which_nothing_came_says_why_in_a_sentence(tmp_path: Path) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            failure = {"error": "TemporaryError", "message": "every ticker failed: gone"}
            body = json.dumps(load_answer(AMD="error", KO="error") | failure).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as etl:
        threading.Thread(target=etl.serve_forever, args=(0.01,), daemon=True).start()
        done = astra(tmp_path, "load", ASTRA_ETL_URL=f"http://127.0.0.1:{etl.server_port}")
        etl.shutdown()
    assert done.returncode == 4
    assert done.stderr.strip() == (
        "TemporaryError: etl/load_price_history: every ticker failed: gone"
    )

"""The command line: one sentence and an exit code for everything that can be wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from astra.cli import doctor
from astra.cli.launcher import House, Service, free_ports
from astra.errors import BundleError, ConfigError, TemporaryError
from astra.settings import Settings


def astra(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
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
    ],
)
def test_a_mistake_gets_one_sentence_and_its_exit_code(
    tmp_path: Path, words: list[str], variables: dict[str, str], code: int, sentence: str
) -> None:
    (tmp_path / "bad.csv").write_text("this is no allocation")
    done = astra(tmp_path, *words, **variables)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


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
    assert found["store"].ok
    assert "no bars yet" in found["store"].finding
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

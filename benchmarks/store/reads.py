"""What is read: the last bars of all tickers, and everything through `/dump_table`."""

from __future__ import annotations

import multiprocessing
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import requests
from numpy.typing import NDArray

from astra.sessions import BAR, last_closed_bars
from astra.store import Store, open_store
from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.store.engines import COLUMNS, Engine, SqliteEngine
from benchmarks.timing import in_turns, require_equal, timed

LAST = 60
_LAST_OF_EACH = (
    "SELECT ticker, ts, close FROM (SELECT *, row_number() OVER "  # noqa: S608 - constants only
    f"(PARTITION BY ticker ORDER BY ts DESC) AS place FROM prices) AS placed WHERE place <= {LAST} "
    "ORDER BY ticker, ts"
)


def last_bars(engine: Engine, rounds: int) -> list[Row]:
    """The matrix of closes before a decision, from the database `base`."""
    store = open_store(engine.url("base"))
    connection = engine.connect("base")
    ours, window = in_turns(
        rounds,
        lambda: timed(lambda: _matrix(store)),
        lambda: timed(lambda: _window(connection)),
    )
    store.close()
    connection.close()
    wanted = window.answer
    differs = not np.array_equal(ours.answer, wanted, equal_nan=True)
    require_equal(float(differs), 0, "the last closes of ours and of the rival")
    case = f"{engine.name}: last {LAST} bars of {wanted.shape[1]} tickers to a matrix"
    target = 40 if engine.name == "SQLite" else 150
    return [
        Row("store", case, 1e3 * ours.seconds, "ms", target, "lower"),
        Row(
            "store", f"{case}, speed-up", window.seconds / ours.seconds, "ratio", 5, "higher",
            "row_number() over each ticker, pivoted by pandas",
        ),
    ]  # fmt: skip


def _window(connection: Any) -> NDArray[np.float64]:
    cursor = connection.cursor()
    cursor.execute(_LAST_OF_EACH)
    found = pd.DataFrame(cursor.fetchall(), columns=["ticker", "ts", "close"])
    return found.pivot(index="ts", columns="ticker", values="close").to_numpy()


def _matrix(store: Store) -> NDArray[np.float64]:
    """Closes, bars x tickers, NaN where none was printed."""
    table = store.prices.read(last=LAST, columns=("ticker", "ts", "close"))
    grid = last_closed_bars(LAST, inputs.CLOSE - BAR)  # `base` lacks the last one
    rows = np.searchsorted(grid, table["ts"].cast(pa.int64()).to_numpy())
    tickers = table["ticker"].combine_chunks().dictionary_encode()
    closes = np.full((len(grid), len(tickers.dictionary)), np.nan)
    closes[rows, tickers.indices.to_numpy()] = table["close"].to_numpy()
    return closes


def dump(engine: SqliteEngine, rounds: int) -> list[Row]:
    """All bars of `base` as an Arrow stream over HTTP from a process of its own."""
    path = Path(engine.url("base").removeprefix("sqlite:///"))
    rows = _count(path)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(engine.url("base"), there), daemon=True)
    server.start()
    url = here.recv()
    pid = server.pid or 0
    requests.get(f"{url}/dump_table?table=price_history&format=arrow&last=1", timeout=60)
    before = memory_mb(pid, "VmRSS")
    bare, served = in_turns(
        rounds, lambda: timed(lambda: _bare(path)), lambda: timed(lambda: _drained(url))
    )
    grown = None if before is None else (memory_mb(pid, "VmHWM") or 0) - before
    server.terminate()
    server.join()
    require_equal(abs(served.answer[0] - rows), 0, "the rows of the dump and of the table")
    case = f"{engine.name}: /dump_table of {rows:,} bars as Arrow"
    wanting = "" if grown is not None else "memory of another process is read from /proc only"
    return [
        Row(
            "store", f"{case}, time over a bare read",
            served.seconds / bare.seconds, "ratio", 2, "lower",
            "the driver's SELECT of the same rows in the same order, fetched and thrown away",
        ),
        Row("store", f"{case}, size", served.answer[1] / 1e6, "MB", 40, "lower"),
        Row("store", f"{case}, growth of the service's memory", grown, "MB", 150, "lower", wanting),
    ]  # fmt: skip


def serve(url: str, ready: Connection) -> None:
    """The dump route alone on a free port, until the process is ended."""
    from flask import Flask

    from etl_service import dump as dump_service
    from sandbox.serving import Servers

    app = Flask("dump")
    app.register_blueprint(dump_service.routes(open_store(url)))
    with Servers({"dump": app}) as urls:
        ready.send(urls["dump"])
        ready.recv()


def memory_mb(pid: int, field: str) -> float | None:
    """Of a process, from Linux' /proc; None elsewhere."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _drained(url: str) -> tuple[int, int]:
    """Rows and bytes of the stream, decoded batch by batch as a client does."""
    asked = f"{url}/dump_table?table=price_history&format=arrow"
    with requests.get(asked, stream=True, timeout=600) as answer:
        answer.raise_for_status()
        source = pa.PythonFile(answer.raw, mode="r")
        with pa.ipc.open_stream(source) as reader:
            rows = sum(batch.num_rows for batch in reader)
        return rows, int(answer.raw.tell())


def _bare(path: Path) -> None:
    connection = sqlite3.connect(path)
    cursor: Any = connection.execute(f"SELECT {COLUMNS} FROM price_history ORDER BY ticker, ts")  # noqa: S608 - constants only
    while cursor.fetchmany(10_000):
        pass
    connection.close()


def _count(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = int(connection.execute("SELECT count(*) FROM price_history").fetchone()[0])
    connection.close()
    return found

"""The hourly refresh of the price store, and the read before each decision.

The rivals do less than the store: they validate nothing and forget what they replace.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from astra import bars
from astra.sessions import BAR
from astra.store import Counts, open_store
from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.timing import Timed, in_turns, require_equal, timed

Refresh = Callable[[sqlite3.Connection, str, pd.DataFrame], None]
LAST = 60
_COLUMNS = ", ".join(bars.COLUMNS)
_VALUES = bars.COLUMNS[2:]
_SET = ", ".join(f"{name} = {{0}}.{name}" for name in _VALUES)
_TABLE = (
    "CREATE TABLE prices (ticker TEXT, ts INTEGER, open REAL, high REAL, low REAL, close REAL, "
    "volume INTEGER, PRIMARY KEY (ticker, ts)) WITHOUT ROWID"
)
_COPY = f"INSERT INTO prices SELECT {_COLUMNS} FROM ours.price_history ORDER BY ticker, ts"  # noqa: S608 - constants only
_UPSERT = (
    f"INSERT INTO prices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants only
    f"ON CONFLICT (ticker, ts) DO UPDATE SET {_SET.format('excluded')}"
)
_INSERT_MISSING = (
    f"INSERT INTO prices SELECT {_COLUMNS} FROM offered o WHERE NOT EXISTS "  # noqa: S608 - constants only
    "(SELECT 1 FROM prices p WHERE p.ticker = o.ticker AND p.ts = o.ts)"
)
_UPDATE_DIFFERING = (
    f"UPDATE prices SET {_SET.format('o')} FROM offered o "  # noqa: S608 - constants only
    "WHERE prices.ticker = o.ticker AND prices.ts = o.ts AND "
    f"({', '.join(f'prices.{v}' for v in _VALUES)}) IS NOT ({', '.join(f'o.{v}' for v in _VALUES)})"
)
_LAST_OF_EACH = (
    f"SELECT {_COLUMNS} FROM (SELECT *, row_number() OVER "  # noqa: S608 - constants only
    f"(PARTITION BY ticker ORDER BY ts DESC) AS place FROM prices) WHERE place <= {LAST} "
    "ORDER BY ticker, ts"
)


def measure(tickers: int = 500, days: int = 30, refreshed: int = 5, rounds: int = 3) -> list[Row]:
    """Offer the last `refreshed` of `days` sessions again: a bar new and one changed a ticker."""
    history = inputs.bars(tickers, days)
    before_last = history["ts"] < history["ts"].max()
    offered = corrected(history, refreshed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder, history[before_last])
        ours, staged, upserted = in_turns(
            rounds,
            lambda: _refresh_ours(folder, offered, tickers),
            lambda: _refresh_rival(folder / "staged.db", offered, stage),
            lambda: _refresh_rival(folder / "upserted.db", offered, upsert),
        )
        for rival in ("staged", "upserted"):
            _require_same_table(folder / "ours.db", folder / f"{rival}.db")
        reads = _reads(folder, rounds)
    case = f"refresh of {len(offered):,} bars, {tickers} new and {tickers} changed"
    return [
        Row("store", case, len(offered) / ours.seconds, "rows/s", 100_000, "higher"),
        Row(
            "store", f"{case}, speed-up over staging",
            staged.seconds / ours.seconds, "ratio", 10, "higher",
            "per ticker: DataFrame.to_sql into a staging table, insert missing, update differing",
        ),
        Row(
            "store", f"{case}, speed-up over upserts",
            upserted.seconds / ours.seconds, "ratio", 1, "higher",
            "per ticker: executemany INSERT ... ON CONFLICT DO UPDATE of every row, values "
            "unchecked, what they replace lost",
        ),
        *reads,
    ]  # fmt: skip


def corrected(history: pd.DataFrame, days: int, seed: int = inputs.SEED) -> pd.DataFrame:
    """The last `days` sessions of every ticker; the volume of one bar each has changed."""
    since = int(inputs.sessions(days)[0].opens_at.timestamp())
    offered = history[history["ts"] >= since].reset_index(drop=True)
    tickers = offered["ticker"].nunique()
    each = len(offered) // tickers
    places = np.random.default_rng(seed).integers(0, each - 1, tickers)  # never the new last bar
    offered.loc[np.arange(tickers) * each + places, "volume"] += 1
    return offered


def _fill(folder: Path, history: pd.DataFrame) -> None:
    """`base.db` through our store, and the same rows in the rivals' `naive.db`."""
    store = open_store(f"sqlite:///{folder}/base.db")
    store.prices.upsert(history, inputs.CLOSE - BAR)
    store.close()
    rival = sqlite3.connect(folder / "naive.db", isolation_level=None)
    rival.execute("ATTACH ? AS ours", (str(folder / "base.db"),))
    rival.execute(_TABLE)
    rival.execute(_COPY)
    rival.close()


def _refresh_ours(folder: Path, offered: pd.DataFrame, tickers: int) -> Timed:
    _copied(folder / "base.db", folder / "ours.db")
    store = open_store(f"sqlite:///{folder}/ours.db")
    done = timed(lambda: store.prices.upsert(offered, inputs.CLOSE))
    store.close()
    wanted = Counts(tickers, tickers, len(offered) - 2 * tickers)
    require_equal(float(done.answer != wanted), 0, f"the counts {done.answer} and {wanted}")
    return done


def _refresh_rival(path: Path, offered: pd.DataFrame, refresh: Refresh) -> Timed:
    _copied(path.with_name("naive.db"), path)
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}").close()  # as our store's

    def all_tickers() -> None:
        for ticker, rows in offered.groupby("ticker"):
            refresh(connection, str(ticker), rows)

    done = timed(all_tickers)
    connection.close()
    return done


def stage(connection: sqlite3.Connection, _ticker: str, rows: pd.DataFrame) -> None:
    """The first idea: pandas writes a table, SQL merges it."""
    rows.to_sql("offered", connection, if_exists="replace", index=False)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_INSERT_MISSING)
    connection.execute(_UPDATE_DIFFERING)
    connection.execute("COMMIT")


def upsert(connection: sqlite3.Connection, _ticker: str, rows: pd.DataFrame) -> None:
    """The second: every row through one prepared statement."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_UPSERT, rows[list(bars.COLUMNS)].itertuples(index=False, name=None))
    connection.execute("COMMIT")


def _copied(source: Path, target: Path) -> None:
    for old in target.parent.glob(f"{target.name}*"):
        old.unlink()
    shutil.copy(source, target)


def _require_same_table(ours: Path, rival: Path) -> None:
    connection = sqlite3.connect(rival, isolation_level=None)
    connection.execute("ATTACH ? AS ours", (str(ours),))
    pair = (f"SELECT {_COLUMNS} FROM ours.price_history", f"SELECT {_COLUMNS} FROM prices")  # noqa: S608 - constants only
    differing = 0
    for one, other in (pair, pair[::-1]):
        query = f"SELECT count(*) FROM ({one} EXCEPT {other})"  # noqa: S608 - constants only
        differing += connection.execute(query).fetchone()[0]
    connection.close()
    require_equal(differing, 0, f"the refreshed tables of ours and of {rival.stem}, in rows,")


def _reads(folder: Path, rounds: int) -> list[Row]:
    store = open_store(f"sqlite:///{folder}/ours.db")
    connection = sqlite3.connect(folder / "upserted.db")
    ours, window = in_turns(
        rounds,
        lambda: timed(lambda: store.prices.read(last=LAST)),
        lambda: timed(lambda: pd.read_sql(_LAST_OF_EACH, connection)),
    )
    store.close()
    connection.close()
    found = bars.from_arrow(ours.answer)
    wanted = window.answer.astype(found.dtypes.to_dict())
    require_equal(float(not found.equals(wanted)), 0, "the last bars of ours and of the rival")
    tickers = found["ticker"].nunique()
    case = f"read of the last {LAST} bars of {tickers} tickers"
    return [
        Row("store", case, 1e3 * ours.seconds, "ms", 100, "lower"),
        Row(
            "store", f"{case}, speed-up", window.seconds / ours.seconds, "ratio", 5, "higher",
            "row_number() over each ticker through pandas.read_sql",
        ),
    ]  # fmt: skip

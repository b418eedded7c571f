"""SQLite: one file, one machine. The only module that speaks its dialect.

Writers take the write lock first (`BEGIN IMMEDIATE`): a deferred transaction that reads and then
writes fails at once when another writer was faster. Readers see a snapshot and wait for nobody.

Everything goes through Python's own `sqlite3`. A second copy of the SQLite library in the process
(the ADBC driver brings one) would release the first one's POSIX locks and delete its write-ahead
log on closing the file, and commits were lost that way: https://www.sqlite.org/howtocorrupt.html,
"Multiple copies of SQLite linked into the same application".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError

from astra.errors import ConfigError, TemporaryError
from astra.store import schema

BUSY_SECONDS = 60
# One version of a bar, as the store holds it.
VERSION = np.dtype(
    [
        ("ts", "i8"),
        *[(name, "f8") for name in ("open", "high", "low", "close")],
        ("volume", "i8"),
        ("known_from", "i8"),
    ]
)
_FIELDS = "ts, open, high, low, close, volume, known_from"
_WINDOW = f"SELECT {_FIELDS} FROM price_history WHERE ticker = ? AND ts >= ? AND ts < ?"  # noqa: S608 - constants only
_REVISIONS = f"SELECT {_FIELDS} FROM price_revisions WHERE ticker = ? AND ts >= ? AND ts < ?"  # noqa: S608 - constants only
_REPLACE = (
    "ON CONFLICT (ticker, ts) DO UPDATE SET open = excluded.open, high = excluded.high, "
    "low = excluded.low, close = excluded.close, volume = excluded.volume, "
    "known_from = excluded.known_from"
)
_PUT = f"INSERT INTO price_history (ticker, {_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_REPLACE}"  # noqa: S608 - constants only
_PUT_REVISION = (
    f"INSERT OR REPLACE INTO price_revisions (ticker, {_FIELDS}, replaced_at) "  # noqa: S608 - constants only
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Jumps from ticker to ticker along the key instead of reading every row.
_STAGED = "INSERT INTO staged_bars VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_STAGE = (
    "CREATE TEMP TABLE staged_bars (ticker TEXT NOT NULL, ts INTEGER NOT NULL, open REAL, "
    "high REAL, low REAL, close REAL, volume INTEGER, known_from INTEGER, "
    "PRIMARY KEY (ticker, ts)) WITHOUT ROWID"
)
# What the staged bars take the place of, kept with the time they were replaced; then the bars.
_MERGE = (
    "INSERT OR REPLACE INTO price_revisions (ticker, ts, open, high, low, close, volume, "
    "known_from, replaced_at) SELECT p.ticker, p.ts, p.open, p.high, p.low, p.close, p.volume, "
    "p.known_from, s.known_from FROM staged_bars s JOIN price_history p "
    "ON p.ticker = s.ticker AND p.ts = s.ts",
    f"INSERT INTO price_history (ticker, {_FIELDS}) SELECT ticker, {_FIELDS} "  # noqa: S608 - constants only
    f"FROM staged_bars WHERE true ORDER BY ticker, ts {_REPLACE}",
    "DELETE FROM staged_bars",
)
_TICKERS = (
    "WITH RECURSIVE found(ticker) AS (SELECT min(ticker) FROM price_history UNION ALL "
    "SELECT (SELECT min(p.ticker) FROM price_history p WHERE p.ticker > found.ticker) "
    "FROM found WHERE found.ticker IS NOT NULL) "
    "SELECT ticker, (SELECT max(p.ts) FROM price_history p WHERE p.ticker = found.ticker) "
    "FROM found WHERE ticker IS NOT NULL"
)


class Sqlite:
    """The store's statements in SQLite's words."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise ConfigError(
                "the store needs a file that several services can open, found a database in "
                "memory: set ASTRA_DATABASE_URL=sqlite:///var/astra.db"
            )
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder of the database {url.database} cannot be created: {error}"
            ) from error
        self.engine: Engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)
        self._readers = self.engine.execution_options(astra_reads=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement.

        Raises:
            TemporaryError: the lock was not free within 60 s.
            ConfigError: the file cannot be opened or is no database.
        """
        with _our_errors(self.engine), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A snapshot. Raises as `writing`."""
        with _our_errors(self.engine), self._readers.begin() as connection:
            yield connection

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT."""
        return insert(table)

    def window(
        self, connection: Connection, ticker: str, start: int, end: int, known_at: int | None = None
    ) -> NDArray[np.void]:
        """The bars of `ticker` with start <= ts < end as known at `known_at` (None: now), by ts.

        Returns: array of `VERSION`.
        """
        key = (ticker, start, end)
        if known_at is None:
            return _array(connection, f"{_WINDOW} ORDER BY ts", key)
        sql = (
            f"{_WINDOW} AND known_from <= ? UNION ALL "
            f"{_REVISIONS} AND known_from <= ? AND replaced_at > ? ORDER BY ts"
        )
        return _array(connection, sql, (*key, known_at, *key, known_at, known_at))

    def revisions(
        self, connection: Connection, ticker: str, start: int, end: int
    ) -> NDArray[np.void]:
        """The replaced versions of the bars with start <= ts < end, by (ts, known_from)."""
        return _array(connection, f"{_REVISIONS} ORDER BY ts, replaced_at", (ticker, start, end))

    def last_ts(self, connection: Connection) -> dict[str, int]:
        """The start of the last stored bar of every ticker, tickers ascending."""
        return dict(_raw(connection).execute(_TICKERS).fetchall())

    def stage(self, connection: Connection, ticker: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Put bars that differ from the stored ones in the connection's own temp table."""
        values = ((ticker, *row) for row in rows)
        _raw(connection).executemany(_STAGED, values)

    def merge(self, connection: Connection) -> None:
        """Make all staged bars the current versions at once, and keep what they replace."""
        for statement in _MERGE:
            _raw(connection).execute(statement).close()

    def put(self, connection: Connection, ticker: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write current versions, rows in the order of `VERSION`."""
        _raw(connection).executemany(_PUT, ((ticker, *row) for row in rows))

    def put_revisions(
        self, connection: Connection, ticker: str, rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Write replaced versions, rows in the order of `VERSION` and then replaced_at."""
        _raw(connection).executemany(_PUT_REVISION, ((ticker, *row) for row in rows))

    def drop_revisions(self, connection: Connection, ticker: str, instants: Iterable[int]) -> None:
        """Forget the replaced versions of some bars; they are written again by the caller."""
        _raw(connection).executemany(
            "DELETE FROM price_revisions WHERE ticker = ? AND ts = ?",
            ((ticker, t) for t in instants),
        )

    def count(self, connection: Connection) -> int:
        """Number of current bars."""
        return int(connection.scalar(select(func.count()).select_from(schema.price_history)) or 0)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "cache_size = -65536",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.execute(_STAGE).close()


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("astra_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def _our_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        if type(error) not in (DatabaseError, OperationalError):
            raise  # a broken constraint or statement is a bug, not the file's state
        where = engine.url.database
        if "locked" in str(error.orig) or "busy" in str(error.orig):
            message = f"the database {where} was locked for {BUSY_SECONDS} s by another writer"
            raise TemporaryError(message, retry_after=5) from error
        raise ConfigError(f"the database {where} cannot be used: {error.orig}") from error


def _raw(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise ConfigError(f"a SQLite connection is required, found {type(driver).__name__}")
    return driver


def _array(connection: Connection, sql: str, values: tuple[Any, ...]) -> NDArray[np.void]:
    return np.fromiter(_raw(connection).execute(sql, values), dtype=VERSION)

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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from astra.errors import ConfigError, TemporaryError
from astra.store import on_conflict
from astra.store.dialect import BUSY_SECONDS, FIELDS, VERSION, Row, Scope, Versions, Window

_LIST = ", ".join(FIELDS)
_IN_WINDOW = "WHERE ticker = ? AND ts >= ? AND ts < ?"
_PLACES = ", ".join("?" * (len(FIELDS) + 1))
_APPEND = f"INSERT INTO price_history (ticker, {_LIST}) VALUES ({_PLACES})"  # noqa: S608 - constants only
_STAGE = f"INSERT INTO staged_bars (ticker, {_LIST}) VALUES ({_PLACES})"  # noqa: S608 - constants only
_STAGED_BARS = (
    "CREATE TEMP TABLE staged_bars (ticker TEXT NOT NULL, ts INTEGER NOT NULL, open REAL, "
    "high REAL, low REAL, close REAL, volume INTEGER, known_from INTEGER, feed INTEGER, "
    "PRIMARY KEY (ticker, ts)) WITHOUT ROWID"
)
_OLD = ", ".join(f"p.{name}" for name in FIELDS)
# What the staged bars take the place of, kept with the time they were replaced; then the bars. What
# was replaced in the second it was seen has never been known.
_MERGE = (
    f"INSERT INTO price_revisions (ticker, {_LIST}, replaced_at) "  # noqa: S608 - constants only
    f"SELECT p.ticker, {_OLD}, s.known_from FROM staged_bars s JOIN price_history p "
    "ON p.ticker = s.ticker AND p.ts = s.ts AND p.known_from < s.known_from",
    f"INSERT INTO price_history (ticker, {_LIST}) SELECT ticker, {_LIST} "  # noqa: S608 - constants only
    "FROM staged_bars WHERE true ORDER BY ticker, ts ON CONFLICT (ticker, ts) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in FIELDS if name != "ts"),
    "DELETE FROM staged_bars",
)


class Sqlite:
    """The store's statements in SQLite's words, see `Dialect`."""

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
    def writing(self, scope: Scope) -> Iterator[Connection]:
        """See `Dialect`; the file has one write lock for every scope."""
        with _our_errors(self.engine), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with _our_errors(self.engine), self._readers.begin() as connection:
            yield connection

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        return on_conflict.insert_new(insert, connection, table, rows)

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        on_conflict.upsert(insert, connection, table, rows)

    def windows(
        self,
        connection: Connection,
        windows: Sequence[Window],
        known_at: int | None = None,
        fields: Sequence[str] = FIELDS,
    ) -> Iterator[Versions]:
        names = ", ".join(fields)
        inner = ", ".join(dict.fromkeys(["ts", *fields]))
        kind = VERSION[list(fields)]
        dtype = np.dtype([(name, kind[name]) for name in fields])
        sql = f"SELECT {names} FROM price_history {_IN_WINDOW} ORDER BY ts"  # noqa: S608 - our names only
        known: tuple[int, ...] = ()
        if known_at is not None:
            sql = (
                f"SELECT {names} FROM (SELECT {inner} FROM price_history {_IN_WINDOW} "  # noqa: S608 - our names only
                f"AND known_from <= ? UNION ALL SELECT {inner} FROM price_revisions {_IN_WINDOW} "
                "AND known_from <= ? AND replaced_at > ?) ORDER BY ts"
            )
            known = (known_at,)
        cursor = _raw(connection).cursor()
        for window in windows:
            key = (*window, *known)
            values = key if known_at is None else (*key, *key, known_at)
            yield np.fromiter(cursor.execute(sql, values), dtype)

    def last_ts(self, connection: Connection) -> dict[str, int]:
        return dict(_raw(connection).execute(on_conflict.LAST_TS).fetchall())

    def merge(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        raw = _raw(connection)
        for ticker, versions in parts:
            raw.executemany(_STAGE, ((ticker, *row) for row in versions.tolist()))
        for statement in _MERGE:
            raw.execute(statement).close()

    def append(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        raw = _raw(connection)
        for ticker, versions in parts:
            raw.executemany(_APPEND, ((ticker, *row) for row in versions.tolist()))


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "cache_size = -16384",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.execute(_STAGED_BARS).close()


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
    except PoolTimeout as error:
        raise TemporaryError(
            f"a connection to the database {engine.url.database} is required, found all of ours in "
            "use: try again when other requests have ended",
            retry_after=5,
        ) from error


def _raw(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise ConfigError(f"a SQLite connection is required, found {type(driver).__name__}")
    return driver

"""PostgreSQL: one server, many machines. The only module that speaks its dialect.

Writers of one scope take turns by an advisory lock that ends with their transaction; readers see a
snapshot and wait for nobody. Bars travel by binary COPY on the connection of the same transaction,
see `pgcopy.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Table, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from astra.errors import AstraError, ConfigError, TemporaryError
from astra.store import on_conflict, pgcopy
from astra.store.dialect import BUSY_SECONDS, FIELDS, Row, Scope, Versions, Window

# A writer of the books that says nothing for so long is frozen: the server ends it, so that a halt
# has its turn. One of prices may have to think of years of bars.
IDLE_SECONDS = 10
# An advisory lock is named by two numbers: that it is ours, and whose turn it is.
_OURS = 1634955378
_TURNS: dict[Scope, int] = {"schema": 1, "prices": 2, "books": 3}
_LIST = ", ".join(FIELDS)
_OLD = ", ".join(f"p.{name}" for name in FIELDS)
_STAGED_BARS = "CREATE TEMP TABLE staged_bars (LIKE price_history) ON COMMIT DROP"
# What the staged bars take the place of, kept with the time they were replaced; then the bars. What
# was replaced in the second it was seen has never been known.
_MERGE = (
    f"INSERT INTO price_revisions (ticker, {_LIST}, replaced_at) "  # noqa: S608 - constants only
    f"SELECT p.ticker, {_OLD}, s.known_from FROM staged_bars s JOIN price_history p "
    "ON p.ticker = s.ticker AND p.ts = s.ts AND p.known_from < s.known_from "
    "ORDER BY p.ticker, p.ts",
    f"INSERT INTO price_history (ticker, {_LIST}) SELECT ticker, {_LIST} "  # noqa: S608 - constants only
    f"FROM staged_bars ORDER BY ticker, ts ON CONFLICT (ticker, ts) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in FIELDS if name != "ts"),
    "DROP TABLE staged_bars",
)
_IN_WINDOW = "WHERE ticker = w.ticker AND ts >= w.low AND ts < w.high"


class Postgresql:
    """The store's statements in PostgreSQL's words, see `Dialect`."""

    def __init__(self, url: URL) -> None:
        url = url.set(drivername="postgresql+psycopg")
        # A connection that the server closed meanwhile, at a restart say, is replaced unnoticed.
        self.engine: Engine = create_engine(url, pool_pre_ping=True)
        # After the lock, every statement sees what the one before us has committed. A closed cursor
        # of psycopg has forgotten how many rows were new.
        self._writers = self.engine.execution_options(
            isolation_level="READ COMMITTED", preserve_rowcount=True
        )
        self._readers = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def writing(self, scope: Scope) -> Iterator[Connection]:
        """See `Dialect`."""
        idle = IDLE_SECONDS * 1000 if scope == "books" else 0
        with _our_errors(self.engine), self._writers.begin() as connection:
            _raw(connection).execute(
                f"SET LOCAL lock_timeout = {BUSY_SECONDS * 1000:.0f}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {idle:.0f}; "
                f"SELECT pg_advisory_xact_lock({_OURS}, {_TURNS[scope]})".encode()
            )
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Dialect`."""
        with _our_errors(self.engine), self._readers.begin() as connection:
            yield connection

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """See `Dialect`."""
        return on_conflict.insert_new(insert, connection, table, rows)

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """See `Dialect`."""
        on_conflict.upsert(insert, connection, table, rows)

    def windows(
        self,
        connection: Connection,
        windows: Sequence[Window],
        known_at: int | None = None,
        fields: Sequence[str] = FIELDS,
    ) -> Iterator[Versions]:
        """See `Dialect`. A window is one row of arrays: a message for each bar costs twice that."""
        names = [name for name in FIELDS if name in fields]
        inner = ", ".join(dict.fromkeys(["ts", *names]))
        bars = f"SELECT {inner} FROM price_history {_IN_WINDOW}"  # noqa: S608 - our names only
        known: dict[str, int] = {}
        if known_at is not None:
            bars = (
                f"{bars} AND known_from <= %(known_at)s UNION ALL "  # noqa: S608 - our names only
                f"SELECT {inner} FROM price_revisions {_IN_WINDOW} "
                "AND known_from <= %(known_at)s AND replaced_at > %(known_at)s"
            )
            known = {"known_at": known_at}
        query = (
            f"SELECT {', '.join(f'b.{name}' for name in names)} "  # noqa: S608 - our names only
            "FROM unnest(%(tickers)s::text[], %(lows)s::bigint[], %(highs)s::bigint[]) "
            "WITH ORDINALITY AS w(ticker, low, high, place) CROSS JOIN LATERAL ("
            f"SELECT {', '.join(f'array_agg({name}) AS {name}' for name in names)} "
            f"FROM ({bars} ORDER BY ts) AS bars) AS b ORDER BY w.place"
        )
        values = {
            "tickers": [window.ticker for window in windows],
            "lows": [window.start for window in windows],
            "highs": [window.end for window in windows],
            **known,
        }
        return pgcopy.arrays(_raw(connection), query, values, fields)

    def last_ts(self, connection: Connection) -> dict[str, int]:
        """See `Dialect`."""
        return dict(_raw(connection).execute(on_conflict.LAST_TS.encode()).fetchall())

    def merge(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """See `Dialect`."""
        staged = [part for part in parts if part[1].size]
        if not staged:
            return
        raw = _raw(connection)
        raw.execute(_STAGED_BARS)
        pgcopy.write(raw, "staged_bars", staged)
        for statement in _MERGE:
            raw.execute(statement.encode())

    def append(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """See `Dialect`."""
        pgcopy.write(_raw(connection), "price_history", parts)


# SQLSTATE, or its class: connection lost, too many of them, serialization failure, deadlock,
# server stopping or starting; ended as it was idle, lock not available.
_IDLE, _LOCKED = "25P03", "55P03"
_PASSING = ("08", "53", "40001", "40P01", "57P01", "57P02", "57P03", _IDLE, _LOCKED)
# Wrong name or password, missing database or schema, no permission, a server that only reads.
_SETTINGS = ("28", "3D", "3F", "42501", "25006")
# While connecting, libpq hands no SQLSTATE on, only the server's or its own words.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "invalid connection option",
    "invalid sslmode value",
)


@contextmanager
def _our_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        ours = _translated(engine.url, error.orig if isinstance(error, DBAPIError) else error)
        if ours is None:
            raise  # a broken constraint or statement is a bug, not the server's state
        raise ours from error
    except PoolTimeout as error:
        raise TemporaryError(
            f"a connection to the database {engine.url.database} is required, found all of "
            "ours in use: try again when other requests have ended",
            retry_after=5,
        ) from error


def _translated(url: URL, error: BaseException | None) -> AstraError | None:
    """What a person can do about it; the URL may hold passwords in more than one place."""
    if not isinstance(error, psycopg.Error):
        return None
    where = f"the database {url.database} on {url.host or url.query.get('host', 'this machine')}"
    said = " ".join(str(error).split())
    if error.sqlstate is None:
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return None
        is_passing = not any(words in said for words in _REFUSALS)
    elif error.sqlstate.startswith((*_PASSING, *_SETTINGS)):
        is_passing = error.sqlstate.startswith(_PASSING)
    else:
        return None
    if error.sqlstate == _LOCKED:
        said = f"was locked for {BUSY_SECONDS} s by another writer"
        return TemporaryError(f"{where} {said}", retry_after=5)
    if is_passing:
        return TemporaryError(f"{where} does not answer: {said}", retry_after=5)
    return ConfigError(f"{where} cannot be used, set ASTRA_DATABASE_URL: {said}")


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise ConfigError(f"a psycopg connection is required, found {type(driver).__name__}")
    return driver

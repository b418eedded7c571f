"""Counters that grow with each change, so that a reader can ask whether there is anything new."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Update, case, select

from astra.store import schema
from astra.store.dialect import Dialect, Scope

_BITS = 48


def bump(connection: Connection, scope: Scope) -> None:
    """Something of `scope` has changed, in the transaction that changes it.

    The first change leaps to a number of its own: a database that was made anew must not come to
    a number at which the one before held other rows.
    """
    connection.execute(grown(scope, 1 + secrets.randbits(_BITS)))


def grown(scope: Scope, first: int) -> Update:
    """What `bump` says: one more, or `first` instead of 0."""
    table = schema.versions
    value = case((table.c.value == 0, first), else_=table.c.value + 1)
    return table.update().where(table.c.name == scope).values(value=value)


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

"""Typed values to and from columns (instants, amounts), and writes that may be repeated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, func

from astra.errors import DataError
from astra.store.sqlite import Sqlite

Row = Mapping[str, Any]


def seconds(t: dt.datetime) -> int:
    """Epoch seconds of an aware time, rounded down.

    Raises:
        DataError: the time has no zone.
    """
    if t.tzinfo is None:
        raise DataError(f"a time with a zone is required, found {t.isoformat()}: use UTC")
    return int(t.timestamp() // 1)


def seconds_or_none(t: dt.datetime | None) -> int | None:
    return None if t is None else seconds(t)


def moment(at: int) -> dt.datetime:
    """The UTC time of epoch seconds."""
    return dt.datetime.fromtimestamp(at, dt.UTC)


def moment_or_none(at: int | None) -> dt.datetime | None:
    return None if at is None else moment(at)


def decimal(value: Decimal | float) -> str:
    """A decimal string without exponent; a float as it is written.

    Raises:
        DataError: the value is NaN or infinite.
    """
    exact = Decimal(str(value))
    if not exact.is_finite():
        raise DataError(f"a finite amount is required, found {value}")
    return format(exact, "f")


def decimal_or_none(value: Decimal | float | None) -> str | None:
    return None if value is None else decimal(value)


def insert_new(connection: Connection, dialect: Sqlite, table: Table, rows: Sequence[Row]) -> int:
    """Insert the rows whose key is not there yet; the number of them."""
    if not rows:
        return 0
    statement = dialect.insert(table).on_conflict_do_nothing()
    return int(connection.execute(statement, list(map(dict, rows))).rowcount)


def upsert(connection: Connection, dialect: Sqlite, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or overwrite the other columns of those whose key is there.

    A None never overwrites a value, so a later, poorer record loses nothing.
    """
    if not rows:
        return
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changes = {
        column.name: func.coalesce(statement.excluded[column.name], column)
        for column in table.columns
        if column.name not in keys
    }
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    connection.execute(statement, list(map(dict, rows)))

"""Writes that may be repeated, for a database without INSERT ... ON CONFLICT.

They read the rows of the same keys back and write what differs. That is only right while nobody
else writes: call them in a transaction that holds the write lock (`Dialect.writing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, Update, and_, bindparam, select

from astra.store.dialect import Row

Key = tuple[Any, ...]
# SQL Server takes 2,100 parameters in a statement; the longest key has four columns.
_KEYS_IN_A_LOOKUP = 500


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """As `Dialect.insert_new`; of rows with one key the first is taken."""
    offered: dict[Key, Row] = {}
    for row in rows:
        offered.setdefault(_key(table, row), row)
    known = stored(connection, table, list(offered), table.primary_key.columns.keys())
    new = [dict(row) for key, row in offered.items() if key not in known]
    if new:
        connection.execute(table.insert(), new)
    return len(new)


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """As `Dialect.upsert`; rows with one key are laid over each other in their order."""
    offered: dict[Key, dict[str, Any]] = {}
    for row in rows:
        key = _key(table, row)
        offered[key] = _over(offered.get(key, dict(row)), row)
    known = stored(connection, table, list(offered), table.columns.keys())
    new = [row for key, row in offered.items() if key not in known]
    if new:
        connection.execute(table.insert(), new)
    wanted = [(known[key], _over(known[key], row)) for key, row in offered.items() if key in known]
    changed = [row for old, row in wanted if row != old]
    if changed:
        keys = table.primary_key.columns.keys()
        values = [_renamed(row, keys) for row in changed]
        connection.execute(update_by_key(table), values)


def stored(
    connection: Connection, table: Table, keys: Sequence[Key], columns: Sequence[str]
) -> dict[Key, dict[str, Any]]:
    """The `columns` (the key's among them) of the rows that have one of the keys, by key."""
    found: dict[Key, dict[str, Any]] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), _KEYS_IN_A_LOOKUP):
        part = ordered[start : start + _KEYS_IN_A_LOOKUP]
        for row in connection.execute(lookup(table, part, columns)).mappings():
            values = dict(row)
            found[_key(table, values)] = values
    return found


def lookup(table: Table, keys: Sequence[Key], columns: Sequence[str]) -> Select[Any]:
    """Rows whose key columns each have a value of one of the keys: these keys and few others."""
    inside = [
        column.in_(sorted({key[place] for key in keys}))
        for place, column in enumerate(table.primary_key)
    ]
    return select(*(table.c[name] for name in columns)).where(and_(*inside))


def update_by_key(table: Table) -> Update:
    """Sets the columns that are given; the key's values are the parameters `key_<column>`."""
    same = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
    return table.update().where(and_(*same))


def _key(table: Table, row: Mapping[str, Any]) -> Key:
    return tuple(row[column.name] for column in table.primary_key)


def _over(old: Mapping[str, Any], row: Row) -> dict[str, Any]:
    return {**old, **{name: value for name, value in row.items() if value is not None}}


def _renamed(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {f"key_{name}" if name in keys else name: value for name, value in row.items()}

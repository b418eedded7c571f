"""What SQLite and PostgreSQL say alike: writes that may be repeated, by INSERT ... ON CONFLICT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Table, func
from sqlalchemy.dialects import postgresql, sqlite

from astra.store.dialect import Row

# Jumps from ticker to ticker along the key instead of reading every row.
LAST_TS = (
    "WITH RECURSIVE found(ticker) AS (SELECT min(ticker) FROM price_history UNION ALL "
    "SELECT (SELECT min(p.ticker) FROM price_history p WHERE p.ticker > found.ticker) "
    "FROM found WHERE found.ticker IS NOT NULL) "
    "SELECT ticker, (SELECT max(p.ts) FROM price_history p WHERE p.ticker = found.ticker) "
    "FROM found WHERE ticker IS NOT NULL"
)

Insert = Callable[[Table], sqlite.Insert] | Callable[[Table], postgresql.Insert]


def insert_new(insert: Insert, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """As `Dialect.insert_new`."""
    if not rows:
        return 0
    statement = insert(table).on_conflict_do_nothing()
    return int(connection.execute(statement, list(map(dict, rows))).rowcount)


def upsert(insert: Insert, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """As `Dialect.upsert`."""
    if not rows:
        return
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changes = {
        column.name: func.coalesce(statement.excluded[column.name], column)
        for column in table.columns
        if column.name not in keys
    }
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    connection.execute(statement, list(map(dict, rows)))

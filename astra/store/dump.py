"""Reading tables by name for people and other services: whitelisted, typed, streamed.

Table, columns and filters are looked up here; nothing a caller says becomes SQL.
"""

from __future__ import annotations

import datetime as dt
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    Select,
    SmallInteger,
    Table,
    select,
)

from astra.bars import COLUMNS
from astra.errors import DataError
from astra.store import prices, rows, schema, universe
from astra.store.dialect import Dialect, Scope
from astra.store.feeds import FEEDS

# The tables that may be read, each with the instant that `start` and `end` bound.
TIMES = {
    "price_history": "ts",
    "price_revisions": "ts",
    "universe": "valid_from",
    "forecasts": "as_of",
    "decisions": "as_of",
    "allocations": "received_at",
    "orders": "planned_at",
    "activities": "at",
    "account_summary": "at",
    "history": "at",
    "shadow_books": "at",
    "runs": "started_at",
    "quarantine": "ts",
    "ticker_status": "asked_at",
    "sources": "asked_at",
    "backtests": "made_at",
    "plan_lines": "planned_at",
    "trading_states": "since",
    "reconciliations": "at",
    "audit_log": "at",
    "alerts": "opened_at",
    "twins": "session",
}
_PRICES = ("price_history", "price_revisions")
# Every load writes them, news or not, and nobody counts it.
_UNCOUNTED = ("quarantine", "ticker_status", "sources")
_TICKERS = ("ticker", "symbol")
_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """What to read; None = no filter, or all columns (of prices: a bar's seven).

    `start` and `end` are half-open on the table's time. `last` and `known_at` are for
    `price_history`, see `Prices.read`; of `universe`, `known_at` keeps the members valid then.
    """

    table: str
    columns: Sequence[str] | None = None
    tickers: Sequence[str] | None = None
    account: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    last: int | None = None
    known_at: dt.datetime | None = None


def scope(table: str) -> Scope | None:
    """The scope whose version counter grows with each change of `table`, or None."""
    if table in _UNCOUNTED:
        return None
    return "prices" if table in _PRICES else "books"


def read(dialect: Dialect, query: Query) -> pa.RecordBatchReader:
    """The rows in the order of the table's key, as a stream of Arrow record batches.

    Instants are `timestamp[s, UTC]`, amounts decimal strings.

    Raises:
        DataError: an unknown table or column, or a filter that the table has not.
    """
    if query.table not in TIMES:
        found = reprlib.repr(query.table)
        raise DataError(f"a table is one of {', '.join(TIMES)}; found {found}")
    table = schema.metadata.tables[query.table]
    names = _columns(query, table)
    if query.table == "price_history":
        if query.account is not None:
            raise DataError("price_history has no filter account")
        batches = prices.Prices(dialect).batches(
            query.tickers, query.start, query.end, query.last, query.known_at, names
        )
        return pa.RecordBatchReader.from_batches(prices.arrow_schema(names), batches)
    statement = _filtered(table, names, query)
    fields = pa.schema([(name, _type(table.c[name])) for name in names])
    return pa.RecordBatchReader.from_batches(fields, _stream(dialect, statement, fields))


def _columns(query: Query, table: Table) -> list[str]:
    all_names = [column.name for column in table.columns]
    if query.columns is None:
        return list(COLUMNS) if query.table == "price_history" else all_names
    unknown = [name for name in query.columns if name not in all_names]
    if unknown or not query.columns:
        found = ", ".join(map(reprlib.repr, unknown[:5])) or "none"
        raise DataError(f"columns of {query.table} are {', '.join(all_names)}; found {found}")
    return list(dict.fromkeys(query.columns))


def _filtered(table: Table, names: Sequence[str], query: Query) -> Select[Any]:
    if query.last is not None:
        raise DataError(f"last is for price_history, not for {query.table}")
    time = table.c[TIMES[query.table]]
    statement = select(*(table.c[name] for name in names)).order_by(*table.primary_key)
    if query.known_at is not None:
        if query.table != "universe":
            raise DataError(f"known_at is for price_history and universe, not for {query.table}")
        statement = statement.where(universe.valid_at(query.known_at))
    if query.tickers is not None:
        column = next((table.c[name] for name in _TICKERS if name in table.c), None)
        if column is None:
            raise DataError(f"{query.table} has no filter ticker")
        statement = statement.where(column.in_(query.tickers))
    if query.account is not None:
        if "account" not in table.c:
            raise DataError(f"{query.table} has no filter account")
        statement = statement.where(table.c.account == query.account)
    if query.start is not None:
        statement = statement.where(time >= rows.seconds(query.start))
    if query.end is not None:
        statement = statement.where(time < rows.seconds(query.end))
    return statement


def _stream(
    dialect: Dialect, statement: Select[Any], fields: pa.Schema
) -> Iterator[pa.RecordBatch]:
    with (
        dialect.reading() as connection,
        connection.execution_options(yield_per=_BATCH_ROWS).execute(statement) as found,
    ):
        for part in found.partitions():
            columns = [
                _array(field.type, values)
                for field, values in zip(fields, zip(*part, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=fields)


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.array(values, kind.index_type), FEEDS)
    return pa.array(values, kind)


def _type(column: Column[Any]) -> pa.DataType:
    if column.info.get("instant"):
        return pa.timestamp("s", tz="UTC")
    if column.name == "feed" and isinstance(column.type, SmallInteger):
        return pa.dictionary(pa.int8(), pa.string())
    for kind, arrow in ((Boolean, pa.bool_()), (Float, pa.float64())):
        if isinstance(column.type, kind):
            return arrow
    return pa.int64() if isinstance(column.type, BigInteger | Integer) else pa.string()

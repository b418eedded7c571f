"""The books: what was decided, forecast, traded and owned. Every write may be repeated.

Books are keyed by the broker's account number, so an account that was reset opens a new book.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from sqlalchemy import Table, func, select

from astra.errors import DataError
from astra.ledger import Book
from astra.records import Account, Activity, Position
from astra.store import account_record, rows, schema, universe
from astra.store.decision_row import decision_row
from astra.store.dialect import Dialect, Row
from astra.store.dump import Query, read
from astra.store.universe import Member
from astra.store.versions import bump, writing_books
from astra.untold import LastHeld

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

FORECAST_COLUMNS = tuple(column.name for column in schema.forecasts.columns)
_NEEDED = [column.name for column in schema.forecasts.columns if not column.nullable]


class EquityPoint(Protocol):
    """One point of the broker's portfolio history, as its adapter gives it; USD."""

    @property
    def at(self) -> dt.datetime: ...
    @property
    def equity(self) -> Decimal | float: ...
    @property
    def profit_loss(self) -> Decimal | float | None: ...


class Books:
    """Tables `universe`, `account_summary`, `activities`, `history`, `forecasts`, `decisions`,
    `shadow_books` and `runs`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._replayed = account_record.Replayed(dialect)

    def record_universe(self, members: Sequence[Member], at: dt.datetime) -> int:
        """Make `members` the universe from `at` on; the number of entries opened or closed.

        Entries that changed or left stay readable with their `valid_to`.

        Raises:
            DataError: there are no members.
        """
        return universe.record(self._dialect, members, at)

    def universe(self, at: dt.datetime | None = None) -> tuple[Member, ...]:
        """The members of today, or those valid at `at`, by ticker."""
        return universe.read(self._dialect, at)

    def record_account_summary(
        self,
        account: Account,
        positions: Sequence[Position],
        at: dt.datetime,
        allocation_id: str | None = None,
        own: Mapping[str, Decimal] | None = None,
    ) -> None:
        """The account at one time; the same time again overwrites, but keeps the allocation.

        `own` is the part of each position that is managed; None = all of it.
        """
        row = {
            "account": account.number,
            "at": rows.seconds(at),
            "cash": rows.decimal(account.cash),
            "equity": rows.decimal(account.equity),
            "buying_power": rows.decimal(account.buying_power),
            "positions": json.dumps([_position(p, own) for p in positions]),
            "allocation_id": allocation_id,
        }
        self._upsert(schema.account_summary, [row])

    def accounts(self) -> dict[str, dt.datetime]:
        """The accounts that were recorded, each with its last time, the latest first."""
        table = schema.account_summary
        last = func.max(table.c.at).label("last")
        statement = select(table.c.account, last).group_by(table.c.account)
        with self._dialect.reading() as connection:
            found = connection.execute(statement.order_by(last.desc(), table.c.account)).all()
        return {row.account: rows.moment(row.last) for row in found}

    def record_activities(self, account: str, activities: Iterable[Activity]) -> int:
        """Add the broker's activities; the number that was new."""
        return account_record.record(self._dialect, account, activities)

    def activities(self, account: str, since: dt.datetime | None = None) -> tuple[Activity, ...]:
        """The recorded activities of an account from `since` on (None: all), by id."""
        return account_record.read(self._dialect, account, since)

    def activity_count(self, account: str) -> int:
        """How many activities of an account are recorded; they are added and never changed."""
        return account_record.count(self._dialect, account)

    def last_activity(self, account: str) -> dt.datetime | None:
        """The time of the latest activity recorded; None if there is none."""
        return account_record.last_at(self._dialect, account)

    def acted(self, account: str) -> tuple[Activity, ...]:
        """The recorded activities of all symbols that a split or a new name has met, by id."""
        return account_record.acted(self._dialect, account)

    def moved_by_others(self, account: str) -> tuple[Activity, ...]:
        """The recorded activities of all symbols whose shares something else than our own orders
        has moved, by id."""
        return account_record.moved_by_others(self._dialect, account)

    def own_lines(self, account: str) -> tuple[Activity, ...]:
        """The activities of an account that we booked ourselves, by id."""
        return account_record.own(self._dialect, account)

    def last_held(self, account: str, shares: Mapping[str, Decimal]) -> dict[str, LastHeld]:
        """How symbols were last seen held, the price when there were as many as `shares` says."""
        return account_record.last_held(self._dialect, account, shares)

    def replayed(self, account: str) -> Book:
        """Cash and shares after all recorded activities."""
        return self._replayed.book(account)

    def record_history(self, account: str, points: Iterable[EquityPoint]) -> None:
        """The broker's portfolio history; its last point still moves, so points are overwritten."""
        found = [
            {
                "account": account,
                "at": rows.seconds(p.at),
                "equity": rows.decimal(p.equity),
                "profit_loss": rows.decimal_or_none(p.profit_loss),
            }
            for p in points
        ]
        self._upsert(schema.history, found)

    def record_forecasts(self, frame: pd.DataFrame) -> int:
        """Add forecasts (columns `FORECAST_COLUMNS`, instants in epoch seconds); how many are new.

        What was forecast never changes: rows whose key is known are left alone. Quantiles that
        earlier releases did not forecast may be missing.

        Raises:
            DataError: another column is missing or a value of it is NaN.
        """
        lacking = [c for c in _NEEDED if c not in frame.columns]
        if lacking:
            raise DataError(f"forecasts need the columns {', '.join(lacking)}: they are missing")
        missing = int(frame[_NEEDED].isna().sum().sum())
        if missing:
            raise DataError(f"forecasts must be complete, found {missing} missing values")
        found = frame.reindex(columns=list(FORECAST_COLUMNS))
        columns = (found[c].astype(object).where(found[c].notna(), None) for c in FORECAST_COLUMNS)
        records = [
            dict(zip(FORECAST_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        return self._insert_new(schema.forecasts, records)

    def record_decision(self, name: str, document: Mapping[str, Any]) -> bool:
        """Keep the answer of `/allocate` under its object's name; False if it was known.

        Raises:
            DataError: it cannot be kept, see `decision_row`.
        """
        row = decision_row(name, document)
        return self._insert_new(schema.decisions, [row]) == 1

    def decision(self, name: str) -> dict[str, Any] | None:
        """The whole document of a decision, or None if it is not known."""
        table = schema.decisions
        with self._dialect.reading() as connection:
            text = connection.scalar(select(table.c.document).where(table.c.object == name))
        return None if text is None else dict(json.loads(text))

    def record_shadow_book(
        self,
        account: str,
        policy: str,
        at: dt.datetime,
        equity: Decimal,
        cash: Decimal,
        shares: Mapping[str, Decimal],
    ) -> bool:
        """What a policy would hold in a book of its own at one time; False if that is known."""
        row = {
            "account": account,
            "policy": policy,
            "at": rows.seconds(at),
            "equity": rows.decimal(equity),
            "cash": rows.decimal(cash),
            "shares": json.dumps({ticker: rows.decimal(qty) for ticker, qty in shares.items()}),
        }
        return self._insert_new(schema.shadow_books, [row]) == 1

    def record_run(self, run_id: str, job: str, started_at: dt.datetime) -> None:
        """A job has begun; a second start under the same id changes nothing."""
        row = {
            "id": run_id,
            "job": job,
            "started_at": rows.seconds(started_at),
            "status": "running",
            "message": "",
        }
        self._insert_new(schema.runs, [row])

    def finish_run(self, run_id: str, status: str, message: str, finished_at: dt.datetime) -> None:
        """A job has ended: status `ok` or `failed`, and one sentence.

        Raises:
            DataError: no run of this id has begun.
        """
        table = schema.runs
        ended = table.update().where(table.c.id == run_id)
        values = {"status": status, "message": message, "finished_at": rows.seconds(finished_at)}
        with writing_books(self._dialect) as connection:
            if connection.execute(ended.values(values)).rowcount == 0:
                raise DataError(f"a run that has begun is required, found no run {run_id!r}")

    def read(
        self,
        table: str,
        tickers: Sequence[str] | None = None,
        account: str | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> pa.Table:
        """One of the books as an Arrow table: instants as UTC timestamps, amounts as strings.

        Raises:
            DataError: no such table, or it has no such filter.
        """
        query = Query(table, None, tickers, account, start, end)
        return read(self._dialect, query).read_all()

    def _insert_new(self, table: Table, found: Sequence[Row]) -> int:
        with self._dialect.writing("books") as connection:
            new = self._dialect.insert_new(connection, table, found)
            if new:
                bump(connection, "books")
        return new

    def _upsert(self, table: Table, found: Sequence[Row]) -> None:
        with writing_books(self._dialect) as connection:
            self._dialect.upsert(connection, table, found)


def _position(p: Position, own: Mapping[str, Decimal] | None) -> dict[str, Any]:
    managed = p.qty if own is None else own.get(p.symbol, Decimal(0))
    return {
        "symbol": p.symbol,
        "qty": rows.decimal(p.qty),
        "own_qty": rows.decimal(managed),
        "price": p.market_price,
        "value": float(p.qty) * p.market_price,
        "average_entry_price": p.average_entry_price,
        "asset_id": p.asset_id,
    }

"""Forgetting old bars, but never one that a forecast, a decision or a trade refers to."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, func, select

from astra.sessions import last_closed_bars, last_sessions, next_session
from astra.store import schema
from astra.store.dialect import Dialect
from astra.store.rows import moment, seconds
from astra.store.versions import bump

LOOK_BACK_BARS = 60  # a forecast's window
DECISION_SESSIONS = 20  # a covariance's history

_TABLES = (schema.price_history, schema.price_revisions, schema.quarantine)

Span = tuple[int, int]  # start <= ts < end, epoch seconds


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were deleted, of how many tickers, all from before `before`."""

    before: dt.datetime | None = None
    tickers: int = 0
    bars: int = 0
    revisions: int = 0
    quarantined: int = 0


def prune(dialect: Dialect, keep_days: int, now: dt.datetime, dry_run: bool = False) -> Pruned:
    """Delete bars, with their revisions and quarantined rows, that are older than `keep_days`.

    What began before midnight UTC, `keep_days` days before `now`, goes, except, for each ticker:
    from 60 bars of the grid before each recorded forecast to its last step; the sessions on which
    an order was planned or filled; the 20 sessions before, and the one of, each recorded decision
    that gave it weight. Each ticker has a transaction of its own, so loads need not wait, and a
    second run finds nothing.

    Args:
        keep_days: 0 keeps everything.
        now: the vendor's time.
        dry_run: count, delete nothing.
    """
    if keep_days == 0:
        return Pruned()
    before = moment(seconds(now) // 86_400 * 86_400) - dt.timedelta(days=keep_days)
    end = seconds(before)
    with dialect.reading() as connection:
        referred = _referred(connection, end)
        old = [select(t.c.ticker).where(t.c.ts < end).distinct() for t in _TABLES[1:]]
        tickers = {*dialect.last_ts(connection), *(n for s in old for n in connection.scalars(s))}
    pruned = Pruned(before)
    for ticker in sorted(tickers):
        spans = gaps(referred.get(ticker, []), end)
        found = _count(dialect, ticker, spans)
        if any(found) and not dry_run:
            found = _delete(dialect, ticker, spans)
        pruned = Pruned(
            before,
            pruned.tickers + any(found),
            pruned.bars + found[0],
            pruned.revisions + found[1],
            pruned.quarantined + found[2],
        )
    return pruned


def gaps(kept: Iterable[Span], end: int) -> list[Span]:
    """What lies between the spans to be kept, and before and after them, up to `end`."""
    found, start = [], 0
    for first, last in sorted(kept):
        if start < min(first, end):
            found.append((start, min(first, end)))
        start = max(start, last)
    return [*found, (start, end)] if start < end else found


def _referred(connection: Connection, end: int) -> dict[str, list[Span]]:
    """The spans to be kept of each ticker, as far as they begin before `end`."""
    kept: dict[str, list[Span]] = {}
    for find in (_forecast, _decided, _traded):
        for ticker, (first, last) in find(connection, end):
            spans = kept.setdefault(ticker, [])
            if spans and spans[-1][0] <= first <= spans[-1][1]:  # hour after hour they overlap
                spans[-1] = spans[-1][0], max(spans[-1][1], last)
            elif first < end:
                spans.append((first, last))
    return kept


def _forecast(connection: Connection, end: int) -> Iterator[tuple[str, Span]]:
    table = schema.forecasts
    times = connection.scalars(select(table.c.as_of).distinct()).all()
    first = {at: int(last_closed_bars(LOOK_BACK_BARS, moment(at))[0]) for at in times}
    newest = max((at for at, start in first.items() if start < end), default=None)
    if newest is None:
        return
    keys = table.c.ticker, table.c.as_of
    statement = select(*keys, func.max(table.c.ts)).where(table.c.as_of <= newest)
    for ticker, at, last in connection.execute(statement.group_by(*keys).order_by(*keys)):
        yield ticker, (first[at], last + 1)


def _decided(connection: Connection, end: int) -> Iterator[tuple[str, Span]]:
    table = schema.decisions
    for at, document in connection.execute(select(table.c.as_of, table.c.document)):
        start = seconds(last_sessions(DECISION_SESSIONS + 1, moment(at))[0].opens_at)
        if start < end:
            for ticker in json.loads(document).get("weights") or ():
                yield ticker, (start, at)


def _traded(connection: Connection, end: int) -> Iterator[tuple[str, Span]]:
    orders, activities = schema.orders, schema.activities
    filled = activities.c.symbol.is_not(None) & (activities.c.type == "FILL")
    for statement in (
        select(orders.c.symbol, orders.c.planned_at),
        select(orders.c.symbol, orders.c.updated_at),
        select(activities.c.symbol, activities.c.at).where(filled),
    ):
        for symbol, at in connection.execute(statement.distinct()):
            # Outside of a session it may belong to the one before or the one after.
            for session in (last_sessions(1, moment(at))[0], next_session(moment(at))):
                yield symbol, (seconds(session.opens_at), seconds(session.closes_at))


def _count(dialect: Dialect, ticker: str, spans: Iterable[Span]) -> list[int]:
    with dialect.reading() as connection:
        return [
            sum(
                connection.scalar(
                    select(func.count()).select_from(table).where(_inside(table, ticker, span))
                )
                or 0
                for span in spans
            )
            for table in _TABLES
        ]


def _delete(dialect: Dialect, ticker: str, spans: Iterable[Span]) -> list[int]:
    with dialect.writing("prices") as connection:
        found = [
            sum(
                connection.execute(table.delete().where(_inside(table, ticker, span))).rowcount
                for span in spans
            )
            for table in _TABLES
        ]
        bump(connection, "prices")
    return found


def _inside(table: Table, ticker: str, span: Span) -> ColumnElement[bool]:
    return (table.c.ticker == ticker) & (table.c.ts >= span[0]) & (table.c.ts < span[1])

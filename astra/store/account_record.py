"""The broker's record of an account: every line once, and what they come to.

Lines are added and never changed, so what the older ones come to is counted once and remembered;
each time only their number is checked.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from astra.ledger import Book
from astra.owned import MOVES, SPLITS
from astra.records import OWN, Activity, Side
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import bump
from astra.untold import OPENED, LastHeld, offset

_table = schema.activities
_Line = tuple[int, str | None, str | None, str]  # at, symbol, qty, net amount
_SUMMARIES = 2000  # that far back a symbol is looked for: four weeks of every five minutes
_RECENT = 2 * 86_400  # seconds before the last line in which lines may still be booked later


def record(dialect: Dialect, account: str, activities: Iterable[Activity]) -> int:
    """Add the broker's activities; the number that was new.

    What was before the account's books were opened is in the lines that opened them, so it is taken
    out of these in the same transaction.
    """
    lines = list(activities)
    if not lines:
        return 0
    with dialect.writing("books") as connection:
        offsets = [_values(account, offset(a)) for a in _opened_with(connection, account, lines)]
        new = dialect.insert_new(connection, _table, [_values(account, a) for a in lines])
        dialect.insert_new(connection, _table, offsets)
        if new:
            bump(connection, "books")
    return new


def read(dialect: Dialect, account: str, since: dt.datetime | None = None) -> tuple[Activity, ...]:
    """The activities of an account from `since` on, by id; all of them if it is left out."""
    wanted = _table.c.account == account
    if since is not None:
        wanted &= _table.c.at >= rows.seconds(since)
    with dialect.reading() as connection:
        statement = select(_table).where(wanted).order_by(_table.c.id)
        return tuple(map(_activity, connection.execute(statement)))


def count(dialect: Dialect, account: str) -> int:
    """How many activities an account has; lines are only ever added."""
    wanted = _table.c.account == account
    with dialect.reading() as connection:
        return connection.scalar(select(func.count()).select_from(_table).where(wanted)) or 0


def acted(dialect: Dialect, account: str) -> tuple[Activity, ...]:
    """All lines of the symbols that a split or a move has met, by id."""
    return _of_symbols(dialect, account, _table.c.type.in_(SPLITS | MOVES))


def moved_by_others(dialect: Dialect, account: str) -> tuple[Activity, ...]:
    """All lines of the symbols whose shares something else than our own orders has moved, by id."""
    orders = schema.orders
    ours = select(orders.c.broker_id).where(orders.c.account == account)
    by_others = _table.c.order_id.is_(None) | _table.c.order_id.not_in(ours)
    return _of_symbols(dialect, account, _table.c.qty.is_not(None) & by_others)


def _of_symbols(
    dialect: Dialect, account: str, condition: ColumnElement[bool]
) -> tuple[Activity, ...]:
    """All lines of the symbols of which a line meets `condition`, by id."""
    met = select(_table.c.symbol).where((_table.c.account == account) & condition).distinct()
    with dialect.reading() as connection:
        symbols = [symbol for symbol in connection.scalars(met) if symbol is not None]
        wanted = (_table.c.account == account) & _table.c.symbol.in_(symbols)
        statement = select(_table).where(wanted).order_by(_table.c.id)
        if not symbols:
            return ()
        return tuple(map(_activity, connection.execute(statement)))


def own(dialect: Dialect, account: str) -> tuple[Activity, ...]:
    """The lines that we booked ourselves, by id."""
    wanted = (_table.c.account == account) & _table.c.id.like(f"{OWN}%")
    with dialect.reading() as connection:
        statement = select(_table).where(wanted).order_by(_table.c.id)
        return tuple(map(_activity, connection.execute(statement)))


def last_at(dialect: Dialect, account: str) -> dt.datetime | None:
    """The time of the latest activity that the broker told; None if there is none."""
    with dialect.reading() as connection:
        return rows.moment_or_none(_last(connection, account))


def last_held(dialect: Dialect, account: str, shares: Mapping[str, Decimal]) -> dict[str, LastHeld]:
    """How symbols were last seen, from the newest account summaries that hold them; the price is of
    the newest in which there were as many as `shares` says."""
    table = schema.account_summary
    found = dict.fromkeys(shares, LastHeld())
    newest = table.c.at.desc()
    summaries = select(table.c.positions).where(table.c.account == account).order_by(newest)
    with dialect.reading() as connection:
        for text in connection.scalars(summaries.limit(_SUMMARIES)):
            for p in json.loads(text):
                if (known := found.get(symbol := p["symbol"])) is None:
                    continue
                price = p["price"] if Decimal(p["qty"]) == shares[symbol] else None
                found[symbol] = LastHeld(
                    known.asset_id or p.get("asset_id") or "",
                    price if known.price is None else known.price,
                )
            if all(held.asset_id and held.price is not None for held in found.values()):
                break
    return found


@dataclass(frozen=True, slots=True)
class _Sum:
    """What the `count` lines before `until`, epoch seconds, come to."""

    until: int = 0
    count: int = 0
    cash: Decimal = Decimal(0)
    shares: Mapping[str, Decimal] = field(default_factory=dict)

    def plus(self, lines: Sequence[_Line], until: int) -> _Sum:
        cash, shares = self.cash, dict(self.shares)
        for _, symbol, qty, amount in lines:
            cash += Decimal(amount)
            if symbol is not None and qty is not None:
                shares[symbol] = shares.get(symbol, Decimal(0)) + Decimal(qty)
        return _Sum(until, self.count + len(lines), cash, shares)


class Replayed:
    """The book of an account after all its activities, as `astra.ledger.replay` counts it."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._older: dict[str, _Sum] = {}

    def book(self, account: str) -> Book:
        """Cash and shares; both empty for an account without activities."""
        older = self._older.get(account, _Sum())
        with self._dialect.reading() as connection:
            if _count(connection, account, older.until) != older.count:
                older = _Sum()  # a line of long ago was added
            lines = _lines(connection, account, older.until)
        until = max((line[0] for line in lines), default=0) - _RECENT
        if until > older.until:
            older = older.plus([line for line in lines if line[0] < until], until)
            lines = [line for line in lines if line[0] >= until]
        self._older[account] = older
        whole = older.plus(lines, until)
        return Book(whole.cash, {s: q for s, q in sorted(whole.shares.items()) if q != 0})


def _opened_with(connection: Connection, account: str, lines: Sequence[Activity]) -> list[Activity]:
    """Of the broker's lines those that are not known yet and are older than the opening."""
    ours = (_table.c.account == account) & _table.c.id.like(f"{OPENED}%")
    opened: int | None = connection.scalar(select(func.min(_table.c.at)).where(ours))
    if opened is None:
        return []
    older = {a.id: a for a in lines if rows.seconds(a.at) < opened and not a.id.startswith(OWN)}
    if not older:
        return []
    first = min(rows.seconds(a.at) for a in older.values())
    since = (_table.c.account == account) & (_table.c.at >= first) & (_table.c.at < opened)
    known = set(connection.scalars(select(_table.c.id).where(since)))
    return [a for i, a in older.items() if i not in known and (a.net_amount or a.qty)]


def _last(connection: Connection, account: str) -> int | None:
    found: int | None = connection.scalar(
        select(func.max(_table.c.at)).where(
            (_table.c.account == account) & _table.c.id.not_like(f"{OWN}%")
        )
    )
    return found


def _count(connection: Connection, account: str, until: int) -> int:
    if not until:
        return 0
    older = (_table.c.account == account) & (_table.c.at < until)
    return connection.scalar(select(func.count()).select_from(_table).where(older)) or 0


def _lines(connection: Connection, account: str, since: int) -> Sequence[_Line]:
    columns = (_table.c.at, _table.c.symbol, _table.c.qty, _table.c.net_amount)
    wanted = (_table.c.account == account) & (_table.c.at >= since)
    return [tuple(row) for row in connection.execute(select(*columns).where(wanted))]


def _values(account: str, a: Activity) -> dict[str, Any]:
    return {
        "account": account,
        "id": a.id,
        "type": a.type,
        "at": rows.seconds(a.at),
        "symbol": a.symbol,
        "side": None if a.side is None else a.side.value,
        "qty": rows.decimal_or_none(a.qty),
        "price": rows.decimal_or_none(a.price),
        "net_amount": rows.decimal(a.net_amount),
        "order_id": a.order_id,
    }


def _activity(row: Any) -> Activity:
    _, key, kind, at, symbol, side, qty, price, net_amount, order_id = row
    return Activity(
        key,
        kind,
        rows.moment(at),
        Decimal(net_amount),
        symbol,
        None if qty is None else Decimal(qty),
        None if price is None else Decimal(price),
        None if side is None else Side(side),
        order_id,
    )

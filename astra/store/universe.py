"""Who was in the universe, from when to when. Entries are closed, never removed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from astra.errors import DataError
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import bump

_TABLE = schema.universe
_OPEN = _TABLE.c.valid_to.is_(None)


@dataclass(frozen=True, slots=True)
class Member:
    """A ticker of the universe; only tradable ones are candidates, the others are data."""

    ticker: str
    name: str
    sector: str
    industry: str
    tradable: bool


def record(dialect: Dialect, members: Sequence[Member], at: dt.datetime) -> int:
    """Make `members` the universe from `at` on, or from the latest change if that was later.

    Entries that changed or left stay readable with their `valid_to`.

    Returns: the number of entries opened or closed.

    Raises:
        DataError: there are no members.
    """
    if not members:
        raise DataError("a universe of at least one member is required, found none: it was kept")
    wanted = {member.ticker: member for member in members}
    with dialect.writing("books") as connection:
        held = {member.ticker: member for member in _members(connection, _OPEN)}
        gone = [ticker for ticker, member in held.items() if wanted.get(ticker) != member]
        new = [asdict(m) for ticker, m in wanted.items() if held.get(ticker) != m]
        if gone or new:
            since = max(rows.seconds(at), _latest_change(connection))
            _close(connection, gone, since)
            entries = [entry | {"valid_from": since} for entry in new]
            dialect.insert_new(connection, _TABLE, entries)
            bump(connection, "books")
    return len(gone) + len(new)


def read(dialect: Dialect, at: dt.datetime | None = None) -> tuple[Member, ...]:
    """The members of today, or those valid at `at`, by ticker."""
    with dialect.reading() as connection:
        return _members(connection, _OPEN if at is None else valid_at(at))


def valid_at(at: dt.datetime) -> ColumnElement[bool]:
    """The condition that an entry was valid at `at`."""
    t = rows.seconds(at)
    return (_TABLE.c.valid_from <= t) & (_OPEN | (_TABLE.c.valid_to > t))


def _members(connection: Connection, condition: ColumnElement[bool]) -> tuple[Member, ...]:
    found = connection.execute(select(_TABLE).where(condition).order_by(_TABLE.c.ticker))
    return tuple(Member(r.ticker, r.name, r.sector, r.industry, r.tradable) for r in found)


def _latest_change(connection: Connection) -> int:
    latest = select(func.max(_TABLE.c.valid_from), func.max(_TABLE.c.valid_to))
    return max((t for t in connection.execute(latest).one() if t is not None), default=0)


def _close(connection: Connection, tickers: Sequence[str], at: int) -> None:
    left = _OPEN & _TABLE.c.ticker.in_(tickers)
    # An entry corrected in the second it was opened has never been valid.
    connection.execute(_TABLE.delete().where(left & (_TABLE.c.valid_from == at)))
    connection.execute(_TABLE.update().where(left).values(valid_to=at))

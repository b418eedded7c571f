"""What somebody should know or do something about, from when it was first seen until it was over.

What calls for an alert is `astra.alerts`' to say; here is that each is one row while it lasts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select

from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import bump, writing_books

KEY_LENGTH = 120  # of the column

_table = schema.alerts
_MOMENTS = ("opened_at", "seen_at", "told_at", "closed_at", "over_told_at")


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is so now.

    Attributes:
        key: what about; while it lasts it stays the same.
        severity: warning or critical.
        message: one sentence.
        account: "" where it is no account's.
    """

    key: str
    severity: str
    message: str
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow(Alert):
    """An alert as it is kept, in the market's time.

    Attributes:
        opened_at, seen_at: the first and the last time it was so.
        closed_at: when it was over; None = it is open.
        told_at, over_told_at: when the last notice of it was delivered, and the one that it is
            over.
    """

    opened_at: dt.datetime
    seen_at: dt.datetime
    told_at: dt.datetime | None = None
    closed_at: dt.datetime | None = None
    over_told_at: dt.datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


class Alerts:
    """Table `alerts`. An account's alerts are its own and those of no account."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def open(self, account: str) -> tuple[AlertRow, ...]:
        """Those that are not over, the oldest first."""
        with self._dialect.reading() as connection:
            return _select(connection, _of(account) & _table.c.closed_at.is_(None))

    def to_tell(self, account: str) -> tuple[AlertRow, ...]:
        """The open ones, and those that are over where only their beginning was told."""
        is_half_told = _table.c.told_at.is_not(None) & _table.c.over_told_at.is_(None)
        wanted = _of(account) & (_table.c.closed_at.is_(None) | is_half_told)
        with self._dialect.reading() as connection:
            return _select(connection, wanted)

    def see(self, account: str, found: Iterable[Alert], at: dt.datetime) -> int:
        """Make `found` the open alerts: new ones are opened, known ones go on, others are over.

        Returns: how many were opened, closed or say something else now.
        """
        wanted = {(alert.key, alert.account): alert for alert in found}
        with self._dialect.writing("books") as connection:
            known = _select(connection, _of(account) & _table.c.closed_at.is_(None))
            changed = 0
            for row in known:
                alert = wanted.pop((row.key, row.account), None)
                changed += _go_on(connection, row, alert, rows.seconds(at))
            for alert in wanted.values():
                _open(connection, alert, rows.seconds(at))
            changed += len(wanted)
            if changed:
                bump(connection, "books")
        return changed

    def mark_told(self, told: Sequence[AlertRow], at: dt.datetime) -> None:
        """Note that a notice of these was delivered: that they are so, or that they are over."""
        with writing_books(self._dialect) as connection:
            for row in told:
                name = "told_at" if row.is_open else "over_told_at"
                connection.execute(_one(row).values({name: rows.seconds(at)}))


def _go_on(connection: Connection, row: AlertRow, alert: Alert | None, at: int) -> bool:
    """Whether anything but the time at which it was seen has changed."""
    if alert is None:
        connection.execute(_one(row).values(closed_at=at))
        return True
    said = {"severity": alert.severity, "message": alert.message}
    connection.execute(_one(row).values(seen_at=at, **said))
    return said != {"severity": row.severity, "message": row.message}


def _open(connection: Connection, alert: Alert, at: int) -> None:
    """A new row, or the one that was opened and closed within this second."""
    values: dict[str, Any] = {
        "severity": alert.severity,
        "message": alert.message,
        "seen_at": at,
        "closed_at": None,
        "over_told_at": None,
    }
    key = {"key": alert.key, "account": alert.account, "opened_at": at}
    same = and_(*(_table.c[name] == value for name, value in key.items()))
    if connection.execute(_table.update().where(same).values(values)).rowcount == 0:
        connection.execute(_table.insert().values({**key, **values}))


def _of(account: str) -> ColumnElement[bool]:
    return _table.c.account.in_(("", account))


def _one(row: AlertRow) -> Any:
    same = (_table.c.key == row.key) & (_table.c.account == row.account)
    return _table.update().where(same & (_table.c.opened_at == rows.seconds(row.opened_at)))


def _select(connection: Connection, wanted: ColumnElement[bool]) -> tuple[AlertRow, ...]:
    ordered = select(_table).where(wanted).order_by(_table.c.opened_at, _table.c.key)
    return tuple(
        AlertRow(**{**row, **{name: rows.moment_or_none(row[name]) for name in _MOMENTS}})
        for row in connection.execute(ordered).mappings()
    )

"""What an account was worth, what was paid in and out, and what its trading came to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from sqlalchemy import ColumnElement, Float, case, cast, func, select

from astra.risk import Amount
from astra.store import rows, schema
from astra.store.dialect import Dialect

Daily = tuple[dt.date, float]  # USD of a UTC day, within which lies an exchange's in New York
_DAY = 86_400


class Equity:
    """Reads tables `account_summary`, `history`, `activities` and `orders`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def daily(self, account: str, before: dt.datetime) -> list[Amount]:
        """The last value saved on each UTC day before that of `before`, USD, oldest first.

        An exchange's day in New York lies within one of UTC.
        """
        table = schema.account_summary
        midnight = rows.seconds(before) // _DAY * _DAY
        wanted = (table.c.account == account) & (table.c.at < midnight)
        last = select(func.max(table.c.at)).where(wanted).group_by(table.c.at // _DAY)
        statement = select(table.c.at, table.c.equity).where(
            (table.c.account == account) & table.c.at.in_(last)
        )
        with self._dialect.reading() as connection:
            found = connection.execute(statement.order_by(table.c.at)).all()
        return [(rows.moment(at), float(equity)) for at, equity in found]

    def flows(self, account: str, kinds: Collection[str]) -> list[Amount]:
        """Amounts of the activities of these kinds, oldest first, without what came with the
        account's first activity: with that it was opened.

        Shares that came or went count at the price that the broker told; without one they are left
        out, as nobody knows what they were worth.
        """
        table = schema.activities
        of_account = table.c.account == account
        opened_at = select(func.min(table.c.at)).where(of_account).scalar_subquery()
        told = (table.c.at, table.c.net_amount, table.c.qty, table.c.price)
        statement = select(*told).where(
            of_account & table.c.type.in_(sorted(kinds)) & (table.c.at > opened_at)
        )
        with self._dialect.reading() as connection:
            found = connection.execute(statement.order_by(table.c.at)).all()
        return [
            (rows.moment(at), float(amount) + float(qty or 0) * float(price or 0))
            for at, amount, qty, price in found
        ]

    def history(self, account: str) -> list[Amount]:
        """The broker's own record of the account's value, USD, oldest first."""
        table = schema.history
        statement = select(table.c.at, table.c.equity).where(table.c.account == account)
        with self._dialect.reading() as connection:
            found = connection.execute(statement.order_by(table.c.at)).all()
        return [(rows.moment(at), float(equity)) for at, equity in found]

    def summaries(self, account: str) -> list[tuple[dt.datetime, float, float]]:
        """Time, equity and cash of each saved summary, USD, oldest first; positions stay unread."""
        table = schema.account_summary
        statement = select(table.c.at, table.c.equity, table.c.cash)
        of_account = statement.where(table.c.account == account).order_by(table.c.at)
        with self._dialect.reading() as connection:
            found = connection.execute(of_account).all()
        return [(rows.moment(at), float(equity), float(cash)) for at, equity, cash in found]

    def traded(self, account: str) -> list[Daily]:
        """What was bought and sold together on each day."""
        table = schema.activities
        wanted = (table.c.account == account) & (table.c.type == "FILL")
        return self._by_day(table.c.at, func.abs(_usd(table.c.net_amount)), wanted)

    def booked(self, account: str) -> dict[str, list[Daily]]:
        """Net amounts on each day by type of activity, fills left out."""
        table = schema.activities
        wanted = (table.c.account == account) & (table.c.type != "FILL")
        with self._dialect.reading() as connection:
            kinds = connection.scalars(select(table.c.type).where(wanted).distinct()).all()
        net = _usd(table.c.net_amount)
        return {
            kind: self._by_day(table.c.at, net, wanted & (table.c.type == kind))
            for kind in sorted(kinds)
        }

    def slipped(self, account: str) -> list[Daily]:
        """What our orders' fills were worse than their plan's prices on each day; see `execution`
        of `astra.shortfall`."""
        table = schema.orders
        wanted = (table.c.account == account) & table.c.filled_average_price.is_not(None)
        worse = _usd(table.c.filled_qty) * (table.c.filled_average_price - table.c.reference_price)
        cost = case((table.c.side == "buy", worse), else_=-worse)
        return self._by_day(table.c.updated_at, cost, wanted)

    def _by_day(
        self, at: ColumnElement[int], usd: ColumnElement[float], wanted: ColumnElement[bool]
    ) -> list[Daily]:
        lines = select((at // _DAY).label("day"), usd.label("usd")).where(wanted).subquery()
        statement = select(lines.c.day, func.sum(lines.c.usd)).group_by(lines.c.day)
        with self._dialect.reading() as connection:
            found = connection.execute(statement.order_by(lines.c.day)).all()
        return [(rows.moment(day * _DAY).date(), float(amount)) for day, amount in found]


def _usd(amount: ColumnElement[str]) -> ColumnElement[float]:
    return cast(amount, Float(53))

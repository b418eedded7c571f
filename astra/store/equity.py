"""What an account was worth day by day, and what was paid in and out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from sqlalchemy import func, select

from astra.risk import Amount
from astra.store import rows, schema
from astra.store.dialect import Dialect

_DAY = 86_400


class Equity:
    """Reads tables `account_summary` and `activities`."""

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

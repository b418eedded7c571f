"""What an account was worth day by day, and what was paid in and out, in every database."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from astra.records import Account, Activity
from astra.risk import FLOWS
from astra.store import Store

CLOSE = dt.datetime(2026, 1, 9, 21, 0, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def saved(store: Store, at: dt.datetime, usd: str, number: str = "A") -> None:
    value = Decimal(usd)
    store.books.record_account_summary(Account(number, value, value, value), (), at)


def test_a_day_is_worth_what_was_saved_last_and_today_is_not_over(store: Store) -> None:
    saved(store, CLOSE - HOUR, "100.10")
    saved(store, CLOSE, "99.25")
    saved(store, CLOSE - DAY, "98")
    saved(store, CLOSE + DAY - HOUR, "97")
    saved(store, CLOSE, "1", number="B")
    daily = [(CLOSE - DAY, 98.0), (CLOSE, 99.25)]
    assert store.equity.daily("A", CLOSE + DAY) == daily
    assert store.equity.daily("A", CLOSE + DAY - 20 * HOUR) == daily
    assert store.equity.daily("C", CLOSE) == []


def test_flows_are_what_came_after_the_account_was_opened(store: Store) -> None:
    kinds = (("CSD", 0, "1000"), ("FILL", 0, "-7"), ("CSW", 2, "-12.5"), ("FEE", 3, "-1"))
    lines = [
        Activity(f"{kind}-{day}", kind, CLOSE + day * DAY, Decimal(usd)) for kind, day, usd in kinds
    ]
    store.books.record_activities("A", [*lines, Activity("x", "JNLC", CLOSE + DAY, Decimal(30))])
    store.books.record_activities("B", [Activity("y", "CSD", CLOSE, Decimal(5))])
    assert store.equity.flows("A", FLOWS) == [(CLOSE + DAY, 30.0), (CLOSE + 2 * DAY, -12.5)]
    assert store.equity.flows("B", FLOWS) == []
    assert store.equity.flows("C", FLOWS) == []

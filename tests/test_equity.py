"""What an account was worth day by day, and what was paid in and out, in every database."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from decimal import Decimal

import pytest

from astra.alpaca.account import EquityPoint
from astra.records import Account, Activity, OrderStatus, Side
from astra.risk import FLOWS
from astra.store import Store
from astra.store.journal import AllocationRow, OrderRow

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


def test_the_record_is_read_without_positions(store: Store) -> None:
    saved(store, CLOSE, "99.25")
    saved(store, CLOSE - HOUR, "100.10")
    saved(store, CLOSE, "1", number="B")
    values = [(CLOSE - HOUR, 100.1, 100.1), (CLOSE, 99.25, 99.25)]
    assert store.equity.summaries("A") == values
    store.books.record_history("A", [EquityPoint(CLOSE, 7.5, None), EquityPoint(CLOSE - DAY, 7, 0)])
    assert store.equity.history("A") == [(CLOSE - DAY, 7.0), (CLOSE, 7.5)]
    assert store.equity.history("B") == []


def fill(name: str, at: dt.datetime, usd: str) -> Activity:
    value = Decimal(usd)
    side = Side.SELL if value > 0 else Side.BUY
    return Activity(name, "FILL", at, value, "KO", -value, Decimal(1), side, name)


def test_a_days_sales_and_purchases_are_traded_together(store: Store) -> None:
    lines = [fill("1", CLOSE, "-100.5"), fill("2", CLOSE - HOUR, "40.25"),
             fill("3", CLOSE + DAY, "1"), Activity("4", "FEE", CLOSE, Decimal("-0.12")),
             Activity("5", "FEE", CLOSE, Decimal("-0.03"))]  # fmt: skip
    store.books.record_activities("A", lines)
    store.books.record_activities("B", [fill("6", CLOSE, "9")])
    days = (CLOSE.date(), (CLOSE + DAY).date())
    assert store.equity.traded("A") == [(days[0], 140.75), (days[1], 1.0)]
    assert store.equity.booked("A") == {"FEE": [(days[0], pytest.approx(-0.15))]}
    assert store.equity.booked("B") == {}


def test_fills_that_were_worse_than_the_plan_cost(store: Store) -> None:
    desk = journal_of(store)
    desk("buy", "2", 10.0, 10.5)
    desk("sell", "4", 20.0, 19.75)
    desk("sell", "1", 20.0, 20.25)
    desk("buy", "3", 10.0, None)
    assert store.equity.slipped("A") == [(CLOSE.date(), pytest.approx(1.0 + 1.0 - 0.25))]


def journal_of(store: Store) -> Callable[[str, str, float, float | None], None]:
    """Writes an order of account A that is planned and, given a price, filled at the close."""
    row = AllocationRow("00", "A", "b", "o", 1, CLOSE, CLOSE, "p", "m", {"KO": 1.0}, CLOSE)
    store.journal.receive(row)
    fence = store.journal.take_lease("00", 60.0) or 0
    numbers = itertools.count()

    def order(side: str, qty: str, planned: float, filled: float | None) -> None:
        name, shares = f"o-{next(numbers)}", Decimal(qty)
        found = OrderRow(name, "00", "A", "KO", Side(side), 1, shares, planned, "", CLOSE, CLOSE)
        store.journal.plan_orders("00", fence, [found], "buying")
        if filled is not None:
            store.journal.mark(
                name, fence, OrderStatus.FILLED, CLOSE, filled_qty=shares,
                filled_average_price=filled,
            )  # fmt: skip

    return order

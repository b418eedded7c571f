"""Reconciliations in the store, and the orders that are held up."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from astra.owned import Fill
from astra.records import OrderStatus, Side
from astra.store import Store
from astra.store.journal import AllocationRow, OrderRow
from astra.store.reconciliations import Reconciliation

D = Decimal
NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
EQUAL = Reconciliation("PA1", NOW, "equal", message="equal")
ALLOCATION = AllocationRow("a" * 16, "PA1", "b", "t.csv", 7, NOW, NOW + HOUR, "p", "m", {}, NOW)
ORDER = OrderRow(
    "a-A-buy-1", ALLOCATION.id, "PA1", "A", Side.BUY, 1, D("0.5"), 200.0, "", NOW, NOW
)  # fmt: skip


def test_the_last_one_comes_back_as_it_was_recorded(store: Store) -> None:
    known = store.reconciliations
    assert known.latest("PA1") is None
    differs = Reconciliation(
        "PA1", NOW + HOUR, "differs", D("-0.10"), {"A": D("0.5")}, {"a-A-buy-1": "why"}, 1.5, "text"
    )
    known.record(EQUAL)
    known.record(differs)
    assert known.latest("PA1") == differs
    assert known.latest("PA1", NOW + HOUR / 2) == EQUAL
    assert known.latest("PA1", NOW - HOUR) is None
    assert known.latest("PA2") is None
    known.record(replace(differs, status="explained"))
    assert known.latest("PA1") == replace(differs, status="explained")


def test_whether_books_were_ever_equal_is_known(store: Store) -> None:
    store.reconciliations.record(replace(EQUAL, status="differs"))
    assert not store.reconciliations.was_equal("PA1")
    store.reconciliations.record(replace(EQUAL, at=NOW + HOUR))
    assert store.reconciliations.was_equal("PA1")
    assert not store.reconciliations.was_equal("PA2")


def test_new_orders_and_those_at_the_broker_are_held_up_and_fills_are_signed(store: Store) -> None:
    store.journal.receive(ALLOCATION)
    fence = store.journal.take_lease(ALLOCATION.id, 60)
    assert fence is not None
    old, sale = replace(ORDER, planned_at=NOW - HOUR), replace(ORDER, side=Side.SELL)
    orders = [
        old,
        replace(old, id="a-B-buy-1", symbol="B", status=OrderStatus.ACCEPTED),
        replace(
            sale,
            id="a-C-sell-1",
            symbol="C",
            filled_qty=D("0.5"),
            status=OrderStatus.FILLED,
            broker_id="b1",
        ),
    ]
    store.journal.plan_orders(ALLOCATION.id, fence, orders)
    held_up = store.reconciliations.orders("PA1", NOW)
    assert [o.id for o in held_up] == ["a-B-buy-1", "a-C-sell-1"]
    assert len(store.reconciliations.orders("PA1", None)) == 3
    assert store.reconciliations.orders("PA2", None) == ()
    assert store.reconciliations.fills("PA1") == (Fill("C", D("-0.5"), NOW, "b1"),)

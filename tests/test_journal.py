"""The journal: every write may be repeated, and an overtaken worker writes nothing."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from astra.errors import DataError, TemporaryError
from astra.owned import Fill
from astra.records import OrderStatus, Side
from astra.store import Store
from astra.store.journal import AllocationRow, Journal, OrderRow

NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ALLOCATION = AllocationRow(
    "a" * 16, "PA1", "bucket", "target_1.csv", 7, NOW, NOW + HOUR, "measured", "m1",
    {"AAPL": 0.5}, NOW,
)  # fmt: skip
SELL = OrderRow(
    "a-AAPL-sell-1", ALLOCATION.id, "PA1", "AAPL", Side.SELL, 1, Decimal("0.5"), 200.0, "", NOW, NOW
)


def test_an_allocation_delivered_twice_is_one_row(store: Store) -> None:
    assert store.journal.allocation(ALLOCATION.id) is None
    assert store.journal.receive(ALLOCATION) == ALLOCATION
    again = replace(ALLOCATION, weights={"AAPL": 0.9}, received_at=NOW + HOUR)
    assert store.journal.receive(again) == ALLOCATION
    manual = replace(ALLOCATION, id="b" * 16, as_of=None, expires_at=None)
    assert store.journal.receive(manual) == manual == store.journal.allocation(manual.id)


def test_one_worker_at_a_time_holds_the_lease(store: Store) -> None:
    wall = [1000.0]
    store.journal.receive(ALLOCATION)
    journal = Journal(store._dialect, wall=lambda: wall[0])
    assert journal.take_lease(ALLOCATION.id, 30) == 1
    assert journal.take_lease(ALLOCATION.id, 30) is None
    journal.renew(ALLOCATION.id, 1, 60)
    wall[0] += 59
    assert journal.take_lease(ALLOCATION.id, 30) is None
    wall[0] += 1  # the first worker is taken for dead
    assert journal.take_lease(ALLOCATION.id, 30) == 2
    journal.release(ALLOCATION.id, 1)  # it wakes up: nothing happens
    assert journal.take_lease(ALLOCATION.id, 30) is None
    journal.release(ALLOCATION.id, 2)
    assert journal.take_lease(ALLOCATION.id, 30) == 3


def test_of_many_deliveries_at_once_one_gets_the_lease(store: Store) -> None:
    leases: list[int | None] = []
    barrier = threading.Barrier(8)

    def deliver() -> None:
        barrier.wait()
        store.journal.receive(ALLOCATION)
        leases.append(store.journal.take_lease(ALLOCATION.id, 60))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leases, key=str) == [1] + [None] * 7


def test_an_overtaken_worker_can_write_nothing(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 0)
    journal.plan_orders(ALLOCATION.id, 1, [SELL])
    assert journal.take_lease(ALLOCATION.id, 60) == 2
    for write in (
        lambda: journal.mark(SELL.id, 1, OrderStatus.SENDING, NOW),
        lambda: journal.plan_orders(ALLOCATION.id, 1, [replace(SELL, id="other")], "buying"),
        lambda: journal.set_status(ALLOCATION.id, 1, "done", finished_at=NOW),
        lambda: journal.renew(ALLOCATION.id, 1, 60),
    ):
        with pytest.raises(TemporaryError, match="taken over"):
            write()
    assert journal.orders(ALLOCATION.id) == (SELL,)
    held = journal.allocation(ALLOCATION.id)
    assert held is not None
    assert held == replace(ALLOCATION, fence=2, leased_until=held.leased_until)
    assert held.leased_until > 0


def test_journaled_quantities_never_change(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 60)
    journal.plan_orders(ALLOCATION.id, 1, [SELL], "selling")
    buy = replace(SELL, id="a-B-buy-1", symbol="B", side=Side.BUY)
    both = journal.plan_orders(ALLOCATION.id, 1, [replace(SELL, qty=Decimal(9)), buy], "buying")
    assert both == (SELL, buy) == journal.orders(ALLOCATION.id)
    held = journal.allocation(ALLOCATION.id)
    assert held is not None
    assert held.status == "buying"


def test_an_order_is_marked_until_it_is_final(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 60)
    journal.plan_orders(ALLOCATION.id, 1, [SELL])
    sent = journal.mark(SELL.id, 1, OrderStatus.ACCEPTED, NOW + HOUR, broker_id="b1")
    assert sent == replace(SELL, status=OrderStatus.ACCEPTED, broker_id="b1", updated_at=NOW + HOUR)
    filled = journal.mark(
        SELL.id, 1, OrderStatus.FILLED, NOW + HOUR, filled_qty=SELL.qty, filled_average_price=199.5
    )
    assert (filled.filled_qty, filled.broker_id) == (Decimal("0.5"), "b1")
    assert journal.mark(SELL.id, 1, OrderStatus.ACCEPTED, NOW + 2 * HOUR) == filled


def test_finished_allocations_are_not_leased_again(store: Store) -> None:
    journal = store.journal
    older = replace(ALLOCATION, id="0" * 16, as_of=NOW - HOUR, generation=9)
    for row in (ALLOCATION, older):
        journal.receive(row)
    assert [row.id for row in journal.open_allocations("PA1")] == [older.id, ALLOCATION.id]
    assert journal.newest_done("PA1") is None
    for row in (ALLOCATION, older):
        fence = journal.take_lease(row.id, 0)
        assert fence == 1
        done = journal.set_status(row.id, fence, "done", "all filled", finished_at=NOW)
        assert done.is_final
        assert journal.take_lease(row.id, 60) is None
        assert journal.set_status(row.id, fence, "abandoned", finished_at=NOW).status == "done"
    newest = journal.newest_done("PA1")
    assert newest is not None
    assert newest.id == ALLOCATION.id
    assert journal.open_allocations("PA1") == () == journal.open_allocations("PA2")


@pytest.mark.parametrize(
    ("status", "finished_at"), [("sold", None), ("done", None), ("selling", NOW)]
)
def test_a_status_that_cannot_be_is_refused(
    store: Store, status: str, finished_at: dt.datetime | None
) -> None:
    store.journal.receive(ALLOCATION)
    with pytest.raises(DataError, match="a status of"):
        store.journal.set_status(ALLOCATION.id, 0, status, finished_at=finished_at)


def test_what_is_not_in_the_journal_is_said(store: Store) -> None:
    with pytest.raises(DataError, match="nope"):
        store.journal.take_lease("nope", 60)
    with pytest.raises(DataError, match="nope"):
        store.journal.mark("nope", 1, OrderStatus.FILLED, NOW)
    store.journal.receive(ALLOCATION)
    with pytest.raises(DataError, match="phase"):
        store.journal.plan_orders(ALLOCATION.id, 0, [], "done")


def test_new_orders_and_those_at_the_broker_are_reconciled_and_fills_are_signed(
    store: Store,
) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    fence = journal.take_lease(ALLOCATION.id, 60)
    assert fence is not None
    old = replace(SELL, id="a-A-buy-1", side=Side.BUY, planned_at=NOW - HOUR)
    orders = [
        old,
        replace(old, id="a-B-buy-1", symbol="B", status=OrderStatus.ACCEPTED),
        replace(
            SELL,
            id="a-C-sell-1",
            symbol="C",
            filled_qty=Decimal("0.5"),
            status=OrderStatus.FILLED,
            broker_id="b1",
        ),
    ]
    journal.plan_orders(ALLOCATION.id, fence, orders)
    found = journal.orders_to_reconcile("PA1", NOW)
    assert [o.id for o in found] == ["a-B-buy-1", "a-C-sell-1"]
    assert len(journal.orders_to_reconcile("PA1", None)) == 3
    assert journal.orders_to_reconcile("PA2", None) == ()
    assert journal.fills("PA1") == (Fill("C", Decimal("-0.5"), NOW, "b1"),)
    assert [o.id for o in journal.orders_since("PA1", NOW)] == ["a-C-sell-1"]

"""What the broker's orders make of the journal's."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from astra.execution.reconciling.agreement import InTransit, beyond, compare_orders, overfilled
from astra.ledger import Differences
from astra.records import Activity, Order, OrderStatus, Side
from astra.store.journal import OrderRow

D = Decimal
NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
OURS = "0123456789abcdef-BRK.B-buy-1"
ROW = OrderRow(
    OURS, OURS[:16], "PA1", "BRK.B", Side.BUY, 1, D(10), 5.0, "", NOW, NOW,
    OrderStatus.FILLED, D(10), 5.0, "b1",
)  # fmt: skip
THEIRS = Order("b1", OURS, "BRK.B", Side.BUY, OrderStatus.FILLED, D(10), D(10), 5.0)
FILL = Activity("1", "FILL", NOW, D(-50), "BRK.B", D(10), D(5), Side.BUY, "b1")


def test_an_order_filled_as_noted_and_recorded_is_no_difference() -> None:
    found = compare_orders([ROW], [THEIRS], [FILL, FILL], ())
    assert (found.corrected, found.absent, found.strange, found.unfilled) == ((), (), (), {})


@pytest.mark.parametrize(
    "noted",
    [
        replace(ROW, status=OrderStatus.CANCELED, filled_qty=D(0), broker_id=""),
        replace(ROW, filled_qty=D(9)),
        replace(ROW, status=OrderStatus.ACCEPTED, filled_qty=D(0)),
    ],
)
def test_what_nobody_works_on_becomes_what_the_broker_says(noted: OrderRow) -> None:
    assert compare_orders([noted], [THEIRS], [FILL], ()).corrected == (THEIRS,)


def test_an_open_order_of_an_unfinished_allocation_is_under_way() -> None:
    noted = replace(ROW, status=OrderStatus.ACCEPTED, filled_qty=D(0))
    assert compare_orders([noted], [THEIRS], [FILL], {ROW.allocation_id}).corrected == ()


def test_orders_that_only_one_side_knows_are_named() -> None:
    planned = replace(ROW, id=OURS[:-1] + "2", status=OrderStatus.REJECTED, broker_id="")
    found = compare_orders([ROW, planned], [], [], ())
    assert found.absent == (ROW,), "what never reached the broker is not missed there"
    by_hand = replace(THEIRS, client_order_id="by-hand")
    found = compare_orders([], [THEIRS, by_hand], [], ())
    assert found.strange == (THEIRS,)


@pytest.mark.parametrize("lines", [[], [replace(FILL, qty=D(9))], [FILL, replace(FILL, id="2")]])
def test_fills_on_record_must_come_to_what_the_order_says(lines: list[Activity]) -> None:
    assert set(compare_orders([ROW], [THEIRS], lines, ()).unfilled) == {OURS}


def test_what_is_under_way_and_what_is_not_told_is_named_once() -> None:
    part = [replace(FILL, qty=D(4))]
    (late,) = compare_orders([ROW], [THEIRS], part, ()).untold
    assert late == InTransit(OURS, "BRK.B", D(6), 30.0)
    sent = replace(ROW, status=OrderStatus.ACCEPTED, filled_qty=D(0), sent_at=NOW)
    found = compare_orders([sent], [THEIRS], part, {ROW.allocation_id})
    assert (found.under_way, found.untold) == ((InTransit(OURS, "BRK.B", D(10), 50.0),), ())
    unsent = replace(sent, sent_at=None)
    assert compare_orders([unsent], [], [], {ROW.allocation_id}).under_way == ()


def test_orders_take_their_own_shares_and_cash_off_what_differs() -> None:
    order, again = InTransit("1", "A", D(6), 100.0), InTransit("2", "A", D(1), 0.0)
    found = Differences(D(-106), {"A": D(8), "B": D(-2)})
    assert beyond(found, []) == Differences(D(106), found.shares)
    assert beyond(found, [order, again]) == Differences(D(1), {"A": D(1), "B": D(-2)})
    assert beyond(Differences(D(9), {"A": D(-6)}), [order]).are_none


def test_attempts_and_slices_are_no_duplicates_but_what_exceeds_the_plan_is() -> None:
    part = replace(ROW, qty=D(10), filled_qty=D(4), status=OrderStatus.CANCELED)
    rest = replace(ROW, id="2", attempt=2, qty=D(6), filled_qty=D(6), broker_id="b2")
    assert overfilled([part, rest], {}) == ()
    slices = [
        replace(ROW, id=str(i), attempt=i, qty=D(5), filled_qty=D(5), due_at=NOW, broker_id=f"s{i}")
        for i in (1, 2)
    ]
    assert overfilled(slices, {}) == ()
    key = (ROW.allocation_id, "BRK.B", "buy")
    assert overfilled([ROW, rest], {}) == (key,)
    assert overfilled([part], {"b1": D(11)}) == (key,), "the record knows more than the journal"

"""A lease: who may work on an allocation, and for how long he may be sure of it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from astra.errors import TemporaryError
from astra.records import OrderStatus, Side, TradingState
from astra.store import Store, open_store
from astra.store.journal import AllocationRow, ExecutionReport, Journal, OrderRow

NOW = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
ROW = AllocationRow(
    "a" * 16, "PA1", "bucket", "target_1.csv", 1, NOW, NOW, "measured", "m", {"AAPL": 0.5}, NOW
)
BUY = OrderRow(
    "a-AAPL-buy-1", ROW.id, "PA1", "AAPL", Side.BUY, 1, Decimal(10), 100.0, "to 50 %", NOW, NOW
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'astra.db'}")
    opened.journal.receive(ROW)
    yield opened
    opened.close()


def test_a_request_needs_a_lease_that_lasts_as_long(store: Store) -> None:
    journal = store.journal
    fence = journal.take_lease(ROW.id, 0.5) or 0
    journal.require_time(ROW.id, fence, 0.2)
    with pytest.raises(TemporaryError, match="must last"):
        journal.require_time(ROW.id, fence, 0.6)
    time.sleep(0.5)
    assert journal.time_left(ROW.id, fence) == 0
    journal.renew(ROW.id, fence, 60)
    journal.require_time(ROW.id, fence, 50)


def test_a_lease_of_another_process_is_no_lease_of_ours(store: Store) -> None:
    fence = store.journal.take_lease(ROW.id, 60) or 0
    other = Journal(store._dialect)
    assert other.time_left(ROW.id, fence) == 0
    store.journal.release(ROW.id, fence)
    assert store.journal.time_left(ROW.id, fence) == 0


def test_marking_an_order_as_sending_renews_the_lease(store: Store) -> None:
    wall = [1000.0]
    journal = Journal(store._dialect, wall=lambda: wall[0])
    fence = journal.take_lease(ROW.id, 60) or 0
    journal.plan_orders(ROW.id, fence, [BUY], "buying")
    wall[0] += 50
    assert journal.begin_sending(BUY.id, fence, NOW) is TradingState.ACTIVE
    wall[0] += 50
    assert journal.take_lease(ROW.id, 60) is None
    wall[0] += 10
    assert journal.take_lease(ROW.id, 60) == fence + 1
    with pytest.raises(TemporaryError, match="taken over"):
        journal.begin_sending(BUY.id, fence, NOW)


def test_marks_are_written_all_or_none(store: Store) -> None:
    journal = store.journal
    fence = journal.take_lease(ROW.id, 60) or 0
    second = replace(BUY, id="a-JPM-buy-1", symbol="JPM")
    journal.plan_orders(ROW.id, fence, [BUY, second], "buying")
    reports = [
        ExecutionReport(
            order.id, OrderStatus.FILLED, NOW, filled_qty=Decimal(10), filled_average_price=99.0
        )
        for order in (BUY, second)
    ]
    assert [o.status for o in journal.mark_all(fence, reports)] == 2 * [OrderStatus.FILLED]
    late = ExecutionReport(BUY.id, OrderStatus.CANCELED, NOW)
    assert journal.mark_all(fence, [late])[0].filled_qty == 10
    third = replace(BUY, id="a-KO-buy-1", symbol="KO")
    journal.plan_orders(ROW.id, fence, [third])
    with pytest.raises(TemporaryError, match="taken over"):
        journal.mark_all(fence + 1, [ExecutionReport(third.id, OrderStatus.FILLED, NOW)])
    assert journal.orders(ROW.id)[2].status is OrderStatus.PLANNED


def test_unfinished_work_is_found_for_one_account_or_for_all(store: Store) -> None:
    other = replace(ROW, id="b" * 16, account="PA2", generation=2)
    store.journal.receive(other)
    assert [r.id for r in store.journal.open_allocations("PA1")] == [ROW.id]
    assert [r.id for r in store.journal.open_allocations()] == [ROW.id, other.id]

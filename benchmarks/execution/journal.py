"""What an order costs beside its request: the risk gate, the journal, and the audit log in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from astra.allocation import LIFETIME, allocation_id
from astra.alpaca import Alpaca
from astra.errors import AstraError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.records import OrderStatus, Side
from astra.store import audit
from astra.store.journal import AllocationRow, OrderRow
from benchmarks.execution.house import TEN, House, opened
from benchmarks.results import Row
from benchmarks.timing import Timed, in_turns, timed


def costs(names: int, rounds: int, orders: int = 100) -> list[Row]:
    """Wall seconds on SQLite; each of the journal's commits is one of the disk."""
    numbers = iter(range(10_000))
    with TemporaryDirectory() as name, opened(Path(name), names) as house:
        # First: a day's orders are counted by it, and the journal makes many.
        (gate,) = in_turns(rounds, lambda: _gate(house, next(numbers)))
        ours, bare = in_turns(
            rounds,
            lambda: timed(lambda: _journal(house, next(numbers), orders)),
            lambda: timed(lambda: _without_audit(house, next(numbers), orders)),
        )
    return [
        Row("execution", f"risk gate of a phase of {names} orders", gate.seconds, "s", 0.5,
            "lower", "its requests to the broker included"),
        Row("execution", "journal of one order: sending, accepted, filled",
            ours.seconds / orders, "s", 0.02, "lower", "SQLite, audit log included"),
        Row("execution", "journal with its audit log to one without",
            ours.seconds / bare.seconds, "ratio", 2, "lower", "the same without the log"),
    ]  # fmt: skip


def _journal(house: House, number: int, count: int) -> None:
    """An allocation's orders from their plan to their fills."""
    journal, row = house.store.journal, _allocation(house, number)
    orders, fence = _orders(row, [f"T{i:04d}" for i in range(count)]), _leased(house, row)
    journal.plan_orders(row.id, fence, orders, "buying")
    for order in orders:
        journal.begin_sending(order.id, fence, TEN)
        journal.mark(order.id, fence, OrderStatus.ACCEPTED, TEN, broker_id=order.id)
        filled, at = order.qty, order.reference_price
        journal.mark(
            order.id, fence, OrderStatus.FILLED, TEN, filled_qty=filled, filled_average_price=at
        )
    journal.set_status(row.id, fence, "done", "", TEN)


def _without_audit(house: House, number: int, count: int) -> None:
    with mock.patch.object(audit, "append"):
        _journal(house, number, count)


def _gate(house: House, number: int) -> Timed:
    """A gate that looks at everything once, then lets each order of a phase through."""
    desk = Desk.from_settings(house.settings)
    share = 0.9 / len(house.tickers)
    row = replace(_allocation(house, number), weights=dict.fromkeys(house.tickers, share))
    prices = desk.broker.latest_prices(list(house.tickers))
    orders = [
        replace(
            o, qty=Decimal(int(share * 1e5 / prices[o.symbol])), reference_price=prices[o.symbol]
        )
        for o in _orders(row, house.tickers)
    ]
    _leased(house, row)

    def ask() -> list[object]:
        gate = Door(desk).gate(row)
        return [found for found in map(gate.deny, orders) if found]

    found = timed(ask)
    desk.store.close()
    if found.answer:
        raise AstraError(f"a phase must pass the gate to be measured, denied: {found.answer[0]}")
    return found


def _allocation(house: House, number: int) -> AllocationRow:
    account = Alpaca.from_settings(house.settings).account().number
    name = f"target_20260112-150000_{number:08x}.csv"
    key = allocation_id("bucket", name, 1)
    return AllocationRow(
        key, account, "bucket", name, 1, TEN, TEN + LIFETIME, "measured", "m", {}, received_at=TEN,
        coverage=1.0, trained_until=TEN,
    )  # fmt: skip


def _orders(row: AllocationRow, symbols: Sequence[str]) -> list[OrderRow]:
    return [
        OrderRow(
            f"{row.id}-{symbol}-buy-1", row.id, row.account, symbol, Side.BUY, 1, Decimal(10),
            100.0, "to 5.00% of equity", planned_at=TEN, updated_at=TEN,
        )
        for symbol in symbols
    ]  # fmt: skip


def _leased(house: House, row: AllocationRow) -> int:
    """Received, and the fencing token of a lease on it."""
    house.store.journal.receive(row)
    fence = house.store.journal.take_lease(row.id, 600.0)
    if fence is None:
        raise AstraError(f"a new allocation must be free to be measured, found {row.id} leased")
    return fence

"""A plan's orders and lines as rows of the journal, before anything is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from astra.execution.desk import Desk
from astra.execution.order_id import order_id
from astra.records import PlannedOrder
from astra.store.journal import AllocationRow, OrderRow
from astra.tactics import Slice, limit_price, slices


def written(
    row: AllocationRow, planned: PlannedOrder, parts: Sequence[Slice], now: dt.datetime, desk: Desk
) -> list[OrderRow]:
    """A planned order as rows of the journal: one, or one for each slice."""
    return [
        row_of(row, planned, number, part.qty, now, desk, now + part.after)
        for number, part in enumerate(parts, start=1)
    ] or [row_of(row, planned, 1, planned.qty, now, desk)]


def sliced(planned: PlannedOrder, span: dt.timedelta, desk: Desk) -> list[Slice]:
    """The slices of an order, none if the desk's style has none."""
    if desk.style.kind != "twap":
        return []
    # All names sold and as many bought stay within the orders that the gate lets through.
    most = desk.limits.max_orders_per_rebalance // (2 * desk.max_names)
    price, least = planned.reference_price, desk.rules.min_order_usd
    return slices(planned.qty, price, span, least, most)


def row_of(
    row: AllocationRow,
    planned: PlannedOrder,
    number: int,
    qty: Decimal,
    now: dt.datetime,
    desk: Desk,
    due_at: dt.datetime | None = None,
) -> OrderRow:
    """One order of `qty` shares, number `number` of its symbol and side."""
    limit = None
    if desk.style.kind == "limit":
        price, collar = planned.reference_price, desk.style.collar_bp
        limit = float(limit_price(planned.side, price, collar))
    return OrderRow(
        id=order_id(row.id, planned.symbol, planned.side, number),
        allocation_id=row.id,
        account=row.account,
        symbol=planned.symbol,
        side=planned.side,
        attempt=number,
        qty=qty,
        reference_price=planned.reference_price,
        reason=planned.reason,
        planned_at=now,
        updated_at=now,
        type="market" if limit is None else "limit",
        limit_price=limit,
        due_at=due_at,
    )

"""A plan's orders and lines as rows of the journal, before anything is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from astra.execution.desk import Desk
from astra.execution.order_id import order_id
from astra.rebalance import Plan
from astra.records import PlanLine, PlannedOrder
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


def lines_of_buys(plan: Plan, sold: set[str]) -> list[PlanLine]:
    """The plan's lines as the second phase knows them. A name that was sold keeps the line of the
    first one; one that came to lie above its target in between is left for the next allocation."""
    late = {order.symbol for order in plan.sells}
    why = "above its target since the sales were planned: left for the next allocation"
    return [
        left_alone(line, why) if line.symbol in late else line
        for line in plan.lines
        if line.symbol not in sold
    ]


def left_alone(line: PlanLine, why: str) -> PlanLine:
    """A line that is not traded after all."""
    left = line.weight_before - line.weight_target
    parts = {"limit": left, "rounding": 0.0}
    return replace(line, weight_planned=line.weight_before, parts=parts, reason=why)

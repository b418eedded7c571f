"""Rows of the journal as typed nouns, in and out of the tables `allocations` and `orders`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from astra.records import OrderStatus, Side
from astra.store import rows, schema

STATUSES = ("received", "selling", "buying", "done", "refused", "superseded", "abandoned")
FINAL_STATUSES = frozenset(STATUSES[3:])


@dataclass(frozen=True, slots=True)
class AllocationRow:
    """One file in the bucket and how far it has come. Market times; `leased_until` is wall time."""

    id: str
    account: str
    bucket: str
    object: str
    generation: int
    as_of: dt.datetime | None
    expires_at: dt.datetime | None
    policy: str
    model_id: str
    weights: Mapping[str, float]
    received_at: dt.datetime
    status: str = "received"
    reason: str = ""
    finished_at: dt.datetime | None = None
    fence: int = 0
    leased_until: float = 0.0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order of an allocation; `id` is our client order id, `broker_id` "" until known."""

    id: str
    allocation_id: str
    account: str
    symbol: str
    side: Side
    attempt: int
    qty: Decimal
    reference_price: float
    reason: str
    planned_at: dt.datetime
    updated_at: dt.datetime
    status: OrderStatus = OrderStatus.PLANNED
    filled_qty: Decimal = Decimal(0)
    filled_average_price: float | None = None
    broker_id: str = ""


def select_allocations(
    connection: Connection, condition: ColumnElement[bool]
) -> tuple[AllocationRow, ...]:
    """Allocations that meet the condition, by (as_of, generation)."""
    table = schema.allocations
    order = (table.c.as_of, table.c.generation, table.c.id)
    statement = select(table).where(condition).order_by(*order)
    return tuple(
        AllocationRow(
            **{
                **row,
                "as_of": rows.moment_or_none(row["as_of"]),
                "expires_at": rows.moment_or_none(row["expires_at"]),
                "received_at": rows.moment(row["received_at"]),
                "finished_at": rows.moment_or_none(row["finished_at"]),
                "weights": json.loads(row["weights"]),
            }
        )
        for row in connection.execute(statement).mappings()
    )


def select_orders(connection: Connection, condition: ColumnElement[bool]) -> tuple[OrderRow, ...]:
    """Orders that meet the condition, by id."""
    table = schema.orders
    statement = select(table).where(condition).order_by(table.c.id)
    return tuple(
        OrderRow(
            **{
                **row,
                "side": Side(row["side"]),
                "qty": Decimal(row["qty"]),
                "status": OrderStatus(row["status"]),
                "filled_qty": Decimal(row["filled_qty"]),
                "planned_at": rows.moment(row["planned_at"]),
                "updated_at": rows.moment(row["updated_at"]),
            }
        )
        for row in connection.execute(statement).mappings()
    )


def order_values(order: OrderRow) -> dict[str, Any]:
    """The columns of an order."""
    values = {name: getattr(order, name) for name in schema.orders.c.keys()}  # noqa: SIM118
    return values | {
        "side": order.side.value,
        "qty": rows.decimal(order.qty),
        "status": order.status.value,
        "filled_qty": rows.decimal(order.filled_qty),
        "planned_at": rows.seconds(order.planned_at),
        "updated_at": rows.seconds(order.updated_at),
    }


def allocation_values(row: AllocationRow) -> dict[str, Any]:
    """The columns of an allocation."""
    values = {name: getattr(row, name) for name in schema.allocations.c.keys()}  # noqa: SIM118
    return values | {
        "as_of": rows.seconds_or_none(row.as_of),
        "expires_at": rows.seconds_or_none(row.expires_at),
        "received_at": rows.seconds(row.received_at),
        "finished_at": rows.seconds_or_none(row.finished_at),
        "weights": json.dumps(dict(row.weights)),
    }

"""Rows of the journal as typed nouns, in and out of the tables `allocations`, `orders` and
`plan_lines`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from astra.records import Order, OrderStatus, PlanLine, Side
from astra.store import rows, schema

STATUSES = ("received", "selling", "buying", "done", "refused", "superseded", "abandoned", "held")
FINAL_STATUSES = frozenset(STATUSES[3:])


@dataclass(frozen=True, slots=True)
class AllocationRow:
    """One file in the bucket and how far it has come. Market times; `leased_until` is wall time.

    `keep` names the tickers whose shares stay as they are; `coverage` and `trained_until` are what
    the file said of its forecast, None where it said nothing.
    """

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
    keep: frozenset[str] = frozenset()
    coverage: float | None = None
    trained_until: dt.datetime | None = None

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
    type: str = "market"
    limit_price: float | None = None
    due_at: dt.datetime | None = None
    sent_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """What happened to an order at `at`; None leaves a value as it is."""

    order_id: str
    status: OrderStatus
    at: dt.datetime
    broker_id: str | None = None
    filled_qty: Decimal | None = None
    filled_average_price: float | None = None
    reason: str | None = None

    @classmethod
    def of(cls, found: Order, at: dt.datetime, reason: str | None) -> ExecutionReport:
        """What the broker says of an order of ours; `at` holds where it tells no time."""
        return cls(
            found.client_order_id,
            found.status,
            found.filled_at or found.submitted_at or at,
            found.id,
            found.filled_qty,
            found.filled_average_price,
            reason,
        )


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
                "keep": frozenset(json.loads(row["keep"] or "[]")),
                "trained_until": rows.moment_or_none(row["trained_until"]),
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
                "due_at": rows.moment_or_none(row["due_at"]),
                "sent_at": rows.moment_or_none(row["sent_at"]),
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
        "due_at": rows.seconds_or_none(order.due_at),
        "sent_at": rows.seconds_or_none(order.sent_at),
    }


def reported_values(report: ExecutionReport) -> dict[str, Any]:
    """The columns of an order that a report changes."""
    values = {
        "status": report.status.value,
        "updated_at": rows.seconds(report.at),
        "broker_id": report.broker_id,
        "filled_qty": rows.decimal_or_none(report.filled_qty),
        "filled_average_price": report.filled_average_price,
        "reason": report.reason,
    }
    return {name: value for name, value in values.items() if value is not None}


def allocation_values(row: AllocationRow) -> dict[str, Any]:
    """The columns of an allocation."""
    values = {name: getattr(row, name) for name in schema.allocations.c.keys()}  # noqa: SIM118
    return values | {
        "as_of": rows.seconds_or_none(row.as_of),
        "expires_at": rows.seconds_or_none(row.expires_at),
        "received_at": rows.seconds(row.received_at),
        "finished_at": rows.seconds_or_none(row.finished_at),
        "weights": json.dumps(dict(row.weights)),
        "keep": json.dumps(sorted(row.keep)),
        "trained_until": rows.seconds_or_none(row.trained_until),
    }


def select_lines(connection: Connection, allocation_id: str) -> tuple[PlanLine, ...]:
    """The plan lines of an allocation, by symbol."""
    table = schema.plan_lines
    names = [field.name for field in fields(PlanLine)]
    statement = select(table).where(table.c.allocation_id == allocation_id).order_by(table.c.symbol)
    return tuple(
        PlanLine(**{**{n: row[n] for n in names}, "parts": json.loads(row["parts"])})
        for row in connection.execute(statement).mappings()
    )


def line_values(row: AllocationRow, line: PlanLine, planned_at: dt.datetime) -> dict[str, Any]:
    """The columns of a plan line."""
    values = {field.name: getattr(line, field.name) for field in fields(PlanLine)}
    return values | {
        "allocation_id": row.id,
        "account": row.account,
        "planned_at": rows.seconds(planned_at),
        "parts": json.dumps(dict(line.parts), sort_keys=True),
    }

"""The journal of allocations and orders: what makes an allocation trade at most once.

Here is what is written; what is asked of it stands in `astra.store.journal_queries`. Every write
of a worker carries the fencing token of its lease (`astra.store.leases`), which is checked in its
own transaction; `receive` and `correct` are for what nobody works on. Quantities are written once,
before anything is sent. Each change is a line of the audit log too, in the same transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection

from astra.errors import DataError
from astra.records import OrderStatus, PlanLine, TradingState
from astra.store import audit, rows, schema, states
from astra.store.journal_queries import JournalQueries
from astra.store.journal_rows import (
    FINAL_STATUSES,
    STATUSES,
    AllocationRow,
    ExecutionReport,
    OrderRow,
    allocation_values,
    line_values,
    order_values,
    reported_values,
    select_orders,
)
from astra.store.leases import Leases, check, known, one
from astra.store.versions import writing_books

__all__ = ["FINAL_STATUSES", "STATUSES", "AllocationRow", "ExecutionReport", "Journal", "OrderRow"]

_allocations, _orders = schema.allocations, schema.orders


class Journal(JournalQueries, Leases):
    """Tables `allocations`, `orders` and `plan_lines`."""

    def receive(self, row: AllocationRow) -> AllocationRow:
        """Write a delivered allocation down; if it is known, the row as it stands comes back."""
        with writing_books(self._dialect) as connection:
            if self._dialect.insert_new(connection, _allocations, [allocation_values(row)]):
                told = {"object": row.object, "generation": row.generation, "policy": row.policy}
                _audit(connection, row, "received", row.received_at, told)
            return known(connection, row.id)

    def set_status(
        self,
        allocation_id: str,
        fence: int,
        status: str,
        reason: str = "",
        finished_at: dt.datetime | None = None,
    ) -> AllocationRow:
        """Move the allocation on; a final status stays as it is.

        Raises:
            TemporaryError: another worker has taken over.
            DataError: an unknown status, or a final one without `finished_at`.
        """
        if status not in STATUSES or (status in FINAL_STATUSES) != (finished_at is not None):
            raise DataError(
                f"a status of {', '.join(STATUSES)} is required, the last five with the time they "
                f"were reached and the others without; found {status!r} at {finished_at}"
            )
        values = {
            "status": status,
            "reason": reason,
            "finished_at": rows.seconds_or_none(finished_at),
        }
        with writing_books(self._dialect) as connection:
            before = check(connection, allocation_id, fence)
            if not before.is_final:
                connection.execute(one(allocation_id).values(values))
                told = {"status": status, "reason": reason}
                _audit(connection, before, "status", finished_at or before.received_at, told)
            return known(connection, allocation_id)

    def plan_orders(
        self,
        allocation_id: str,
        fence: int,
        planned: Sequence[OrderRow],
        status: str | None = None,
        lines: Sequence[PlanLine] = (),
        at: dt.datetime | None = None,
    ) -> tuple[OrderRow, ...]:
        """Write a phase's orders down in one transaction, and `selling` or `buying` with them.

        An order whose id is known stays as it was first written; a plan line is overwritten, as
        the second phase knows more than the first.

        Args:
            at: the market's time; the allocation's receipt if left out.

        Returns: all orders of the allocation, by id.

        Raises:
            TemporaryError: another worker has taken over.
            DataError: the status is none of a phase.
        """
        if status not in (None, "selling", "buying"):
            raise DataError(f"a phase is selling or buying, found {status!r}")
        with writing_books(self._dialect) as connection:
            row = check(connection, allocation_id, fence)
            when = at or row.received_at
            known = {o.id for o in select_orders(connection, _of(allocation_id))}
            fresh = [order for order in planned if order.id not in known]
            self._dialect.insert_new(connection, _orders, [order_values(o) for o in fresh])
            found = [line_values(row, line, when) for line in lines]
            self._dialect.upsert(connection, schema.plan_lines, found)
            if status is not None:
                connection.execute(one(allocation_id).values(status=status))
            told = {o.id: {"qty": format(o.qty, "f"), "price": o.reference_price} for o in fresh}
            _audit(connection, row, "planned", when, {"status": status, "orders": told})
            return select_orders(connection, _of(allocation_id))

    def begin_sending(self, order_id: str, fence: int, at: dt.datetime) -> TradingState:
        """Note that an order is about to leave, if the account's state lets it.

        State and fencing token are read in the transaction that marks the order, so nothing leaves
        after a halt, nor by a worker that was overtaken; the lease is renewed with it.

        Returns: the account's state; only where it allows the order's side is it marked `sending`.

        Raises:
            TemporaryError: another worker has taken over the allocation.
            DataError: the order is not in the journal, or is final.
        """
        with writing_books(self._dialect) as connection:
            order = _order(connection, order_id)
            row = self.hold(connection, order.allocation_id, fence)
            if order.status.is_final:
                raise DataError(f"an open order is required, {order_id} is {order.status.value}")
            state = states.find(connection, order.account).state
            if state.allows(order.side):
                moment = rows.seconds(at)
                sent = moment if order.sent_at is None else rows.seconds(order.sent_at)
                values = {
                    "status": OrderStatus.SENDING.value,
                    "updated_at": moment,
                    "sent_at": sent,
                }
                connection.execute(_orders.update().where(_orders.c.id == order_id).values(values))
                _audit(connection, row, "sending", at, {}, order_id)
        return state

    def mark(
        self,
        order_id: str,
        fence: int,
        status: OrderStatus,
        at: dt.datetime,
        *,
        broker_id: str | None = None,
        filled_qty: Decimal | None = None,
        filled_average_price: float | None = None,
        reason: str | None = None,
    ) -> OrderRow:
        """As `mark_all`, for one order."""
        report = ExecutionReport(
            order_id, status, at, broker_id, filled_qty, filled_average_price, reason
        )
        return self.mark_all(fence, [report])[0]

    def mark_all(self, fence: int, reports: Sequence[ExecutionReport]) -> list[OrderRow]:
        """Note what happened to orders of one allocation, in one transaction; final orders stay.

        Raises:
            TemporaryError: another worker has taken over the allocation.
            DataError: an order is not in the journal.
        """
        with writing_books(self._dialect) as connection:
            return [_mark(connection, fence, report) for report in reports]

    def correct(self, report: ExecutionReport) -> OrderRow | None:
        """Make an order what the broker says it is, also a final one; for reconciliation only.

        A price that the report does not tell is no longer known.

        Returns: None, and nothing is changed, if it is so already or a worker sees to it.

        Raises:
            DataError: the order is not in the journal.
        """
        values = reported_values(report) | {"filled_average_price": report.filled_average_price}
        with writing_books(self._dialect) as connection:
            order = _order(connection, report.order_id)
            row = known(connection, order.allocation_id)
            is_so = (order.status, order.filled_qty) == (report.status, report.filled_qty)
            if is_so or not (order.status.is_final or row.is_final):
                return None
            connection.execute(_orders.update().where(_orders.c.id == order.id).values(values))
            _audit(connection, row, "corrected", report.at, _told(values), order.id)
            return _order(connection, order.id)


def _of(allocation_id: str) -> ColumnElement[bool]:
    return _orders.c.allocation_id == allocation_id


def _audit(
    connection: Connection,
    row: AllocationRow,
    kind: str,
    at: dt.datetime,
    content: Mapping[str, Any],
    subject: str | None = None,
) -> None:
    audit.append(connection, at, row.account, kind, subject or row.id, content)


def _news(order: OrderRow, values: Mapping[str, Any]) -> bool:
    """Whether status, fills or reason change: a poll that finds the same is not worth a line."""
    return any(
        (
            values["status"] != order.status.value,
            values.get("filled_qty") not in (None, rows.decimal(order.filled_qty)),
            values.get("reason") not in (None, order.reason),
        )
    )


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "updated_at"}


def _mark(connection: Connection, fence: int, report: ExecutionReport) -> OrderRow:
    order = _order(connection, report.order_id)
    row = check(connection, order.allocation_id, fence)
    if order.status.is_final:
        return order
    values = reported_values(report)
    connection.execute(_orders.update().where(_orders.c.id == order.id).values(values))
    if _news(order, values):
        _audit(connection, row, "order", report.at, _told(values), order.id)
    return _order(connection, order.id)


def _order(connection: Connection, order_id: str) -> OrderRow:
    found = select_orders(connection, _orders.c.id == order_id)
    if not found:
        raise DataError(f"an order in the journal is required, found none {order_id!r}")
    return found[0]

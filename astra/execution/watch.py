"""The orders of one allocation: what the journal says of them and what the broker does.

What the broker answers is noted here, under the worker's lease; nothing is sent.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping, Sequence

from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.parent_order import CALLED_OFF, ending
from astra.execution.waiting import pauses
from astra.records import Order, OrderStatus, Side
from astra.store.journal import AllocationRow, ExecutionReport, OrderRow

log = logging.getLogger("astra.execution.watch")

LEASE_SECONDS = 60.0  # at least; and longer than any single request with its look-up
_BEFORE = dt.timedelta(minutes=1)  # an order is submitted after it was planned; clocks are coarse


def lease_seconds(desk: Desk) -> float:
    """For which a worker holds an allocation without being heard of."""
    return max(LEASE_SECONDS, 3 * desk.doubt_seconds)


class Watch:
    """The orders of `row`'s allocation, under the lease that `fence` names."""

    def __init__(self, desk: Desk, row: AllocationRow, fence: int) -> None:
        self._desk = desk
        self._broker = desk.broker
        self._journal = desk.store.journal
        self._seconds = lease_seconds(desk)
        self.row = row
        self.fence = fence

    def orders(self, side: Side | None = None) -> list[OrderRow]:
        """All orders, or those of one side, as they are journaled."""
        found = self._journal.orders(self.row.id)
        return [order for order in found if side in (None, order.side)]

    def keep(self) -> None:
        """Renew the lease once a third of it is over.

        Raises:
            TemporaryError: it was lost.
        """
        if self._journal.time_left(self.row.id, self.fence) < self._seconds * 2 / 3:
            self.renew()

    def renew(self) -> None:
        """Raises: TemporaryError if the lease was lost."""
        self._journal.renew(self.row.id, self.fence, self._seconds)

    def look(self, waiting: Sequence[OrderRow], reasons: Mapping[str, str] | None = None) -> bool:
        """Note what has become of orders at the broker, by one listing; whether anything has.

        Args:
            reasons: why we asked to cancel an order, by its id.
        """
        after = min(order.planned_at for order in waiting) - _BEFORE
        theirs = {o.client_order_id: o for o in self._broker.orders("all", after)}
        reports = [
            self._report(found, (reasons or {}).get(order.id))
            for order in waiting
            if (found := theirs.get(order.id)) is not None and _has_changed(order, found)
        ]
        if reports:
            self._journal.mark_all(self.fence, reports)
        return bool(reports)

    def look_up(self, order_id: str) -> Order | None:
        """An order that left: asked for until a request under way must have arrived."""
        deadline = time.monotonic() + self._desk.doubt_seconds
        for pause in pauses():
            found = self._broker.order(order_id)
            if found is not None or time.monotonic() > deadline:
                return found
            self.keep()
            time.sleep(pause)
        return None

    def note(self, found: Order, reason: str | None = None) -> None:
        """What the broker says of an order."""
        self._journal.mark_all(self.fence, [self._report(found, reason)])

    def end(self, order: OrderRow, status: OrderStatus, reason: str) -> None:
        """An order has ended without the broker."""
        now = self._broker.clock().now
        self._journal.mark(order.id, self.fence, status, now, reason=reason)
        log.warning("order=%s status=%s reason=%s", order.id, status.value, reason)

    def call_off(self, door: Door, why: str) -> None:
        """End all orders: what was not sent never will be, what is open is cancelled at the broker
        and waited for, what is unknown is looked up.

        Raises:
            TemporaryError: an order is still open when the time for fills is over.
        """
        for order in self.orders():
            if not order.status.is_final:
                self._call_off(order, door, why)
        reasons = {o.id: f"{CALLED_OFF}: {why}" for o in self.orders()}
        deadline = time.monotonic() + self._desk.fill_timeout
        for pause in pauses():
            open_orders = [o for o in self.orders() if not o.status.is_final]
            if not open_orders:
                return
            if not self.look(open_orders, reasons) and time.monotonic() > deadline:
                raise TemporaryError(
                    f"{len(open_orders)} orders of {self.row.object} are still open", 30
                )
            self.keep()
            time.sleep(pause)

    def forsake(self, why: str) -> None:
        """End all orders without the broker: their account is no longer the one we have."""
        for order in self.orders():
            if not order.status.is_final:
                self.end(order, OrderStatus.CANCELED, f"{CALLED_OFF}: {why}")

    def _report(self, found: Order, reason: str | None) -> ExecutionReport:
        is_ended = found.status.is_final and found.status is not OrderStatus.FILLED
        why = (reason or ending(found)) if is_ended else None
        return ExecutionReport.of(found, self.row.received_at, why)

    def _call_off(self, order: OrderRow, door: Door, why: str) -> None:
        has_left = order.status is not OrderStatus.PLANNED
        found = self.look_up(order.id) if has_left else None
        if found is None:
            told = "it never reached the broker" if has_left else "it was never sent"
            self.end(order, OrderStatus.CANCELED, f"{CALLED_OFF}: {why}, {told}")
            return
        if not found.status.is_final:
            door.cancel(found.id)
        self.note(found)


def _has_changed(order: OrderRow, found: Order) -> bool:
    """An answer that knows fewer fills than an earlier one is late, not new."""
    if found.filled_qty < order.filled_qty:
        return False
    before = (order.status, order.filled_qty, order.broker_id)
    return before != (found.status, found.filled_qty, found.id)

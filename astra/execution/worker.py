"""One worker's hold on one allocation: from the lease to a final status.

The shell around `rebalance.py`: gather (broker, journal), decide (pure), apply (journal first, then
broker). Every order stands in the journal with its id and its quantity before it leaves; after a
crash, a redelivery or a resume the same steps go on where the journal says.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from astra.allocation import Allocation, why_not_now
from astra.errors import OrderError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Door, Gate
from astra.rebalance import Plan
from astra.records import MarketClock, Order, OrderStatus, PlannedOrder, Side
from astra.risk import Denial
from astra.store.journal import AllocationRow, OrderRow

log = logging.getLogger("astra.execution.worker")

LEASE_SECONDS = 60.0  # longer than any single request with its time-out and look-up
POLL_SECONDS = (0.05, 1.0)  # first and longest pause between two looks at open orders


class Worker:
    """Works under the lease that `fence` names."""

    def __init__(self, desk: Desk, row: AllocationRow, fence: int) -> None:
        self._desk = desk
        self._broker = desk.broker
        self._door = Door(desk)
        self._journal = desk.store.journal
        self._row = row
        self._fence = fence

    def finish(self) -> AllocationRow:
        """Take the allocation from where the journal has it to a final status."""
        clock = self._broker.clock()
        if (account := self._broker.account().number) != self._row.account:
            return self._end("abandoned", f"the account has become {account}", clock)
        if self._row.status == "received":
            if ended := self._refuse(clock):
                return ended
            self._take_over(clock)
            plan = self._desk.plan(self._row)
            self._write(plan.sells, "selling", clock.now)
            _log_skipped(self._row, plan)
        elif self._is_expired(clock):
            return self._abandon(clock)
        if self._row.status == "selling":
            self._complete(Side.SELL)
            clock = self._broker.clock()
            if self._is_expired(clock):
                return self._abandon(clock)
            plan = self._desk.plan(self._row)
            self._write(plan.buys, "buying", clock.now)
        self._complete(Side.BUY)
        return self._done()

    def _refuse(self, clock: MarketClock) -> AllocationRow | None:
        """The checks of a new file: schema, market, age, order by (as_of, generation)."""
        row = self._row
        if not clock.is_open:
            return self._end(
                "refused", f"the market is closed until {clock.next_open:%Y-%m-%d %H:%M} UTC", clock
            )
        if why := _why_not(row, clock):
            return self._end("refused", why, clock)
        newer = [self._journal.newest_done(row.account), *self._others(clock)]
        for other in newer:
            if other is not None and _rank(other) > _rank(row):
                return self._end("superseded", f"{other.object} is newer", clock)
        return None

    def _others(self, clock: MarketClock) -> list[AllocationRow]:
        """Open allocations beside ours, without new ones that will be refused."""
        found = self._journal.open_allocations(self._row.account)
        return [
            other
            for other in found
            if other.id != self._row.id
            and (other.status != "received" or _why_not(other, clock) is None)
        ]

    def _take_over(self, clock: MarketClock) -> None:
        """End older allocations that are half done: cancel what is open, learn what was filled."""
        for other in self._others(clock):
            fence = self._journal.take_lease(other.id, LEASE_SECONDS)
            if fence is None:
                raise TemporaryError(f"{other.object} is still being traded by another worker", 5)
            try:
                older = Worker(self._desk, other, fence)
                older.cancel_open()
                older._end("superseded", f"{self._row.object} is newer", self._broker.clock())
            finally:
                self._journal.release(other.id, fence)

    def _is_expired(self, clock: MarketClock) -> bool:
        return self._row.expires_at is not None and clock.now >= self._row.expires_at

    def _abandon(self, clock: MarketClock) -> AllocationRow:
        self.cancel_open()
        return self._end("abandoned", "expired before it was traded to its end", clock)

    def cancel_open(self) -> None:
        """Cancel the allocation's open orders at the broker and wait until each is final."""
        open_orders = [o for o in self._journal.orders(self._row.id) if not o.status.is_final]
        for order in open_orders:
            sent = order.status is not OrderStatus.PLANNED
            found = self._look_up(order.id) if sent else None
            if found is None:
                reason = "never reached the broker" if sent else "never sent"
                now = self._broker.clock().now
                self._journal.mark(order.id, self._fence, OrderStatus.CANCELED, now, reason=reason)
                continue
            if not found.status.is_final:
                self._door.cancel(found.id)
            self._note(found)
        self._await([o for o in open_orders if not self._is_final(o.id)])

    def _look_up(self, order_id: str) -> Order | None:
        """An order that left: asked for until a request under way must have arrived."""
        deadline = time.monotonic() + self._desk.doubt_seconds
        pause, longest = POLL_SECONDS
        while (found := self._broker.order(order_id)) is None and time.monotonic() < deadline:
            self._renew()
            time.sleep(pause)
            pause = min(2 * pause, longest)
        return found

    def _write(self, planned: Sequence[PlannedOrder], status: str, now: dt.datetime) -> None:
        """A phase's orders and the allocation's status, in one transaction, before any is sent."""
        found = [
            OrderRow(
                id=f"{self._row.id}-{p.symbol}-{p.side.value}-1",
                allocation_id=self._row.id,
                account=self._row.account,
                symbol=p.symbol,
                side=p.side,
                attempt=1,
                qty=p.qty,
                reference_price=p.reference_price,
                reason=p.reason,
                planned_at=now,
                updated_at=now,
            )
            for p in planned
        ]
        self._journal.plan_orders(self._row.id, self._fence, found, status, at=now)
        self._row = replace(self._row, status=status)

    def _complete(self, side: Side) -> None:
        """Send what was not sent, learn what is not known, wait until every order is final."""
        phase = [o for o in self._journal.orders(self._row.id) if o.side is side]
        if not phase:
            return
        gate = self._door.gate(self._row)
        for order in phase:
            self._renew()
            if order.status is OrderStatus.PLANNED:
                self._send(order, gate)
            elif order.status is OrderStatus.SENDING:
                self._resolve(order, gate)
        self._await([o for o in phase if not self._is_final(o.id)])

    def _send(self, order: OrderRow, gate: Gate) -> None:
        try:
            sent = self._door.send(order, self._fence, gate)
        except OrderError as error:
            self._reject(order, f"BROKER: {error}")
            return
        if isinstance(sent, Denial):
            self._reject(order, f"{sent.code}: {sent.reason}")
        else:
            self._note(sent)

    def _reject(self, order: OrderRow, reason: str) -> None:
        now = self._broker.clock().now
        self._journal.mark(order.id, self._fence, OrderStatus.REJECTED, now, reason=reason)
        log.warning("order=%s rejected=%s", order.id, reason)

    def _resolve(self, order: OrderRow, gate: Gate) -> None:
        """It was on its way when a worker was cut off: look it up, send again if it never came.

        A copy that still arrives bears the same id and is refused by the broker.
        """
        found = self._broker.order(order.id)
        if found is None:
            self._send(order, gate)
        else:
            self._note(found)

    def _note(self, found: Order) -> None:
        self._journal.mark(
            found.client_order_id,
            self._fence,
            found.status,
            found.filled_at or found.submitted_at or self._row.received_at,
            broker_id=found.id,
            filled_qty=found.filled_qty,
            filled_average_price=found.filled_average_price,
        )

    def _is_final(self, order_id: str) -> bool:
        return any(
            o.id == order_id and o.status.is_final for o in self._journal.orders(self._row.id)
        )

    def _await(self, waiting: Sequence[OrderRow]) -> None:
        """Look at open orders until all are final; cumulative quantities are noted on the way."""
        open_ids = {order.id for order in waiting}
        deadline = time.monotonic() + self._desk.fill_timeout
        pause, longest = POLL_SECONDS
        while open_ids:
            for order in self._broker.orders("all", self._row.received_at - dt.timedelta(hours=1)):
                if order.client_order_id in open_ids:
                    self._note(order)
                    if order.status.is_final:
                        open_ids.discard(order.client_order_id)
            if open_ids and time.monotonic() > deadline:
                raise TemporaryError(f"{len(open_ids)} orders of {self._row.object} are open", 30)
            if open_ids:
                self._renew()
                time.sleep(pause)
                pause = min(2 * pause, longest)

    def _renew(self) -> None:
        self._journal.renew(self._row.id, self._fence, LEASE_SECONDS)

    def _done(self) -> AllocationRow:
        clock = self._broker.clock()
        self._desk.record_account(clock.now, self._row.id)
        orders = self._journal.orders(self._row.id)
        filled = sum(o.status is OrderStatus.FILLED for o in orders)
        reason = f"{filled} of {len(orders)} orders filled" if orders else "nothing to trade"
        return self._end("done", reason, clock)

    def _end(self, status: str, reason: str, clock: MarketClock) -> AllocationRow:
        log.info("allocation=%s object=%s status=%s reason=%s", self._row.id, self._row.object,
                 status, reason)  # fmt: skip
        return self._journal.set_status(self._row.id, self._fence, status, reason, clock.now)


def _rank(row: AllocationRow) -> tuple[float, int]:
    return (row.as_of.timestamp() if row.as_of else 0.0, row.generation)


def _why_not(row: AllocationRow, clock: MarketClock) -> str | None:
    """Why a new file may not be traded now: it was malformed, is expired or from the future."""
    if row.as_of is None or row.expires_at is None:
        return row.reason
    return why_not_now(Allocation(row.object, row.as_of, row.expires_at, row.weights), clock.now)


def _log_skipped(row: AllocationRow, plan: Plan) -> None:
    for skipped in plan.skipped:
        log.info("allocation=%s symbol=%s skipped=%s", row.id, skipped.symbol, skipped.reason)

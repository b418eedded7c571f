"""One worker's hold on one allocation: from the lease to a final status.

The shell around `rebalance.py`: gather (broker, journal), decide (pure), apply (journal first, then
broker). Every order stands in the journal with its id and its quantity before it leaves; after a
crash, a redelivery or a resume the same steps go on where the journal says.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import replace

from astra.errors import TemporaryError
from astra.execution.admission import others, rank, superseded_by, why_closed, why_held, why_not
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.halting.trip import trip
from astra.execution.holdings import Recorded, record_account, with_power
from astra.execution.parent_order import CALLED_OFF, ParentOrder, parents_of, told
from astra.execution.phase import Phase
from astra.execution.planning import plan_of
from astra.execution.reconciling.reconcile import reconcile
from astra.execution.watch import Watch, lease_seconds
from astra.execution.writing import sliced, written
from astra.phases import left_alone, lines_of_buys
from astra.rebalance import Plan
from astra.records import MarketClock, PlanLine, PlannedOrder, Side
from astra.store.journal import AllocationRow, OrderRow
from astra.tactics import span_of

log = logging.getLogger("astra.execution.worker")

# Slices end so long before the allocation expires or the market closes: the last one has to fill.
_MARGIN = dt.timedelta(minutes=5)


class Worker:
    """Works on `row` under the lease that `fence` names.

    Attributes:
        ended: the allocations that reached a final status here: this one, and older ones that it
            took over.
    """

    def __init__(self, desk: Desk, row: AllocationRow, fence: int) -> None:
        self._desk = desk
        self._broker = desk.broker
        self._door = Door(desk)
        self._journal = desk.store.journal
        self._row = row
        self._watch = Watch(desk, row, fence)
        self.ended: list[AllocationRow] = []

    def finish(self) -> None:
        """Take the allocation from where the journal has it to a final status.

        Raises:
            TemporaryError: it goes on by the next delivery or `resume`.
        """
        clock = self._broker.clock()
        if self._has_ended(clock):
            return
        if self._row.status == "received" and not self._begin(clock):
            return
        if self._row.status == "selling":
            self._complete(Side.SELL)
            clock = self._broker.clock()
            if self._has_ended(clock):
                return
            self._plan_buys(clock)
        self._complete(Side.BUY)
        self._done()

    def call_off(self, status: str, why: str) -> None:
        """End it before its time: nothing of it stays open at the broker."""
        self._watch.call_off(self._door, why)
        clock = self._broker.clock()
        self._give_up_lines(why, clock)
        self._end(status, why, clock)

    def _has_ended(self, clock: MarketClock) -> bool:
        """Whether it may not go on: another account, a file that is no good or no longer, or a
        newer one; it is called off then."""
        row = self._row
        account = self._broker.account().number
        if not account:
            raise TemporaryError("the number of the account is required, the broker gave none", 5)
        is_new = row.status == "received"
        no_good = (why_not(row, clock) or why_closed(clock)) if is_new else None
        if account != row.account:
            why = f"the account has become {account}"
            self._watch.forsake(why)
            self._give_up_lines(why, clock)
            self._end("abandoned", why, clock)
        elif no_good:
            self._end("refused", no_good, clock)
        elif self._is_traded():
            return False  # only that is left to be said, whatever the time
        elif self._is_overtaken(clock):
            return True
        elif not is_new and row.expires_at is not None and clock.now >= row.expires_at:
            self.call_off("abandoned", "it expired before it was traded to its end")
        else:
            return False
        return True

    def _give_up_lines(self, why: str, clock: MarketClock) -> None:
        """The lines whose orders were never written down, as it ended before its second phase."""
        ordered = {order.symbol for order in self._watch.orders()}
        left = [
            left_alone(line, f"{CALLED_OFF}: {why}")
            for line in self._journal.lines(self._row.id)
            if line.symbol not in ordered and line.weight_planned != line.weight_before
        ]
        if left:
            row, fence = self._row, self._watch.fence
            self._journal.plan_orders(row.id, fence, [], lines=left, at=clock.now)

    def _is_traded(self) -> bool:
        """Whether both phases have come to their ends."""
        if self._row.status != "buying":
            return False
        least = self._desk.rules.min_order_usd
        return all(parent.is_done(least) for parent in self._parents())

    def _is_overtaken(self, clock: MarketClock) -> bool:
        """Whether there is a newer one; ours is called off then."""
        newer = superseded_by(self._desk, self._row, clock)
        if newer is not None:
            self.call_off("superseded", f"{newer.object} is newer")
        return newer is not None

    def _begin(self, clock: MarketClock) -> bool:
        """From a new file to its first orders; False if it is held back, or a newer one came."""
        if why := why_held(self._desk, self._row):
            self._end("held", why, clock)
            return False
        trip(self._desk)
        self._watch.keep()
        for other in others(self._journal, self._row, clock):
            if rank(other) < rank(self._row):
                self._take_over(other)
        plan = self._plan()
        if self._is_overtaken(clock):
            return False
        if plan.sells:
            span = self._span(clock, phases_left=2)
            self._write(plan.sells, plan.lines, "selling", clock.now, span)
        else:
            self._write(plan.buys, plan.lines, "buying", clock.now, self._span(clock))
        return True

    def _plan_buys(self, clock: MarketClock) -> None:
        """Once, from the cash that the broker confirms now that all sells are final."""
        sells = self._watch.orders(Side.SELL)
        sold = sum(float(o.filled_qty) * (o.filled_average_price or 0.0) for o in sells)
        plan = self._plan(sold)
        lines = lines_of_buys(plan, {order.symbol for order in sells})
        self._write(plan.buys, lines, "buying", clock.now, self._span(clock))

    def _plan(self, sold: float = 0.0) -> Plan:
        """From the answers that the books were compared with, and no others.

        Raises:
            TemporaryError: they differ from the books for the first time: asked again, the broker
                is right.
        """
        desk = self._desk
        before = desk.store.reconciliations.latest(self._row.account)
        seen = reconcile(desk, desk.confirm_seconds, self._watch.keep)
        if seen.account.number != self._row.account:
            raise TemporaryError(f"the account has become {seen.account.number}", 5)
        limit = desk.max_books_difference * float(seen.account.equity)
        is_new = before is None or before.differences != seen.found.differences
        if not (seen.is_equal or seen.halted) and seen.found.value_diff > limit and is_new:
            raise TemporaryError(
                f"nothing is planned on an answer that is heard once: {seen.found.message}", 10
            )
        self._watch.keep()
        account = with_power(desk, seen.account, self._watch.keep)
        plan = plan_of(desk, self._row, sold=sold, seen=Recorded(account, seen.positions))
        self._watch.keep()
        return plan

    def _take_over(self, other: AllocationRow) -> None:
        """End an older allocation that is half done: cancel what is open, learn what was filled."""
        fence = self._journal.take_lease(other.id, lease_seconds(self._desk))
        older = self._journal.allocation(other.id) or other
        if older.is_final:
            return
        if fence is None:
            raise TemporaryError(f"{other.object} is still being traded by another worker", 5)
        worker = type(self)(self._desk, older, fence)
        try:
            worker.call_off("superseded", f"{self._row.object} is newer")
        finally:
            self._journal.release(other.id, fence)
        self.ended += worker.ended
        self._watch.keep()

    def _span(self, clock: MarketClock, phases_left: int = 1) -> dt.timedelta:
        """For the slices of a phase."""
        until = min(self._row.expires_at or clock.next_close, clock.next_close) - _MARGIN
        return span_of(self._desk.style, clock.now, until, phases_left)

    def _write(
        self,
        planned: Sequence[PlannedOrder],
        lines: Sequence[PlanLine],
        status: str,
        now: dt.datetime,
        span: dt.timedelta,
    ) -> None:
        """A phase's orders, the plan's lines and the allocation's status, in one transaction,
        before any order is sent."""
        found: list[OrderRow] = []
        for order in planned:
            parts = sliced(order, span, self._desk)
            found += written(self._row, order, parts, now, self._desk)
        self._journal.plan_orders(
            self._row.id, self._watch.fence, found, status, lines=lines, at=now
        )
        self._row = replace(self._row, status=status)

    def _complete(self, side: Side) -> None:
        Phase(self._desk, self._door, self._watch, side).complete()

    def _done(self) -> None:
        clock = self._broker.clock()
        record_account(self._desk, clock.now, self._row.id)
        self._end("done", told(self._parents()), clock)

    def _parents(self) -> list[ParentOrder]:
        return [parent for side in Side for parent in parents_of(self._watch.orders(side))]

    def _end(self, status: str, reason: str, clock: MarketClock) -> None:
        log.info("allocation=%s object=%s status=%s reason=%s", self._row.id, self._row.object,
                 status, reason)  # fmt: skip
        self._row = self._journal.set_status(
            self._row.id, self._watch.fence, status, reason, clock.now
        )
        self.ended.append(self._row)

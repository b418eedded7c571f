"""One phase of an allocation: all its sells or all its buys, until each is final.

One loop: what may leave is sent, what is open is looked at. What cannot be done within this call
(slices that are not due, orders that stay open) is left to the next one by a TemporaryError.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

from astra.errors import OrderError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.gate import Gate
from astra.execution.parent_order import NOT_YET, REFUSED, UNFILLED, ParentOrder, parents_of, passes
from astra.execution.phase_clock import PART, PhaseClock
from astra.execution.waiting import pauses
from astra.execution.watch import Watch
from astra.execution.writing import row_of
from astra.records import Order, OrderStatus, PlannedOrder, Side
from astra.risk import Denial
from astra.store.journal import OrderRow

log = logging.getLogger("astra.execution.phase")

_LONGEST_NAP = 5.0  # seconds, before a slice that is due


class Phase:
    """Orders of one side, worked on under the watch's lease."""

    _gate: Gate  # of the orders that are being sent

    def __init__(self, desk: Desk, door: Door, watch: Watch, side: Side) -> None:
        self._desk = desk
        self._broker = desk.broker
        self._journal = desk.store.journal
        self._door = door
        self._watch = watch
        self._side = side
        self._least = desk.rules.min_order_usd
        self._deadline = time.monotonic() + desk.fill_timeout
        self._not_before: dict[str, float] = {}  # monotonic, by symbol
        self._resting: dict[str, float] = {}  # monotonic, by order id: when we first saw it rest
        self._cancelled: dict[str, str] = {}  # why, by order id
        self._doubtful: set[str] = set()  # ids that have left without an answer
        self._clock = PhaseClock(desk)

    def complete(self) -> None:
        """Take every parent order to its end: a fill, or a reason.

        Raises:
            TemporaryError: something is left that cannot be done now.
        """
        waits = pauses()
        while waiting := [parent for parent in self._parents() if not parent.is_done(self._least)]:
            self._watch.keep()
            if ready := self._ready(waiting):
                self._send_all(ready)
                waits = pauses()
                continue
            time.sleep(self._pause(waiting, waits))
            self._look([order for parent in waiting if (order := parent.open)])

    def _parents(self) -> list[ParentOrder]:
        return parents_of(self._watch.orders(self._side))

    def _ready(self, waiting: Sequence[ParentOrder]) -> list[OrderRow]:
        """The orders that may leave now, one a symbol at most; a further attempt is journaled
        when the one before it is final."""
        idle = [parent for parent in waiting if parent.open is None]
        to_send = [parent.next for parent in idle if parent.next is not None]
        due = [order for order in to_send if order.due_at is None]
        if len(due) < len(to_send):
            now = self._clock.now()
            due += [order for order in to_send if order.due_at and order.due_at <= now]
        again = [
            parent
            for parent in idle
            if parent.next is None and time.monotonic() >= self._not_before.get(parent.symbol, 0.0)
        ]
        return [*due, *self._write_again(again)]

    def _write_again(self, parents: Sequence[ParentOrder]) -> list[OrderRow]:
        """One more attempt for what is left of each, at the price of now."""
        if not parents:
            return []
        prices = self._broker.latest_prices([parent.symbol for parent in parents])
        now = self._clock.now()
        found = []
        for parent in parents:
            price = prices.get(parent.symbol, parent.last.reference_price)
            why = f"attempt after {parent.last.id}"
            planned = PlannedOrder(parent.symbol, self._side, parent.rest, price, why)
            number = parent.last.attempt + 1
            found.append(row_of(self._watch.row, planned, number, parent.rest, now, self._desk))
        self._journal.plan_orders(self._watch.row.id, self._watch.fence, found, at=now)
        return found

    def _send_all(self, ready: Sequence[OrderRow]) -> None:
        self._clear({order.symbol for order in ready})
        self._gate = self._door.gate(self._watch.row)
        for order in ready:
            self._watch.keep()
            self._send(order)

    def _clear(self, symbols: set[str]) -> None:
        """Cancel what else is open on the symbols, and wait until it is gone: one order a symbol.

        Raises:
            TemporaryError: it is still there when the time for fills is over.
        """
        ours = {order.id for order in self._watch.orders(self._side)}
        asked: set[str] = set()
        for pause in pauses():
            others = [
                order
                for order in self._broker.orders("open")
                if order.symbol in symbols and order.client_order_id not in ours
            ]
            if not others:
                return
            for order in others:
                if order.id not in asked:
                    log.warning("order=%s symbol=%s cancelled=it is in the way of ours",
                                order.client_order_id, order.symbol)  # fmt: skip
                    self._door.cancel(order.id)
                    asked.add(order.id)
            if time.monotonic() > self._deadline:
                raise TemporaryError(
                    f"no other open order of {others[0].symbol} is allowed beside ours, found "
                    f"{others[0].client_order_id}, which does not go: it was asked to",
                    30,
                )
            self._watch.keep()
            time.sleep(pause)

    def _send(self, order: OrderRow) -> None:
        """Send it, or learn that it has left before; a refusal or a denial ends it."""
        if order.status is OrderStatus.SENDING:
            self._doubtful.add(order.id)
            if found := self._broker.order(order.id):
                self._watch.note(found)
                return
        sent: Order | Denial | OrderError
        try:
            sent = self._deliver(order)
        except OrderError as error:
            sent = error
        # An order that left with no answer may still arrive: until then nothing is said of it.
        if not isinstance(sent, Order) and order.id in self._doubtful:
            sent = self._watch.look_up(order.id) or sent
        if isinstance(sent, Order):
            self._watch.note(sent)
        elif isinstance(sent, Denial):
            self._watch.end(order, OrderStatus.REJECTED, f"{sent.code}: {sent.reason}")
        else:
            self._refused(order, sent)

    def _deliver(self, order: OrderRow) -> Order | Denial:
        """Send it, with the same id again and again while its outcome is unknown, for as long as
        a request may take.

        Raises:
            TemporaryError: the lease was lost, or the broker does not answer.
            OrderError: refused by the broker.
        """
        deadline, waits = time.monotonic() + self._desk.doubt_seconds, pauses()
        while True:
            try:
                return self._door.send(order, self._watch.fence, self._gate)
            except TemporaryError as error:
                self._doubtful.add(order.id)
                self._watch.renew()  # a worker that was overtaken ends here
                if error.retry_after or time.monotonic() > deadline:
                    raise
            time.sleep(next(waits))
            self._gate = self._door.gate(self._watch.row)  # the one before has counted it

    def _refused(self, order: OrderRow, error: OrderError) -> None:
        code = REFUSED
        if passes(error):
            code = NOT_YET
            tried = sum(o.symbol == order.symbol for o in self._watch.orders(self._side))
            self._not_before[order.symbol] = time.monotonic() + 2.0 ** (tried - 1)
        self._watch.end(order, OrderStatus.REJECTED, f"{code}: {error}")

    def _look(self, open_orders: Sequence[OrderRow]) -> None:
        """Note what has become of open orders; a limit order that has rested long enough goes."""
        if not open_orders:
            return
        self._watch.look(open_orders, self._cancelled)
        now = time.monotonic()
        for order in open_orders:
            since = self._resting.setdefault(order.id, now)
            is_over = now - since > self._desk.fill_timeout / PART or self._clock.is_frozen()
            if order.limit_price is not None and is_over and order.id not in self._cancelled:
                self._cancelled[order.id] = (
                    f"{UNFILLED}: its limit of {order.limit_price} USD was not met within "
                    f"{now - since:.0f} s"
                )
                self._door.cancel(order.broker_id)

    def _pause(self, waiting: Sequence[ParentOrder], waits: Iterator[float]) -> float:
        """Seconds until it is worth to look again.

        Raises:
            TemporaryError: waiting is of no use in this call.
        """
        left = self._deadline - time.monotonic()
        name = self._watch.row.object
        at_work = [parent for parent in waiting if parent.open]
        due = [parent.next.due_at for parent in waiting if parent.next and parent.next.due_at]
        if left < 0 or (at_work and self._clock.is_frozen() and not self._has_limits(at_work)):
            raise TemporaryError(f"{len(waiting)} names of {name} are not traded to the end", 30)
        if at_work or len(due) < len(waiting):
            return next(waits)
        seconds = (min(due) - self._clock.now()).total_seconds()
        if seconds > left or self._clock.is_frozen():
            raise TemporaryError(
                f"the next slice of {name} is due in {seconds:.0f} s of the market's time",
                max(1.0, seconds),
            )
        # A market's clock may run faster than ours, in the sandbox.
        return max(next(waits), min(seconds / 2, _LONGEST_NAP))

    def _has_limits(self, parents: Sequence[ParentOrder]) -> bool:
        return any(parent.open and parent.open.limit_price is not None for parent in parents)

"""The only door to the broker: nothing is sent that the risk gate has not let through.

The only importer of `astra.alpaca.orders`; what the gate asks is `astra.execution.gate`'s.
"""

from __future__ import annotations

from decimal import Decimal

from astra.alpaca import Alpaca
from astra.alpaca.orders import Orders
from astra.execution.desk import Desk
from astra.execution.gate import Gate, planned
from astra.records import Order
from astra.risk import Denial, denied_by_state
from astra.store.journal import AllocationRow, OrderRow

__all__ = ["Door", "Exit"]


class Exit:
    """Cancels at the broker, and sends nothing: needs no books."""

    def __init__(self, broker: Alpaca) -> None:
        self._orders = Orders(broker)

    def cancel(self, broker_id: str) -> None:
        """Ask to cancel an order; one that is final already stays as it is."""
        self._orders.cancel(broker_id)

    def cancel_all(self) -> None:
        """Ask to cancel every open order of the account."""
        self._orders.cancel_all()


class Door(Exit):
    """Sends and cancels for the desk's account."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.broker)
        self._desk = desk

    def gate(self, row: AllocationRow) -> Gate:
        """The gate for a phase that begins now."""
        return Gate(self._desk, row)

    def send(self, order: OrderRow, fence: int, gate: Gate) -> Order | Denial:
        """Send a journaled order, or say why it may not leave.

        Before it leaves it is marked `sending`, in one transaction with a look at the fencing token
        and at the account's state, so that after a halt nothing more is sent; nor is it by a worker
        that was paused and whose lease may end under the request.

        Raises:
            TemporaryError: the lease was lost or is about to end, or the order is not at the broker
                as far as can be known: send it again with the same id.
            OrderError: refused by the broker.
        """
        if denial := gate.deny(order):
            return denial
        journal = self._desk.store.journal
        state = journal.begin_sending(order.id, fence, gate.now)
        if denial := denied_by_state(planned(order), state):
            return denial
        # A request takes as long as it may be in doubt: none leaves that could outlive the lease.
        journal.require_time(order.allocation_id, fence, self._desk.doubt_seconds)
        limit = None if order.limit_price is None else Decimal(str(order.limit_price))
        return self._orders.submit(order.symbol, order.side, order.qty, order.id, limit)

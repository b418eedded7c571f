"""What a phase trades of one name: its orders by number, and what it still needs. Pure.

A parent order begins with the orders that the phase planned: one, or slices with their times. When
all of them are final and a part is left that may yet be traded, one more attempt follows with that
part, and another after that one; what is left in the end has its reason in the last order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from astra.errors import OrderError
from astra.outcomes import planned_qty
from astra.records import Order, OrderStatus
from astra.store.journal import OrderRow

# How the reason of an order that was not filled begins; the gate's denials begin with RISK_.
NOT_YET = "BROKER_NOT_YET"  # refused for a reason that passes
REFUSED = "BROKER_REFUSED"
UNFILLED = "LIMIT_UNFILLED"
CALLED_OFF = "CALLED_OFF"
_ENDINGS = {
    OrderStatus.CANCELED: "BROKER_CANCELED",
    OrderStatus.EXPIRED: "BROKER_EXPIRED",
    OrderStatus.REJECTED: "BROKER_REJECTED",
}
ATTEMPTS = 3  # of which two only if something was cancelled, expired or left unfilled
ATTEMPTS_REFUSED = 5  # one, two, four and eight seconds after a refusal that passes
# Alpaca's codes: 40310000 (403 where the body had none) speaks of funds and of shares, which change
# within seconds of a fill, 42210000 of anything, an order of the other side among it.
_FORBIDDEN, _UNPROCESSABLE = (40310000, 403), (42210000, 422)
_LASTING = ("short", "fractionable", "not active", "not tradable", "minimal amount", "cost basis")
_OTHER_SIDE = ("wash trade", "opposite side")


@dataclass(frozen=True, slots=True)
class ParentOrder:
    """Orders of one symbol and side, by number; at least one."""

    orders: tuple[OrderRow, ...]

    @property
    def symbol(self) -> str:
        return self.orders[0].symbol

    @property
    def open(self) -> OrderRow | None:
        """The order that is at work at the broker; there is never more than one."""
        at_work = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
        return next((o for o in self.orders if o.status in at_work), None)

    @property
    def next(self) -> OrderRow | None:
        """The order to be sent next: written down, or of unknown outcome."""
        to_send = (OrderStatus.PLANNED, OrderStatus.SENDING)
        return next((o for o in self.orders if o.status in to_send), None)

    @property
    def last(self) -> OrderRow:
        return self.orders[-1]

    @property
    def planned(self) -> Decimal:
        """Shares that the phase planned."""
        return planned_qty(self.orders)

    @property
    def filled(self) -> Decimal:
        return sum((o.filled_qty for o in self.orders), Decimal(0))

    @property
    def rest(self) -> Decimal:
        """Shares that one more attempt may try; 0 if that is not for now or never."""
        if self.open or self.next:
            return Decimal(0)
        attempts = [o for o in self.orders if o.due_at is None]
        slices = [o for o in self.orders if o.due_at is not None]
        tried = len(attempts) + (1 if slices else 0)
        left = attempts[-1:] or slices
        return sum((o.qty - o.filled_qty for o in left if tried < _allowed(o)), Decimal(0))

    def is_done(self, min_order_usd: float) -> bool:
        """Nothing is open, to be sent, or worth another attempt."""
        if self.open or self.next:
            return False
        return self.rest == 0 or float(self.rest) * self.last.reference_price < min_order_usd


def parents_of(orders: Iterable[OrderRow]) -> list[ParentOrder]:
    """The orders of one side, by symbol and number."""
    by_symbol = attrgetter("symbol")
    ordered = sorted(orders, key=lambda o: (o.symbol, o.attempt))
    return [ParentOrder(tuple(found)) for _, found in groupby(ordered, by_symbol)]


def told(parents: Sequence[ParentOrder]) -> str:
    """How much of what was planned was traded."""
    if not parents:
        return "nothing to trade"
    filled = sum(parent.filled >= parent.planned for parent in parents)
    parts = [
        f", {parent.symbol} to {int(100 * parent.filled / parent.planned)} %"
        for parent in parents
        if 0 < parent.filled < parent.planned
    ]
    return f"{filled} of {len(parents)} orders filled{''.join(parts)}"


def passes(refusal: OrderError) -> bool:
    """Whether the broker may accept the same in a few seconds: its positions, cash and open orders
    can lag its own fills by ten."""
    text = str(refusal).lower()
    if refusal.code in _FORBIDDEN:
        return not any(word in text for word in _LASTING)
    return refusal.code in _UNPROCESSABLE and any(word in text for word in _OTHER_SIDE)


def ending(order: Order) -> str | None:
    """Why the broker ended an order without filling it; None if it is open or filled."""
    code = _ENDINGS.get(order.status)
    if code is None:
        return None
    said = f": {order.message}" if order.message else ""
    return f"{code}: {order.filled_qty:f} of {order.qty:f} filled{said}"


def _allowed(order: OrderRow) -> int:
    """Attempts in all, this one included, after it has ended so."""
    if order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED):
        return ATTEMPTS
    is_passing = order.status is OrderStatus.REJECTED and order.reason.startswith(NOT_YET)
    return ATTEMPTS_REFUSED if is_passing else 0

"""Whether the journal's orders are what the broker says they are. Pure.

The broker's word wins: here is said what it makes of each order, `reconcile.py` writes it down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from astra.execution.order_id import is_ours
from astra.ledger import Differences
from astra.outcomes import planned_qty
from astra.records import Activity, Order
from astra.store.journal import OrderRow

_PRICE_MARGIN = 1.05  # a fill may cost more than was thought


@dataclass(frozen=True, slots=True)
class InTransit:
    """Shares of an order, and about their USD, by which books and broker may differ for now."""

    id: str
    symbol: str
    qty: Decimal
    value: float


@dataclass(frozen=True, slots=True)
class OrderDifferences:
    """How the journal's orders stand against the broker's.

    Attributes:
        corrected: the broker's version of orders that nobody works on and that the journal has
            otherwise.
        absent: orders that were noted as known to the broker, which does not know them.
        strange: orders at the broker that bear an id of ours and are in no journal.
        unfilled: a sentence for each order whose fills in the record are not what it says itself.
        under_way: what was sent and is not final.
        untold: of other orders, what the record lacks of their fills, or has too much.
    """

    corrected: tuple[Order, ...]
    absent: tuple[OrderRow, ...]
    strange: tuple[Order, ...]
    unfilled: Mapping[str, str]
    under_way: tuple[InTransit, ...]
    untold: tuple[InTransit, ...]


def compare_orders(
    journaled: Sequence[OrderRow],
    theirs: Iterable[Order],
    lines: Iterable[Activity],
    unfinished: Collection[str],
) -> OrderDifferences:
    """Hold the journal's orders against the broker's, and those against the fills on record.

    Args:
        theirs: for each order of `journaled` that the broker knows, and maybe others.
        lines: the record, of which the fills of `theirs` are wanted; some may come twice.
        unfinished: ids of allocations that are not final; their open orders are under way, which
            is no difference.
    """
    known = {order.client_order_id: order for order in theirs}
    ours = {order.id for order in journaled}
    filled = filled_by_order(lines)
    open_ones = {o.id for o in journaled if is_under_way(o, unfinished)}
    untold = {
        i: order.filled_qty - filled.get(order.id, Decimal(0))
        for i, order in known.items()
        if i in ours
    }
    return OrderDifferences(
        corrected=tuple(
            found
            for order in journaled
            if order.id not in open_ones
            and (found := known.get(order.id)) is not None
            and (found.status, found.filled_qty) != (order.status, order.filled_qty)
        ),
        absent=tuple(o for o in journaled if o.broker_id and o.id not in known),
        strange=tuple(o for i, o in known.items() if is_ours(i) and i not in ours),
        unfilled={
            i: (
                f"{known[i].filled_qty:f} {known[i].symbol} are filled, by the record "
                f"{known[i].filled_qty - qty:f}"
            )
            for i, qty in untold.items()
            if qty
        },
        under_way=tuple(
            _in_transit(o, known.get(o.id), o.qty)
            for o in journaled
            if o.id in open_ones and o.sent_at is not None
        ),
        untold=tuple(
            _in_transit(o, known[o.id], abs(qty))
            for o in journaled
            if o.id not in open_ones and (qty := untold.get(o.id))
        ),
    )


def _in_transit(order: OrderRow, found: Order | None, qty: Decimal) -> InTransit:
    paid = (found and found.filled_average_price) or order.reference_price
    price = max(paid, order.limit_price or 0.0)
    return InTransit(order.id, order.symbol, qty, float(qty) * price)


def beyond(found: Differences, in_transit: Iterable[InTransit]) -> Differences:
    """What is left of differences when as much as these orders moved may be either way."""
    cash, shares = Decimal(0), dict(found.shares)
    for order in in_transit:
        cash += Decimal(order.value * _PRICE_MARGIN)
        if qty := shares.pop(order.symbol, None):
            shares[order.symbol] = max(abs(qty) - order.qty, Decimal(0))
    return Differences(
        max(abs(found.cash) - cash, Decimal(0)), {s: q for s, q in shares.items() if q}
    )


def is_under_way(order: OrderRow, unfinished: Collection[str]) -> bool:
    """Whether an order waits to be sent or filled and a worker will see to it."""
    return not order.status.is_final and order.allocation_id in unfinished


def overfilled(
    journaled: Iterable[OrderRow], theirs: Mapping[str, Decimal]
) -> tuple[tuple[str, str, str], ...]:
    """(allocation, symbol, side) of which more was filled than the plan said.

    Args:
        theirs: shares filled by the broker's order id, as `filled_by_order` gives them.
    """
    lines = dict[tuple[str, str, str], list[OrderRow]]()
    for order in journaled:
        key = (order.allocation_id, order.symbol, order.side.value)
        lines.setdefault(key, []).append(order)
    nothing = Decimal(0)
    filled = {
        key: sum((max(o.filled_qty, theirs.get(o.broker_id, nothing)) for o in orders), nothing)
        for key, orders in lines.items()
    }
    return tuple(sorted(k for k, orders in lines.items() if filled[k] > planned_qty(orders)))


def filled_by_order(lines: Iterable[Activity]) -> dict[str, Decimal]:
    """Shares that the record's fills moved for each of the broker's order ids."""
    filled = dict[str, Decimal]()
    for line in {line.id: line for line in lines}.values():
        if line.order_id is not None and line.qty is not None:
            filled[line.order_id] = filled.get(line.order_id, Decimal(0)) + abs(line.qty)
    return filled

"""What a halt asks of the broker: which orders are open that it forbids, and that they go.

Needs no books: an order of ours is told by its id.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping

from astra.alpaca import Alpaca
from astra.errors import AstraError
from astra.execution.door import Exit
from astra.execution.order_id import is_ours
from astra.execution.waiting import pauses
from astra.records import Order, OrderStatus, TradingState

_LONGEST_PAUSE = 0.5  # seconds between two looks at the broker


def looks(began: float, seconds: float) -> Iterator[float]:
    """Seconds since `began`, at each look until `seconds` are over; at least one."""
    for pause in pauses(_LONGEST_PAUSE):
        elapsed = time.monotonic() - began
        yield elapsed
        if elapsed >= seconds:
            return
        time.sleep(min(pause, seconds - elapsed))


def forbidden(broker: Alpaca, state: TradingState, leaves_others: bool) -> list[Order]:
    """The open orders that the state does not allow; only ours, if others are left alone."""
    found = [o for o in broker.orders("open") if not state.allows(o.side)]
    return [o for o in found if is_ours(o.client_order_id)] if leaves_others else found


def cancel(broker: Alpaca, orders: Iterable[Order] | None) -> None:
    """Ask to cancel these orders, or, None, every open one of the account."""
    way = Exit(broker)
    if orders is None:
        way.cancel_all()
        return
    for order in orders:
        way.cancel(order.id)


def cancelled(broker: Alpaca, asked: Mapping[str, Order]) -> tuple[str, ...]:
    """Of the orders that were asked to go (by the broker's id) those that did, by our id; others
    may have filled before."""
    if not asked:
        return ()
    times = [order.submitted_at for order in asked.values()]
    known = [t for t in times if t is not None]
    after = min(known) - dt.timedelta(seconds=1) if len(known) == len(times) else None
    with contextlib.suppress(AstraError):
        return tuple(
            order.client_order_id
            for order in broker.orders("all", after)
            if order.id in asked and order.status is OrderStatus.CANCELED
        )
    return ()

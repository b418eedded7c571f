"""Three ways to trade twice or not at all, that the harness must catch or it proves nothing.

Each is a subclass of a class of the product with one fault planted, put in its place for as long as
`planted` lasts, in this process.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from unittest.mock import patch

from astra.alpaca.orders import Orders
from astra.errors import TemporaryError
from astra.execution import Delivered, Executor
from astra.records import Order, Side, TradingState
from astra.store.journal import AllocationRow, Journal, OrderRow


class RandomOrderId(Orders):
    """An order bears another id each time it is sent, so the broker cannot tell a copy."""

    def submit(
        self, symbol: str, side: Side, qty: Decimal, client_order_id: str, *more: Any, **named: Any
    ) -> Order:
        sent = super().submit(symbol, side, qty, str(uuid.uuid4()), *more, **named)
        return replace(sent, client_order_id=client_order_id)


class JournalAfterSend(Journal):
    """A phase is written down when the broker has answered its first order, not before."""

    def plan_orders(
        self, allocation_id: str, fence: int, planned: Sequence[OrderRow], *more: Any, **named: Any
    ) -> tuple[OrderRow, ...]:
        self._unwritten = partial(
            super().plan_orders, allocation_id, fence, planned, *more, **named
        )
        self._kept = tuple(planned)
        return self.orders(allocation_id)

    def orders(self, allocation_id: str) -> tuple[OrderRow, ...]:
        kept = [o for o in getattr(self, "_kept", ()) if o.allocation_id == allocation_id]
        return tuple(sorted((*super().orders(allocation_id), *kept), key=lambda o: o.id))

    def begin_sending(self, order_id: str, fence: int, at: dt.datetime) -> TradingState:
        is_kept = any(order.id == order_id for order in getattr(self, "_kept", ()))
        return TradingState.ACTIVE if is_kept else super().begin_sending(order_id, fence, at)

    def mark_all(self, *arguments: Any, **named: Any) -> Any:
        self._write()
        return super().mark_all(*arguments, **named)

    def mark(self, *arguments: Any, **named: Any) -> OrderRow:
        self._write()
        return super().mark(*arguments, **named)

    def set_status(self, *arguments: Any, **named: Any) -> AllocationRow:
        self._write()
        return super().set_status(*arguments, **named)

    def _write(self) -> None:
        if getattr(self, "_kept", ()):
            self._kept = ()
            self._unwritten()


class AnswersWhileAnotherWorks(Executor):
    """A delivery that finds the lease held is answered as if all was done."""

    def execute(self, delivered: Delivered) -> AllocationRow:
        try:
            return super().execute(delivered)
        except TemporaryError:
            row = self._journal.allocation(delivered.id)
            if row is None or row.is_final:
                raise
            return row


MUTANTS: dict[str, tuple[str, type]] = {
    "random order id": ("astra.execution.door.Orders", RandomOrderId),
    "journal after send": ("benchmarks.chaos.lives.Journal", JournalAfterSend),
    "2xx while another holds the lease": (
        "benchmarks.chaos.lives.Executor",
        AnswersWhileAnotherWorks,
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """With the mutant of this name in the place of what it spoils."""
    place, mutant = MUTANTS[name]
    with patch(place, mutant):
        yield

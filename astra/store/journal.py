"""The journal of allocations and orders: what makes an allocation trade at most once.

An allocation is worked on under a lease with a fencing token. Every write carries the token and is
checked in its own transaction, so a worker that was overtaken can change nothing any more.
Quantities are written once, before anything is sent.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from sqlalchemy import Connection, Update

from astra.errors import DataError, TemporaryError
from astra.records import OrderStatus
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.journal_rows import (
    FINAL_STATUSES,
    STATUSES,
    AllocationRow,
    OrderRow,
    allocation_values,
    order_values,
    select_allocations,
    select_orders,
)
from astra.store.versions import writing_books

__all__ = ["FINAL_STATUSES", "STATUSES", "AllocationRow", "Journal", "OrderRow"]

_allocations, _orders = schema.allocations, schema.orders


class Journal:
    """Tables `allocations` and `orders`.

    Args:
        wall: seconds of the machine's clock, for leases only.
    """

    def __init__(self, dialect: Dialect, wall: Callable[[], float] = time.time) -> None:
        self._dialect = dialect
        self._wall = wall

    def receive(self, row: AllocationRow) -> AllocationRow:
        """Write a delivered allocation down; if it is known, the row as it stands comes back."""
        with writing_books(self._dialect) as connection:
            self._dialect.insert_new(connection, _allocations, [allocation_values(row)])
            return _known(connection, row.id)

    def allocation(self, allocation_id: str) -> AllocationRow | None:
        """The allocation of this id, or None."""
        with self._dialect.reading() as connection:
            return _find(connection, allocation_id)

    def take_lease(self, allocation_id: str, seconds: float) -> int | None:
        """A new fencing token; None if a live worker holds the lease or the work is finished.

        Raises:
            DataError: the allocation is not known.
        """
        now = self._wall()
        with writing_books(self._dialect) as connection:
            row = _known(connection, allocation_id)
            if row.is_final or row.leased_until > now:
                return None
            lease = {"fence": row.fence + 1, "leased_until": now + seconds}
            connection.execute(_one(allocation_id).values(lease))
        return row.fence + 1

    def renew(self, allocation_id: str, fence: int, seconds: float) -> None:
        """Hold the lease for `seconds` from now on. Raises TemporaryError if it was lost."""
        with writing_books(self._dialect) as connection:
            _check(connection, allocation_id, fence)
            connection.execute(_one(allocation_id).values(leased_until=self._wall() + seconds))

    def release(self, allocation_id: str, fence: int) -> None:
        """Give the lease back; nothing happens if another worker has taken over."""
        mine = _one(allocation_id).where(_allocations.c.fence == fence)
        with writing_books(self._dialect) as connection:
            connection.execute(mine.values(leased_until=0.0))

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
                f"a status of {', '.join(STATUSES)} is required, the last four with the time they "
                f"were reached and the others without; found {status!r} at {finished_at}"
            )
        values = {
            "status": status,
            "reason": reason,
            "finished_at": rows.seconds_or_none(finished_at),
        }
        with writing_books(self._dialect) as connection:
            if not _check(connection, allocation_id, fence).is_final:
                connection.execute(_one(allocation_id).values(values))
            return _known(connection, allocation_id)

    def plan_orders(
        self, allocation_id: str, fence: int, planned: Sequence[OrderRow], status: str | None = None
    ) -> tuple[OrderRow, ...]:
        """Write a phase's orders down in one transaction, and `selling` or `buying` with them.

        An order whose id is known stays as it was first written.

        Returns: all orders of the allocation, by id.

        Raises:
            TemporaryError: another worker has taken over.
            DataError: the status is none of a phase.
        """
        if status not in (None, "selling", "buying"):
            raise DataError(f"a phase is selling or buying, found {status!r}")
        with writing_books(self._dialect) as connection:
            _check(connection, allocation_id, fence)
            found = [order_values(order) for order in planned]
            self._dialect.insert_new(connection, _orders, found)
            if status is not None:
                connection.execute(_one(allocation_id).values(status=status))
            return select_orders(connection, _orders.c.allocation_id == allocation_id)

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
        """Note what happened to an order, None leaving a value as it is; final orders stay.

        Raises:
            TemporaryError: another worker has taken over the allocation.
            DataError: the order is not in the journal.
        """
        values = {
            "status": status.value,
            "updated_at": rows.seconds(at),
            "broker_id": broker_id,
            "filled_qty": rows.decimal_or_none(filled_qty),
            "filled_average_price": filled_average_price,
            "reason": reason,
        }
        known = {name: value for name, value in values.items() if value is not None}
        with writing_books(self._dialect) as connection:
            order = _order(connection, order_id)
            _check(connection, order.allocation_id, fence)
            if not order.status.is_final:
                connection.execute(_orders.update().where(_orders.c.id == order_id).values(known))
            return _order(connection, order_id)

    def orders(self, allocation_id: str) -> tuple[OrderRow, ...]:
        """Orders of an allocation, by id."""
        with self._dialect.reading() as connection:
            return select_orders(connection, _orders.c.allocation_id == allocation_id)

    def orders_of_account(self, account: str) -> tuple[OrderRow, ...]:
        """All orders ever planned for an account, by id."""
        with self._dialect.reading() as connection:
            return select_orders(connection, _orders.c.account == account)

    def open_allocations(self, account: str) -> tuple[AllocationRow, ...]:
        """Allocations that are not finished, oldest first by (as_of, generation)."""
        with self._dialect.reading() as connection:
            unfinished = _allocations.c.status.not_in(FINAL_STATUSES)
            return select_allocations(connection, (_allocations.c.account == account) & unfinished)

    def newest_done(self, account: str) -> AllocationRow | None:
        """The last allocation by (as_of, generation) that was traded to its end, or None."""
        with self._dialect.reading() as connection:
            done = _allocations.c.status == "done"
            found = select_allocations(connection, (_allocations.c.account == account) & done)
        return found[-1] if found else None


def _one(allocation_id: str) -> Update:
    return _allocations.update().where(_allocations.c.id == allocation_id)


def _check(connection: Connection, allocation_id: str, fence: int) -> AllocationRow:
    row = _known(connection, allocation_id)
    if row.fence != fence:
        raise TemporaryError(
            f"allocation {allocation_id} has been taken over by another worker "
            f"(lease {row.fence}, ours was {fence}): stop, it goes on there"
        )
    return row


def _known(connection: Connection, allocation_id: str) -> AllocationRow:
    row = _find(connection, allocation_id)
    if row is None:
        raise DataError(f"an allocation in the journal is required, found none {allocation_id!r}")
    return row


def _find(connection: Connection, allocation_id: str) -> AllocationRow | None:
    found = select_allocations(connection, _allocations.c.id == allocation_id)
    return found[0] if found else None


def _order(connection: Connection, order_id: str) -> OrderRow:
    found = select_orders(connection, _orders.c.id == order_id)
    if not found:
        raise DataError(f"an order in the journal is required, found none {order_id!r}")
    return found[0]

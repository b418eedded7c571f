"""What the journal says of allocations, plan lines and orders. Reading takes no lease."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from sqlalchemy import ColumnElement, exists, select, true

from astra.owned import Fill
from astra.records import OrderStatus, PlanLine, Side
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.journal_rows import (
    FINAL_STATUSES,
    AllocationRow,
    OrderRow,
    select_allocations,
    select_lines,
    select_orders,
)
from astra.store.leases import find

_allocations, _orders = schema.allocations, schema.orders
_AT_BROKER = [s.value for s in OrderStatus if not s.is_final and s is not OrderStatus.PLANNED]


class JournalQueries:
    """The reading half of `astra.store.journal.Journal`."""

    _dialect: Dialect

    def allocation(self, allocation_id: str) -> AllocationRow | None:
        """The allocation of this id, or None."""
        with self._dialect.reading() as connection:
            return find(connection, allocation_id)

    def open_allocations(self, account: str | None = None) -> tuple[AllocationRow, ...]:
        """Allocations that are not finished, of one account or of all, oldest first by (as_of,
        generation)."""
        of_account = true() if account is None else _allocations.c.account == account
        with self._dialect.reading() as connection:
            unfinished = _allocations.c.status.not_in(FINAL_STATUSES)
            return select_allocations(connection, of_account & unfinished)

    def newest_done(self, account: str) -> AllocationRow | None:
        """The last allocation by (as_of, generation) that was traded to its end, or None."""
        return self._newest(account, _allocations.c.status == "done")

    def newest_begun(self, account: str) -> AllocationRow | None:
        """The last allocation by (as_of, generation) that was traded or begun to be, or None."""
        has_orders = exists().where(_orders.c.allocation_id == _allocations.c.id)
        begun = _allocations.c.status.in_(("selling", "buying", "done"))
        return self._newest(account, begun | has_orders)

    def lines(self, allocation_id: str) -> tuple[PlanLine, ...]:
        """The plan lines of an allocation, by symbol."""
        with self._dialect.reading() as connection:
            return select_lines(connection, allocation_id)

    def orders(self, allocation_id: str) -> tuple[OrderRow, ...]:
        """Orders of an allocation, by id."""
        return self._orders_where(_orders.c.allocation_id == allocation_id)

    def orders_since(self, account: str, since: dt.datetime) -> tuple[OrderRow, ...]:
        """Orders of an account planned from `since` on, by id."""
        recent = _orders.c.planned_at >= rows.seconds(since)
        return self._orders_where((_orders.c.account == account) & recent)

    def orders_to_reconcile(self, account: str, since: dt.datetime | None) -> tuple[OrderRow, ...]:
        """Orders planned from `since` on (None: all), and older ones that have left and are not
        final, by id."""
        wanted: ColumnElement[bool] = _orders.c.account == account
        if since is not None:
            recent = _orders.c.planned_at >= rows.seconds(since)
            wanted &= recent | _orders.c.status.in_(_AT_BROKER)
        return self._orders_where(wanted)

    def fills(self, account: str) -> tuple[Fill, ...]:
        """What each order of an account has filled, by the order's id."""
        filled = (_orders.c.account == account) & (_orders.c.filled_qty != "0")
        columns = ("symbol", "side", "filled_qty", "updated_at", "broker_id")
        statement = (
            select(*(_orders.c[name] for name in columns)).where(filled).order_by(_orders.c.id)
        )
        with self._dialect.reading() as connection:
            return tuple(
                Fill(
                    row.symbol,
                    Decimal(row.filled_qty) if row.side == Side.BUY else -Decimal(row.filled_qty),
                    rows.moment(row.updated_at),
                    row.broker_id,
                )
                for row in connection.execute(statement)
            )

    def _newest(self, account: str, wanted: ColumnElement[bool]) -> AllocationRow | None:
        with self._dialect.reading() as connection:
            found = select_allocations(connection, (_allocations.c.account == account) & wanted)
        return found[-1] if found else None

    def _orders_where(self, wanted: ColumnElement[bool]) -> tuple[OrderRow, ...]:
        with self._dialect.reading() as connection:
            return select_orders(connection, wanted)

"""One look at the books, the journal and the broker, and at what differs between them.

What the broker tells is added to the record on the way; nothing else is changed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.reconciling.agreement import OrderDifferences, compare_orders
from astra.ledger import Differences, compare
from astra.records import Account, Activity, Order, Position
from astra.store.journal import OrderRow
from astra.store.reconciliations import Reconciliation

# How far before what is known the record is asked for: fills of one moment may appear one by one,
# fees and dividends days later.
BRIEF, OVERLAP, LONG = dt.timedelta(minutes=1), dt.timedelta(days=2), dt.timedelta(days=10)
_LAG = dt.timedelta(seconds=30)  # longer than positions and cash lag the fills
# Orders are compared again for so long after they were; one may be sent so long after its planning.
_SINCE_LAST, _PLANNED_BEFORE = dt.timedelta(hours=1), dt.timedelta(days=1)


def catch_up(desk: Desk, account: str, overlap: dt.timedelta = OVERLAP) -> int:
    """Add the activities that are not known yet, from `overlap` before the last; their number."""
    return desk.store.books.record_activities(account, _missed(desk, account, overlap))


@dataclass(frozen=True, slots=True)
class Look:
    """Books, journal and broker at one moment.

    Attributes:
        account, at, positions: the broker's, and the market's time when it told them.
        differences, orders: what differs in cash and shares, and in the orders.
        last: the reconciliation before, None if there is none.
        new: activities that were not known before.
    """

    account: Account
    at: dt.datetime
    positions: tuple[Position, ...]
    differences: Differences
    orders: OrderDifferences
    last: Reconciliation | None
    new: int

    @property
    def is_equal(self) -> bool:
        return self.differences.are_none and not self.unexplained

    @property
    def is_known(self) -> bool:
        """Whether an earlier reconciliation has found the same, so that waiting mends nothing."""
        return (
            self.last is not None
            and self.last.status == "differs"
            and self.at - self.last.at > _LAG
            and self.last.differences == self.differences
            and self.unexplained.keys() <= self.last.order_diffs.keys()
        )

    @property
    def unexplained(self) -> dict[str, str]:
        """A sentence for each order that nothing but a later answer can explain."""
        return {
            **{o.id: f"{o.symbol}: the broker does not know it" for o in self.orders.absent},
            **{o.client_order_id: f"{o.symbol}: not in our journal" for o in self.orders.strange},
            **self.orders.unfilled,
        }


def look_at(desk: Desk, overlap: dt.timedelta) -> Look:
    """Ask the broker for everything, then write down what is new and compare."""
    broker, store = desk.broker, desk.store
    try:
        number = broker.account().number
        lines = _missed(desk, number, overlap)
        unfinished = _unfinished(desk, number)  # a worker may finish it meanwhile
        journaled, theirs, since = _orders(desk, number)
        positions, account, at = broker.positions(), broker.account(), broker.clock().now
    except DataError as error:  # it may pass, and is no answer
        raise TemporaryError(f"the broker's answer cannot be read: {error}") from error
    if account.number != number:
        return look_at(desk, overlap)  # the account was reset between two answers
    new = store.books.record_activities(number, lines)
    unfinished |= _unfinished(desk, number)
    return Look(
        account,
        at,
        positions,
        compare(store.books.replayed(number), account, positions),
        compare_orders(journaled, theirs, store.books.activities(number, since), unfinished),
        store.reconciliations.latest(number),
        new,
    )


def _orders(desk: Desk, account: str) -> tuple[list[OrderRow], list[Order], dt.datetime | None]:
    """The journal's orders and the broker's since shortly before the last reconciliation."""
    last = desk.store.reconciliations.latest(account)
    since = None if last is None else last.at - _SINCE_LAST
    earliest = None if since is None else since - _PLANNED_BEFORE
    journaled = desk.store.journal.orders_to_reconcile(account, earliest)
    if since is not None:
        since = min([since, *(o.planned_at for o in journaled if not o.status.is_final)])
    theirs = list(desk.broker.orders("all", since))
    known = {order.client_order_id for order in theirs}
    asked = [
        o
        for o in journaled
        if o.broker_id and o.id not in known and (since is None or o.planned_at >= since)
    ]
    found = {o.id: desk.broker.order(o.id) for o in asked}
    theirs += [order for order in found.values() if order is not None]
    passed = {o.id for o in journaled if since is not None and o.planned_at < since} - known
    return [o for o in journaled if o.id not in passed], theirs, since


def _unfinished(desk: Desk, account: str) -> set[str]:
    return {row.id for row in desk.store.journal.open_allocations(account)}


def _missed(desk: Desk, account: str, overlap: dt.timedelta) -> tuple[Activity, ...]:
    last = desk.store.books.last_activity(account)
    return tuple(desk.broker.activities(None if last is None else last - overlap))

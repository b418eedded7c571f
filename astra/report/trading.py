"""A day's allocations: what was ordered, what was filled, and what that cost."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from astra import shortfall
from astra.outcomes import Outcome, outcomes
from astra.report.session import Bounds
from astra.shortfall import Shortfall
from astra.store import Query, Store


@dataclass(frozen=True, slots=True)
class Traded:
    """One allocation and how far it came.

    Attributes:
        statuses: orders by status.
        ended: its lines for which something was ordered.
        costs: what each of them cost against the decision's price.
    """

    at: dt.datetime
    object: str
    status: str
    reason: str
    statuses: Mapping[str, int]
    ended: tuple[Outcome, ...]
    costs: tuple[Shortfall, ...]

    @property
    def orders(self) -> int:
        return sum(self.statuses.values())

    @property
    def value(self) -> float:
        """USD bought and sold together; fills without a known price count nothing."""
        return math.fsum(float(o.filled) * (o.average_price or 0.0) for o in self.ended)

    @property
    def missed(self) -> tuple[Outcome, ...]:
        """What was ordered and not filled, or not all of it."""
        return tuple(o for o in self.ended if o.filled < o.ordered)


def of_day(store: Store, account: str, bounds: Bounds) -> tuple[Traded, ...]:
    """The allocations that were received on the day, oldest first."""
    query = Query(
        "allocations", ("id", "received_at"), account=account, start=bounds.start, end=bounds.end
    )
    known = store.dump(query).read_all().to_pylist()
    ids = [row["id"] for row in sorted(known, key=lambda row: (row["received_at"], row["id"]))]
    if not ids:
        return ()
    fees = shortfall.fees_by_order(store.books.activities(account, bounds.start))
    return tuple(_traded(store, name, fees) for name in ids)


def _traded(store: Store, name: str, fees: Mapping[str, Decimal]) -> Traded:
    found = store.dossier(name)
    row = found.allocation
    ended = tuple(o for o in outcomes(found.lines, found.orders, found.unfinished) if o.side)
    costs = (found.cost(one, fees) for one in ended)
    return Traded(
        at=row.received_at,
        object=row.object,
        status=row.status,
        reason=row.reason,
        statuses=Counter(order.status.value for order in found.orders),
        ended=ended,
        costs=tuple(cost for cost in costs if cost is not None),
    )

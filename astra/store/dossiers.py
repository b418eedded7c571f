"""All that the store holds of one allocation: from the decision behind it to what it came to."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from astra.errors import DataError
from astra.outcomes import Outcome
from astra.records import PlanLine
from astra.sessions import BAR_SECONDS
from astra.shortfall import Shortfall, of_line
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.journal_rows import (
    AllocationRow,
    OrderRow,
    select_allocations,
    select_lines,
    select_orders,
)

_STAMPED = re.compile(r"(?:target_|decision_)?(\d{8}-\d{6}_[0-9a-f]{8})(?:\.csv|\.json)?")
_TRADED = ("done", "abandoned", "selling", "buying")


@dataclass(frozen=True, slots=True)
class Dossier:
    """One allocation, read at one instant.

    Attributes:
        decision: the document of `/allocate`, None if it is not known (a file dropped by hand).
        until: as-of time of the next allocation that was traded; None = there is none yet.
        closes: USD by symbol ordered: the last stored close before `until`.
    """

    allocation: AllocationRow
    lines: tuple[PlanLine, ...]
    orders: tuple[OrderRow, ...]
    decision: Mapping[str, Any] | None
    until: dt.datetime | None
    closes: Mapping[str, float]

    @property
    def unfinished(self) -> str:
        """Why some names may have no order: the allocation was not traded to its end, or not yet;
        "" if it was."""
        row = self.allocation
        if row.status == "done":
            return ""
        return f"{row.status}: {row.reason}" if row.is_final else "not its turn yet"

    def cost(self, ended: Outcome, fees: Mapping[str, Decimal]) -> Shortfall | None:
        """What trading one name cost against the decision's price; None if none was ordered.

        Args:
            ended: of `astra.outcomes.outcomes` of this allocation.
            fees: USD by the broker's order id, see `astra.shortfall.fees_by_order`.
        """
        if ended.side is None:
            return None
        decided = {line.symbol: line.decision_price for line in self.lines}
        own = [o for o in self.orders if (o.symbol, o.side) == (ended.symbol, ended.side)]
        return of_line(
            ended.side,
            float(ended.ordered),
            float(ended.filled),
            float(sum(fees.get(o.broker_id, 0) for o in own if o.broker_id)),
            decision_price=decided.get(ended.symbol),
            price=ended.price,
            average_price=ended.average_price,
            last_price=self.closes.get(ended.symbol),
        )


def read(dialect: Dialect, name: str) -> Dossier:
    """By the allocation's id, or the name of its object or of its decision's; of several versions
    of an object, and of several accounts, the one that came last.

    Raises:
        DataError: there is none.
    """
    with dialect.reading() as connection:
        row = _find(connection, name)
        lines = select_lines(connection, row.id)
        orders = select_orders(connection, schema.orders.c.allocation_id == row.id)
        until = _next(connection, row)
        return Dossier(
            allocation=row,
            lines=lines,
            orders=orders,
            decision=_decision(connection, row.object),
            until=until,
            closes=_closes(connection, {o.symbol for o in orders}, until),
        )


def _find(connection: Connection, name: str) -> AllocationRow:
    table, stamped = schema.allocations, _STAMPED.fullmatch(name)
    wanted = f"target_{stamped[1]}.csv" if stamped else name
    found = select_allocations(connection, (table.c.id == name) | (table.c.object == wanted))
    if not found:
        raise DataError(
            f"the id of an allocation or the name of its object is required, the store knows no "
            f"{name!r}: target_<stamp>_<tag>.csv as `astra allocate` gave it"
        )
    return max(found, key=lambda row: (row.received_at, row.generation))


def _decision(connection: Connection, target: str) -> Mapping[str, Any] | None:
    table, stamped = schema.decisions, _STAMPED.fullmatch(target)
    if not stamped:
        return None
    name = f"decision_{stamped[1]}.json"
    text = connection.scalar(select(table.c.document).where(table.c.object == name))
    return None if text is None else dict(json.loads(text))


def _next(connection: Connection, row: AllocationRow) -> dt.datetime | None:
    table = schema.allocations
    if row.as_of is None:
        return None
    later = (table.c.account == row.account) & (table.c.as_of > rows.seconds(row.as_of))
    found = select_allocations(connection, later & table.c.status.in_(_TRADED))
    return found[0].as_of if found else None


def _closes(
    connection: Connection, symbols: Iterable[str], until: dt.datetime | None
) -> dict[str, float]:
    table, found = schema.price_history, {}
    for symbol in sorted(symbols):
        closed = table.c.ticker == symbol
        if until is not None:
            closed &= table.c.ts + BAR_SECONDS <= rows.seconds(until)
        last = select(table.c.close).where(closed).order_by(table.c.ts.desc()).limit(1)
        close = connection.scalar(last)
        if close is not None:
            found[symbol] = float(close)
    return found

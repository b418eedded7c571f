"""An allocation's plan: gathers weights, account and rules for `astra.rebalance`, which decides."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from astra.execution.desk import Desk
from astra.execution.holdings import Recorded, holdings_of
from astra.owned import renamed
from astra.phases import plan_both
from astra.rebalance import Plan, Rules, plan_orders
from astra.store.journal import AllocationRow

NEW_NAME = dt.timedelta(days=30)  # for so long a file may know a symbol by its old name


def plan_of(
    desk: Desk, row: AllocationRow, *, sold: float = 0.0, seen: Recorded | None = None
) -> Plan:
    """The plan of an allocation from the broker's account as it is now.

    Args:
        sold: USD sold under this allocation already.
        seen: see `holdings_of`.
    """
    row = under_new_names(desk, row)
    start = replace(holdings_of(desk, row.weights, row.as_of, seen), sold=sold)
    return plan_orders(row.weights, start, rules_of(desk, row))


def preview(desk: Desk, row: AllocationRow) -> Plan:
    """Both phases of an allocation's plan, its sells taken as filled at the last prices."""
    row = under_new_names(desk, row)
    start = holdings_of(desk, row.weights, row.as_of)
    return plan_both(row.weights, start, rules_of(desk, row))


def under_new_names(desk: Desk, row: AllocationRow) -> AllocationRow:
    """An allocation that names symbols as they are now, where they are new since a month.

    After that an old symbol may be another company's.
    """
    lines = desk.store.books.acted(row.account)
    found = renamed(lines, row.received_at - NEW_NAME)
    new = {old: name for old, name in found.items() if name not in row.weights}
    weights = {new.get(symbol, symbol): weight for symbol, weight in row.weights.items()}
    return replace(row, weights=weights, keep=frozenset(new.get(s, s) for s in row.keep))


def rules_of(desk: Desk, row: AllocationRow) -> Rules:
    """The rules within the gate's limits, which leave alone what the allocation and the settings
    keep, by any name that it had before."""
    names = renamed(desk.store.books.acted(row.account))
    held = {names[symbol] for symbol in names.keys() & desk.rules.hold}
    return replace(
        desk.rules,
        hold=desk.rules.hold | held | row.keep,
        max_position_weight=desk.limits.max_position_weight,
        max_order_weight=desk.limits.max_order_weight,
        max_order_usd=desk.limits.max_order_usd,
    )

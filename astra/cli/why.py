"""`astra why`: why each order of an allocation was made, what became of it and what it cost.

It reads the store and shows; the parts and the costs are `astra.attribution`'s and
`astra.shortfall`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from astra import attribution, shortfall
from astra.attribution import Attribution
from astra.cli.options import out, read_settings
from astra.errors import DataError
from astra.outcomes import Outcome, outcomes
from astra.shortfall import Shortfall

if TYPE_CHECKING:
    from astra.store.dossiers import Dossier

HEADS = {"forecast": "fcast", "rounding": "round"}


def why(
    allocation: Annotated[
        str, typer.Argument(metavar="OBJECT", help="target_<stamp>_<tag>.csv, or an allocation id")
    ],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="one name only")] = "",
) -> None:
    """Why this order: each weight change in its parts, what was filled, and what it cost."""
    found, fees = _gather(allocation)
    changes = [attribution.of_plan(line, found.decision) for line in found.lines]
    ended = outcomes(found.lines, found.orders, found.unfinished)
    if symbol:
        changes = [c for c in changes if c.symbol == symbol]
        ended = tuple(o for o in ended if o.symbol == symbol)
        if not ended:
            raise DataError(
                f"a name of the plan is required, {found.allocation.object} has no line of "
                f"{symbol}: leave the name out to see all"
            )
    costs = [(o.symbol, cost) for o in ended if (cost := found.cost(o, fees)) is not None]
    if all(cost.total is None for _, cost in costs):
        costs = []  # nothing is known yet
    for line in _head(found):
        out.print(escape(line), soft_wrap=True)
    for title, table in (
        ("Weight changes, % of equity", _changes(changes)),
        ("What was traded", _trades(ended)),
        ("What it cost against the decision's price, basis points", _costs(costs)),
    ):
        if table.row_count:
            out.print(f"\n[bold]{title}[/]")
            out.print(table)
    out.print()
    for line in _legend(changes, found, bool(costs)):
        out.print(escape(line), soft_wrap=True)


def _gather(allocation: str) -> tuple[Dossier, Mapping[str, Decimal]]:
    """What the store knows of it, and the fees of the account's orders since."""
    from astra.store import open_store

    store = open_store(read_settings().database_url)
    try:
        found = store.dossier(allocation)
        row = found.allocation
        booked = store.books.activities(row.account, row.received_at)
    finally:
        store.close()
    return found, shortfall.fees_by_order(booked)


def _head(found: Dossier) -> Iterator[str]:
    row, made = found.allocation, found.decision or {}
    as_of = f" as of {row.as_of:%Y-%m-%d %H:%M} UTC" if row.as_of else ""
    yield f"{row.object} (allocation {row.id}), policy {row.policy or 'unknown'}{as_of}"
    if "reason" in made:
        yield f"decided: {made['reason']}"
    ended = f"{row.status}: {row.reason}" if row.reason else row.status
    yield f"traded: {ended}" if found.orders else f"not traded: {ended}"


def _changes(changes: Sequence[Attribution]) -> Table:
    """From what was held to what was planned, in parts."""
    names = list(changes[0].parts) if changes else []
    table = _table("symbol", "from", "to", "change", *(HEADS.get(n, n) for n in names), left=1)
    for change in sorted(changes, key=lambda c: -abs(c.change)):
        numbers = (change.before, change.planned, change.change, *change.parts.values())
        table.add_row(change.symbol, *(f"{_zero(100 * x, 2):.2f}" for x in numbers))
    return table


def _trades(ended: Sequence[Outcome]) -> Table:
    table = _table("symbol", "side", "ordered", "filled", "price", "why not all", left=2)
    table.columns[-1].justify = "left"
    for o in ended:
        price = "-" if o.average_price is None else f"{o.average_price:,.2f}"
        ordered, filled = (f"{float(q):,.6g}" if o.side else "-" for q in (o.ordered, o.filled))
        reason = o.reason or ("" if o.is_explained else "not written down")
        table.add_row(o.symbol, o.side or "-", ordered, filled, price, escape(reason))
    return table


def _costs(costs: Sequence[tuple[str, Shortfall]]) -> Table:
    table = _table("symbol", "delay", "execution", "fees", "opportunity", "total", "USD", left=1)
    for symbol, cost in costs:
        table.add_row(symbol, *_bp(cost))
    if len(costs) > 1:
        whole = shortfall.of_all(cost for _, cost in costs)
        name = "all" if not whole.left_out else f"all but {whole.left_out}"
        table.add_row(name, *_bp(whole), style="bold")
    return table


def _bp(cost: Shortfall) -> Iterator[str]:
    for part in (cost.delay, cost.execution, cost.fees, cost.opportunity, cost.total):
        points = cost.bp(part)
        yield "-" if points is None else f"{_zero(points, 1):+.1f}"
    yield "-" if cost.total is None else f"{_zero(cost.total, 2):+,.2f}"


def _legend(changes: Sequence[Attribution], found: Dossier, has_costs: bool) -> Iterator[str]:
    """What the columns mean."""
    for name in changes[0].parts if changes else ():
        yield f"{HEADS.get(name, name)}: {attribution.PARTS[name]}"
    if found.decision and "why_reads" in found.decision:
        yield f"policy {found.decision['policy']}: {found.decision['why_reads']}"
    if has_costs:
        yield (
            "delay: decision to plan; execution: plan to fill; opportunity: what was not filled, "
            + ("until the next allocation" if found.until else "until the last price known")
        )


def _table(*names: str, left: int) -> Table:
    """The first `left` columns are texts, the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=i < left)
    return table


def _zero(value: float, decimals: int) -> float:
    """Without the sign of a zero."""
    return round(value, decimals) + 0.0

"""What `astra rebalance FILE --dry-run` shows: verdict, plan, denials, cost. Nothing is sent or
written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.markup import escape
from rich.table import Table

from astra.errors import DataError
from astra.execution.admission import superseded_by, why_closed, why_held, why_not
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.executor import Delivered, Executor
from astra.rebalance import Plan
from astra.records import PlanLine, PlannedOrder, Side
from astra.risk import Denial
from astra.store.journal import AllocationRow

_NEWEST = 2**63 - 1  # a file that is dropped now is newer than any of the same time


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, what the gate says to it by symbol, the cash of the account in USD, and why the file
    would not be traded, "" if it would."""

    plan: Plan
    denials: Mapping[str, Denial]
    cash: float
    equity: float
    verdict: str = ""

    @property
    def orders(self) -> tuple[PlannedOrder, ...]:
        """Those that would be sent."""
        planned = (*self.plan.sells, *self.plan.buys)
        return tuple(order for order in planned if order.symbol not in self.denials)

    def traded(self, side: Side) -> float:
        """USD that the orders of one side are worth."""
        return sum(float(o.qty) * o.reference_price for o in self.orders if o.side is side)


def look(desk: Desk, bucket: str, name: str, content: bytes) -> Preview:
    """What a file would do now.

    Raises:
        DataError: it is malformed.
    """
    try:
        plan, row = Executor(desk).preview(Delivered(bucket, name, 0, content, {}))
    except DataError as error:
        raise DataError(f"this file would be refused: {error}") from error
    gate = Door(desk).gate(row)
    judged = {order.symbol: gate.deny(order) for order in (*plan.sells, *plan.buys)}
    account = desk.broker.account()
    return Preview(
        plan,
        {symbol: denial for symbol, denial in judged.items() if denial is not None},
        float(account.cash),
        float(account.equity),
        verdict(desk, replace(row, generation=_NEWEST)),
    )


def verdict(desk: Desk, row: AllocationRow) -> str:
    """Why the worker would not trade a new file now, by its own rules; "" if it would."""
    clock = desk.broker.clock()
    if why := why_not(row, clock) or why_closed(clock):
        return f"this file would be refused: {why}"
    if newer := superseded_by(desk, row, clock):
        return f"this file would be superseded: {newer.object} is newer"
    if why := why_held(desk, row):
        return f"this file would be held: {why}"
    return ""


def report(found: Preview, half_spread_bp: float, fee_bp: float) -> Iterator[Table | str]:
    """What would become of the file, the plan as a table, then sentences; 80 columns wide."""
    if found.verdict:
        yield f"[red]{escape(found.verdict)}[/]"
    yield _table(found)
    for denial in found.denials.values():
        yield f"[red]denied[/] {denial.code}: {escape(denial.reason)}"
    sold, bought = found.traded(Side.SELL), found.traded(Side.BUY)
    cost = (half_spread_bp * (sold + bought) + fee_bp * sold) / 1e4
    sells = sum(order.side is Side.SELL for order in found.orders)
    buys = len(found.orders) - sells
    yield f"sells: {sells} for {sold:,.2f} USD, buys: {buys} for {bought:,.2f} USD"
    if sold + bought:
        bp = 1e4 * cost / (sold + bought)
        yield f"estimated cost {cost:,.2f} USD, {bp:.1f} bp of what is traded"
    after = found.cash + sold - bought - cost
    share = f" ({after / found.equity:.1%} of equity)" if found.equity > 0 else ""
    yield f"cash {found.cash:,.2f} USD now, {after:,.2f} USD after{share}"
    yield "nothing was sent"


def _table(found: Preview) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("symbol", no_wrap=True)
    for name in ("now", "target", "plan", "order", "price"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    orders = {order.symbol: order for order in (*found.plan.sells, *found.plan.buys)}
    for line in _ranked(found.plan.lines):
        order, denial = orders.get(line.symbol), found.denials.get(line.symbol)
        table.add_row(
            line.symbol,
            f"{line.weight_before:.2%}",
            f"{line.weight_target:.2%}",
            f"{line.weight_planned:.2%}",
            "" if order is None else f"{order.side.value} {_shares(order)}",
            "" if line.price is None else f"{line.price:,.2f}",
            escape(line.reason) if denial is None else f"[red]{denial.code}[/]",
        )
    return table


def _ranked(lines: Sequence[PlanLine]) -> list[PlanLine]:
    """The heaviest first."""
    weight = {line.symbol: max(line.weight_target, line.weight_before) for line in lines}
    return sorted(lines, key=lambda line: (-weight[line.symbol], line.symbol))


def _shares(order: PlannedOrder) -> str:
    """Enough decimals for a look: the order has up to nine."""
    whole = order.qty == order.qty.to_integral_value()
    return f"{order.qty:,.0f}" if whole else f"{order.qty:,.4f}"

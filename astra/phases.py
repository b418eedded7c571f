"""The two phases of a plan: what is sold, then what is bought with the cash there is then. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from astra.rebalance import Holdings, Plan, Rules, plan_orders
from astra.records import PlanLine, PlannedOrder, Position


def plan_both(targets: Mapping[str, float], holdings: Holdings, rules: Rules) -> Plan:
    """The sells, and the buys once these are filled at their reference prices without costs.

    The lines are those that are journaled where nothing moves between the two phases.
    """
    first = plan_orders(targets, holdings, rules)
    if not first.sells:
        return first
    second = plan_orders(targets, after_sells(holdings, first.sells), rules)
    lines = {line.symbol: line for line in first.lines}
    sold = {order.symbol for order in first.sells}
    lines |= {line.symbol: line for line in lines_of_buys(second, sold)}
    return Plan(first.sells, second.buys, tuple(lines.values()))


def after_sells(holdings: Holdings, sells: Sequence[PlannedOrder]) -> Holdings:
    """The holdings once the sells are filled at their reference prices, without costs. What they
    bring may be spent, but on a cash account, where it has to settle first."""
    gone = {order.symbol: order.qty for order in sells}
    raised = sum(float(order.qty) * order.reference_price for order in sells)
    left = [
        Position(
            p.symbol, p.qty - gone.get(p.symbol, Decimal(0)), p.market_price, p.average_entry_price
        )
        for p in holdings.positions
    ]
    spendable = 0.0 if holdings.settles_later else raised
    return replace(
        holdings,
        positions=[p for p in left if p.qty > 0],
        cash=holdings.cash + spendable,
        buying_power=holdings.buying_power + spendable,
        sold=holdings.sold + raised,
    )


def lines_of_buys(plan: Plan, sold: Collection[str]) -> list[PlanLine]:
    """The plan's lines as the second phase knows them. A name that was sold keeps the line of the
    first one; one that came to lie above its target in between is left for the next allocation."""
    late = {order.symbol for order in plan.sells}
    why = "above its target since the sales were planned: left for the next allocation"
    return [
        left_alone(line, why) if line.symbol in late else line
        for line in plan.lines
        if line.symbol not in sold
    ]


def left_alone(line: PlanLine, why: str) -> PlanLine:
    """A line that is not traded after all."""
    left = line.weight_before - line.weight_target
    parts = {"limit": left, "rounding": 0.0}
    return replace(line, weight_planned=line.weight_before, parts=parts, reason=why)

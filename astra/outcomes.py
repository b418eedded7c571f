"""What became of each line of a plan: a fill, or the reason why there is none. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from astra.records import OrderStatus, PlanLine, Side

_SAME = 1e-12  # of equity: two weights that differ by less are one


class Ordered(Protocol):
    """An order of an allocation as the journal has it."""

    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def attempt(self) -> int: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def status(self) -> OrderStatus: ...
    @property
    def filled_qty(self) -> Decimal: ...
    @property
    def filled_average_price(self) -> float | None: ...
    @property
    def reference_price(self) -> float: ...
    @property
    def due_at(self) -> dt.datetime | None: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a line of a plan ended.

    Attributes:
        side: None if nothing was ordered.
        ordered, filled: shares; what a further attempt took over is not counted twice.
        price: USD that the order was planned at, None if nothing was ordered.
        average_price: USD of the shares filled, None if there are none or it is not known.
        is_final: no order of it is open any more.
        reason: why not all that the allocation asked for was filled; "" if all was.
    """

    symbol: str
    side: Side | None
    ordered: Decimal
    filled: Decimal
    price: float | None
    average_price: float | None
    is_final: bool
    reason: str

    @property
    def is_explained(self) -> bool:
        """A fill of all that was ordered, or a reason."""
        return bool(self.reason) or (self.side is not None and self.filled >= self.ordered)


def outcomes(
    lines: Iterable[PlanLine], orders: Iterable[Ordered], unfinished: str = ""
) -> tuple[Outcome, ...]:
    """One outcome for each name, and side if it was traded on both, by symbol; sells first.

    An order without a plan line has one too.

    Args:
        unfinished: what ended the allocation, or will let it go on, before it was the turn of those
            that have neither an order nor a reason; "" if it was traded to its end.
    """
    reasons = {line.symbol: line.reason or _at_target(line) for line in lines}
    traded: dict[tuple[str, Side], list[Ordered]] = {}
    for order in sorted(orders, key=lambda o: o.attempt):
        traded.setdefault((order.symbol, order.side), []).append(order)
    named = {symbol for symbol, _ in traded}
    found = [_of_orders(own, reasons.get(symbol, "")) for (symbol, _), own in traded.items()]
    found += [
        Outcome(
            symbol, None, Decimal(0), Decimal(0), None, None, is_final=True,
            reason=reason or unfinished,
        )
        for symbol, reason in reasons.items()
        if symbol not in named
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda o: (o.symbol, o.side is Side.BUY)))


def planned_qty(orders: Iterable[Ordered]) -> Decimal:
    """Shares that the plan wants of one name and side, from its orders: slices, which have their
    times, add up; any other order but the first takes up the rest of an earlier one."""
    planned = [o.qty for o in orders if o.attempt == 1 or o.due_at is not None]
    return sum(planned, Decimal(0))


def _at_target(line: PlanLine) -> str:
    is_there = abs(line.weight_target - line.weight_before) <= _SAME
    return "it is at its target already" if is_there else ""


def _of_orders(orders: Sequence[Ordered], planned: str) -> Outcome:
    """Orders of one name and side, by attempt."""
    ordered, filled = planned_qty(orders), sum((o.filled_qty for o in orders), Decimal(0))
    why = _why_unfilled(orders) if filled < ordered else ""
    return Outcome(
        symbol=orders[0].symbol,
        side=orders[0].side,
        ordered=ordered,
        filled=filled,
        price=orders[0].reference_price,
        average_price=_average_price(orders),
        is_final=all(o.status.is_final for o in orders),
        reason="; ".join(filter(None, (why, planned))),
    )


def _why_unfilled(orders: Sequence[Ordered]) -> str:
    """As the last order that is short says it, an open one before all others."""
    short = [o for o in orders if o.filled_qty < o.qty]
    still = [o for o in short if not o.status.is_final]
    if still:
        return f"open: {still[-1].status.value}"
    if not short:
        return "less was ordered than planned"
    status, reason = short[-1].status.value, short[-1].reason
    has_code = reason.partition(":")[0].isupper()
    return reason if has_code else ": ".join(filter(None, (status, reason)))


def _average_price(orders: Sequence[Ordered]) -> float | None:
    filled = [o for o in orders if o.filled_qty > 0]
    total, value = sum(float(o.filled_qty) for o in filled), 0.0
    for order in filled:
        if order.filled_average_price is None:
            return None
        value += float(order.filled_qty) * order.filled_average_price
    return value / total if total else None

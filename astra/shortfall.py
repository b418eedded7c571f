"""Implementation shortfall: what trading cost against the decision's price. Pure.

Perold (1988), "The implementation shortfall: paper versus reality", Journal of Portfolio Management
14(3): the return of the portfolio on paper less that of the real one. Split as in Wagner and
Edwards (1993), "Best execution", Financial Analysts Journal 49(1).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from astra.records import Activity, Side

BP = 1e4


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Cost in USD, above 0 if trading was worse than on paper; None = not known.

    With s = 1 for a purchase and -1 for a sale, Q shares ordered, q of them filled at F on average,
    the last close D at the time of the decision, the plan's price A and the last price known L:

        delay       = s Q (A - D)         from the decision to the plan
        execution   = s q (F - A)         from the plan to the fills
        fees        = as the broker booked them
        opportunity = s (Q - q) (L - A)   of what was not filled
        total       = s [q (F - D) + (Q - q) (L - D)] + fees, their sum

    Attributes:
        value: Q D, the trade on paper, which basis points are of.
        left_out: of a sum: lines in which something is not known, and which it does not count.
    """

    value: float | None
    delay: float | None
    execution: float | None
    fees: float | None
    opportunity: float | None
    left_out: int = 0

    @property
    def total(self) -> float | None:
        """None if a part is."""
        parts = (self.delay, self.execution, self.fees, self.opportunity)
        return None if None in parts else math.fsum(p for p in parts if p is not None)

    def bp(self, usd: float | None) -> float | None:
        """A part of it in basis points of `value`; None if either is not known, or nothing was to
        be traded."""
        return None if usd is None or not self.value else BP * usd / self.value


def of_line(
    side: Side,
    ordered: float,
    filled: float,
    fees: float,
    *,
    decision_price: float | None,
    price: float | None,
    average_price: float | None,
    last_price: float | None,
) -> Shortfall:
    """The shortfall of what was ordered of one name; see `Shortfall` for the formulas.

    A price that is None, NaN or not above 0 is not known, nor then what is counted with it. What
    needs no price is 0: the execution of nothing, the opportunity of an order that was filled.
    """
    sign, left = (1.0 if side is Side.BUY else -1.0), max(0.0, ordered - filled)
    return Shortfall(
        value=_worth(ordered, decision_price),
        delay=_less(_worth(ordered, price), _worth(ordered, decision_price), sign),
        execution=_less(_worth(filled, average_price), _worth(filled, price), sign),
        fees=fees,
        opportunity=_less(_worth(left, last_price), _worth(left, price), sign),
    )


def of_all(lines: Iterable[Shortfall]) -> Shortfall:
    """The sum of the lines of which all is known; the others are counted in `left_out`."""
    found = list(lines)
    known = [line for line in found if line.total is not None and line.value is not None]
    names = ("value", "delay", "execution", "fees", "opportunity")
    sums = {name: math.fsum(getattr(line, name) for line in known) for name in names}
    return Shortfall(**sums, left_out=len(found) - len(known))


def fees_by_order(activities: Iterable[Activity]) -> dict[str, Decimal]:
    """USD of fees by the broker's order id.

    A fee that names no order is that of the sales filled at its instant, by their value; one
    without any, such as those a broker books at the end of the day, is nobody's.
    """
    found = {a.id: a for a in activities}.values()
    sales = dict[dt.datetime, list[Activity]]()
    for a in found:
        if a.type == "FILL" and a.side is Side.SELL and a.order_id and a.net_amount > 0:
            sales.setdefault(a.at, []).append(a)
    fees: dict[str, Decimal] = {}
    for fee in (a for a in found if a.type == "FEE"):
        if fee.order_id:
            fees[fee.order_id] = fees.get(fee.order_id, Decimal(0)) - fee.net_amount
            continue
        at_once = sales.get(fee.at, [])
        whole = sum((a.net_amount for a in at_once), Decimal(0))
        for sale in at_once:
            order_id = sale.order_id or ""
            part = -fee.net_amount * sale.net_amount / whole
            fees[order_id] = fees.get(order_id, Decimal(0)) + part
    return fees


def _worth(shares: float, price: float | None) -> float | None:
    """USD, 0 of no shares; None if the price is not known."""
    if shares == 0:
        return 0.0
    if price is None or not math.isfinite(price) or price <= 0:
        return None
    return shares * price


def _less(one: float | None, other: float | None, sign: float) -> float | None:
    return None if one is None or other is None else sign * (one - other)

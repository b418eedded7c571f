"""The lines that the sandbox's broker books: of fills, fees, splits, dividends and new names.

Pure functions; when each of them happens is `sandbox.broker`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from astra.fills import CENT
from astra.records import Side
from astra.sessions import next_session
from sandbox.amendments import Renaming
from sandbox.books import Holding, Line
from sandbox.matching import Fill
from sandbox.orders import QTY_STEP, Order
from sandbox.tape import CorporateAction


def of_fill(order: Order, fill: Fill) -> Line:
    """The order already counts the fill."""
    is_sale, value = order.ticket.side is Side.SELL, fill.qty * fill.price
    return Line(
        "FILL",
        fill.at,
        cash=value if is_sale else -value,
        symbol=order.ticket.symbol,
        shares=-fill.qty if is_sale else fill.qty,
        price=fill.price,
        order=order,
        cum_qty=order.filled_qty,
        settles_at=_settlement(fill.at) if is_sale else None,
    )


def of_fee(symbol: str, fill: Fill, fee: Decimal) -> Line:
    """Of a sale; `fee` in USD."""
    text = f"REG fee for proceed of {fill.qty:f} shares of {symbol}"
    return Line("FEE", fill.at, -fee, description=text)


def of_split(action: CorporateAction, held: Holding) -> Line:
    """What a holding gains or, where shares are merged, loses; a rest below a step is lost."""
    qty = (held.qty * Decimal(repr(action.value))).quantize(QTY_STEP, ROUND_DOWN)
    text = f"{action.value:g} for 1"
    return Line("SPLIT", action.at, Decimal(0), action.ticker, qty - held.qty, description=text)


def of_dividend(action: CorporateAction, held: Holding, known: Iterable[CorporateAction]) -> Line:
    """`known` are the ticker's actions: the market restates dividends for splits that came later,
    and a holding is of the shares of its day."""
    later = [a.value for a in known if a.kind == "split" and a.at > action.at]
    a_share = Decimal(repr(action.value * math.prod(later)))
    cash = (held.qty * a_share).quantize(CENT)
    text = f"Cash DIV @ {a_share} on {held.qty:f} shares"
    return Line("DIV", action.at, cash, action.ticker, price=a_share, description=text)


def of_renaming(renaming: Renaming, held: Holding) -> tuple[Line, Line]:
    """Shares leave under one name and come back under the other, at what they cost."""
    before, after = renaming.before, renaming.after
    text = f"{before} is {after} now"

    def line(symbol: str, shares: Decimal, cost: Decimal | None) -> Line:
        return Line("NC", renaming.at, Decimal(0), symbol, shares, description=text, cost=cost)

    return line(before, -held.qty, None), line(after, held.qty, held.cost)


def _settlement(at: datetime) -> datetime:
    """T+1: the open of the session after the trade's."""
    return next_session(next_session(at).closes_at).opens_at

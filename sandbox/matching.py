"""When and at what price an order trades: a pure function of the market's bars.

A market order fills at the open of the first bar that starts after it was accepted, a purchase not
before the sales already told, plus (buy) or minus (sell) half the spread. A limit order does too
where that price is within its limit, else at its limit in the first bar whose low (buy) or high
(sell) touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from astra.fills import price_at
from astra.records import Side
from astra.sessions import BAR, session_at
from sandbox.market import Market
from sandbox.orders import COLLAR, QTY_STEP, Order, Ticket


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade about to be booked: `at` in UTC, `qty` shares at `price` USD each."""

    at: datetime
    qty: Decimal
    price: Decimal


def next_fill(market: Market, order: Order, now: datetime, half_spread_bp: Decimal) -> Fill | None:
    """The order's next trade, if it is to be reported at `now`; None otherwise.

    On the stepped clock the trade of an order accepted right now, while the exchange is open, is
    known at once. Bars that have closed without a trade are passed for good (`order.cursor`).
    """
    if order.ticket.type == "limit":
        touched = _first_touch(market, order, now, half_spread_bp)
        if touched is not None:
            return touched
    found = market.next_open(order.ticket.symbol, order.cursor)
    if found is None or (order.expires_at is not None and found[0] >= order.expires_at):
        return None
    at, opens = found
    is_new = now == order.accepted_at and not order.filled_qty
    at_once = is_new and market.clock.stepped and session_at(now) is not None
    price = _price_at(order.ticket, opens, half_spread_bp)
    if price is None or not (at <= now or at_once):
        return None
    return Fill(at, _qty(order, price), price)


def first_part(ticket: Ticket, share: float | None) -> Decimal | None:
    """The shares that trade first: whole ones of a whole order; None for all at once."""
    if share is None or ticket.qty is None:
        return None
    step = QTY_STEP if ticket.is_fractional else Decimal(1)
    part = (ticket.qty * Decimal(str(share))) // step * step
    return part if 0 < part < ticket.qty else None


def most_qty(ticket: Ticket, free: Decimal, price: Decimal) -> Decimal | None:
    """What a sale of so many dollars may take of the free shares, should the price fall."""
    if ticket.notional is None or ticket.side is Side.BUY:
        return None
    return min(free, (ticket.notional / price * COLLAR).quantize(QTY_STEP))


def _first_touch(
    market: Market, order: Order, now: datetime, half_spread_bp: Decimal
) -> Fill | None:
    ticket, limit = order.ticket, order.ticket.limit_price
    end = now if order.expires_at is None else min(now, order.expires_at)
    start = int(order.cursor.timestamp()) + 1
    bars = market.history(ticket.symbol, start, int(end.timestamp()))
    extremes = bars.low if ticket.side is Side.BUY else bars.high
    for ts, opens, extreme in zip(bars.ts, bars.open, extremes, strict=True):
        at = datetime.fromtimestamp(int(ts), now.tzinfo)
        price = _price_at(ticket, float(opens), half_spread_bp)
        if price is not None:
            return Fill(at, _qty(order, price), price)
        if limit is not None and _is_within(ticket, Decimal(repr(float(extreme)))):
            return Fill(at + BAR, _qty(order, limit), limit)
        order.cursor = at
    return None


def _price_at(ticket: Ticket, opens: float, half_spread_bp: Decimal) -> Decimal | None:
    """A share's price at a bar's open, spread included; None if that is beyond the limit."""
    price = price_at(opens, ticket.side, half_spread_bp)
    return price if _is_within(ticket, price) else None


def _is_within(ticket: Ticket, price: Decimal) -> bool:
    if ticket.limit_price is None:
        return True
    return price <= ticket.limit_price if ticket.side is Side.BUY else price >= ticket.limit_price


def _qty(order: Order, price: Decimal) -> Decimal:
    if order.ticket.notional is None:
        return order.leaves_qty if order.first_fill is None else order.first_fill
    qty = order.ticket.notional / price // QTY_STEP * QTY_STEP
    return qty if order.most_qty is None else min(qty, order.most_qty)

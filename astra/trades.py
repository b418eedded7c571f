"""Closed trades: which purchase each sale came out of, first in, first out.

Decimal throughout. Fees that the broker books on their own lines are not spread over trades, and
short sales are not matched: a sale of shares whose purchase is not in the record is reported as
unmatched, never given a price.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from astra.errors import DataError
from astra.records import Activity, Side

# Costs of partial lots are cut here, far below a cent, so that their sum stays exact.
_MICRO = Decimal("0.0000000001")


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """Shares bought by one order and sold by one order.

    `cost` and `proceeds` are USD for all of `qty`, before fees; times are those of the first
    purchase and the last sale in it.
    """

    symbol: str
    qty: Decimal
    cost: Decimal
    proceeds: Decimal
    opened_at: dt.datetime
    closed_at: dt.datetime

    @property
    def profit(self) -> Decimal:
        return self.proceeds - self.cost

    @property
    def profit_share(self) -> float:
        """Profit as a fraction of the cost."""
        return float(self.profit / self.cost)

    @property
    def held_for(self) -> dt.timedelta:
        return self.closed_at - self.opened_at


@dataclass(frozen=True, slots=True)
class Matching:
    """All sales laid against the purchases before them.

    `closed` is in the order of the sales. `open_cost` is what the shares still held cost, USD by
    symbol; `unmatched` the shares sold without a purchase on record, by symbol.
    """

    closed: tuple[ClosedTrade, ...]
    open_cost: Mapping[str, Decimal]
    unmatched: Mapping[str, Decimal]


@dataclass(slots=True)
class _Lot:
    order: str
    qty: Decimal
    cost: Decimal
    opened_at: dt.datetime


@dataclass(frozen=True, slots=True)
class _Part:
    """What one sale took out of one lot."""

    orders: tuple[str, str]
    trade: ClosedTrade


def closed_trades(fills: Iterable[Activity]) -> tuple[ClosedTrade, ...]:
    """Closed trades in the order of their sales; see `match`."""
    return match(fills).closed


def match(activities: Iterable[Activity]) -> Matching:
    """Match the FILLs of one account first in, first out; a SPLIT changes the shares of open lots.

    Any order of lines gives the same answer: they are taken by time, then by the broker's id, and
    each id counts once. Other activities are passed over.

    Raises:
        DataError: a fill without symbol, side, quantity or price.
    """
    lots: dict[str, deque[_Lot]] = {}
    parts: list[_Part] = []
    unmatched: dict[str, Decimal] = {}
    unique = {a.id: a for a in activities}
    for line in sorted(unique.values(), key=lambda a: (a.at, a.id)):
        if line.type == "SPLIT" and line.symbol and line.qty is not None:
            _split(lots.get(line.symbol, deque()), line.qty)
        if line.type != "FILL":
            continue
        symbol, side, qty, price = _checked(line)
        held = lots.setdefault(symbol, deque())
        if side is Side.BUY:
            held.append(_Lot(line.order_id or line.id, qty, qty * price, line.at))
            continue
        rest = _sell(line, held, parts, qty, price)
        if rest:
            unmatched[symbol] = unmatched.get(symbol, Decimal(0)) + rest
    open_cost = {s: sum((x.cost for x in held), Decimal(0)) for s, held in lots.items() if held}
    return Matching(_by_order(parts), open_cost, unmatched)


def _checked(fill: Activity) -> tuple[str, Side, Decimal, Decimal]:
    if fill.symbol is None or fill.side is None or fill.qty is None or fill.price is None:
        raise DataError(
            f"a fill needs symbol, side, qty and price: {fill.id} at {fill.at.isoformat()} lacks it"
        )
    return fill.symbol, fill.side, abs(fill.qty), fill.price


def _sell(
    line: Activity, held: deque[_Lot], parts: list[_Part], qty: Decimal, price: Decimal
) -> Decimal:
    """Take `qty` out of the oldest lots; returns the shares that no lot had."""
    while qty > 0 and held:
        lot = held[0]
        taken = min(qty, lot.qty)
        cost = lot.cost if taken == lot.qty else (lot.cost * taken / lot.qty).quantize(_MICRO)
        trade = ClosedTrade(line.symbol or "", taken, cost, taken * price, lot.opened_at, line.at)
        parts.append(_Part((lot.order, line.order_id or line.id), trade))
        lot.qty -= taken
        lot.cost -= cost
        qty -= taken
        if lot.qty == 0:
            held.popleft()
    return qty


def _split(held: deque[_Lot], change: Decimal) -> None:
    """Spread the shares that a split adds or takes over the open lots; what they cost stays."""
    total = sum((lot.qty for lot in held), Decimal(0))
    if total <= 0 or total + change <= 0:
        return
    left = change
    for lot in held:
        share = left if lot is held[-1] else (change * lot.qty / total).quantize(_MICRO)
        lot.qty += share
        left -= share


def _by_order(parts: Iterable[_Part]) -> tuple[ClosedTrade, ...]:
    """One trade for each pair of buying and selling order, however many fills they had."""
    merged: dict[tuple[str, tuple[str, str]], ClosedTrade] = {}
    for part in parts:
        key = (part.trade.symbol, part.orders)
        a, b = merged.get(key), part.trade
        merged[key] = (
            b
            if a is None
            else ClosedTrade(
                a.symbol,
                a.qty + b.qty,
                a.cost + b.cost,
                a.proceeds + b.proceeds,
                min(a.opened_at, b.opened_at),
                max(a.closed_at, b.closed_at),
            )
        )
    return tuple(merged.values())

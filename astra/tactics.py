"""How a planned order is sent: at the market, within a limit, or in slices over time. Pure.

What is sent when belongs to `astra.execution`; here are prices and quantities only.
"""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Literal

from astra.moves import FRACTION, WHOLE
from astra.records import Side

# Finer slices would be lost in the minutes between two calls of the function.
SLICE = dt.timedelta(minutes=1)
_CENT, _SUB_PENNY = Decimal("0.01"), Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Style:
    """How orders are sent.

    Attributes:
        collar_bp: how far from the last price a limit order may trade, basis points.
        minutes: of market time over which twap slices the orders of a phase.
    """

    kind: Literal["market", "limit", "twap"]
    collar_bp: float
    minutes: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an order, due `after` the phase has begun."""

    qty: Decimal
    after: dt.timedelta


def limit_price(side: Side, price: float, collar_bp: float) -> Decimal:
    """The worst price at which a marketable order may trade, USD.

    Prices of 1 USD and more have 2 decimals, others 4 (rule 612 of Regulation NMS). It is rounded
    towards the last price, but lies at least one step beyond it, or it would not be marketable.

    Args:
        price: the last one, above 0.
    """
    last = Decimal(str(price))
    shift = Decimal(str(collar_bp)) / 10_000
    if side is Side.BUY:
        raw = last * (1 + shift)
        least = _rounded(last, ROUND_FLOOR) + _step(last)
        return max(_rounded(raw, ROUND_FLOOR), least)
    raw = last * (1 - shift)
    most = _rounded(last, ROUND_CEILING) - _step(last)
    return max(min(_rounded(raw, ROUND_CEILING), most), _SUB_PENNY)


def slices(
    qty: Decimal, price: float, span: dt.timedelta, min_order_usd: float, most: int
) -> list[Slice]:
    """An order in equal parts, evenly over `span`, the first due at once; they sum to `qty`.

    There is one a minute, `most` at most; each is worth the minimum order at least, so a small
    order has fewer of them, or one. Whole shares stay whole.
    """
    step = WHOLE if qty == qty.to_integral_value() else FRACTION
    worth = int(float(qty) * price / min_order_usd) if price > 0 else 1
    count = max(1, min(most, int(span / SLICE), worth, int(qty / step)))
    while count > 1 and float(_part(qty, count, step)) * price < min_order_usd:
        count -= 1  # the smallest slice is an even one rounded down
    ends = [_part(qty * i, count, step) for i in range(count)] + [qty]
    return [
        Slice(end - start, span / count * i)
        for i, (start, end) in enumerate(itertools.pairwise(ends))
    ]


def span_of(style: Style, now: dt.datetime, until: dt.datetime, phases_left: int) -> dt.timedelta:
    """The time a phase may take for its slices: the style's minutes, or its share of what is left
    `until` the allocation expires or the market closes, if that is less."""
    share = max(until - now, dt.timedelta(0)) / phases_left
    return min(dt.timedelta(minutes=style.minutes), share)


def _part(qty: Decimal, count: int, step: Decimal) -> Decimal:
    return (qty / count / step).to_integral_value(ROUND_DOWN) * step


def _step(price: Decimal) -> Decimal:
    return _CENT if price >= 1 else _SUB_PENNY


def _rounded(price: Decimal, rounding: str) -> Decimal:
    step = _step(price)
    return (price / step).to_integral_value(rounding) * step

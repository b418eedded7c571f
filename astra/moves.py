"""One name's way from what is held to its target, and how many share a budget. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from astra.records import PlannedOrder, Side

FRACTION = Decimal("1e-9")  # of a share: the smallest that Alpaca trades, and that is booked
WHOLE = Decimal(1)
_NONE = Decimal(0)
_GRAIN = Decimal("1e-9")  # of a share: what a float may lack of a whole one


@dataclass(slots=True)
class Move:
    """What one name wants traded, and how much of that is.

    Attributes:
        price: USD a share.
        step: the smallest part of a share that can be traded.
        before, target: fractions of equity.
        full: shares that would be traded without any limit, `qty` those that are.
        floor: USD below which a trade is left out.
        share: of the difference that the limits leave.
        reason: why less than all is traded.
        cut: of the target, by a limit of one position; 0 or less.
        gap: USD between what is held and the target.
    """

    symbol: str
    side: Side
    price: float
    step: Decimal
    before: float
    target: float
    full: Decimal
    floor: float
    qty: Decimal = _NONE
    share: float = 1.0
    reason: str = ""
    cut: float = 0.0
    gap: float = 0.0

    @property
    def value(self) -> float:
        """USD wanted without any limit."""
        return float(self.full) * self.price

    @property
    def rest(self) -> float:
        """USD that are not traded."""
        return float(self.full - self.qty) * self.price

    def add(self, qty: Decimal, least: float) -> float:
        """Trade so many shares more if they are worth `least` USD; what they are worth then."""
        value = float(qty) * self.price
        if not qty or value < least:
            return 0.0
        self.qty += qty
        return value

    def limit(self, share: float, why: str) -> None:
        """Leave no more than this share of the difference, and say why."""
        self.share *= share
        self.note(why)

    def note(self, why: str) -> None:
        """Say why less is traded than the target asks for, each reason once."""
        if why not in self.reason.split(", "):
            self.reason = f"{self.reason}, {why}" if self.reason else why

    def order(self, source: str | None) -> PlannedOrder:
        """The order; `source` says what the price is if it is no fresh trade's."""
        told = f"{'to' if self.side is Side.BUY else 'down to'} {self.target:.2%} of equity"
        if self.side is Side.SELL and self.target == 0:
            told = "sold out: no target"
        if self.reason:
            told = f"{told}, {self.reason}"
        if source:
            told = f"{told}, priced by {source}"
        return PlannedOrder(self.symbol, self.side, self.qty, self.price, told)


def take_all(moves: Sequence[Move]) -> None:
    """Trade all that is wanted."""
    for move in moves:
        move.qty = move.full


def take(moves: Sequence[Move], budget: float, cost: float, what: str, least: float) -> None:
    """Trade `budget` of the `cost` USD that the moves want, all scaled alike. What is left by
    rounding and by orders under `least` USD goes to what is furthest from its target first, so that
    no order worth its while is left.

    Args:
        what: that is short, for the reasons.
    """
    if cost <= 0:
        return
    share = budget / cost
    scale, why = Decimal(repr(share)), f"scaled by {share:.3f} to the {what}"
    for move in moves:
        move.limit(share, why)
        budget -= move.add(rounded(move.full * scale, move.step), least)
    for move in sorted(moves, key=lambda move: (-move.rest, move.symbol)):
        if budget <= 0 or budget < least:
            return
        if move.rest >= move.floor and float(move.step) * move.price <= budget:
            most = rounded(Decimal(repr(budget / move.price)), move.step)
            budget -= move.add(min(most, move.full - move.qty), least)


def rounded(qty: Decimal, step: Decimal, *, is_near: bool = False) -> Decimal:
    """Down to a multiple of `step`; `is_near`: up where a billionth of a whole share is lacking."""
    if is_near and step is WHOLE:
        qty += _GRAIN
    return qty.quantize(step, ROUND_DOWN)


def most(usd: float, price: float, step: Decimal) -> Decimal:
    """As many shares as cost no more than `usd` at `price`, to the last bit of a float."""
    qty = rounded(Decimal(repr(max(usd, 0.0) / price)), step, is_near=True)
    while qty > 0 and float(qty) * price > usd:
        qty -= step
    return qty

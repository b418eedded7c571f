"""The sandbox broker's books: every change of cash and shares is a line, and nothing else is.

Cash and quantities are exact decimals and never rounded; rounding is for showing.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from astra.records import Side
from astra.sessions import NEW_YORK
from sandbox.orders import Order


@dataclass(frozen=True, slots=True)
class Line:
    """One activity. `shares` and `cash` are signed changes; `order` is set on fills only.

    `cum_qty` is what the order had filled after this line. `settles_at`: when a sale's cash may be
    withdrawn. `cost`: of shares that come in and were paid for before, under another name.
    """

    kind: str
    at: datetime
    cash: Decimal
    symbol: str | None = None
    shares: Decimal = Decimal(0)
    price: Decimal | None = None
    order: Order | None = None
    cum_qty: Decimal = Decimal(0)
    description: str = ""
    settles_at: datetime | None = None
    cost: Decimal | None = None
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def id(self) -> str:
        """As Alpaca's: the time in New York to the millisecond, then a unique key."""
        local = self.at.astimezone(NEW_YORK)
        return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}::{self.key}"

    @property
    def side(self) -> Side:
        return Side.BUY if self.shares > 0 else Side.SELL


@dataclass(frozen=True, slots=True)
class Holding:
    """`cost` is what the shares still held were bought for, USD, at average cost."""

    qty: Decimal
    cost: Decimal


class Books:
    """Lines in the order in which they were booked, and their running sums."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.booked_at: list[float] = []  # of each line, monotonic wall time
        self.cash = Decimal(0)
        self.holdings: dict[str, Holding] = {}
        self._unsettled: list[Line] = []

    def book(self, line: Line) -> None:
        self.lines.append(line)
        self.booked_at.append(time.monotonic())
        self.cash += line.cash
        if line.settles_at is not None:
            self._unsettled.append(line)
        if line.symbol is not None and line.shares:
            self._move(line.symbol, line)

    def qty(self, symbol: str) -> Decimal:
        """Shares held."""
        held = self.holdings.get(symbol)
        return Decimal(0) if held is None else held.qty

    def unsettled(self, now: datetime) -> Decimal:
        """Proceeds of sales that can't be spent on a cash account yet."""
        self._unsettled = [x for x in self._unsettled if x.settles_at and x.settles_at > now]
        return sum((x.cash for x in self._unsettled), Decimal(0))

    def _move(self, symbol: str, line: Line) -> None:
        held = self.holdings.get(symbol, Holding(Decimal(0), Decimal(0)))
        qty = held.qty + line.shares
        if qty == 0:
            del self.holdings[symbol]
        elif line.kind == "SPLIT":
            self.holdings[symbol] = Holding(qty, held.cost)
        elif line.shares > 0:
            paid = -line.cash if line.cost is None else line.cost
            self.holdings[symbol] = Holding(qty, held.cost + paid)
        else:
            self.holdings[symbol] = Holding(qty, held.cost * qty / held.qty)

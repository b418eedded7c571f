"""Trades closed and lots still open: what each was bought and sold for. Pure.

Decimal throughout. `astra.matching` finds them, first in, first out. Fees that the broker books on
their own lines are not spread over trades.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """Shares bought by one order and sold by one order.

    `cost` and `proceeds` are USD for all of `qty`, before fees; times are those of the first
    purchase and the last sale in it. `symbol` is the name they were sold under.
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
        """Profit as a fraction of the cost; NaN if they cost nothing."""
        return float(self.profit / self.cost) if self.cost else math.nan

    @property
    def held_for(self) -> dt.timedelta:
        return self.closed_at - self.opened_at


@dataclass(frozen=True, slots=True)
class OpenLot:
    """Shares bought by one order, or come in at one time, and still held.

    `cost` is USD for all of `qty`, before fees; None without a purchase on record.
    """

    symbol: str
    qty: Decimal
    cost: Decimal | None
    opened_at: dt.datetime

    def profit(self, price: Decimal) -> Decimal | None:
        """Unrealised, at USD a share; None without a purchase on record."""
        return None if self.cost is None else self.qty * price - self.cost


@dataclass(frozen=True, slots=True)
class UnmatchedSale:
    """Shares sold without a purchase on record; `proceeds` USD before fees."""

    symbol: str
    qty: Decimal
    proceeds: Decimal
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Cover:
    """Shares bought, or come in by a merger, in place of those that were sold or left without being
    there; `cost` USD for all of `qty`, before fees."""

    symbol: str
    qty: Decimal
    cost: Decimal
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Removal:
    """Shares that left without a sale: merged for cash, or transferred to another account.

    `cost` is what those of them had cost that have a purchase on record; `type` that of the line.
    """

    type: str
    symbol: str
    qty: Decimal
    cost: Decimal
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Matching:
    """All sales laid against the purchases before them.

    `closed` is in the order of the sales, `lots` by symbol, those sold next first. With the cash of
    all lines they account for all that an account has, see `astra.cash`.
    """

    closed: tuple[ClosedTrade, ...]
    lots: tuple[OpenLot, ...]
    unmatched: tuple[UnmatchedSale, ...]
    removed: tuple[Removal, ...]
    covers: tuple[Cover, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What closed trades came to, before fees.

    A trade without profit or loss is counted, but neither won nor lost.

    Attributes:
        gains, losses: USD of the trades won and lost, both >= 0.
        win_rate: won / count; NaN of no trades.
        profit_factor: gains / losses; NaN if nothing was lost yet.
        mean_held: average holding time of a trade; None of no trades.
        best, worst: the trades of the highest and the lowest profit, the first of equals.
    """

    count: int
    won: int
    lost: int
    gains: Decimal
    losses: Decimal
    mean_held: dt.timedelta | None
    best: ClosedTrade | None
    worst: ClosedTrade | None

    @property
    def profit(self) -> Decimal:
        return self.gains - self.losses

    @property
    def win_rate(self) -> float:
        return self.won / self.count if self.count else math.nan

    @property
    def profit_factor(self) -> float:
        return float(self.gains / self.losses) if self.losses else math.nan


def statistics(closed: Iterable[ClosedTrade]) -> Statistics:
    """What closed trades came to."""
    trades = list(closed)
    profits = [t.profit for t in trades]
    won, lost = [p for p in profits if p > 0], [-p for p in profits if p < 0]
    held = sum((t.held_for for t in trades), dt.timedelta())
    return Statistics(
        count=len(trades),
        won=len(won),
        lost=len(lost),
        gains=sum(won, _ZERO),
        losses=sum(lost, _ZERO),
        mean_held=held / len(trades) if trades else None,
        best=trades[profits.index(max(profits))] if trades else None,
        worst=trades[profits.index(min(profits))] if trades else None,
    )

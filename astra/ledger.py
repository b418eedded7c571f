"""Shares and cash: what our books say the account holds, from fills and all other activities.

Decimal throughout, so that books and broker can be compared to the cent and the share. Backtest,
shadow books, monitor and page count in the same books. What no record tells is `astra.untold`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from astra.records import Account, Activity, Position

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Book:
    """Cash in USD and shares by symbol; a symbol without shares is absent."""

    cash: Decimal
    shares: Mapping[str, Decimal]

    def value(self, prices: Mapping[str, float]) -> float:
        """Equity in USD at `prices`, which must name every symbol held."""
        return float(self.cash) + sum(float(q) * prices[s] for s, q in self.shares.items())


@dataclass(frozen=True, slots=True)
class Differences:
    """Ours less the broker's: cash in USD, shares by symbol where they differ."""

    cash: Decimal
    shares: Mapping[str, Decimal]

    @property
    def are_none(self) -> bool:
        return self.cash == 0 and not self.shares


def replay(activities: Iterable[Activity]) -> Book:
    """The book after all activities of an account, whatever their order; each id counts once."""
    cash, shares = Decimal(0), dict[str, Decimal]()
    seen: set[str] = set()
    for activity in activities:
        if activity.id in seen:
            continue
        seen.add(activity.id)
        cash += activity.net_amount
        if activity.symbol is not None and activity.qty is not None:
            shares[activity.symbol] = shares.get(activity.symbol, Decimal(0)) + activity.qty
    return Book(cash, {s: q for s, q in sorted(shares.items()) if q != 0})


def compare(book: Book, account: Account, positions: Iterable[Position]) -> Differences:
    """Our book against the broker's account: cash to the cent, shares exactly."""
    theirs = {p.symbol: p.qty for p in positions}
    diffs = {
        symbol: book.shares.get(symbol, Decimal(0)) - theirs.get(symbol, Decimal(0))
        for symbol in sorted(book.shares.keys() | theirs.keys())
    }
    cash = book.cash.quantize(CENT, ROUND_HALF_EVEN) - account.cash.quantize(CENT, ROUND_HALF_EVEN)
    return Differences(cash, {s: d for s, d in diffs.items() if d != 0})


def less(found: Differences, known: Differences) -> Differences:
    """What differs beyond what was known; a difference that has shrunk is none."""
    shares = {s: _less(q, known.shares.get(s, Decimal(0))) for s, q in found.shares.items()}
    return Differences(_less(found.cash, known.cash), {s: q for s, q in shares.items() if q})


def _less(found: Decimal, known: Decimal) -> Decimal:
    return found - min(max(known, min(found, Decimal(0))), max(found, Decimal(0)))

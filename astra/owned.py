"""Which part of the account's positions our own orders hold. Pure.

Only positions that our own orders opened are touched; splits multiply our part as they multiply the
account's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from astra.records import Activity, Position


@dataclass(frozen=True, slots=True)
class Fill:
    """Shares that one of our orders moved: `qty` is signed, `at` when it was filled."""

    symbol: str
    qty: Decimal
    at: dt.datetime


def own_shares(fills: Iterable[Fill], activities: Iterable[Activity]) -> dict[str, Decimal]:
    """What our own orders hold of each symbol.

    A split multiplies our part as it multiplies the account's, which `activities` (all of the
    account's) tell.
    """
    ours, whole = dict[str, Decimal](), dict[str, Decimal]()
    events: list[Fill | Activity] = [*fills, *activities]
    # At one instant the account's own line comes after ours, as a split does after the fills.
    for event in sorted(events, key=lambda e: (e.at, isinstance(e, Activity))):
        symbol, qty = event.symbol, event.qty
        if symbol is None or qty is None:
            continue
        if isinstance(event, Fill):
            ours[symbol] = ours.get(symbol, Decimal(0)) + qty
            continue
        before = whole.get(symbol, Decimal(0))
        if event.type == "SPLIT" and before > 0:
            ours[symbol] = ours.get(symbol, Decimal(0)) * (before + qty) / before
        whole[symbol] = before + qty
    return ours


def managed(positions: Sequence[Position], ours: Mapping[str, Decimal]) -> tuple[Position, ...]:
    """The part of each position that our own orders opened; the rest is not ours to touch.

    Args:
        ours: net quantity of our filled orders by symbol.
    """
    kept = []
    for p in positions:
        qty = min(p.qty, ours.get(p.symbol, Decimal(0)))
        if qty > 0:
            free = p.qty if p.qty_available is None else p.qty_available
            available = min(qty, free)
            kept.append(Position(p.symbol, qty, p.market_price, p.average_entry_price, available))
    return tuple(kept)

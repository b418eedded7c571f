"""Which part of the account's positions our own orders hold. Pure.

Only positions that our own orders opened are touched; what happens to the account's shares without
an order (splits, new names, mergers) happens to our part of them in proportion. What a person sells
is first of what is not ours, but never more is ours than is there.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from astra.records import REVERSED, Activity, Position

SPLITS = frozenset({"SPLIT", "SSP"})
MOVES = frozenset({"NC", "SC", "MA", "REORG"})  # out of one symbol, and often into another
_ROUNDING = 0.02  # USD: the broker rounds cash and equity to cents, each by itself


@dataclass(frozen=True, slots=True)
class Fill:
    """Shares that one of our orders moved: `qty` is signed, `at` when it was filled, `order_id` the
    broker's."""

    symbol: str
    qty: Decimal
    at: dt.datetime
    order_id: str


@dataclass(frozen=True, slots=True)
class Action:
    """What befell all shares of `symbol` at one time: `qty` more or, negative, fewer of them.

    `into` got `into_qty` for what went out; None = no symbol of the same account did.
    """

    symbol: str
    qty: Decimal
    at: dt.datetime
    into: str | None = None
    into_qty: Decimal = Decimal(0)


def own_shares(fills: Iterable[Fill], activities: Iterable[Activity]) -> dict[str, Decimal]:
    """What our own orders hold of each symbol.

    Args:
        fills: one for each order.
        activities: all of the account's lines, in any order; each id counts once. Those of symbols
            whose shares our own orders alone have moved may be missing.
    """
    lines, orders = standing(activities), {fill.order_id: fill for fill in fills}
    acted = {line.id for line in lines if line.type in SPLITS | MOVES}
    moved = [line for line in lines if line.id not in acted and line.symbol and line.qty]
    events: list[Fill | Activity | Action] = [*_untold(orders.values(), moved), *moved]
    ours, whole = dict[str, Decimal](), dict[str, Decimal]()
    for event in sorted([*events, *actions(lines)], key=lambda e: _place(e, orders)):
        if isinstance(event, Action):
            _act(event, ours, whole)
            continue
        symbol, qty = event.symbol or "", event.qty or Decimal(0)
        whole[symbol] = whole.get(symbol, Decimal(0)) + qty
        mine = ours.get(symbol, Decimal(0))
        if event.order_id in orders:
            ours[symbol] = mine + qty
        elif mine > 0:
            ours[symbol] = min(mine, max(whole[symbol], Decimal(0)))
    return ours


def standing(activities: Iterable[Activity]) -> tuple[Activity, ...]:
    """The lines, each id once, without those that were taken back and what took them back."""
    found = {line.id: line for line in activities}
    gone = {i.removeprefix(REVERSED) for i in found if i.startswith(REVERSED)}
    return tuple(line for i, line in found.items() if i not in gone and not i.startswith(REVERSED))


def actions(lines: Iterable[Activity]) -> tuple[Action, ...]:
    """Splits and moves, oldest first, from lines of which each id comes once.

    The broker writes a split or a new name as several lines of one day: the old shares out, the new
    ones in. What goes out of one symbol is matched with what comes into another by type, day and,
    if there are several, quantity.
    """
    splits = dict[tuple[str, dt.date], list[Activity]]()
    moves = dict[tuple[str, dt.date], list[Activity]]()
    for line in sorted(lines, key=lambda a: (a.at, a.id)):
        if line.symbol is None or not line.qty:
            continue
        if line.type in SPLITS:
            splits.setdefault((line.symbol, line.at.date()), []).append(line)
        elif line.type in MOVES:
            moves.setdefault((line.type, line.at.date()), []).append(line)
    found = [
        Action(symbol, sum((a.qty or Decimal(0) for a in of), Decimal(0)), of[0].at)
        for (symbol, _), of in splits.items()
    ]
    for day in moves.values():
        found += _pairs(day)
    return tuple(sorted(found, key=lambda a: a.at))


def renamed(lines: Iterable[Activity], since: dt.datetime | None = None) -> dict[str, str]:
    """The last symbol that took the place of another, by the other: share for share.

    Args:
        since: earlier ones are passed over.
    """
    names = dict[str, str]()
    for action in actions(standing(lines)):
        if since is not None and action.at < since:
            continue
        if action.into is not None and action.into_qty == -action.qty:
            names = {
                old: action.into if new == action.symbol else new for old, new in names.items()
            }
            names[action.symbol] = action.into
    return {old: new for old, new in names.items() if old != new}


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
            kept.append(replace(p, qty=qty, qty_available=min(qty, free)))
    return tuple(kept)


def managed_equity(
    cash: float, managed_value: float, capital: float, whole: float = math.nan
) -> float:
    """USD that weights are fractions of: the account's cash and our positions, not a person's own.

    Args:
        managed_value: of the positions that are ours, USD.
        capital: at most so much, 0 = all.
        whole: the account's equity as the broker states it. Where all is ours it is the same but
            for rounding, and taken.
    """
    equity = cash + managed_value
    if abs(equity - whole) < _ROUNDING:
        equity = whole
    return min(equity, capital) if capital > 0 else equity


def _pairs(lines: Sequence[Activity]) -> list[Action]:
    """Each line that goes out with one that comes in; what comes in alone is nobody's of ours."""
    out = [a for a in lines if a.qty is not None and a.qty < 0]
    into = [a for a in lines if a.qty is not None and a.qty > 0]
    found = []
    for line in out:
        qty, symbol = line.qty or Decimal(0), line.symbol or ""
        equal = [a for a in into if a.qty == -qty]
        partner = equal[0] if equal else into[0] if len(out) == len(into) == 1 else None
        if partner is None:
            found.append(Action(symbol, qty, line.at))
            continue
        into.remove(partner)
        found.append(Action(symbol, qty, line.at, partner.symbol, partner.qty or Decimal(0)))
    return found


def _untold(fills: Collection[Fill], lines: Iterable[Activity]) -> list[Fill]:
    """What of our fills the record does not tell yet."""
    told = dict[str, Decimal]()
    for line in lines:
        if line.order_id is not None and line.qty is not None:
            told[line.order_id] = told.get(line.order_id, Decimal(0)) + line.qty
    left = [replace(f, qty=f.qty - told.get(f.order_id, Decimal(0))) for f in fills]
    return [more for more, fill in zip(left, fills, strict=True) if more.qty * fill.qty > 0]


def _place(event: Fill | Activity | Action, ours: Collection[str]) -> tuple[dt.datetime, int]:
    """The order of events. At one instant come our fills first, then what came to the account, what
    left it, and last a split or a move, as these are of what was held."""
    if isinstance(event, Action):
        return event.at, 3
    if event.order_id in ours:
        return event.at, 0
    return event.at, 1 if event.qty is not None and event.qty > 0 else 2


def _act(action: Action, ours: dict[str, Decimal], whole: dict[str, Decimal]) -> None:
    """Change our part of a symbol, and what it became, as the whole is changed."""
    before, mine = whole.get(action.symbol, Decimal(0)), ours.get(action.symbol, Decimal(0))
    whole[action.symbol] = before + action.qty
    if before > 0 and mine:
        ours[action.symbol] = mine * (before + action.qty) / before
    if action.into is not None:
        whole[action.into] = whole.get(action.into, Decimal(0)) + action.into_qty
        if before > 0 and mine:
            ours[action.into] = ours.get(action.into, Decimal(0)) + mine * action.into_qty / before

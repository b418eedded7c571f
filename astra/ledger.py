"""Shares and cash: what our books say the account holds, from fills and all other activities.

Decimal throughout, so that books and broker can be compared to the cent and the share. Backtest,
shadow books, monitor and page count in the same books.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from astra.records import OWN, REVERSED, Account, Activity, Position

CENT = Decimal("0.01")
# How the ids of our own lines begin: of an opening, what takes out of it, what nobody told.
OPENED, TOLD, UNTOLD = f"{OWN}opening:", f"{OWN}told:", f"{OWN}untold:"
# A split leaves the worth of a position as it was, but for what the price has moved since; where it
# is smaller than 3 for 2, a purchase or a sale might look the same.
_LEAST_SPLIT, _MOST_MOVED = math.log(1.5) - 1e-6, math.log(1.2)


@dataclass(frozen=True, slots=True)
class Book:
    """Cash in USD and shares by symbol; a symbol without shares is absent."""

    cash: Decimal
    shares: Mapping[str, Decimal]

    def value(self, prices: Mapping[str, float]) -> float:
        """Equity in USD at `prices`, which must name every symbol held."""
        return float(self.cash) + sum(float(q) * prices[s] for s, q in self.shares.items())


@dataclass(frozen=True, slots=True)
class Held:
    """How a symbol was last seen at the broker: its asset, and its price when as many shares as our
    book has were held; "" and None where unknown."""

    asset_id: str = ""
    price: float | None = None


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


def opening(
    book: Book, account: Account, positions: Iterable[Position], at: dt.datetime
) -> tuple[Activity, ...]:
    """Lines of the type OPENING that make a book the broker's, for an account met the first time.

    A paper account's first deposit, for one, is in no record. Shares are only ever added: where the
    broker has fewer than its own record says, its answer is not believed, and there are no lines.

    Args:
        at: when the account was asked; what the record tells later of the time before is in these
            lines already, see `offset`.
    """
    theirs = {p.symbol: p.qty for p in positions}
    if any(theirs.get(symbol, Decimal(0)) < qty for symbol, qty in book.shares.items()):
        return ()
    lines = [
        Activity(f"{OPENED}{symbol}", "OPENING", at, Decimal(0), symbol, more)
        for symbol, qty in sorted(theirs.items())
        if (more := qty - book.shares.get(symbol, Decimal(0)))
    ]
    if money := account.cash - book.cash:
        lines.append(Activity(f"{OPENED}cash", "OPENING", at, money))
    return tuple(lines)


def offset(line: Activity) -> Activity:
    """The line that takes out of the opening what the record tells now itself."""
    qty = None if line.qty is None else -line.qty
    return Activity(f"{TOLD}{line.id}", "OPENING", line.at, -line.net_amount, line.symbol, qty)


def untold(
    book: Book,
    found: Differences,
    positions: Sequence[Position],
    before: Mapping[str, Held],
    at: dt.datetime,
) -> tuple[Activity, ...]:
    """Lines for what has befallen shares and the record does not tell (yet): new symbols of the
    same asset, and splits: other shares of the same worth. Two who see it on one day book it once.

    Args:
        before: how the symbols of the book were last seen, where they were.
    """
    return (
        *_renaming(found, positions, before, at),
        *_splitting(book, found, positions, before, at),
    )


def _splitting(
    book: Book,
    found: Differences,
    positions: Iterable[Position],
    before: Mapping[str, Held],
    at: dt.datetime,
) -> list[Activity]:
    lines = []
    for p in positions:
        ours, price = book.shares.get(p.symbol), before.get(p.symbol, Held()).price
        if p.symbol not in found.shares or not ours or not price:
            continue
        ratio, moved = float(p.qty / ours), p.market_price / price
        if not (ratio > 0 and moved > 0) or abs(math.log(ratio)) < _LEAST_SPLIT:
            continue
        if abs(math.log(ratio * moved)) < _MOST_MOVED:
            key = f"{UNTOLD}{p.symbol}:split:{at:%Y%m%d}"
            lines.append(Activity(key, "SPLIT", at, Decimal(0), p.symbol, p.qty - ours))
    return lines


def _renaming(
    found: Differences,
    positions: Iterable[Position],
    before: Mapping[str, Held],
    at: dt.datetime,
) -> list[Activity]:
    """Pairs of lines for shares that the broker holds under a new symbol of the same asset."""
    lines: list[Activity] = []
    theirs = {p.asset_id: p for p in positions if p.asset_id}
    for symbol, missing in found.shares.items():
        new = theirs.get(before.get(symbol, Held()).asset_id)
        if new is None or new.symbol == symbol or missing <= 0:
            continue
        if found.shares.get(new.symbol) != -missing:
            continue
        key = f"{UNTOLD}{symbol}:{new.symbol}:{at:%Y%m%d}"
        lines.append(Activity(f"{key}:out", "NC", at, Decimal(0), symbol, -missing))
        lines.append(Activity(f"{key}:in", "NC", at, Decimal(0), new.symbol, missing))
    return lines


def reversal(
    found: Differences, lines: Sequence[Activity], at: dt.datetime
) -> tuple[Activity, ...]:
    """Lines that take back what we booked and the book counts twice: lines of `untold` that the
    broker's own record tells now too, and an `offset` of what the opening did not have after all.

    Each is judged by its own symbols and, where it moved any, its cash, whatever else differs.

    Args:
        lines: of which those are looked for that we booked and have not taken back.
    """
    gone = {line.id.removeprefix(REVERSED) for line in lines if line.id.startswith(REVERSED)}
    ours = dict[str, list[Activity]]()  # a symbol's line and that of its new one go together
    for line in sorted(lines, key=lambda a: a.at, reverse=True):
        if line.id.startswith((UNTOLD, TOLD)) and line.id not in gone:
            ours.setdefault(line.id.removesuffix(":out").removesuffix(":in"), []).append(line)
    left, twice = Book(found.cash, dict(found.shares)), list[Activity]()
    for group in ours.values():
        effect = replay(group)
        if _is_within(effect, left):
            twice += group
            kept = {s: q for s, q in left.shares.items() if s not in effect.shares}
            left = Book(left.cash - effect.cash, kept)
    if not twice:  # several of one symbol may have been told at once
        whole = replay([line for group in ours.values() for line in group])
        met = {s for s, q in whole.shares.items() if found.shares.get(s) == q}
        told = [g for g in ours.values() if {line.symbol for line in g} <= met]
        together = [line for group in told for line in group]
        twice = together if _is_within(replay(together), left) else []
    return tuple(
        replace(
            line,
            id=f"{REVERSED}{line.id}",
            at=at,
            net_amount=-line.net_amount,
            qty=None if line.qty is None else -line.qty,
        )
        for line in twice
    )


def _is_within(effect: Book, left: Book) -> bool:
    """Whether shares, and cash if there is any, are just what differs."""
    return all(left.shares.get(s) == q for s, q in effect.shares.items()) and (
        not effect.cash or abs(effect.cash - left.cash) < CENT
    )

"""What the broker's record does not tell, or tells late: the lines that we book ourselves. Pure.

A paper account's first deposit is in no record; a split or a new symbol may be told days after the
positions show it. Such a line is inferred from what books and broker differ by, and taken back once
the record tells the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from astra.ledger import CENT, Book, Differences, replay
from astra.records import OWN, REVERSED, Account, Activity, Position

# How the ids of our own lines begin: of an opening, what takes out of it, what nobody told.
OPENED, TOLD, UNTOLD = f"{OWN}opening:", f"{OWN}told:", f"{OWN}untold:"
# A split leaves the worth of a position as it was, but for what the price has moved since; where it
# is smaller than 3 for 2, a purchase or a sale might look the same.
_LEAST_SPLIT, _MOST_MOVED = math.log(1.5) - 1e-6, math.log(1.2)


@dataclass(frozen=True, slots=True)
class LastHeld:
    """How a symbol was last seen at the broker: its asset, and its price when as many shares as our
    book has were held; "" and None where unknown."""

    asset_id: str = ""
    price: float | None = None


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


def renames_and_splits(
    book: Book,
    found: Differences,
    positions: Sequence[Position],
    before: Mapping[str, LastHeld],
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
    before: Mapping[str, LastHeld],
    at: dt.datetime,
) -> list[Activity]:
    lines = []
    for p in positions:
        ours, price = book.shares.get(p.symbol), before.get(p.symbol, LastHeld()).price
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
    before: Mapping[str, LastHeld],
    at: dt.datetime,
) -> list[Activity]:
    """Pairs of lines for shares that the broker holds under a new symbol of the same asset."""
    lines: list[Activity] = []
    theirs = {p.asset_id: p for p in positions if p.asset_id}
    for symbol, missing in found.shares.items():
        new = theirs.get(before.get(symbol, LastHeld()).asset_id)
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
    """Lines that take back what we booked and the book counts twice: renames and splits that the
    broker's own record tells now too, and an `offset` of what the opening did not have after all.

    Each is judged by its own symbols and, where it moved any, its cash, whatever else differs.

    Args:
        lines: of which those are looked for that we booked and have not taken back.
    """
    events = _events(lines)
    twice = _twice_alone(found, events) or _twice_together(found, events)
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


def _events(lines: Sequence[Activity]) -> list[list[Activity]]:
    """Our lines that stand, the latest first; one event: those of a symbol and of its new one."""
    gone = {line.id.removeprefix(REVERSED) for line in lines if line.id.startswith(REVERSED)}
    events = dict[str, list[Activity]]()
    for line in sorted(lines, key=lambda a: a.at, reverse=True):
        if line.id.startswith((UNTOLD, TOLD)) and line.id not in gone:
            events.setdefault(line.id.removesuffix(":out").removesuffix(":in"), []).append(line)
    return list(events.values())


def _twice_alone(found: Differences, events: Iterable[Sequence[Activity]]) -> list[Activity]:
    """The events that each are just what differs in their symbols."""
    left, twice = Book(found.cash, dict(found.shares)), list[Activity]()
    for event in events:
        effect = replay(event)
        if _is_within(effect, left):
            twice += event
            kept = {s: q for s, q in left.shares.items() if s not in effect.shares}
            left = Book(left.cash - effect.cash, kept)
    return twice


def _twice_together(found: Differences, events: Sequence[Sequence[Activity]]) -> list[Activity]:
    """The events that are what differs only when all are taken: several of one symbol may have been
    told at once."""
    whole = replay([line for event in events for line in event])
    met = {s for s, q in whole.shares.items() if found.shares.get(s) == q}
    told = [event for event in events if {line.symbol for line in event} <= met]
    together = [line for event in told for line in event]
    left = Book(found.cash, found.shares)
    return together if _is_within(replay(together), left) else []


def _is_within(effect: Book, left: Book) -> bool:
    """Whether shares, and cash if there is any, are just what differs."""
    return all(left.shares.get(s) == q for s, q in effect.shares.items()) and (
        not effect.cash or abs(effect.cash - left.cash) < CENT
    )

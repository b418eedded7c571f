"""Which purchase each sale came out of, first in, first out, and what is still open. Pure.

Shares keep their purchase through splits, new names and mergers. Shares without a purchase on
record (held when the books were opened, transferred in, spun off) are never given a cost, nor the
sales of them a profit. Shares that were sold or left without being there are owed: what comes next
is set against them and only the rest is held, so that open lots are the shares in the book.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter

from astra.errors import DataError
from astra.owned import MOVES, SPLITS, Action, actions, standing
from astra.records import Activity, Side
from astra.trades import ClosedTrade, Cover, Matching, OpenLot, Removal, UnmatchedSale

# Costs of partial lots are cut here, far below a cent, so that their sum stays exact.
_MICRO = Decimal("0.0000000001")
_ZERO = Decimal(0)


def match(activities: Iterable[Activity]) -> Matching:
    """Match the FILLs of one account first in, first out.

    Any order of lines gives the same answer: they are taken by time, then by the broker's id, and
    each id counts once. A split changes the shares of open lots, a new name moves them to it; what
    they cost and when they were bought stays.

    Raises:
        DataError: a fill without symbol, side, quantity or price.
    """
    found = _Books()
    for *_, event in sorted(_events(standing(activities)), key=itemgetter(0, 1, 2)):
        if isinstance(event, Action):
            _act(event, found)
        elif event.type == "FILL":
            _fill(event, found)
        else:
            _come_or_go(event, found)
    return Matching(
        tuple(ClosedTrade(*values) for values in found.closed.values()),
        tuple(_open_lots(found)),
        tuple(found.unmatched),
        tuple(found.removed),
        tuple(found.covers),
    )


@dataclass(slots=True)
class _Lot:
    order: str
    qty: Decimal
    cost: Decimal | None
    opened_at: dt.datetime


# Of a trade: symbol, qty, cost, proceeds, opened at, closed at.
_Sums = tuple[str, Decimal, Decimal, Decimal, dt.datetime, dt.datetime]


@dataclass(slots=True)
class _Books:
    """`closed` has one trade for each pair of buying and selling order, however many fills.

    No symbol has shares both in `held` and in `owed`.
    """

    held: dict[str, deque[_Lot]] = field(default_factory=dict)
    owed: dict[str, Decimal] = field(default_factory=dict)
    closed: dict[tuple[str, str, str], _Sums] = field(default_factory=dict)
    unmatched: list[UnmatchedSale] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    covers: list[Cover] = field(default_factory=list)

    def of(self, symbol: str) -> deque[_Lot]:
        if symbol not in self.held:
            self.held[symbol] = deque()
        return self.held[symbol]

    def owe(self, symbol: str, qty: Decimal) -> None:
        self.owed[symbol] = self.owed.get(symbol, _ZERO) + qty

    def cover(self, symbol: str, qty: Decimal) -> Decimal:
        """How many of `qty` shares that come are owed, and are no longer."""
        covered = min(qty, self.owed.get(symbol, _ZERO))
        self.owe(symbol, -covered)
        return covered


_Event = tuple[dt.datetime, int, str, "Activity | Action"]


def _events(lines: Iterable[Activity]) -> Iterator[_Event]:
    """What changes shares, with its place: at one instant the opening comes first, then what came,
    what left, and last corporate actions, as these are of what was held."""
    others = []
    for line in lines:
        if line.type == "FILL":
            yield line.at, 1 if line.side is Side.BUY else 2, line.id, line
        elif line.symbol is not None and line.qty:
            others.append(line)
    yield from ((a.at, 0, a.id, a) for a in _openings(others))
    splits = actions([line for line in others if line.type in SPLITS])
    moves = actions([line for line in others if line.type in MOVES])
    yield from ((a.at, 3, a.symbol, a) for a in splits)
    for move in moves:
        gone = Activity("", "REORG", move.at, _ZERO, move.symbol, move.qty)
        yield move.at, 3, move.symbol, gone if move.into is None else move
    told = Counter((a.into, a.into_qty, a.at.date()) for a in moves)
    for line in others:
        key = (line.symbol, line.qty or _ZERO, line.at.date())
        if line.type in MOVES and (line.qty or _ZERO) > 0:
            told[key] -= 1
        if line.type not in {*SPLITS, *MOVES, "OPENING"} or told.get(key, 0) < 0:
            yield line.at, 1 if key[1] > 0 else 2, line.id, line


def _openings(lines: Iterable[Activity]) -> Iterator[Activity]:
    """The shares of each symbol that were there before the record: what its opening lines sum to,
    as lines that tell them later take out of it (`astra.untold.offset`)."""
    first, net = dict[str, Activity](), dict[str, Decimal]()
    for line in lines:
        if line.type == "OPENING":
            symbol, known = line.symbol or "", first.get(line.symbol or "", line)
            first[symbol] = min(known, line, key=lambda a: (a.at, a.id))
            net[symbol] = net.get(symbol, _ZERO) + (line.qty or _ZERO)
    for symbol, line in first.items():
        if net[symbol] > 0:
            yield Activity(line.id, "OPENING", line.at, _ZERO, symbol, net[symbol])


def _fill(line: Activity, books: _Books) -> None:
    symbol, side, qty, price = line.symbol, line.side, line.qty, line.price
    if symbol is None or side is None or qty is None or price is None:
        raise DataError(
            f"a fill needs symbol, side, qty and price: {line.id} at {line.at.isoformat()} lacks it"
        )
    qty, order, held = abs(qty), line.order_id or line.id, books.of(symbol)
    if side is Side.BUY:
        if covered := books.cover(symbol, qty):
            books.covers.append(Cover(symbol, covered, covered * price, line.at))
        if left := qty - covered:
            held.append(_Lot(order, left, left * price, line.at))
        return
    for part in _take(held, qty):
        qty -= part.qty
        if part.cost is None:
            sale = UnmatchedSale(symbol, part.qty, part.qty * price, line.at)
            books.unmatched.append(sale)
            continue
        key, proceeds, opened_at = (symbol, part.order, order), part.qty * price, part.opened_at
        shares, cost = part.qty, part.cost
        if (known := books.closed.get(key)) is not None:
            shares, cost, proceeds = shares + known[1], cost + known[2], proceeds + known[3]
            opened_at = min(opened_at, known[4])
        books.closed[key] = (symbol, shares, cost, proceeds, opened_at, line.at)
    if qty > 0:
        books.unmatched.append(UnmatchedSale(symbol, qty, qty * price, line.at))
        books.owe(symbol, qty)


def _take(held: deque[_Lot], qty: Decimal) -> list[_Lot]:
    """Take `qty` out of the oldest lots, or all if there is less."""
    taken = []
    while qty > 0 and held:
        lot = held[0]
        if lot.qty <= qty:
            held.popleft()
            part = lot
        else:
            cost = None if lot.cost is None else (lot.cost * qty / lot.qty).quantize(_MICRO)
            part = _Lot(lot.order, qty, cost, lot.opened_at)
            lot.qty -= qty
            lot.cost = None if lot.cost is None or cost is None else lot.cost - cost
        qty -= part.qty
        taken.append(part)
    return taken


def _act(action: Action, books: _Books) -> None:
    """A split, or a move of lots to another symbol, among those of their times."""
    held = books.of(action.symbol)
    if action.into is None:
        _spread(held, action.qty)
        if owed := books.owed.get(action.symbol):
            books.owed[action.symbol] = max(owed - action.qty, _ZERO)
        return
    moved, into = _take(held, -action.qty), books.of(action.into)
    known = sum((lot.qty for lot in moved), _ZERO)
    # A short position's new name is told the other way round: its shares go "out" of the new one.
    books.owe(action.symbol, -action.qty - known)
    _spread(moved, action.into_qty - known)
    arrived = deque(moved or [_Lot("", action.into_qty, None, action.at)])
    for part in _take(arrived, books.cover(action.into, action.into_qty)):
        if part.cost is not None:
            books.covers.append(Cover(action.into, part.qty, part.cost, action.at))
    both = sorted([*into, *arrived], key=lambda lot: lot.opened_at)
    into.clear()
    into.extend(both)


def _come_or_go(line: Activity, books: _Books) -> None:
    """Shares that come without a purchase, or leave without a sale."""
    symbol, qty = line.symbol or "", line.qty or _ZERO
    if qty > 0:
        if left := qty - books.cover(symbol, qty):
            books.of(symbol).append(_Lot(line.id, left, None, line.at))
        return
    gone = _take(books.of(symbol), -qty)
    cost = sum((part.cost for part in gone if part.cost is not None), _ZERO)
    books.removed.append(Removal(line.type, symbol, -qty, cost, line.at))
    books.owe(symbol, -qty - sum((part.qty for part in gone), _ZERO))


def _spread(held: Iterable[_Lot], change: Decimal) -> None:
    """Spread shares that come or go over lots; what they cost stays."""
    lots = list(held)
    total, left = sum((lot.qty for lot in lots), _ZERO), change
    if total <= 0 or total + change <= 0:
        return
    for lot in lots:
        share = left if lot is lots[-1] else (change * lot.qty / total).quantize(_MICRO)
        lot.qty += share
        left -= share


def _open_lots(books: _Books) -> Iterator[OpenLot]:
    """The lots still held; parts of one order that follow each other are one."""
    for symbol, held in sorted(books.held.items()):
        merged: list[_Lot] = []
        for lot in held:
            last = merged[-1] if merged else None
            if last is None or last.order != lot.order or last.cost is None or lot.cost is None:
                merged.append(lot)
                continue
            merged[-1] = _Lot(last.order, last.qty + lot.qty, last.cost + lot.cost, last.opened_at)
        yield from (OpenLot(symbol, x.qty, x.cost, x.opened_at) for x in merged)

"""Trades: which purchase each sale came out of, first in, first out, and what is still open.

Decimal throughout. Fees that the broker books on their own lines are not spread over trades.
Shares keep their purchase through splits, new names and mergers. Shares without a purchase on
record (held when the books were opened, transferred in, spun off) are never given a cost, nor the
sales of them a profit; short sales are not matched.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter

from astra.errors import DataError
from astra.owned import MOVES, SPLITS, Action, actions, standing
from astra.records import Activity, Side

# Costs of partial lots are cut here, far below a cent, so that their sum stays exact.
_MICRO = Decimal("0.0000000001")
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
    """`closed` has one trade for each pair of buying and selling order, however many fills."""

    held: dict[str, deque[_Lot]] = field(default_factory=dict)
    closed: dict[tuple[str, str, str], _Sums] = field(default_factory=dict)
    unmatched: list[UnmatchedSale] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)

    def of(self, symbol: str) -> deque[_Lot]:
        if symbol not in self.held:
            self.held[symbol] = deque()
        return self.held[symbol]


_Event = tuple[dt.datetime, int, str, "Activity | Action"]


def _events(lines: Iterable[Activity]) -> Iterator[_Event]:
    """What changes shares, with its place: at one instant the opening comes first, corporate
    actions last, as these are of what was held."""
    others = []
    for line in lines:
        if line.type == "FILL":
            yield line.at, 1, line.id, line
        elif line.symbol is not None and line.qty:
            others.append(line)
    yield from ((a.at, 0, a.id, a) for a in _openings(others))
    splits = actions([line for line in others if line.type in SPLITS])
    moves = actions([line for line in others if line.type in MOVES])
    yield from ((a.at, 2, a.symbol, a) for a in splits)
    for move in moves:
        gone = Activity("", "REORG", move.at, _ZERO, move.symbol, move.qty)
        yield move.at, 2, move.symbol, gone if move.into is None else move
    told = Counter((a.into, a.into_qty, a.at.date()) for a in moves)
    for line in others:
        key = (line.symbol, line.qty or _ZERO, line.at.date())
        if line.type in MOVES and (line.qty or _ZERO) > 0:
            told[key] -= 1
        if line.type not in {*SPLITS, *MOVES, "OPENING"} or told.get(key, 0) < 0:
            yield line.at, 1, line.id, line


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
        held.append(_Lot(order, qty, qty * price, line.at))
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
        return
    moved, into = _take(held, -action.qty), books.of(action.into)
    _spread(moved, action.into_qty - sum((lot.qty for lot in moved), _ZERO))
    both = sorted([*into, *moved], key=lambda lot: lot.opened_at)
    into.clear()
    into.extend(both)


def _come_or_go(line: Activity, books: _Books) -> None:
    """Shares that come without a purchase, or leave without a sale."""
    symbol, qty = line.symbol or "", line.qty or _ZERO
    if qty > 0:
        books.of(symbol).append(_Lot(line.id, qty, None, line.at))
        return
    gone = _take(books.of(symbol), -qty)
    cost = sum((part.cost for part in gone if part.cost is not None), _ZERO)
    books.removed.append(Removal(line.type, symbol, -qty, cost, line.at))


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

"""What the sandbox's account is worth: balances, positions and the history of its equity."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from astra.sessions import BAR_SECONDS, last_sessions, sessions_between
from sandbox.books import Books, Line
from sandbox.market import Market
from sandbox.orders import Order

_LOOKBACK = 7 * 86_400  # a price older than a week is no price


@dataclass(frozen=True, slots=True)
class Balances:
    """The account in USD at one moment; `buying_power` is net of what open buys reserve."""

    cash: Decimal
    settled_cash: Decimal
    equity: Decimal
    last_equity: Decimal
    long_market_value: Decimal
    reserved: Decimal
    buying_power: Decimal


@dataclass(frozen=True, slots=True)
class Lot:
    """A position; prices in USD a share of now, `last_close` is the previous session's."""

    symbol: str
    qty: Decimal
    available: Decimal
    cost: Decimal
    price: Decimal
    last_close: Decimal
    record_name: str  # of the symbol, which stays when the symbol changes


class Valuation:
    """Values one set of books at the market's prices; remembers a price until time moves."""

    def __init__(self, market: Market, books: Books) -> None:
        self._market = market
        self._books = books
        self._marked_at: datetime | None = None
        self._marks: dict[str, Decimal] = {}
        self._closes: dict[tuple[datetime, str], Decimal] = {}
        self._last_equity: dict[datetime, Decimal] = {}

    @property
    def held(self) -> Collection[str]:
        """Symbols with a position."""
        return self._books.holdings.keys()

    def mark(self, symbol: str) -> Decimal | None:
        """The last trade's price, USD; None before the first one."""
        now = self._market.clock.now()
        if now != self._marked_at:
            self._marked_at, self._marks = now, {}
        if symbol not in self._marks:
            last = self._market.last_price(symbol)
            if last is None:
                return None
            self._marks[symbol] = _exact(last[1])
        return self._marks[symbol]

    def balances(self, orders: Sequence[Order], *, on_margin: bool) -> Balances:
        """Regulation T: twice the equity less what is invested; a cash account has settled cash."""
        books = self._books
        value = sum((self._value(s) for s in books.holdings), Decimal(0))
        reserved = sum((order.reserved for order in orders), Decimal(0))
        settled = books.cash - books.unsettled(self._market.clock.now())
        power = 2 * books.cash + value if on_margin else settled
        return Balances(
            cash=books.cash,
            settled_cash=settled,
            equity=books.cash + value,
            last_equity=self._equity_at_last_close(),
            long_market_value=value,
            reserved=reserved,
            buying_power=max(Decimal(0), power - reserved),
        )

    def lots(self, held_for_orders: dict[str, Decimal]) -> list[Lot]:
        """All positions by symbol."""
        lots = []
        for symbol, held in sorted(self._books.holdings.items()):
            price = self.mark(symbol) or held.cost / held.qty
            free = held.qty - held_for_orders.get(symbol, Decimal(0))
            last_close, name = self._last_close(symbol), self._market.record_name(symbol)
            lots.append(Lot(symbol, held.qty, free, held.cost, price, last_close, name))
        return lots

    def equity_history(
        self, start: datetime, end: datetime, step: timedelta | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Window starts (epoch seconds), equity at their ends, and equity at the first start.

        Windows lie in sessions, `step` long, or one a session where `step` is None. The last one
        may not have ended at `end`, and none ended before the account was opened.
        """
        start = max(start, self._books.lines[0].at)
        starts: list[datetime] = []
        stops: list[datetime] = []
        for session in sessions_between(start, end):
            length = step or session.closes_at - session.opens_at
            count = -(-(session.closes_at - session.opens_at) // length)
            for opens in (session.opens_at + i * length for i in range(count)):
                closes = min(opens + length, session.closes_at, end)
                if closes > start and opens < end:
                    starts.append(opens)
                    stops.append(closes)
        times = np.array([_epoch(max(start, t)) for t in starts[:1]] + [_epoch(t) for t in stops])
        if not starts:
            return np.empty(0, np.int64), np.empty(0), float(self._books.lines[0].cash)
        values = equity_at(self._market, self._books.lines, times)
        return np.array([_epoch(t) for t in starts]), values[1:], float(values[0])

    def _value(self, symbol: str) -> Decimal:
        held = self._books.holdings[symbol]
        price = self.mark(symbol)
        return held.cost if price is None else held.qty * price

    def _close_time(self) -> datetime:
        """When the session before the present (or latest) one closed."""
        return last_sessions(2, self._market.clock.now())[0].closes_at

    def _equity_at_last_close(self) -> Decimal:
        closed_at = self._close_time()
        if closed_at <= self._books.lines[0].at:
            return self._books.lines[0].cash
        if closed_at not in self._last_equity:
            values = equity_at(self._market, self._books.lines, np.array([_epoch(closed_at)]))
            self._last_equity = {closed_at: _exact(values[0])}
        return self._last_equity[closed_at]

    def _last_close(self, symbol: str) -> Decimal:
        key = (self._close_time(), symbol)
        if key not in self._closes:
            lines = [x for x in self._books.lines if x.symbol == symbol and x.shares]
            then = prices_at(self._market, lines, np.array([_epoch(key[0])]))[0]
            split = self._market.shares(symbol) / self._market.shares(symbol, key[0])
            self._closes[key] = _exact(then / split)
        return self._closes[key]


def equity_at(
    market: Market, lines: Sequence[Line], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cash plus holdings at the last closed prices, USD, at each of `times` (epoch seconds).

    Lines count from their own time on, bars from their end on.
    """
    value = _running(lines, [float(line.cash) for line in lines], times)
    for symbol in sorted({line.symbol for line in lines if line.symbol and line.shares}):
        mine = [line for line in lines if line.symbol == symbol and line.shares]
        qty = _running(mine, [float(line.shares) for line in mine], times)
        value = value + qty * prices_at(market, mine, times)
    return value


def prices_at(
    market: Market, lines: Sequence[Line], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Last closed prices of the one symbol of `lines`, per share as it was at each of `times`.

    The market's history is adjusted for every split until now; the later ones are undone. Before
    the first bar the first price paid stands in.
    """
    symbol = str(lines[0].symbol)
    bars = market.history(symbol, int(times.min()) - _LOOKBACK, int(times.max()))
    first_paid = next((float(line.price) for line in lines if line.price is not None), 0.0)
    last = np.searchsorted(bars.ts + BAR_SECONDS, times, side="right") - 1
    closes = np.append(bars.close, first_paid)[last]  # -1, no bar yet, is the price paid
    for action in market.actions(symbol):
        if action.kind == "split":
            closes = np.where(times < _epoch(action.at), closes * action.value, closes)
    return np.asarray(closes, np.float64)


def _running(
    lines: Sequence[Line], changes: Sequence[float], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum of the changes at or before each of `times`."""
    at = np.array([line.at.timestamp() for line in lines])
    order = np.argsort(at, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(np.array(changes)[order])])
    return np.asarray(sums[np.searchsorted(at[order], times, side="right")], np.float64)


def _exact(price: float) -> Decimal:
    return Decimal(repr(float(price)))


def _epoch(t: datetime) -> int:
    return int(t.timestamp())

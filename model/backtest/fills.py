"""What a decision makes of a book: orders as the service plans them, fills as the broker books
them.

Sales first, then purchases from the cash that is there, through the same plan and the same risk
gate; filled at the next bar's open, half a spread against us, a fee on sales. Purchases wait for
the last sale.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np

from astra.errors import DataError
from astra.fills import CENT, fee_of_sale, price_at
from astra.ledger import Book
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Asset, PlannedOrder, Position, Side
from astra.risk import UNLIMITED, Limits, Situation, deny
from astra.sessions import BAR_SECONDS, HORIZON_BARS, next_bar_start
from model.decision import held_weights as weights_of
from model.panel import Floats, Panel

WRITTEN_DECIMALS = 9  # of a weight in an allocation file
# A holding that has not traded for a week will hardly trade again: halts for news last minutes,
# those for filings or a merger's last day a day or two.
GONE_SESSIONS = 5


@dataclass(frozen=True, slots=True)
class Costs:
    """What a fill costs, and what is worth an order.

    Attributes:
        half_spread_bp, fee_bp: of a side's value; the fee of sales alone.
        drift_band: fraction of equity; smaller differences are left alone.
        max_order_weight, max_position_weight: of equity in one order, in one position.
        hold: symbols whose shares stay as they are.
        max_turnover: of equity, sales and purchases of one decision together.
        cash_buffer: of equity, never spent.
    """

    half_spread_bp: float
    fee_bp: float
    drift_band: float = 0.0
    min_order_usd: float = 1.0
    max_order_weight: float = 0.25
    whole_shares: bool = False
    hold: frozenset[str] = frozenset()
    max_turnover: float = 2.0
    max_position_weight: float = 1.0
    cash_buffer: float = 0.01

    def times(self, multiple: float) -> Costs:
        """A multiple of what a fill costs."""
        return replace(
            self, half_spread_bp=multiple * self.half_spread_bp, fee_bp=multiple * self.fee_bp
        )

    @property
    def rules(self) -> Rules:
        return Rules(
            self.drift_band,
            self.min_order_usd,
            self.hold,
            self.cash_buffer,
            self.max_turnover,
            max_position_weight=self.max_position_weight,
            max_order_weight=self.max_order_weight,
        )

    @property
    def limits(self) -> Limits:
        return replace(
            UNLIMITED,
            max_order_weight=self.max_order_weight,
            max_position_weight=self.max_position_weight,
            max_gross=1.0,
        )


@dataclass(frozen=True, slots=True)
class Filled:
    """An order as it was booked; `price` is USD a share, spread included."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Moved:
    """A book after its trades; USD traded at the bars' opens, buys and sales together, and USD
    lost to spread and fees."""

    book: Book
    traded: float
    cost: float
    fills: tuple[Filled, ...] = ()


class Tape:
    """A panel's prices by time: the last close known, and the first open that can be traded."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._last = _filled(panel.close)
        self._traded = np.unique(panel.session[np.isfinite(panel.close).any(axis=1)])

    def marks(self, t: dt.datetime) -> dict[str, float]:
        """The last close of each ticker that had printed one by `t`, USD."""
        row = self._row_at(t)
        return self._named(self._last[row]) if row >= 0 else {}

    def opens(self, t: dt.datetime, sold: Iterable[str] = ()) -> dict[str, float]:
        """What an order of `t` trades at, USD: the first open that its ticker prints strictly
        after `t`, within the hour and not before the orders in `sold` have filled.

        After that the session is over, or the next decision's orders have taken its place. A ticker
        that prints none is absent.

        Raises:
            DataError: the panel ends before the first bar that could be traded.
        """
        opens = self._panel.open[self._hour(t, sold)]
        first = np.isfinite(opens).argmax(axis=0)
        return self._named(opens[first, np.arange(opens.shape[1])])

    def opens_at(
        self, t: dt.datetime, symbols: Iterable[str], sold: Iterable[str] = ()
    ) -> dict[str, dt.datetime]:
        """When the bars of `opens` begin, UTC."""
        rows = self._hour(t, sold)
        found = {}
        for symbol in symbols:
            column = self._panel.open[rows, self._panel.tickers.index(symbol)]
            seconds = int(self._panel.ts[rows][np.isfinite(column).argmax()])
            found[symbol] = dt.datetime.fromtimestamp(seconds, dt.UTC)
        return found

    def gone(self, t: dt.datetime, symbols: Iterable[str]) -> tuple[str, ...]:
        """Those of `symbols` without a bar in the last five sessions before that of `t`, and none
        since; known from bars up to `t` alone.

        A session in which nothing at all has a bar is a hole in the data and does not count.
        """
        row = self._row_at(t)
        before = self._traded[self._traded < self._panel.session[row]] if row >= 0 else ()
        if len(before) < GONE_SESSIONS:
            return ()
        first = int(np.searchsorted(self._panel.session, before[-GONE_SESSIONS]))
        return tuple(
            symbol
            for symbol in symbols
            if not np.isfinite(
                self._panel.close[first : row + 1, self._panel.tickers.index(symbol)]
            ).any()
        )

    def _row_at(self, t: dt.datetime) -> int:
        """The last bar that has closed at `t`; -1 if none has."""
        return int(np.searchsorted(self._panel.ts, int(t.timestamp()) - BAR_SECONDS, "right")) - 1

    def _hour(self, t: dt.datetime, sold: Iterable[str] = ()) -> slice:
        """The bars in which an order of `t` may trade, from the last first open of `sold` on."""
        start, ts = next_bar_start(t), self._panel.ts
        row = int(np.searchsorted(ts, int(start.timestamp())))
        if row == len(ts) or ts[row] != int(start.timestamp()):
            raise DataError(
                f"a trade at {t:%Y-%m-%d %H:%M} UTC needs the bar of {start:%H:%M}, which the "
                "panel doesn't cover: end earlier or load more bars"
            )
        end = int(t.timestamp()) + HORIZON_BARS * BAR_SECONDS
        hour = slice(row, max(row + 1, int(np.searchsorted(ts, end))))
        columns = (self._panel.open[hour, self._panel.tickers.index(symbol)] for symbol in sold)
        waited = max((int(np.isfinite(column).argmax()) for column in columns), default=0)
        return slice(row + waited, hour.stop)

    def _named(self, prices: Floats) -> dict[str, float]:
        found = zip(self._panel.tickers, prices.tolist(), strict=True)
        return {ticker: price for ticker, price in found if not math.isnan(price)}


def equity_of(book: Book, marks: Mapping[str, float]) -> Decimal:
    """USD to the cent, as the broker states it; `marks` must name every symbol held."""
    return _cents(book.cash + _invested(book, marks))


def held_weights(book: Book, marks: Mapping[str, float]) -> dict[str, float]:
    """Weights of equity by symbol at `marks`, as the service finds them in the account."""
    values = {s: float(q) * marks[s] for s, q in book.shares.items()}
    return weights_of(values, float(equity_of(book, marks)), 0.0)


def move(
    book: Book,
    weights: Mapping[str, float],
    opens: Mapping[str, float],
    marks: Mapping[str, float],
    costs: Costs,
    after: Callable[[Sequence[str]], Mapping[str, float]] | None = None,
    keep: Collection[str] = (),
) -> Moved:
    """Trade to weights of equity: planned at `marks`, filled at `opens`.

    An order whose symbol has no open is dead. Purchases are planned from the cash of the sales
    once all are filled, as `astra.execution.worker` does: none while a sale waits for an open.

    Args:
        after: the opens of purchases once the given symbols are sold; `opens` if left out.
        keep: symbols whose shares stay as they are, whatever their weights.
    """
    costs = replace(costs, hold=costs.hold.union(keep))
    wanted = {s: round(w, WRITTEN_DECIMALS) for s, w in weights.items()}
    wanted = {s: w for s, w in wanted.items() if w > 0}
    fills: list[Filled] = []
    traded = lost = sold = 0.0
    for side in (Side.SELL, Side.BUY):
        waits = False
        for order in _orders(book, wanted, marks, costs, side, sold):
            at = opens.get(order.symbol)
            if at is None:
                waits = True
                continue
            filled = _fill(order, at, costs)
            book = booked(book, filled)
            fills.append(filled)
            qty = float(filled.qty)
            traded += qty * at
            lost += qty * abs(float(filled.price) - at) + float(filled.fee)
        if waits:
            break
        sold = sum(float(f.qty * f.price) for f in fills)
        if fills and after is not None:
            opens = after([f.symbol for f in fills])
    return Moved(book, traded, lost, tuple(fills))


def closed_out(symbol: str, qty: Decimal, last_close: float, costs: Costs) -> Filled:
    """The sale of a holding that trades no more, at its last close less costs."""
    return _fill(PlannedOrder(symbol, Side.SELL, qty, last_close, ""), last_close, costs)


def booked(book: Book, filled: Filled) -> Book:
    """The book with one fill more."""
    sign = 1 if filled.side is Side.BUY else -1
    qty = book.shares.get(filled.symbol, Decimal(0)) + sign * filled.qty
    shares = {**book.shares, filled.symbol: qty}
    cash = book.cash - sign * filled.qty * filled.price - filled.fee
    return Book(cash, {s: q for s, q in shares.items() if q != 0})


def _orders(
    book: Book,
    wanted: Mapping[str, float],
    marks: Mapping[str, float],
    costs: Costs,
    side: Side,
    sold: float,
) -> Iterator[PlannedOrder]:
    """The plan's orders of one side that pass the risk gate, which counts those before as filled.

    The account is a margin account as the broker states it: twice the cash and what is invested
    is its buying power.
    """
    invested = _invested(book, marks)
    positions = [Position(s, q, marks[s], 0.0) for s, q in sorted(book.shares.items())]
    symbols = {*book.shares, *wanted}
    holdings = Holdings(
        positions=positions,
        prices={s: marks[s] for s in symbols if s in marks},
        assets={s: Asset(s, s, True, not costs.whole_shares) for s in symbols},
        equity=float(_cents(book.cash + invested)),
        cash=float(_cents(book.cash)),
        buying_power=float(_cents(max(Decimal(0), 2 * book.cash + invested))),
        sold=sold,
    )
    plan = plan_orders(wanted, holdings, costs.rules)
    values = {p.symbol: float(p.qty) * p.market_price for p in positions}
    gross = sum(values.values())
    for order in plan.sells if side is Side.SELL else plan.buys:
        situation = Situation(holdings.equity, gross, position=values.get(order.symbol, 0.0))
        if deny(order, situation, costs.limits) is None:
            value = float(order.qty) * order.reference_price
            gross += value if side is Side.BUY else -value
            yield order


def _fill(order: PlannedOrder, opens: float, costs: Costs) -> Filled:
    price = price_at(opens, order.side, _exact(costs.half_spread_bp))
    fee = Decimal(0)
    if order.side is Side.SELL:
        fee = fee_of_sale(order.qty * price, _exact(costs.fee_bp))
    return Filled(order.symbol, order.side, order.qty, price, fee)


def _invested(book: Book, marks: Mapping[str, float]) -> Decimal:
    return sum((q * _exact(marks[s]) for s, q in book.shares.items()), Decimal(0))


def _cents(usd: Decimal) -> Decimal:
    return usd.quantize(CENT, ROUND_HALF_EVEN)


def _exact(number: float) -> Decimal:
    return Decimal(repr(float(number)))


def _filled(prices: Floats) -> Floats:
    """Each column's last known price, NaN before its first."""
    known = np.isfinite(prices)
    rows = np.where(known, np.arange(len(prices), dtype=np.int32)[:, None], np.int32(0))
    np.maximum.accumulate(rows, axis=0, out=rows)
    found: Floats = np.take_along_axis(prices, rows, axis=0)
    return found

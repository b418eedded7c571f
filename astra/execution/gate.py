"""The risk gate of a phase: gathers what `astra.risk` has to know, and counts what it lets through.

The account is looked at once, as the phase begins. The market's time is that of the broker's last
answer, so that a phase that lasts trades neither past the close nor past the allocation's expiry.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from astra.allocation import MANUAL
from astra.breakers import raised
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.marks import marks
from astra.execution.standing import Standing, standing
from astra.records import (
    Account,
    MarketClock,
    Order,
    PlannedOrder,
    Position,
    Side,
    TradingState,
)
from astra.risk import UNKNOWN, Denial, Mark, Situation, deny
from astra.store.journal import AllocationRow, OrderRow


class Gate:
    """The account as it was when the phase began, plus what was let through since."""

    def __init__(self, desk: Desk, row: AllocationRow) -> None:
        """Looks at account, positions, open orders and clock at the broker, and at the store.

        Raises:
            TemporaryError: the broker doesn't answer, or its account is not the allocation's.
        """
        account, positions = desk.broker.account(), desk.broker.positions()
        if account.number != row.account:
            raise TemporaryError(
                f"account {row.account} is required for {row.object}, found {account.number}: "
                "nothing more is sent for it, the next delivery ends it"
            )
        self._desk, self._clock = desk, desk.broker.clock()
        orders = desk.store.journal.orders(row.id)
        symbols = {*row.weights, *(o.symbol for o in orders), *(p.symbol for p in positions)}
        self._marks = marks(desk, symbols, self._clock.now)
        self._holdings = _Holdings(account, positions)
        self._holdings.reserve(desk.broker.orders("open"), self._prices(orders))
        state = desk.store.states.get(row.account)
        now, today = self._clock.now, standing(desk, account, self._clock.now)
        self._limits = raised(desk.limits, state.accepted, state.accepted_at, now, today.peak_at)
        self._sent = {order.id for order in orders if order.sent_at is not None}
        self._sent_by_others = today.orders_today - len(self._sent)
        self._begun = _begun(row, account, self._clock, state.state, today)

    @property
    def now(self) -> dt.datetime:
        """The market's time, as the broker said it last."""
        heard = self._desk.broker.trading.now
        return self._clock.now if heard is None else max(heard, self._clock.now)

    def deny(self, order: OrderRow | PlannedOrder) -> Denial | None:
        """Why it may not leave, or None: then it counts as filled for those after it.

        An order that was sent before and may have to be sent again counts once.
        """
        planned = order if isinstance(order, PlannedOrder) else _planned(order)
        key = f"{order.symbol}-{order.side}" if isinstance(order, PlannedOrder) else order.id
        denial = deny(planned, self._situation(planned, key), self._limits)
        if denial is None:
            self._sent.add(key)
            self._holdings.fill(planned)
        return denial

    def _situation(self, order: PlannedOrder, key: str) -> Situation:
        now, held, others = self.now, self._holdings, len(self._sent - {key})
        return replace(
            self._begun,
            gross=held.gross,
            is_open=self._begun.is_open and now < self._clock.next_close,
            now=now,
            position=held.values.get(order.symbol, 0.0),
            held=held.shares.get(order.symbol, Decimal(0)),
            cash=held.cash,
            mark=self._mark(order.symbol),
            orders=others,
            orders_today=self._sent_by_others + others,
        )

    def _mark(self, symbol: str) -> Mark:
        """Of a symbol that was in no list as the phase began, it is looked up now."""
        if symbol not in self._marks:
            found = marks(self._desk, [symbol], self._clock.now)
            self._marks[symbol] = found.get(symbol, UNKNOWN)
        return self._marks[symbol]

    def _prices(self, ours: Iterable[OrderRow]) -> dict[str, float]:
        """What an open order's shares count as by symbol, USD."""
        known = {symbol: mark.close for symbol, mark in self._marks.items()}
        return known | {order.symbol: order.reference_price for order in ours}


def _begun(
    row: AllocationRow,
    account: Account,
    clock: MarketClock,
    state: TradingState,
    today: Standing,
) -> Situation:
    """What stays as it is for the whole phase; a file dropped by hand has no forecast."""
    is_manual = row.policy == MANUAL
    return Situation(
        equity=float(account.equity),
        gross=0.0,
        is_open=clock.is_open,
        state=state,
        is_blocked=account.trading_blocked,
        closes_at=clock.next_close,
        expires_at=row.expires_at,
        trained_until=None if is_manual else row.trained_until,
        coverage=None if is_manual else row.coverage,
        day_return=today.day_return,
        drawdown=today.drawdown,
        reject_rate=today.reject_rate,
    )


class _Holdings:
    """Cash, shares that may be sold, and values once what was let through is filled; USD."""

    def __init__(self, account: Account, positions: Iterable[Position]) -> None:
        self.shares = {p.symbol: p.qty for p in positions}
        self.values = {p.symbol: float(p.qty) * p.market_price for p in positions}
        settled = account.settled_cash
        self._is_settled_only = settled is not None
        self.cash = float(account.cash if settled is None else settled)

    @property
    def gross(self) -> float:
        return sum(self.values.values())

    def reserve(self, waiting: Iterable[Order], prices: Mapping[str, float]) -> None:
        """Count what is open at the broker: purchases as filled, shares on sale as gone.

        A purchase at a price that nobody knows makes the values NaN, which denies all others.
        """
        for order in waiting:
            rest = order.qty - order.filled_qty
            if order.side is Side.SELL:
                self._take(order.symbol, rest)
                continue
            value = float(rest) * (order.limit_price or prices.get(order.symbol, math.nan))
            self._add(order.symbol, value)
            if not self._is_settled_only:  # settled cash is without it already
                self.cash -= value

    def fill(self, order: PlannedOrder) -> None:
        """Count an order as filled. Sales give cash where it need not settle first, which only a
        preview sees, as a phase either sells or buys; purchases give no shares to sell."""
        value = float(order.qty) * order.reference_price
        if order.side is Side.BUY:
            self._add(order.symbol, value)
            self.cash -= value
            return
        self._take(order.symbol, order.qty)
        self._add(order.symbol, -value)
        self.cash += 0.0 if self._is_settled_only else value

    def _add(self, symbol: str, value: float) -> None:
        self.values[symbol] = self.values.get(symbol, 0.0) + value

    def _take(self, symbol: str, qty: Decimal) -> None:
        self.shares[symbol] = self.shares.get(symbol, Decimal(0)) - qty


def _planned(order: OrderRow) -> PlannedOrder:
    price = order.reference_price if order.limit_price is None else order.limit_price
    return PlannedOrder(order.symbol, order.side, order.qty, price, order.reason)

"""The risk gate of a phase: gathers what `astra.risk` has to know, and counts what it lets through.

The account is looked at once, as the phase begins. The market's time is that of the broker's last
answer, so that a phase that lasts trades neither past the close nor past the allocation's expiry.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from astra import owned
from astra.allocation import MANUAL
from astra.breakers import raised
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.figures import Figures, figures_of
from astra.execution.holdings import managed, require_agreement
from astra.execution.marks import marks
from astra.execution.pro_forma import ProForma, needs_close
from astra.records import (
    Account,
    MarketClock,
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
            TemporaryError: the broker doesn't answer, its account is not the allocation's, or its
                positions lack what its equity counts.
        """
        account, positions = desk.broker.account(), desk.broker.positions()
        if account.number != row.account:
            raise TemporaryError(
                f"account {row.account} is required for {row.object}, found {account.number}: "
                "nothing more is sent for it, the next delivery ends it"
            )
        require_agreement(account, positions)
        self._desk, self._clock = desk, desk.broker.clock()
        orders = desk.store.journal.orders(row.id)
        ours, waiting = _ours(desk, account, positions, orders), desk.broker.orders("open")
        symbols = {*row.weights, *(o.symbol for o in orders), *(p.symbol for p in ours)}
        symbols |= {o.symbol for o in waiting if needs_close(o)}
        self._marks = marks(desk, symbols, self._clock.now)
        self._after = ProForma(account, positions, ours)
        cash, whole = float(account.cash), float(account.equity)
        equity = owned.managed_equity(cash, self._after.gross, desk.capital, whole)
        self._after.reserve(waiting, self._prices(orders))
        state = desk.store.states.get(row.account)
        now, today = self._clock.now, figures_of(desk, account, self._clock.now)
        self._limits = raised(desk.limits, state.accepted, state.accepted_at, now, today.peak_at)
        self._sent = {order.id for order in orders if order.sent_at is not None}
        self._sent_by_others = today.orders_today - len(self._sent)
        begun = _begun(row, account, self._clock, state.state, today)
        self._begun = replace(begun, equity=equity)

    @property
    def now(self) -> dt.datetime:
        """The market's time, as the broker said it last."""
        heard = self._desk.broker.trading.now
        return self._clock.now if heard is None else max(heard, self._clock.now)

    def deny(self, order: OrderRow | PlannedOrder) -> Denial | None:
        """Why it may not leave, or None: then it counts as filled for those after it.

        An order that was sent before and may have to be sent again counts once.
        """
        asked = order if isinstance(order, PlannedOrder) else planned(order)
        key = f"{order.symbol}-{order.side}" if isinstance(order, PlannedOrder) else order.id
        denial = deny(asked, self._situation(asked, key), self._limits)
        if denial is None:
            self._sent.add(key)
            self._after.fill(asked)
        return denial

    def _situation(self, order: PlannedOrder, key: str) -> Situation:
        now, after, others = self.now, self._after, len(self._sent - {key})
        return replace(
            self._begun,
            gross=after.gross,
            is_open=self._begun.is_open and now < self._clock.next_close,
            now=now,
            position=after.values.get(order.symbol, 0.0),
            held=after.shares.get(order.symbol, Decimal(0)),
            cash=after.cash,
            unpriced=after.unpriced,
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
    today: Figures,
) -> Situation:
    """What stays as it is for the whole phase.

    A file dropped by hand has no forecast. Any other must say what its forecast covered; where the
    training's age does not matter the file has no end of it.
    """
    is_manual = row.policy == MANUAL
    return Situation(
        equity=math.nan,
        gross=0.0,
        is_open=clock.is_open,
        state=state,
        is_blocked=account.trading_blocked,
        closes_at=clock.next_close,
        expires_at=row.expires_at,
        trained_until=None if is_manual else row.trained_until,
        coverage=None if is_manual else math.nan if row.coverage is None else row.coverage,
        day_return=today.day_return,
        drawdown=today.drawdown,
        reject_rate=today.reject_rate,
    )


def _ours(
    desk: Desk, account: Account, positions: Sequence[Position], orders: Iterable[OrderRow]
) -> tuple[Position, ...]:
    """The part of each position that is ours, with what an order under way may have bought since
    the journal was told."""
    found = {p.symbol: p.qty for p in managed(desk, positions, account.number)}
    for order in orders:
        if order.side is Side.BUY and order.sent_at is not None and not order.status.is_final:
            rest = order.qty - order.filled_qty
            found[order.symbol] = found.get(order.symbol, Decimal(0)) + rest
    return owned.managed(positions, found)


def planned(order: OrderRow) -> PlannedOrder:
    """A journaled order as the gate's rules take it: at its limit where it has one."""
    price = order.reference_price if order.limit_price is None else order.limit_price
    return PlannedOrder(order.symbol, order.side, order.qty, price, order.reason)

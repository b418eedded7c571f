"""The sandbox's broker: one account that trades against the market's bars. No HTTP.

What an order may say is `sandbox.orders`' business, what the account allows `sandbox.admission`'s,
how orders meet bars `sandbox.matching`'s, what is written down of it `sandbox.bookings`'; here is
what happens, and in which order of time.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from astra.fills import fee_of_sale
from astra.records import Side
from astra.sessions import next_session, session_at
from sandbox import bookings
from sandbox.admission import (
    check_asset,
    check_funds,
    check_shares,
    check_size,
    check_wash_trade,
)
from sandbox.amendments import Renaming
from sandbox.books import Books, Line
from sandbox.lag import Told
from sandbox.market import CorporateAction, Market
from sandbox.matching import Fill, first_part, most_qty, next_fill
from sandbox.orders import (
    BAD_REQUEST,
    COLLAR,
    FORBIDDEN,
    NOT_FOUND,
    UNPROCESSABLE,
    Mishap,
    Order,
    Refusal,
    Ticket,
)
from sandbox.valuation import Balances, Lot, Valuation

_TICK = timedelta(microseconds=1)
_NO_MISHAP = Mishap()


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account is like. Basis points: half the spread on both sides, the fee on sales."""

    cash: Decimal = Decimal(100_000)
    account_type: Literal["margin", "cash"] = "margin"
    half_spread_bp: Decimal = Decimal(2)
    fee_bp: Decimal = Decimal("0.3")
    pays_dividends: bool = False  # Alpaca's paper accounts do not
    whole_shares_only: frozenset[str] = frozenset()


class Broker:
    """One account. Not thread-safe: callers hold one lock, and `settle` before they look."""

    def __init__(self, market: Market, terms: Terms) -> None:
        self.market = market
        self.terms = terms
        self.reset()

    def reset(self) -> None:
        """A new account with its first deposit: new number, no orders, no positions."""
        alphabet = string.ascii_uppercase + string.digits
        self.account_number = "PA3" + "".join(secrets.choice(alphabet) for _ in range(9))
        self.opened_at = self._settled_to = self._stamp = self.market.clock.now()
        self.books = Books()
        self.books.book(Line("CSD", self.opened_at, self.terms.cash, description="deposit"))
        self.valuation = Valuation(self.market, self.books)
        self._told = Told(self.market, self.books, self.valuation)
        self.orders: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._open: list[Order] = []
        self._sold: dict[tuple[str, datetime], Decimal] = {}  # USD of a symbol at a moment
        self._last_sale = self.opened_at  # that was told, at a later bar perhaps
        self._renamed = len(self.market.amendments.renamings)  # of them, how many were booked

    def open_orders(self) -> list[Order]:
        """Oldest first."""
        self._open = [order for order in self._open if order.is_open]
        return list(self._open)

    def order(self, order_id: str) -> Order:
        """Raises: Refusal 404."""
        return self._found(self.orders.get(order_id), order_id)

    def order_by_client_id(self, client_order_id: str) -> Order:
        """Raises: Refusal 404."""
        return self._found(self._by_client_id.get(client_order_id), client_order_id)

    def balances(self) -> Balances:
        """As the broker tells them: with the fills that it has not taken in yet left out."""
        return self._told.balances(self.open_orders(), on_margin=self._on_margin)

    def lots(self) -> list[Lot]:
        """All positions by symbol, as the broker tells them."""
        told = self._told.valuation()
        return told.lots({symbol: self._on_sale(symbol) for symbol in told.held})

    def submit(self, ticket: Ticket, mishap: Mishap = _NO_MISHAP) -> Order:
        """Accept an order and, on the stepped clock, fill at once what fills at once.

        Raises:
            Refusal: with Alpaca's code and sentence; nothing has changed.
        """
        now = self.market.clock.now()
        mark = self._admit(ticket, now)
        free = self.books.qty(ticket.symbol) - self._on_sale(ticket.symbol)
        order = Order(
            ticket,
            accepted_at=now,
            cursor=self._trades_after(ticket, now),
            submitted_at=max(now, self._stamp + _TICK),
            expires_at=next_session(now).closes_at if ticket.time_in_force == "day" else None,
            reserve_price=ticket.limit_price or mark * COLLAR,
            most_qty=most_qty(ticket, free, mark),
            first_fill=first_part(ticket, mishap.partial_fill),
            mishap=mishap,
            record_name=self.market.record_name(ticket.symbol),
        )
        check_funds(order, self._buying_power())
        self._stamp = order.submitted_at
        self.orders[order.id] = self._by_client_id[ticket.client_order_id] = order
        self._open.append(order)
        self._trade_until(now)
        return order

    def cancel(self, order_id: str) -> None:
        """Raises: Refusal, 404 or 422 (already final)."""
        order = self.order(order_id)
        _check_open(order)
        order.status, order.canceled_at = "canceled", self.market.clock.now()

    def replace(self, order_id: str, ticket: Ticket) -> Order:
        """Put `ticket` in the place of an open order that has not begun to trade.

        Raises:
            Refusal: 404, 422, or as `submit`; then the old order stays as it was.
        """
        old = self.order(order_id)
        _check_open(old)
        if old.filled_qty:
            raise Refusal(422, UNPROCESSABLE, "cannot replace a partially filled order")
        before, old.status = old.status, "replaced"
        try:
            new = self.submit(ticket)
        except Refusal:
            old.status = before
            if old not in self._open:
                self._open.append(old)
            raise
        new.replaces, old.replaced_by, old.replaced_at = old.id, new.id, new.accepted_at
        return new

    def settle(self) -> None:
        """Do all that was due until the market's now, in the order of its time."""
        now = self.market.clock.now()
        self._end_stuck(now)
        for renaming in self.market.amendments.renamings[self._renamed :]:
            self._settle_until(renaming.at)
            self._rename(renaming)
            self._renamed += 1
        self._settle_until(now)

    def _settle_until(self, now: datetime) -> None:
        if now != self._settled_to:
            for action in self._actions_due(now):
                self._trade_until(action.at - _TICK)
                self._act(action)
        self._trade_until(now)
        self._settled_to = now

    def _rename(self, renaming: Renaming) -> None:
        """Call off a ticker's orders, and hold under its new name what is held."""
        self._call_off(renaming.before, renaming.at)
        held = self.books.holdings.get(renaming.before)
        if held is not None:
            for line in bookings.of_renaming(renaming, held):
                self.books.book(line)

    def _call_off(self, symbol: str, at: datetime) -> None:
        for order in self.open_orders():
            if order.ticket.symbol == symbol:
                order.status, order.canceled_at = "canceled", at

    def _end_stuck(self, now: datetime) -> None:
        for order in self.open_orders():
            if not order.is_stuck:
                continue
            if order.mishap.reject:
                order.status, order.failed_at = "rejected", now
            else:
                order.status, order.canceled_at = "canceled", now

    def _admit(self, ticket: Ticket, now: datetime) -> Decimal:
        """The last price of a ticket's symbol, if all but its funds are in order."""
        symbol, is_open = ticket.symbol, session_at(now) is not None
        check_asset(ticket, self.market, self.terms.whole_shares_only, is_open=is_open)
        if ticket.client_order_id in self._by_client_id:
            raise Refusal(422, BAD_REQUEST, "client_order_id must be unique")
        check_wash_trade(ticket, self.open_orders())
        mark = self.valuation.mark(symbol)
        if mark is None:
            raise Refusal(403, FORBIDDEN, f"no trade of {symbol} is known yet")
        held = self.books.qty(symbol)
        if ticket.side is Side.SELL:
            check_shares(ticket, held, self._on_sale(symbol), mark)
        check_size(ticket, held, mark)
        return mark

    def _trades_after(self, ticket: Ticket, now: datetime) -> datetime:
        """A purchase trades no earlier than the sales told before it, as in `model.backtest`: on
        the stepped clock they are told at once, also one whose symbol prints no bar at first."""
        return max(now, self._last_sale - _TICK) if ticket.side is Side.BUY else now

    def _trade_until(self, now: datetime) -> None:
        half_spread = self.terms.half_spread_bp
        while True:
            due = [
                (fill, order)
                for order in self.open_orders()
                if not order.is_stuck
                and (fill := next_fill(self.market, order, now, half_spread)) is not None
            ]
            if not due:
                break
            fill, order = min(due, key=lambda item: item[0].at)
            self._book(order, fill)
        for order in self.open_orders():
            if order.expires_at is not None and order.expires_at <= now:
                order.status, order.expired_at = "expired", order.expires_at

    def _book(self, order: Order, fill: Fill) -> None:
        ticket, value = order.ticket, fill.qty * fill.price
        order.first_fill = None
        order.cursor = max(order.cursor, fill.at)
        order.filled_qty += fill.qty
        order.filled_value += value
        order.filled_at = fill.at
        is_done = ticket.qty is None or order.filled_qty == ticket.qty
        order.status = "filled" if is_done else "partially_filled"
        self.books.book(bookings.of_fill(order, fill))
        if ticket.side is Side.BUY:
            return
        self._last_sale = max(self._last_sale, fill.at)
        if fee := self._fee(ticket.symbol, fill.at, value):
            self.books.book(bookings.of_fee(ticket.symbol, fill, fee))

    def _fee(self, symbol: str, at: datetime, value: Decimal) -> Decimal:
        """Of a sale worth `value`: all that is sold of a symbol at one moment is rounded up to a
        cent together, so that a sale in parts costs what it costs in one."""
        before = self._sold.get((symbol, at), Decimal(0))
        self._sold[symbol, at] = before + value
        rate = self.terms.fee_bp
        return fee_of_sale(before + value, rate) - fee_of_sale(before, rate)

    def _actions_due(self, now: datetime) -> list[CorporateAction]:
        symbols = {*self.books.holdings, *(order.ticket.symbol for order in self.open_orders())}
        found = (action for symbol in symbols for action in self.market.actions(symbol))
        return sorted(
            (action for action in found if self._settled_to < action.at <= now),
            key=lambda action: (action.at, action.ticker, action.kind != "split"),
        )

    def _act(self, action: CorporateAction) -> None:
        """Split a holding and call off its orders; pay a dividend where the account gets any."""
        if action.kind == "split":
            self._call_off(action.ticker, action.at)
        held = self.books.holdings.get(action.ticker)
        if held is None:
            return
        if action.kind == "split":
            self.books.book(bookings.of_split(action, held))
        elif self.terms.pays_dividends:
            known = self.market.actions(action.ticker)
            self.books.book(bookings.of_dividend(action, held, known))

    @property
    def _on_margin(self) -> bool:
        return self.terms.account_type == "margin"

    def _buying_power(self) -> Decimal:
        """What is left to buy with; where what is told lags, no more than that."""
        open_orders = self.open_orders()
        known = self.valuation.balances(open_orders, on_margin=self._on_margin)
        told = self._told.balances(open_orders, on_margin=self._on_margin)
        return min(known.buying_power, told.buying_power)

    def _on_sale(self, symbol: str) -> Decimal:
        """Shares that open sells hold back."""
        return sum(
            (
                order.leaves_qty
                for order in self.open_orders()
                if order.ticket.symbol == symbol and order.ticket.side is Side.SELL
            ),
            Decimal(0),
        )

    @staticmethod
    def _found(order: Order | None, asked: str) -> Order:
        if order is None:
            raise Refusal(404, NOT_FOUND, f"order not found for {asked}")
        return order


def _check_open(order: Order) -> None:
    if not order.is_open:
        text = f'order is already in "{order.status}" state'
        raise Refusal(422, UNPROCESSABLE, text)

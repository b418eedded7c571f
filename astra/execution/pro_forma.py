"""The account as it will be once what is open, and what the gate let through, is filled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from astra.allocation import TICKER
from astra.execution.order_id import is_ours
from astra.records import OPTION, SHARE, Account, Order, PlannedOrder, Position, Side


class ProForma:
    """Cash, shares that may be sold, and values of what is ours, USD."""

    def __init__(
        self, account: Account, positions: Iterable[Position], ours: Iterable[Position]
    ) -> None:
        self.shares = {p.symbol: p.qty for p in positions}
        self.values = {p.symbol: float(p.qty) * p.market_price for p in ours}
        self.unpriced = ""
        settled = account.settled_cash
        self._is_settled_only = settled is not None
        self.cash = float(account.cash if settled is None else settled)

    @property
    def gross(self) -> float:
        return sum(self.values.values())

    def reserve(self, waiting: Iterable[Order], prices: Mapping[str, float]) -> None:
        """Count what is open at the broker: purchases as filled, shares on sale as gone.

        A person's purchase takes cash and no weight. One at a price that nobody knows is named.
        """
        for order in waiting:
            if order.side is Side.SELL:
                self._take(order.symbol, order.qty - order.filled_qty)
                continue
            value, is_known_cash = _bound(order, prices), self._is_settled_only
            if math.isnan(value):
                if not is_known_cash:
                    name = order.client_order_id or order.id
                    self.unpriced = f"the open order {name} to buy {order.symbol}"
                continue
            if is_ours(order.client_order_id):
                self._add(order.symbol, value)
            self.cash -= 0.0 if is_known_cash else value  # settled cash is without it already

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


def needs_close(order: Order) -> bool:
    """Whether only a last close tells what an open purchase will take."""
    has_price = order.limit_price is not None or order.notional is not None
    is_share = order.asset_class == SHARE and TICKER.fullmatch(order.symbol) is not None
    return order.side is Side.BUY and is_share and not has_price


def _bound(order: Order, prices: Mapping[str, float]) -> float:
    """USD that an open purchase will still take; NaN where nobody can say."""
    if order.notional is not None:
        return order.notional - float(order.filled_qty) * (order.filled_average_price or 0.0)
    price = order.limit_price
    if price is None:
        price = prices.get(order.symbol, math.nan) if order.asset_class == SHARE else math.nan
    unit = 100 if order.asset_class == OPTION else 1
    return float(order.qty - order.filled_qty) * price * unit

"""What trading needs at hand: broker, store and rules; and the risk gate with the account's state.

Gathers for `rebalance.py`, which decides; nothing is sent from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from astra.alpaca import Alpaca
from astra.rebalance import Holdings, Plan, Rules, deny, managed, plan_orders
from astra.records import MarketClock, PlannedOrder, Side
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.journal import OrderRow


@dataclass(frozen=True, slots=True)
class Desk:
    """One account and its books. `capital` in USD, 0 = the whole account."""

    broker: Alpaca
    store: Store
    rules: Rules
    max_names: int
    capital: float
    fill_timeout: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Desk:
        """Opens the store and checks the broker's keys.

        Raises:
            ConfigError: a setting is missing or unusable.
        """
        return cls(
            broker=Alpaca.from_settings(settings),
            store=open_store(settings.database_url),
            rules=Rules(settings.drift_band, settings.min_order_usd, settings.max_order_weight),
            max_names=settings.k,
            capital=settings.capital,
            fill_timeout=settings.fill_timeout,
        )

    def plan(self, weights: Mapping[str, float]) -> Plan:
        """The plan from the broker's account as it is now."""
        return plan_orders(weights, self.holdings(weights), self.rules)

    def holdings(self, weights: Mapping[str, float]) -> Holdings:
        """Account, our positions, prices and assets as the broker has them now."""
        account = self.broker.account()
        ours = self._ours(account.number)
        positions = managed(self.broker.positions(), ours)
        symbols = sorted({p.symbol for p in positions} | weights.keys())
        value = sum(float(p.qty) * p.market_price for p in positions)
        equity, cash = float(account.equity), float(account.cash)
        if self.capital:
            equity = min(equity, self.capital)
            cash = min(cash, equity - value)
        prices = self.broker.latest_prices(symbols) if symbols else {}
        assets = self.broker.assets(symbols) if symbols else {}
        return Holdings(positions, prices, assets, equity, cash, float(account.buying_power))

    def _ours(self, account: str) -> dict[str, Decimal]:
        ours: dict[str, Decimal] = {}
        for order in self.store.journal.orders_of_account(account):
            sign = 1 if order.side is Side.BUY else -1
            ours[order.symbol] = ours.get(order.symbol, Decimal(0)) + sign * order.filled_qty
        return ours


class Gate:
    """The risk gate with what it has to know: the account as it was, plus what it let through."""

    def __init__(self, desk: Desk, clock: MarketClock) -> None:
        account = desk.broker.account()
        self._rules = desk.rules
        self._is_open = clock.is_open
        self._equity = float(account.equity)
        self._gross = sum(float(p.qty) * p.market_price for p in desk.broker.positions())

    def deny(self, order: OrderRow) -> str | None:
        """Code and reason, or None: then the order counts as filled for those after it."""
        planned = PlannedOrder(
            order.symbol, order.side, order.qty, order.reference_price, order.reason
        )
        denial = deny(
            planned,
            equity=self._equity,
            gross=self._gross,
            is_open=self._is_open,
            rules=self._rules,
        )
        if denial is not None:
            return f"{denial.code}: {denial.reason}"
        value = float(order.qty) * order.reference_price
        self._gross += value if order.side is Side.BUY else -value
        return None

"""What trading needs at hand: broker, store and rules.

Gathers for `astra.rebalance`, which decides; nothing is sent from here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from astra.alpaca import Alpaca
from astra.owned import Fill, managed, own_shares
from astra.rebalance import Holdings, Plan, Rules, plan_both, plan_orders
from astra.records import Account, Position, Side
from astra.risk import Limits
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.journal import AllocationRow


@dataclass(frozen=True, slots=True)
class Recorded:
    """The account as it was saved."""

    account: Account
    positions: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """One account and its books.

    Attributes:
        rules: of the plan.
        limits: of the risk gate.
        capital: USD managed at most, 0 = the whole account.
        fill_timeout: seconds to wait for the fills of a phase.
        doubt_seconds: how long an order that was sent may still be on its way.
        confirm_seconds: how long positions and cash at the broker may lag its own fills.
        max_books_difference: between our books and the broker's, as a share of equity; more halts.
    """

    broker: Alpaca
    store: Store
    rules: Rules
    limits: Limits
    max_names: int
    capital: float
    fill_timeout: float
    doubt_seconds: float = 20.0
    confirm_seconds: float = 12.0
    max_books_difference: float = 0.001

    @classmethod
    def from_settings(cls, settings: Settings) -> Desk:
        """Opens the store and checks the broker's keys.

        Raises:
            ConfigError: a setting is missing or unusable.
        """
        return cls(
            broker=Alpaca.from_settings(settings),
            store=open_store(settings.database_url),
            rules=Rules(
                drift_band=settings.drift_band,
                min_order_usd=settings.min_order_usd,
                hold=frozenset(settings.on_hold),
                cash_buffer=settings.cash_buffer,
                max_turnover=settings.max_turnover,
            ),
            limits=Limits(**{f.name: getattr(settings, f.name) for f in fields(Limits)}),
            max_names=settings.k,
            capital=settings.capital,
            fill_timeout=settings.fill_timeout,
            doubt_seconds=settings.vendor_timeout,
            max_books_difference=settings.max_books_difference,
        )

    def plan(self, row: AllocationRow, *, sold: float = 0.0) -> Plan:
        """The plan of an allocation from the broker's account as it is now.

        Args:
            sold: USD sold under this allocation already.
        """
        holdings = replace(self.holdings(row.weights), sold=sold)
        return plan_orders(row.weights, holdings, self.rules_of(row))

    def preview(self, row: AllocationRow) -> Plan:
        """Both phases of an allocation's plan, its sells taken as filled at the last prices."""
        return plan_both(row.weights, self.holdings(row.weights), self.rules_of(row))

    def rules_of(self, row: AllocationRow) -> Rules:
        """The rules, which leave alone what the allocation keeps."""
        return replace(self.rules, hold=self.rules.hold | row.keep)

    def holdings(self, weights: Mapping[str, float]) -> Holdings:
        """Account, our positions, prices and assets as the broker has them now."""
        account = self.broker.account()
        positions = managed(self.broker.positions(), self.own_shares(account.number))
        symbols = sorted({p.symbol for p in positions} | weights.keys())
        value = sum(float(p.qty) * p.market_price for p in positions)
        equity, cash = float(account.equity), float(account.cash)
        if self.capital:
            equity = min(equity, self.capital)
            cash = min(cash, equity - value)
        prices = self.broker.latest_prices(symbols) if symbols else {}
        assets = self.broker.assets(symbols) if symbols else {}
        return Holdings(positions, prices, assets, equity, cash, float(account.buying_power))

    def own_shares(self, account: str) -> dict[str, Decimal]:
        """What our own orders hold of each symbol, splits applied."""
        orders = self.store.journal.orders_of_account(account)
        fills = [
            Fill(o.symbol, o.filled_qty * (1 if o.side is Side.BUY else -1), o.updated_at)
            for o in orders
            if o.filled_qty > 0
        ]
        known = {a.id: a for a in self.store.books.activities(account)}
        known |= {a.id: a for a in self.broker.activities(kinds=("SPLIT",))}
        return own_shares(fills, known.values())

    def record_account(self, at: dt.datetime, allocation_id: str | None = None) -> Recorded:
        """Save the account as the broker has it, with the part of each position that is ours."""
        account, positions = self.broker.account(), self.broker.positions()
        own = {p.symbol: p.qty for p in managed(positions, self.own_shares(account.number))}
        self.store.books.record_account_summary(account, positions, at, allocation_id, own)
        return Recorded(account, positions)

"""What trading needs at hand: broker, store and rules.

Gathers for `astra.rebalance`, which decides; nothing is sent from here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from astra.alpaca import Alpaca
from astra.errors import TemporaryError
from astra.owned import managed, managed_equity, own_shares, renamed
from astra.phases import plan_both
from astra.pricing import CLOSE_SESSIONS, Reference, is_fresh, open_moment, references
from astra.rebalance import Holdings, Plan, Rules, plan_orders
from astra.records import Account, Position
from astra.risk import Limits
from astra.sessions import BAR_SECONDS, last_sessions
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.journal import AllocationRow
from astra.tactics import Style

_MARKET = Style()
MOST_APART = 0.2  # of equity: what moves between two answers, or is neither cash nor a position
NEW_NAME = dt.timedelta(days=30)  # for so long a file may know a symbol by its old name


@dataclass(frozen=True, slots=True)
class Recorded:
    """The account as it was saved or compared."""

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
        adopt: symbols managed though our orders did not open them; None = all.
        max_books_difference: between our books and the broker's, as a share of equity; more halts.
        style: how orders are sent.
        rebalance_on: decision, drift or file: which files are traded.
        drift_threshold: share of equity from which on `drift` trades.
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
    adopt: frozenset[str] | None = frozenset()
    max_books_difference: float = 0.001
    style: Style = _MARKET
    rebalance_on: str = "decision"
    drift_threshold: float = 0.05

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
                collar=settings.limit_collar_bp / 1e4 if settings.order_style == "limit" else 0.0,
            ),
            limits=Limits(**{f.name: getattr(settings, f.name) for f in fields(Limits)}),
            max_names=settings.k,
            capital=settings.capital,
            fill_timeout=settings.fill_timeout,
            doubt_seconds=settings.vendor_timeout,
            adopt=settings.adopted,
            max_books_difference=settings.max_books_difference,
            style=Style(
                settings.order_style, settings.limit_collar_bp, minutes=settings.twap_minutes
            ),
            rebalance_on=settings.rebalance_on,
            drift_threshold=settings.drift_threshold,
        )

    def plan(self, row: AllocationRow, *, sold: float = 0.0, seen: Recorded | None = None) -> Plan:
        """The plan of an allocation from the broker's account as it is now.

        Args:
            sold: USD sold under this allocation already.
            seen: see `holdings`.
        """
        row = self.under_new_names(row)
        holdings = replace(self.holdings(row.weights, row.as_of, seen), sold=sold)
        return plan_orders(row.weights, holdings, self.rules_of(row))

    def preview(self, row: AllocationRow) -> Plan:
        """Both phases of an allocation's plan, its sells taken as filled at the last prices."""
        row = self.under_new_names(row)
        holdings = self.holdings(row.weights, row.as_of)
        return plan_both(row.weights, holdings, self.rules_of(row))

    def under_new_names(self, row: AllocationRow) -> AllocationRow:
        """An allocation that names symbols as they are now, where they are new since a month.

        After that an old symbol may be another company's.
        """
        lines = self.store.books.acted(row.account)
        found = renamed(lines, row.received_at - NEW_NAME)
        new = {old: name for old, name in found.items() if name not in row.weights}
        weights = {new.get(symbol, symbol): weight for symbol, weight in row.weights.items()}
        return replace(row, weights=weights, keep=frozenset(new.get(s, s) for s in row.keep))

    def rules_of(self, row: AllocationRow) -> Rules:
        """The rules within the gate's limits, which leave alone what the allocation and the
        settings keep, by any name that it had before."""
        names = renamed(self.store.books.acted(row.account))
        held = {names[symbol] for symbol in names.keys() & self.rules.hold}
        return replace(
            self.rules,
            hold=self.rules.hold | held | row.keep,
            max_position_weight=self.limits.max_position_weight,
            max_order_weight=self.limits.max_order_weight,
            max_order_usd=self.limits.max_order_usd,
        )

    def holdings(
        self,
        weights: Mapping[str, float],
        as_of: dt.datetime | None = None,
        seen: Recorded | None = None,
    ) -> Holdings:
        """Account, our positions, prices and assets as the broker has them now.

        Args:
            as_of: of the decision whose prices are wanted beside them.
            seen: the account as a reconciliation has just compared it; None = asked for now.

        Raises:
            TemporaryError: the broker does not answer, or its positions contradict its account.
        """
        seen = seen or Recorded(self.broker.account(), self.broker.positions())
        account = seen.account
        require_agreement(account, seen.positions)
        positions = self.managed(seen.positions, account.number)
        symbols = sorted({p.symbol for p in positions} | weights.keys())
        value = sum(float(p.qty) * p.market_price for p in positions)
        cash, whole = float(account.cash), float(account.equity)
        equity = managed_equity(cash, value, self.capital, whole)
        if account.settled_cash is not None:
            cash = min(cash, float(account.settled_cash))
        if self.capital:
            cash = min(cash, equity - value)
        now = self.broker.clock().now
        prices = self._references(symbols, now)
        return Holdings(
            positions=positions,
            prices={symbol: found.price for symbol, found in prices.items()},
            assets=self.broker.assets(symbols) if symbols else {},
            equity=equity,
            cash=cash,
            buying_power=float(account.buying_power),
            decision_prices=self._closes(symbols, as_of) if as_of else {},
            sources={s: f"a {p.source}" for s, p in prices.items() if p.source != "trade"},
            settles_later=account.settled_cash is not None,
        )

    def managed(self, positions: Sequence[Position], account: str) -> tuple[Position, ...]:
        """The part of each position that is ours: what our orders opened, and what is adopted."""
        every = self.adopt is None
        adopted = {p.symbol: p.qty for p in positions if every or p.symbol in (self.adopt or ())}
        return managed(positions, {**self.own_shares(account), **adopted})

    def _references(self, symbols: Sequence[str], now: dt.datetime) -> dict[str, Reference]:
        if not symbols:
            return {}
        at = open_moment(now)
        trades = self.broker.last_trades(symbols)
        old = [symbol for symbol in symbols if not is_fresh(trades.get(symbol), at)]
        quotes = self.broker.quotes(old) if old else {}
        closes = self._closes(old, now) if old else {}
        return references(symbols, at, trades, quotes, closes)

    def _closes(self, symbols: Sequence[str], at: dt.datetime) -> dict[str, float]:
        """The last stored close of each symbol at `at`, of the last two sessions then, USD."""
        start = last_sessions(CLOSE_SESSIONS, at)[0].opens_at
        end = at - dt.timedelta(seconds=BAR_SECONDS - 1)  # only bars that had closed
        rows = self.store.prices.read(symbols, start, end, columns=("ticker", "close"))
        return dict(zip(rows["ticker"].to_pylist(), rows["close"].to_pylist(), strict=True))

    def own_shares(self, account: str) -> dict[str, Decimal]:
        """What our own orders hold of each symbol, splits and new names on record applied."""
        books = self.store.books
        # Where only our orders moved shares, their fills say it all.
        return own_shares(self.store.journal.fills(account), books.moved_by_others(account))

    def record_account(self, at: dt.datetime, allocation_id: str | None = None) -> Recorded:
        """Save the account as the broker has it, with the part of each position that is ours."""
        account, positions = self.broker.account(), self.broker.positions()
        own = {p.symbol: p.qty for p in self.managed(positions, account.number)}
        self.store.books.record_account_summary(account, positions, at, allocation_id, own)
        return Recorded(account, positions)


def require_agreement(account: Account, positions: Sequence[Position]) -> None:
    """A list of positions that lacks some must not be planned on."""
    told, cash = float(account.equity), float(account.cash)
    found = cash + sum(float(p.qty) * p.market_price for p in positions)
    if not abs(told - found) <= MOST_APART * max(abs(told), abs(found)):
        raise TemporaryError(
            f"the broker's equity must be about cash and positions to plan on them, found "
            f"{told:.2f} USD, and {found:.2f} with {cash:.2f} of cash and {len(positions)} "
            "positions: ask again later"
        )

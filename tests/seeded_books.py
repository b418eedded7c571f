"""A store with the books of a made-up account, for tests of whoever reads them."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pandas as pd

from astra.predictions import QUANTILE_COLUMNS
from astra.records import Account, Activity, OrderStatus, Position, Side
from astra.sessions import HORIZON_BARS, Session, last_sessions
from astra.store import Store
from astra.store.books import Member
from astra.store.journal import AllocationRow, OrderRow

NUMBER = "PA3SEEDED"
NOW = dt.datetime(2026, 11, 20, 19, 5, tzinfo=dt.UTC)
MEMBERS = {
    "AAPL": ("Apple Inc.", "Information Technology"),
    "AMGN": ("Amgen Inc.", "Health Care"),
    "BRK.B": ("Berkshire Hathaway Inc.", "Financials"),
    "CAT": ("Caterpillar Inc.", "Industrials"),
    "DUK": ("Duke Energy Corporation", "Utilities"),
    "GIS": ("General Mills, Inc.", "Consumer Staples"),
    "HD": ("The Home Depot, Inc.", "Consumer Discretionary"),
    "JNJ": ("Johnson & Johnson", "Health Care"),
    "KO": ("The Coca-Cola Company", "Consumer Staples"),
    "MSFT": ("Microsoft Corporation", "Information Technology"),
    "OXY": ("Occidental Petroleum Corporation", "Energy"),
    "PARA": ("Paramount Global", "Communication Services"),
    "PAYC": ("Paycom Software, Inc.", "Industrials"),
    "SO": ("The Southern Company", "Utilities"),
    "V": ("Visa Inc.", "Financials"),
    "XOM": ("Exxon Mobil Corporation", "Energy"),
}


@dataclass
class Trader:
    """A made-up account that rebalances into half of the tickers at every decision time."""

    cash: Decimal = Decimal(100_000)
    shares: dict[str, Decimal] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    lines: list[Activity] = field(default_factory=list)

    def equity(self, prices: dict[str, float]) -> Decimal:
        held = sum(float(q) * prices[s] for s, q in self.shares.items())
        return self.cash + Decimal(f"{held:.2f}")

    def trade(self, weights: dict[str, float], prices: dict[str, float], at: dt.datetime) -> None:
        equity = float(self.equity(prices))
        wanted = {s: Decimal(int(w * equity / prices[s])) for s, w in weights.items()}
        for symbol in sorted(self.shares.keys() | wanted.keys()):
            change = wanted.get(symbol, Decimal(0)) - self.shares.get(symbol, Decimal(0))
            if change:
                self._fill(symbol, change, Decimal(f"{prices[symbol]:.2f}"), at)

    def _fill(self, symbol: str, change: Decimal, price: Decimal, at: dt.datetime) -> None:
        name, side = f"fill-{len(self.lines):05d}", Side.BUY if change > 0 else Side.SELL
        self.lines.append(
            Activity(name, "FILL", at, -change * price, symbol, change, price, side, f"o-{name}")
        )
        held = self.shares.pop(symbol, Decimal(0)) + change
        if held:
            self.shares[symbol] = held
        if change > 0:
            before = self.cost.get(symbol, 0.0) * float(held - change)
            self.cost[symbol] = (before + float(change * price)) / float(held)
        self.cash -= change * price

    def positions(self, prices: dict[str, float]) -> list[Position]:
        return [Position(s, q, prices[s], self.cost[s]) for s, q in sorted(self.shares.items())]


def bars_of(sessions: tuple[Session, ...], seed: int) -> pd.DataFrame:
    """Random walks of all members and SPY, closed at NOW."""
    rng = np.random.default_rng(seed)
    grid = np.concatenate([s.grid() for s in sessions])
    grid = grid[grid + 300 <= NOW.timestamp()]
    market = rng.normal(3e-6, 4e-4, len(grid))
    frames = []
    for i, ticker in enumerate([*MEMBERS, "SPY"]):
        own = np.zeros(len(grid)) if ticker == "SPY" else rng.normal(0, 1.1e-3, len(grid))
        close = (40 + 37.5 * i) * np.exp(np.cumsum(market + own))
        frame = {"ticker": ticker, "ts": grid, "open": close, "high": close * 1.0005,
                 "low": close * 0.9995, "close": close, "volume": 1000}  # fmt: skip
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def forecasts_of(prices: dict[str, float], as_of: dt.datetime, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for ticker in MEMBERS:
        drift = rng.normal(0, 4e-4)
        for step in range(1, HORIZON_BARS + 1):
            middle = prices[ticker] * math.exp(drift * step)
            spread = 1.2e-3 * math.sqrt(step) * prices[ticker]
            around = zip(QUANTILE_COLUMNS, (-1.64, -1.28, -0.67, 0, 0.67, 1.28, 1.64), strict=True)
            rows.append(
                {"model_id": "nbeats-3f2a9c", "as_of": int(as_of.timestamp()), "ticker": ticker,
                 "step": step, "ts": int(as_of.timestamp()) + 300 * (step - 1), "close": middle}
                | {name: middle + z * spread for name, z in around}
            )  # fmt: skip
    return pd.DataFrame(rows)


def decision_of(
    weights: dict[str, float], as_of: dt.datetime, **changes: object
) -> dict[str, object]:
    return {
        "as_of": as_of.isoformat(),
        "policy": "measured",
        "model_id": "nbeats-3f2a9c",
        "skill": {"ic": 0.037, "t": 2.4, "days": 24, "on": True},
        "method": "max_sharpe",
        "reason": "trade: gain 6.8 bp > cost 2.9 bp",
        "sharpe": 1.31,
        "bound_gap": 0.0021,
        "tau": 0.62,
        "gain_bp": 6.8,
        "cost_bp": 2.9,
        "weights": weights,
        "targets": {"measured": weights},
        "left_out": {"PARA": "its last bar is 75 minutes old", "GIS": "11 of 60 bars"},
        "market": "simulated:1",
        "trained_on": "simulated",
        **changes,
    }


def seed_store(
    store: Store,
    days: int = 8,
    seed: int = 7,
    benchmark: bool = True,
    market: str = "simulated:1",
) -> None:
    """Books of `days` sessions: bars, hourly rebalances, summaries, forecasts, one decision."""
    sessions = last_sessions(days + 2, NOW)
    bars = bars_of(sessions, seed)
    store.prices.upsert(bars if benchmark else bars[bars["ticker"] != "SPY"], NOW)
    store.claim_market(market)
    store.record_now(NOW)
    store.books.record_universe(
        [Member(t, name, sector, "", True) for t, (name, sector) in MEMBERS.items()],
        sessions[0].opens_at,
    )
    rng, trader = np.random.default_rng(seed), Trader()
    closes = bars.pivot_table(index="ts", columns="ticker", values="close")
    moments = [t for s in sessions[2:] for t in s.decision_times() if t <= NOW]
    for as_of in moments:
        row = closes[closes.index + 300 <= as_of.timestamp()].iloc[-1]
        prices = {str(ticker): float(price) for ticker, price in row.items()}
        chosen = sorted(rng.choice(sorted(MEMBERS), 10, replace=False))
        weights = {str(t): 0.098 - 0.002 * i for i, t in enumerate(chosen)}
        trader.trade(weights, prices, as_of + dt.timedelta(minutes=1))
        account = Account(NUMBER, trader.cash, trader.equity(prices), trader.cash)
        store.books.record_account_summary(
            account, trader.positions(prices), as_of + dt.timedelta(minutes=2)
        )
    store.books.record_activities(NUMBER, trader.lines)
    store.books.record_decision("decision_1.json", decision_of(weights, as_of, market=market))
    store.books.record_forecasts(forecasts_of(prices, as_of, seed))
    journal(store, weights, as_of, trader.lines)


def journal(
    store: Store, weights: dict[str, float], as_of: dt.datetime, lines: list[Activity]
) -> None:
    """The last decision's allocation and its orders, all filled."""
    at = as_of + dt.timedelta(minutes=1)
    key = "00112233aabbccdd"
    store.journal.receive(
        AllocationRow(
            key,
            NUMBER,
            "astra",
            "target_1.csv",
            1,
            as_of,
            as_of,
            "measured",
            "nbeats-3f2a9c",
            weights,
            at,
        )
    )
    fence = store.journal.take_lease(key, 60.0) or 0
    last = [a for a in lines if a.at == at]
    orders = [
        OrderRow(
            f"{key}-{a.symbol}-{a.side}-1",
            key,
            NUMBER,
            str(a.symbol),
            Side(a.side or "buy"),
            1,
            abs(a.qty or Decimal(0)),
            float(a.price or 0),
            "to target",
            at,
            at,
        )
        for a in last
    ]
    store.journal.plan_orders(key, fence, orders, "buying")
    for order in orders:
        store.journal.mark(
            order.id, fence, OrderStatus.FILLED, at, filled_qty=order.qty,
            filled_average_price=order.reference_price,
        )  # fmt: skip
    reason = f"{len(orders)} of {len(orders)} orders filled"
    store.journal.set_status(key, fence, "done", reason, finished_at=at)

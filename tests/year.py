"""The books of one made-up account after a year of five-minute snapshots, written in bulk.

As large as a service's own books become: what reads them can be timed. Every amount is consistent,
so that whoever reads them can also be checked: cash is the sum of the activities' net amounts,
shares the sum of their quantities, and the audit log's chain holds. The broker told no history of
its own, so that every snapshot counts.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Table

from astra.predictions import QUANTILE_COLUMNS
from astra.records import Activity, OrderStatus, PlanLine, Side
from astra.sessions import BAR_SECONDS, HORIZON_BARS, Session, last_sessions
from astra.store import Store, rows, schema
from astra.store.account_record import _values as activity_values
from astra.store.alerts import Alert
from astra.store.audit import FIRST
from astra.store.audit import _hash as line_hash
from astra.store.backtests import Course, Trial, digest
from astra.store.journal_rows import (
    AllocationRow,
    OrderRow,
    allocation_values,
    line_values,
    order_values,
)
from astra.store.twins import COMPARED, Twin
from astra.store.universe import Member
from astra.twin import PARTS
from astra.universe import sp500

ACCOUNT, MARKET, MODEL = "PA3AYEAR", "simulated:1", "nbeats-5m-0a1b2c3d"
NOW = dt.datetime(2026, 11, 20, 19, 5, tzinfo=dt.UTC)
BENCHMARKS = ("SPY", "QQQ")
POLICIES = ("measured", "trust", "original", "min_variance", "risk_parity", "equal")
DEPOSIT, LATER = 1_000_000, {84: 50_000, 168: -20_000}  # USD, by session
_RUNS = 4
_SPLIT = 13  # orders of a rebalance that are filled in two parts
_NORMAL = (-1.645, -0.674, 0.0, 0.674, 1.645, -1.282, 1.282)  # of q05, q25, q50, q75, q95, q10, q90
_MINUTE = dt.timedelta(minutes=1)
_WRITTEN = 20_000  # rows at once
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is; by default what the page and the monitor are measured on."""

    sessions: int = 252
    names: int = 500
    held: int = 20
    changed: int = 1  # of those held, at each decision
    bar_sessions: int = 21  # of the members; benchmarks have bars of all sessions
    forecast_sessions: int = 10


SMALL = Size(sessions=30, names=24, held=12, bar_sessions=12, forecast_sessions=6)


@dataclass
class _Account:
    """Whole cents and whole shares."""

    cash: int = 0
    shares: dict[str, int] = field(default_factory=dict)
    entry: dict[str, float] = field(default_factory=dict)
    lines: list[Activity] = field(default_factory=list)

    def book(self, kind: str, at: dt.datetime, cents: int, symbol: str | None = None) -> None:
        self.cash += cents
        self.lines.append(Activity(self._id(at), kind, at, _usd(cents), symbol))

    def fill(self, symbol: str, change: int, cents: int, at: dt.datetime, order: str) -> None:
        side, net = (Side.BUY if change > 0 else Side.SELL), -change * cents
        self.cash += net
        self.lines.append(
            Activity(
                self._id(at), "FILL", at, _usd(net), symbol, Decimal(change), _usd(cents), side,
                order,
            )
        )  # fmt: skip
        before = self.shares.pop(symbol, 0)
        if after := before + change:
            self.shares[symbol] = after
        if change > 0:
            paid = self.entry.get(symbol, 0.0) * before + change * cents / 100
            self.entry[symbol] = paid / (before + change)

    def equity(self, prices: dict[str, float]) -> int:
        return self.cash + round(100 * math.fsum(q * prices[s] for s, q in self.shares.items()))

    def positions(self, prices: dict[str, float]) -> list[Row]:
        return [
            {"symbol": s, "qty": str(q), "own_qty": str(q), "price": prices[s],
             "value": q * prices[s], "average_entry_price": self.entry[s], "asset_id": s}
            for s, q in sorted(self.shares.items())
        ]  # fmt: skip

    def _id(self, at: dt.datetime) -> str:
        return f"{at:%Y%m%d%H%M%S}000::{len(self.lines):06d}"


@dataclass
class _Written:
    """Rows by table, and the audit log's lines in their order."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: Table, row: Row) -> None:
        self.rows.setdefault(table.name, []).append(row)

    def log(self, at: dt.datetime, kind: str, subject: str, content: Row) -> None:
        lines = self.rows.setdefault(schema.audit_log.name, [])
        line: Row = {
            "seq": len(lines) + 1, "at": rows.seconds(at), "account": ACCOUNT, "kind": kind,
            "subject": subject, "content": json.dumps(content, sort_keys=True),
            "previous": lines[-1]["hash"] if lines else FIRST,
        }  # fmt: skip
        lines.append({**line, "hash": line_hash(line)})


def seed_year(store: Store, size: Size = Size(), seed: int = 5) -> None:
    """Fill an empty store: about 33 fills at each decision of a full year."""
    sessions = last_sessions(size.sessions, NOW)
    names = tuple(sorted(sp500())[: size.names])
    rng = np.random.default_rng(seed)
    ends = np.concatenate([s.grid() for s in sessions]) + BAR_SECONDS
    ends = ends[ends <= NOW.timestamp()]
    closes = _walks(rng, len(ends), len(names) + len(BENCHMARKS))
    tickers = (*names, *BENCHMARKS)
    _bars(store, tickers, sessions, ends, closes, size)
    listed = sp500()
    members = [Member(t, listed[t].name, listed[t].sector, listed[t].industry, True) for t in names]
    store.books.record_universe(members, sessions[0].opens_at)
    written = _trade(rng, names, sessions, ends, closes, size)
    _jobs(written, sessions, names)
    for name, found in written.rows.items():
        table = schema.metadata.tables[name]
        for start in range(0, len(found), _WRITTEN):
            store.books._insert_new(table, found[start : start + _WRITTEN])
    for session in sessions[-size.forecast_sessions :]:
        _forecasts(store, rng, names, session, ends, closes)
    _twins(store, rng, sessions)
    _backtests(store, rng, sessions)
    for at, open_alerts in ((NOW - dt.timedelta(days=3), [_STALE]), (NOW, [])):
        store.alerts.see(ACCOUNT, open_alerts, at)


_STALE = Alert("stale-bars", "warning", "no bar has come for 40 minutes", ACCOUNT)


def _walks(rng: np.random.Generator, steps: int, count: int) -> NDArray[np.float64]:
    """Prices in whole cents, a row for each bar."""
    moves = rng.standard_normal((steps, count), dtype=np.float32) * np.float32(1.1e-3)
    moves += rng.normal(3e-6, 4e-4, (steps, 1)).astype(np.float32)
    first = rng.uniform(30, 400, count)
    return np.round(first * np.exp(np.cumsum(moves, axis=0, dtype=np.float64)), 2)


def _bars(
    store: Store, tickers: Sequence[str], sessions: Sequence[Session],
    ends: NDArray[np.int64], closes: NDArray[np.float64], size: Size,
) -> None:  # fmt: skip
    """Those of the last sessions as the hours brought them, so that they are not late."""
    store.claim_market(MARKET)
    store.record_now(NOW)
    first = sessions[-size.bar_sessions].opens_at.timestamp()
    loads = [t for s in sessions[-5:] for t in (*s.decision_times(), s.closes_at) if t < NOW]
    known, begin = [*loads, NOW], 0
    for at in known:
        end = int(np.searchsorted(ends, at.timestamp(), side="right"))
        part = slice(begin, end)
        begin = end
        store.prices.upsert(_offered(tickers, ends[part] - BAR_SECONDS, closes[part], first), at)


def _offered(
    tickers: Sequence[str], starts: NDArray[np.int64], closes: NDArray[np.float64], first: float
) -> pd.DataFrame:
    """Bars by ticker and time; members' from `first` on."""
    codes = np.repeat(np.arange(len(tickers)), len(starts))
    ts, close = np.tile(starts, len(tickers)), closes.T.ravel()
    wanted = (ts >= first) | (codes >= len(tickers) - len(BENCHMARKS))
    codes, ts, close = codes[wanted], ts[wanted], close[wanted]
    return pd.DataFrame(
        {"ticker": np.array(tickers)[codes], "ts": ts, "open": close, "high": close * 1.0005,
         "low": close * 0.9995, "close": close, "volume": 1000}
    )  # fmt: skip


def _trade(
    rng: np.random.Generator, names: Sequence[str], sessions: Sequence[Session],
    ends: NDArray[np.int64], closes: NDArray[np.float64], size: Size,
) -> _Written:  # fmt: skip
    """Snapshots after each bar, a rebalance at each decision time, fees each day."""
    account, written = _Account(), _Written()
    shadow = dict.fromkeys(POLICIES, float(DEPOSIT))
    bar = 0
    for day, session in enumerate(sessions):
        decisions = {int(t.timestamp()) for t in session.decision_times()}
        if flow := DEPOSIT if day == 0 else LATER.get(day, 0):
            account.book("CSD", session.opens_at, 100 * flow)
        while bar < len(ends) and ends[bar] <= session.closes_at.timestamp():
            at = rows.moment(int(ends[bar]))
            prices = dict(zip(names, closes[bar].tolist(), strict=False))
            _snapshot(written, account, prices, at)
            if int(ends[bar]) in decisions:
                _rebalance(rng, written, account, prices, at, size)
                _book_policies(rng, written, shadow, at, account)
            bar += 1
        if session.closes_at <= NOW:
            _close(written, account, session, day)
    found = [activity_values(ACCOUNT, line) for line in account.lines]
    written.rows[schema.activities.name] = found
    return written


def _snapshot(
    written: _Written, account: _Account, prices: dict[str, float], at: dt.datetime
) -> None:
    worth, cash = account.equity(prices), str(_usd(account.cash))
    written.add(
        schema.account_summary,
        {"account": ACCOUNT, "at": rows.seconds(at), "cash": cash, "equity": str(_usd(worth)),
         "buying_power": cash, "positions": json.dumps(account.positions(prices)),
         "allocation_id": None},
    )  # fmt: skip


def _rebalance(
    rng: np.random.Generator, written: _Written, account: _Account, prices: dict[str, float],
    as_of: dt.datetime, size: Size,
) -> None:  # fmt: skip
    equity = account.equity(prices) / 100
    held = {s: q * prices[s] / equity for s, q in sorted(account.shares.items())}
    kept = list(rng.choice(sorted(held), max(len(held) - size.changed, 0), replace=False)) \
        if held else []  # fmt: skip
    others = [n for n in prices if n not in held]
    chosen = sorted(map(str, [*kept, *rng.choice(others, size.held - len(kept), replace=False)]))
    shares = rng.uniform(0.97, 1.03, len(chosen))
    weights = {s: float(round(w, 6)) for s, w in zip(chosen, 0.95 * shares / shares.sum(),
                                                     strict=True)}  # fmt: skip
    changes = {
        s: int(weights.get(s, 0.0) * equity / prices[s]) - account.shares.get(s, 0)
        for s in sorted(held.keys() | weights.keys())
    }
    changes = dict(sorted((c for c in changes.items() if c[1]), key=lambda c: c[1] > 0))
    object_of = f"{as_of:%Y%m%d-%H%M%S}_0a1b2c3d"
    row = AllocationRow(
        f"{rows.seconds(as_of):016x}", ACCOUNT, "astra", f"target_{object_of}.csv", 1, as_of,
        as_of + 30 * _MINUTE, "measured", MODEL, weights, as_of, "done",
        f"{len(changes)} of {len(changes)} orders filled", as_of + 2 * _MINUTE, 1, coverage=1.0,
    )  # fmt: skip
    _decide(written, row, held, rng)
    written.add(schema.allocations, allocation_values(row))
    written.log(as_of, "received", row.id, {"object": row.object, "policy": row.policy})
    planned = {f"{row.id}-{s}-{_side(q).value}-1": {"price": prices[s], "qty": str(abs(q))}
               for s, q in changes.items()}  # fmt: skip
    written.log(as_of, "planned", row.id, {"orders": planned, "status": "buying"})
    for place, (symbol, change) in enumerate(changes.items()):
        _order(written, account, row, symbol, change, prices[symbol], place < _SPLIT)
        before, target = held.get(symbol, 0.0), weights.get(symbol, 0.0)
        after = account.shares.get(symbol, 0) * prices[symbol] / equity
        line = PlanLine(symbol, prices[symbol], before, target, after,
                        {"limit": 0.0, "rounding": after - target}, "", prices[symbol])  # fmt: skip
        written.add(schema.plan_lines, line_values(row, line, as_of))
    done = as_of + 2 * _MINUTE
    written.log(done, "status", row.id, {"status": "done", "reason": row.reason})
    written.add(
        schema.reconciliations,
        {"account": ACCOUNT, "at": rows.seconds(done), "status": "equal", "cash_diff": "0.00",
         "share_diffs": "{}", "order_diffs": "{}", "value_diff": 0.0,
         "message": "our books equal the broker's to the cent and the share"},
    )  # fmt: skip


def _order(
    written: _Written, account: _Account, row: AllocationRow, symbol: str, change: int,
    price: float, is_split: bool,
) -> None:  # fmt: skip
    """Filled a basis point worse than planned, some in two parts."""
    side, at = _side(change), row.received_at + _MINUTE
    name, broker = f"{row.id}-{symbol}-{side.value}-1", f"b-{row.id}-{symbol}"
    cents = round(100 * price * (1.0001 if change > 0 else 0.9999))
    parts = [change // 2, change - change // 2] if is_split else [change]
    for second, part in enumerate(p for p in parts if p):
        account.fill(symbol, part, cents, at + dt.timedelta(seconds=5 * second), broker)
    order = OrderRow(
        name, row.id, ACCOUNT, symbol, side, 1, Decimal(abs(change)), price,
        f"to {row.weights.get(symbol, 0):.2%} of equity", row.received_at, at,
        OrderStatus.FILLED, Decimal(abs(change)), cents / 100, broker,
        sent_at=row.received_at,
    )  # fmt: skip
    written.add(schema.orders, order_values(order))
    written.log(row.received_at, "sending", name, {})
    told = {"broker_id": broker, "filled_average_price": cents / 100,
            "filled_qty": str(abs(change)), "status": "filled"}  # fmt: skip
    written.log(at, "order", name, told)


def _decide(
    written: _Written, row: AllocationRow, held: dict[str, float], rng: np.random.Generator
) -> None:
    place = len(written.rows.get(schema.decisions.name, ()))
    t = min(3.1, 0.5 + 0.01 * place)
    gain, cost = round(float(rng.uniform(3, 9)), 2), round(float(rng.uniform(1, 3)), 2)
    weights, as_of = dict(row.weights), row.received_at
    told: Row = {
        "as_of": as_of.isoformat(), "policy": "measured", "model_id": MODEL,
        "skill": {"ic": 0.021, "t": round(t, 2), "days": 10 + place // 6, "on": t >= 2,
                  "used": 0.018 if t >= 2 else 0.0, "suspect": False, "reason": "as made up"},
        "health": {"psi": 0.02, "cusum": 0.4, "age_days": 50, "alarms": []},
        "method": "active set", "reason": f"trade: gain {gain} bp, cost {cost} bp", "sharpe": 1.2,
        "bound_gap": 0.002, "tau": 1.0, "gain_bp": gain, "cost_bp": cost, "weights": weights,
        "target": weights, "targets": dict.fromkeys(POLICIES, weights), "left_out": {},
        "why": {s: {"forecast": weights.get(s, 0.0) - held.get(s, 0.0), "risk": 0.0, "cost": 0.0,
                    "limit": 0.0} for s in sorted(weights.keys() | held.keys())},
        "held": sorted(held), "held_weights": held, "coverage": 1.0, "market": MARKET,
        "trained_on": "simulated", "object": row.object,
    }  # fmt: skip
    names = ("policy", "model_id", "method", "reason", "sharpe", "bound_gap", "tau", "gain_bp",
             "cost_bp")  # fmt: skip
    name = row.object.replace("target", "decision").replace(".csv", ".json")
    written.add(
        schema.decisions,
        {"object": name, "as_of": rows.seconds(as_of), "document": json.dumps(told)}
        | {n: told[n] for n in names},
    )


def _book_policies(
    rng: np.random.Generator, written: _Written, worth: dict[str, float], at: dt.datetime,
    account: _Account,
) -> None:  # fmt: skip
    shares = json.dumps({s: str(q) for s, q in account.shares.items()})
    for policy in POLICIES:
        worth[policy] *= math.exp(float(rng.normal(5e-5, 1.5e-3)))
        written.add(
            schema.shadow_books,
            {"account": ACCOUNT, "policy": policy, "at": rows.seconds(at), "cash": "50000.00",
             "equity": f"{worth[policy]:.2f}", "shares": shares},
        )  # fmt: skip


def _close(written: _Written, account: _Account, session: Session, day: int) -> None:
    """A day's fees, and each 21st day's dividends."""
    after = session.closes_at + 30 * _MINUTE
    account.book("FEE", after, -137)
    if day % 21 == 20:
        for symbol, qty in sorted(account.shares.items()):
            account.book("DIV", after, 25 * qty, symbol)


def _jobs(written: _Written, sessions: Iterable[Session], names: Sequence[str]) -> None:
    """The monitor's runs every five minutes, and what the last load said of each ticker."""
    count = 0
    for session in sessions:
        for ts in session.grid()[session.grid() + BAR_SECONDS <= NOW.timestamp()]:
            for job in ("update_account", "activities", "alerts"):
                at = int(ts) + BAR_SECONDS
                written.add(
                    schema.runs,
                    {"id": f"{count:032x}", "job": job, "started_at": at, "finished_at": at + 2,
                     "status": "ok", "message": ""},
                )  # fmt: skip
                count += 1
    at = rows.seconds(NOW)
    for ticker in (*names, *BENCHMARKS):
        written.add(
            schema.ticker_status,
            {"ticker": ticker, "source": "yahoo", "status": "ok", "message": "", "asked_at": at,
             "answered_at": at},
        )  # fmt: skip


def _forecasts(
    store: Store, rng: np.random.Generator, names: Sequence[str], session: Session,
    ends: NDArray[np.int64], closes: NDArray[np.float64],
) -> None:  # fmt: skip
    """Normal bands as wide as prices really move, at each decision of the session."""
    step = np.tile(np.arange(1, HORIZON_BARS + 1), len(names))
    frames = []
    for as_of in (t for t in session.decision_times() if t <= NOW):
        stamp = rows.seconds(as_of)
        last = closes[np.searchsorted(ends, stamp, side="right") - 1, : len(names)]
        drift = np.repeat(rng.normal(0, 2e-5, len(names)), HORIZON_BARS)
        middle = np.repeat(last, HORIZON_BARS) * np.exp(drift * step)
        wide = 1.17e-3 * np.sqrt(step)
        bands = {f"q{q}": middle * np.exp(wide * z)
                 for q, z in zip(("05", "25", "50", "75", "95", "10", "90"), _NORMAL,
                                 strict=True)}  # fmt: skip
        frames.append(
            pd.DataFrame(
                {"model_id": MODEL, "as_of": stamp, "ticker": np.repeat(names, HORIZON_BARS),
                 "step": step, "ts": stamp + BAR_SECONDS * (step - 1), "close": middle,
                 **{name: bands[name] for name in QUANTILE_COLUMNS}}
            )
        )  # fmt: skip
    store.books.record_forecasts(pd.concat(frames, ignore_index=True))


def _twins(store: Store, rng: np.random.Generator, sessions: Sequence[Session]) -> None:
    """Each day but today, with some dollars in each part."""
    for session in sessions[:-1]:
        cents = {part: round(100 * float(rng.normal(0, 40))) for part in PARTS}
        live = round(100 * float(rng.normal(0, 900)))
        store.twins.record(
            Twin(
                ACCOUNT, session.opens_at, session.closes_at + 60 * _MINUTE, COMPARED,
                "the day was made again from its decisions", _usd(live),
                _usd(live - sum(cents.values())), {p: _usd(c) for p, c in cents.items()},
                {"": {p: _usd(c) for p, c in cents.items() if c}},
            )
        )  # fmt: skip


def _backtests(store: Store, rng: np.random.Generator, sessions: Sequence[Session]) -> None:
    """Runs of all policies over the same hours, each of another drawing of the network."""
    times = tuple(t for s in sessions for t in s.decision_times() if t <= NOW)
    courses = []
    for run in range(_RUNS):
        for policy in POLICIES:
            steps = rng.normal(5e-5, 1.5e-3, len(times) - 1)
            curve = 10_000_000 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
            equity = tuple(np.round(curve).astype(int).tolist())
            courses.append(Course(_trial(policy, run, times, equity, steps), times, equity))
    store.backtests.keep(courses)


def _trial(
    policy: str, run: int, times: tuple[dt.datetime, ...], equity: tuple[int, ...],
    steps: NDArray[np.float64],
) -> Trial:  # fmt: skip
    mean, std, total = float(steps.mean()), float(steps.std()), equity[-1] / equity[0] - 1
    depth = 1 - np.array(equity) / np.maximum.accumulate(equity)
    spec = {"source": {"kind": "simulated", "edge": 0.04}, "policies": [policy], "seed": run}
    return Trial(
        id=f"{run:08x}{POLICIES.index(policy):04x}", made_at=NOW, market=MARKET,
        data_hash="0123456789abcdef", hours=digest([rows.seconds(t) for t in times]),
        outcome=digest(equity), first_at=times[0], last_at=times[-1], frequency="1h",
        policy=policy, parameters=json.dumps(spec), total_return=total, return_0x=total + 0.01,
        return_2x=total - 0.01, max_drawdown=float(depth.max()), turnover=90.0, cost_bp=110.0,
        winning_trades=700, losing_trades=600, sharpe=mean / std * math.sqrt(1512),
        sharpe_error=1.0, steps=len(steps), step_sharpe=mean / std, skew=0.0, kurtosis=3.0,
        model_id=MODEL, code_version="as made up",
    )  # fmt: skip


def _side(change: int) -> Side:
    return Side.BUY if change > 0 else Side.SELL


def _usd(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)

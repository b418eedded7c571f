"""The tables, for every dialect. Schema changes are migrations in `migrations/`.

Instants are integers, UTC epoch seconds, marked by `instant()`; they leave the store as
timestamps. Quantities and money of the books are decimal strings (`amount()`), because SQLite has
no decimals and the books must agree with the broker to the cent and the share.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Unicode,
    UnicodeText,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()

REVISION = "0006"  # of the last migration
# Alembic's own table: which migration the database is at.
revisions = Table("alembic_version", MetaData(), Column("version_num", String(32)))

INSTANT = {"instant": True}
AMOUNT = {"amount": True}


def instant(name: str, **options: Any) -> Column[int]:
    """A UTC instant in epoch seconds."""
    return Column(name, BigInteger, info=INSTANT, autoincrement=False, **options)


def amount(name: str, **options: Any) -> Column[str]:
    """A quantity or an amount of money as a decimal string."""
    return Column(name, String(40), info=AMOUNT, **options)


def code(length: int) -> TypeEngine[str]:
    """Text that is a key: tickers, ids. Ordered by its bytes in every database, as Python does."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def _ohlcv() -> list[Column[Any]]:
    # float8: a four-byte float would compare as changed for ever
    prices: list[Column[Any]] = [
        Column(name, Float(53), nullable=False) for name in ("open", "high", "low", "close")
    ]
    return [*prices, Column("volume", BigInteger, nullable=False)]


price_history = Table(
    "price_history",
    metadata,
    Column("ticker", code(16), primary_key=True),
    instant("ts", primary_key=True),
    *_ohlcv(),
    instant("known_from", nullable=False),  # the vendor's time when this version was first seen
    # place in astra.store.feeds.FEEDS
    Column("feed", SmallInteger, nullable=False, server_default=text("0")),
    # The few bars that did not come from Yahoo, where Yahoo is the source.
    Index(
        "ix_price_history_other_feeds",
        "ticker",
        "ts",
        sqlite_where=text("feed <> 0"),
        postgresql_where=text("feed <> 0"),
        mssql_where=text("feed <> 0"),
    ),
    sqlite_with_rowid=False,  # bars lie in the key's order, as they are read
)

price_revisions = Table(
    "price_revisions",
    metadata,
    Column("ticker", code(16), primary_key=True),
    instant("ts", primary_key=True),
    instant("replaced_at", primary_key=True),
    *_ohlcv(),
    instant("known_from", nullable=False),
    Column("feed", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)

# Bars that were offered and cannot be right; missing values are NULL.
quarantine = Table(
    "quarantine",
    metadata,
    Column("ticker", code(16), primary_key=True),
    instant("ts", primary_key=True),
    Column("reason", code(20), primary_key=True),  # a field of astra.bars.Rejected
    *[Column(name, Float(53)) for name in ("open", "high", "low", "close", "volume")],
    Column("feed", SmallInteger, nullable=False),
    instant("seen_at", nullable=False),
)

# What the last load said of each ticker.
ticker_status = Table(
    "ticker_status",
    metadata,
    Column("ticker", code(16), primary_key=True),
    Column("source", String(20), nullable=False),
    Column("status", String(20), nullable=False),  # ok, empty, error, rate_limited, unknown
    Column("message", UnicodeText, nullable=False),
    instant("asked_at", nullable=False),
    instant("answered_at"),  # the last time that the status was ok
)

# The request budget and the circuit breaker of each vendor of bars, shared by all loads.
sources = Table(
    "sources",
    metadata,
    Column("name", code(20), primary_key=True),
    instant("hour", nullable=False),  # the vendor's hour that `spent` counts
    Column("spent", Integer, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    Column("retry_at", Float(53), nullable=False),  # the machine's wall clock; 0 = closed
    Column("message", UnicodeText, nullable=False),
    Column("feed", String(20), nullable=False),  # as probed, "" = not yet
    instant("asked_at"),
)

# Grow with each change, so that a reader can ask whether there is anything new.
versions = Table(
    "versions",
    metadata,
    Column("name", code(20), primary_key=True),  # prices, books
    Column("value", BigInteger, nullable=False),
)

universe = Table(
    "universe",
    metadata,
    Column("ticker", code(16), primary_key=True),
    Column("name", Unicode(200), nullable=False),
    Column("sector", Unicode(60), nullable=False),
    Column("industry", Unicode(120), nullable=False),
    Column("tradable", Boolean, nullable=False),
    instant("valid_from", primary_key=True),
    instant("valid_to"),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("model_id", code(64), primary_key=True),
    instant("as_of", primary_key=True),
    Column("ticker", code(16), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    instant("ts", nullable=False),
    Column("close", Float(53), nullable=False),
    *[Column(name, Float(53), nullable=False) for name in ("q05", "q25", "q50", "q75", "q95")],
    *[Column(name, Float(53)) for name in ("q10", "q90")],  # since revision 0003
)

decisions = Table(
    "decisions",
    metadata,
    Column("object", code(200), primary_key=True),  # decision_<stamp>_<tag>.json
    instant("as_of", nullable=False),
    Column("policy", code(120), nullable=False),
    Column("model_id", code(64), nullable=False),
    Column("method", String(60), nullable=False),
    Column("reason", UnicodeText, nullable=False),
    Column("sharpe", Float(53)),
    Column("bound_gap", Float(53)),
    Column("tau", Float(53)),
    Column("gain_bp", Float(53)),
    Column("cost_bp", Float(53)),
    Column("document", UnicodeText, nullable=False),  # the whole answer of /allocate, JSON
)

allocations = Table(
    "allocations",
    metadata,
    Column("id", code(16), primary_key=True),  # 16 hex of sha256(bucket, name, generation)
    Column("account", code(60), nullable=False),
    Column("bucket", String(200), nullable=False),
    Column("object", code(200), nullable=False),
    Column("generation", BigInteger, nullable=False),
    instant("as_of"),
    instant("expires_at"),
    Column("policy", code(120), nullable=False),
    Column("model_id", code(64), nullable=False),
    # received -> selling -> buying -> done; or refused, superseded, abandoned, held
    Column("status", String(20), nullable=False),
    Column("reason", UnicodeText, nullable=False),
    Column("weights", UnicodeText, nullable=False),  # JSON {ticker: weight}
    instant("received_at", nullable=False),
    instant("finished_at"),
    Column("fence", Integer, nullable=False),  # grows by one with each lease
    Column("leased_until", Float(53), nullable=False),  # the machine's wall clock, epoch seconds
    # What the file said beside its weights; NULL where it said nothing.
    Column("keep", UnicodeText),  # JSON list of tickers whose shares stay as they are
    Column("coverage", Float(53)),  # share of the universe that the forecast covered
    instant("trained_until"),  # end of the model's training
)

orders = Table(
    "orders",
    metadata,
    Column("id", code(128), primary_key=True),  # <allocation id>-<symbol>-<side>-<n>
    Column("allocation_id", code(16), nullable=False, index=True),
    Column("account", code(60), nullable=False),
    Column("symbol", code(16), nullable=False),
    Column("side", String(4), nullable=False),
    Column("attempt", Integer, nullable=False),
    amount("qty", nullable=False),
    Column("reference_price", Float(53), nullable=False),
    Column("status", String(20), nullable=False),  # astra.records.OrderStatus
    amount("filled_qty", nullable=False),
    Column("filled_average_price", Float(53)),
    Column("broker_id", code(64), nullable=False),
    Column("reason", UnicodeText, nullable=False),
    instant("planned_at", nullable=False),
    instant("updated_at", nullable=False),
    Column("type", String(10), nullable=False, server_default="market"),  # market, limit
    Column("limit_price", Float(53)),  # USD; of limit orders
    instant("due_at"),  # not to be sent before; NULL = at once
    instant("sent_at"),  # when it was first marked as sending
    Index("ix_orders_account_planned_at", "account", "planned_at"),
)

# Where each name of an allocation stood and what the plan made of it; one row whether traded or
# not. Weights are fractions of the equity that is managed.
plan_lines = Table(
    "plan_lines",
    metadata,
    Column("allocation_id", code(16), primary_key=True),
    Column("symbol", code(16), primary_key=True),
    Column("account", code(60), nullable=False),
    instant("planned_at", nullable=False),
    Column("price", Float(53)),  # USD that the plan counted with; NULL = none was known
    Column("decision_price", Float(53)),  # USD, the last close at the allocation's as-of time
    Column("weight_before", Float(53), nullable=False),
    Column("weight_target", Float(53), nullable=False),
    Column("weight_planned", Float(53), nullable=False),  # once all planned orders are filled
    # JSON {limit, rounding}: the parts of weight_planned - weight_target
    Column("parts", UnicodeText, nullable=False),
    Column("reason", UnicodeText, nullable=False),  # why it is not traded, or not fully; "" = is
)

# What an account may do: ACTIVE, REDUCING (sales only) or HALTED (nothing). No row = ACTIVE.
trading_states = Table(
    "trading_states",
    metadata,
    Column("account", code(60), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("reason", UnicodeText, nullable=False),
    Column("changed_by", String(60), nullable=False),
    instant("since", nullable=False),  # the market's time
    # The first of two steps to lift it: this code, until then (the machine's wall clock).
    Column("lift_code", String(16), nullable=False),
    Column("lift_until", Float(53), nullable=False),
    Column(
        "accepted", UnicodeText, nullable=False
    ),  # JSON: figures a person lifted it at, by cause
)

# Our books held against the broker's.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("account", code(60), primary_key=True),
    instant("at", primary_key=True),
    Column("status", String(20), nullable=False),  # equal, explained, differs
    amount("cash_diff", nullable=False),  # ours less the broker's
    Column("share_diffs", UnicodeText, nullable=False),  # JSON {symbol: qty}, ours less theirs
    Column("order_diffs", UnicodeText, nullable=False),  # JSON {order id: sentence}
    Column("value_diff", Float(53), nullable=False),  # USD, sum of the absolute differences
    Column("message", UnicodeText, nullable=False),
)

# What was done, line by line; each holds the hash of the one before.
audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    instant("at", nullable=False),
    Column("account", code(60), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", code(128), nullable=False),
    Column("content", UnicodeText, nullable=False),  # JSON, keys ascending
    Column("previous", code(64), nullable=False),  # 64 zeros for the first
    Column("hash", code(64), nullable=False),  # sha256, see astra.store.audit
)

activities = Table(
    "activities",
    metadata,
    Column("account", code(60), primary_key=True),
    Column("id", code(100), primary_key=True),
    Column("type", String(10), nullable=False),  # FILL, FEE, DIV, CSD, SPLIT, ...
    instant("at", nullable=False),
    Column("symbol", code(16)),
    Column("side", String(4)),
    amount("qty"),
    amount("price"),
    amount("net_amount", nullable=False),
    Column("order_id", code(64)),
    Index("ix_activities_account_at", "account", "at"),
)

account_summary = Table(
    "account_summary",
    metadata,
    Column("account", code(60), primary_key=True),
    instant("at", primary_key=True),
    amount("cash", nullable=False),
    amount("equity", nullable=False),
    amount("buying_power", nullable=False),
    # JSON list of {symbol, qty, own_qty, price, value, average_entry_price, asset_id}
    Column("positions", UnicodeText, nullable=False),
    Column("allocation_id", code(16)),  # set when a rebalance wrote it
)

history = Table(
    "history",
    metadata,
    Column("account", code(60), primary_key=True),
    instant("at", primary_key=True),
    amount("equity", nullable=False),
    amount("profit_loss"),
)

shadow_books = Table(
    "shadow_books",
    metadata,
    Column("account", code(60), primary_key=True),
    Column("policy", code(120), primary_key=True),
    instant("at", primary_key=True),
    amount("equity", nullable=False),
    amount("cash", nullable=False),
    Column("shares", UnicodeText, nullable=False),  # JSON {ticker: qty}
)

runs = Table(
    "runs",
    metadata,
    Column("id", code(40), primary_key=True),
    Column("job", String(60), nullable=False),
    instant("started_at", nullable=False),
    instant("finished_at"),
    Column("status", String(20), nullable=False),  # running, ok, failed
    Column("message", UnicodeText, nullable=False),
    Index("ix_runs_job_started_at", "job", "started_at"),
)

# One policy of one backtest: what was asked for, its figures and its curve at the assumed costs.
# Missing figures are NULL.
backtests = Table(
    "backtests",
    metadata,
    Column("id", code(12), primary_key=True),  # of what was asked for and the bars' content
    instant("made_at", nullable=False),  # the machine's wall clock
    Column("market", String(100), nullable=False),
    Column("data_hash", code(16), nullable=False),
    Column("hours", code(16), nullable=False, index=True),  # of `times`
    Column("outcome", code(16), nullable=False),  # of `equity`
    instant("first_at", nullable=False),
    instant("last_at", nullable=False),
    Column("frequency", String(10), nullable=False),  # between decisions: 1h
    Column("policy", code(120), nullable=False),
    Column("parameters", UnicodeText, nullable=False),  # JSON of the specification
    Column("total_return", Float(53), nullable=False),
    Column("return_0x", Float(53), nullable=False),  # at no costs
    Column("return_2x", Float(53), nullable=False),  # at twice the assumed costs
    Column("max_drawdown", Float(53), nullable=False),
    Column("turnover", Float(53), nullable=False),  # buys and sales, in units of equity
    Column("cost_bp", Float(53), nullable=False),
    Column("winning_trades", Integer, nullable=False),  # sales above the average cost, after costs
    Column("losing_trades", Integer, nullable=False),
    Column("sharpe", Float(53)),  # a year's
    Column("sharpe_error", Float(53)),
    Column("steps", Integer, nullable=False),
    *[Column(name, Float(53)) for name in ("step_sharpe", "skew", "kurtosis")],
    Column("equity", UnicodeText, nullable=False),  # JSON list of cents
    Column("times", UnicodeText, nullable=False),  # JSON list of epoch seconds, as many
    Column("model_id", code(64), nullable=False),
    Column("code_version", String(60), nullable=False),
)

# What somebody should know or do something about, from when it was first seen until it was over.
alerts = Table(
    "alerts",
    metadata,
    Column("key", code(120), primary_key=True),  # what about: stale-bars, missed-run:allocate
    Column("account", code(60), primary_key=True),  # "" where it is no account's
    instant("opened_at", primary_key=True),
    Column("severity", String(10), nullable=False),  # warning, critical
    Column("message", UnicodeText, nullable=False),  # one sentence, as it was said last
    instant("seen_at", nullable=False),  # the last time it was so
    instant("told_at"),  # when a notice of it was delivered; NULL = not yet
    instant("closed_at"),  # when it was over
    instant("over_told_at"),  # when a notice of that was delivered
)

# A day as it was traded beside the same day replayed: what lies between, in parts that sum to it.
twins = Table(
    "twins",
    metadata,
    Column("account", code(60), primary_key=True),
    instant("session", primary_key=True),  # its opening
    instant("made_at", nullable=False),
    Column("status", String(20), nullable=False),  # compared, or why not: no_decision, ...
    amount("live", nullable=False),  # USD, the day's change of what is managed, without flows
    amount("twin", nullable=False),  # USD, the same of the replay
    Column("parts", UnicodeText, nullable=False),  # JSON {part: USD}, summing to live - twin
    Column("lines", UnicodeText, nullable=False),  # JSON {symbol: {part: USD}}
    Column("message", UnicodeText, nullable=False),
)

market = Table(
    "market",
    metadata,
    Column("name", code(20), primary_key=True),
    Column("identity", String(100), nullable=False),  # real, simulated:<seed>, replay:<hash>
    instant("seen_at"),  # the vendor's latest time that a load has met
)

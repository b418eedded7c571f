"""The first schema: prices and their revisions, books, journal, market.

Written out rather than taken from `schema.py`, so that it never changes after a release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None


def _code(length: int) -> TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def upgrade() -> None:
    op.create_table(
        "account_summary",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("cash", sa.String(40), nullable=False),
        sa.Column("equity", sa.String(40), nullable=False),
        sa.Column("buying_power", sa.String(40), nullable=False),
        sa.Column("positions", sa.UnicodeText(), nullable=False),
        sa.Column("allocation_id", _code(16)),
        sa.PrimaryKeyConstraint("account", "at"),
    )
    op.create_table(
        "activities",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("id", _code(100), nullable=False),
        sa.Column("type", sa.String(10), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("symbol", _code(16)),
        sa.Column("side", sa.String(4)),
        sa.Column("qty", sa.String(40)),
        sa.Column("price", sa.String(40)),
        sa.Column("net_amount", sa.String(40), nullable=False),
        sa.Column("order_id", _code(64)),
        sa.PrimaryKeyConstraint("account", "id"),
    )
    op.create_table(
        "allocations",
        sa.Column("id", _code(16), nullable=False),
        sa.Column("account", _code(60), nullable=False),
        sa.Column("bucket", sa.String(200), nullable=False),
        sa.Column("object", _code(200), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("policy", _code(120), nullable=False),
        sa.Column("model_id", _code(64), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.UnicodeText(), nullable=False),
        sa.Column("weights", sa.UnicodeText(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "decisions",
        sa.Column("object", _code(200), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("policy", _code(120), nullable=False),
        sa.Column("model_id", _code(64), nullable=False),
        sa.Column("method", sa.String(60), nullable=False),
        sa.Column("reason", sa.UnicodeText(), nullable=False),
        sa.Column("sharpe", sa.Float(53)),
        sa.Column("bound_gap", sa.Float(53)),
        sa.Column("tau", sa.Float(53)),
        sa.Column("gain_bp", sa.Float(53)),
        sa.Column("cost_bp", sa.Float(53)),
        sa.Column("document", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("object"),
    )
    op.create_table(
        "forecasts",
        sa.Column("model_id", _code(64), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("close", sa.Float(53), nullable=False),
        sa.Column("q05", sa.Float(53), nullable=False),
        sa.Column("q25", sa.Float(53), nullable=False),
        sa.Column("q50", sa.Float(53), nullable=False),
        sa.Column("q75", sa.Float(53), nullable=False),
        sa.Column("q95", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "as_of", "ticker", "step"),
    )
    op.create_table(
        "history",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("equity", sa.String(40), nullable=False),
        sa.Column("profit_loss", sa.String(40)),
        sa.PrimaryKeyConstraint("account", "at"),
    )
    op.create_table(
        "market",
        sa.Column("name", _code(20), nullable=False),
        sa.Column("identity", sa.String(100), nullable=False),
        sa.Column("seen_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "orders",
        sa.Column("id", _code(128), nullable=False),
        sa.Column("allocation_id", _code(16), nullable=False),
        sa.Column("account", _code(60), nullable=False),
        sa.Column("symbol", _code(16), nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("qty", sa.String(40), nullable=False),
        sa.Column("reference_price", sa.Float(53), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("filled_qty", sa.String(40), nullable=False),
        sa.Column("filled_average_price", sa.Float(53)),
        sa.Column("broker_id", _code(64), nullable=False),
        sa.Column("reason", sa.UnicodeText(), nullable=False),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_orders_allocation_id", "orders", ["allocation_id"])
    op.create_table(
        "price_history",
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("open", sa.Float(53), nullable=False),
        sa.Column("high", sa.Float(53), nullable=False),
        sa.Column("low", sa.Float(53), nullable=False),
        sa.Column("close", sa.Float(53), nullable=False),
        sa.Column("volume", sa.BigInteger(), nullable=False),
        sa.Column("known_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "ts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "price_revisions",
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("open", sa.Float(53), nullable=False),
        sa.Column("high", sa.Float(53), nullable=False),
        sa.Column("low", sa.Float(53), nullable=False),
        sa.Column("close", sa.Float(53), nullable=False),
        sa.Column("volume", sa.BigInteger(), nullable=False),
        sa.Column("known_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "ts", "replaced_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("id", _code(40), nullable=False),
        sa.Column("job", sa.String(60), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "shadow_books",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("policy", _code(120), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("equity", sa.String(40), nullable=False),
        sa.Column("cash", sa.String(40), nullable=False),
        sa.Column("shares", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("account", "policy", "at"),
    )
    op.create_table(
        "universe",
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("name", sa.Unicode(200), nullable=False),
        sa.Column("sector", sa.Unicode(60), nullable=False),
        sa.Column("industry", sa.Unicode(120), nullable=False),
        sa.Column("tradable", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("valid_to", sa.BigInteger()),
        sa.PrimaryKeyConstraint("ticker", "valid_from"),
    )


def downgrade() -> None:
    op.drop_table("universe")
    op.drop_table("shadow_books")
    op.drop_table("runs")
    op.drop_table("price_revisions")
    op.drop_table("price_history")
    op.drop_table("orders")
    op.drop_table("market")
    op.drop_table("history")
    op.drop_table("forecasts")
    op.drop_table("decisions")
    op.drop_table("allocations")
    op.drop_table("activities")
    op.drop_table("account_summary")

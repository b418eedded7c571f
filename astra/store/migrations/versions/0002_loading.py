"""Loading: where a bar comes from, what was refused, what each vendor still allows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0002"
down_revision = "0001"

_OTHER_FEEDS = sa.text("feed <> 0")


def _code(length: int) -> TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def upgrade() -> None:
    for table in ("price_history", "price_revisions"):
        feed = sa.Column("feed", sa.SmallInteger(), nullable=False, server_default=sa.text("0"))
        op.add_column(table, feed)
    op.create_index(
        "ix_price_history_other_feeds",
        "price_history",
        ["ticker", "ts"],
        sqlite_where=_OTHER_FEEDS,
        postgresql_where=_OTHER_FEEDS,
        mssql_where=_OTHER_FEEDS,
    )
    op.create_table(
        "quarantine",
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("reason", _code(20), nullable=False),
        *[sa.Column(n, sa.Float(53)) for n in ("open", "high", "low", "close", "volume")],
        sa.Column("feed", sa.SmallInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ticker", "ts", "reason"),
    )
    op.create_table(
        "ticker_status",
        sa.Column("ticker", _code(16), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("ticker"),
    )
    op.create_table(
        "sources",
        sa.Column("name", _code(20), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.Float(53), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.Column("feed", sa.String(20), nullable=False),
        sa.Column("asked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "versions",
        sa.Column("name", _code(20), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    # Not op.bulk_insert: written out for SQL Server it asks for an identity column (Alembic 1.20).
    op.execute("INSERT INTO versions (name, value) VALUES ('prices', 0), ('books', 0)")


def downgrade() -> None:
    for table in ("versions", "sources", "ticker_status", "quarantine"):
        op.drop_table(table)
    op.drop_index("ix_price_history_other_feeds", "price_history")
    for table in ("price_history", "price_revisions"):
        op.drop_column(table, "feed", mssql_drop_default=True)

"""Watching: alerts, and days held against their replay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0006"
down_revision = "0005"


def _code(length: int) -> TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("key", _code(120), nullable=False),
        sa.Column("account", _code(60), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger()),
        sa.Column("closed_at", sa.BigInteger()),
        sa.Column("over_told_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("key", "account", "opened_at"),
    )
    op.create_table(
        "twins",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("session", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("live", sa.String(40), nullable=False),
        sa.Column("twin", sa.String(40), nullable=False),
        sa.Column("parts", sa.UnicodeText(), nullable=False),
        sa.Column("lines", sa.UnicodeText(), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("account", "session"),
    )
    op.create_index("ix_runs_job_started_at", "runs", ["job", "started_at"])


def downgrade() -> None:
    op.drop_index("ix_runs_job_started_at", "runs")
    op.drop_table("twins")
    op.drop_table("alerts")

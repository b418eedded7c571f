"""Backtests: each policy's figures, curve and specification, so that it can be repeated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision = "0003"


def _code(length: int) -> TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def upgrade() -> None:
    op.create_table(
        "backtests",
        sa.Column("id", _code(12), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.String(100), nullable=False),
        sa.Column("data_hash", _code(16), nullable=False),
        sa.Column("hours", _code(16), nullable=False),
        sa.Column("outcome", _code(16), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("frequency", sa.String(10), nullable=False),
        sa.Column("policy", _code(120), nullable=False),
        sa.Column("parameters", sa.UnicodeText(), nullable=False),
        sa.Column("total_return", sa.Float(53), nullable=False),
        sa.Column("return_0x", sa.Float(53), nullable=False),
        sa.Column("return_2x", sa.Float(53), nullable=False),
        sa.Column("max_drawdown", sa.Float(53), nullable=False),
        sa.Column("turnover", sa.Float(53), nullable=False),
        sa.Column("cost_bp", sa.Float(53), nullable=False),
        sa.Column("winning_trades", sa.Integer(), nullable=False),
        sa.Column("losing_trades", sa.Integer(), nullable=False),
        sa.Column("sharpe", sa.Float(53)),
        sa.Column("sharpe_error", sa.Float(53)),
        sa.Column("steps", sa.Integer(), nullable=False),
        *[sa.Column(n, sa.Float(53)) for n in ("step_sharpe", "skew", "kurtosis")],
        sa.Column("equity", sa.UnicodeText(), nullable=False),
        sa.Column("times", sa.UnicodeText(), nullable=False),
        sa.Column("model_id", _code(64), nullable=False),
        sa.Column("code_version", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_backtests_hours", "backtests", ["hours"])


def downgrade() -> None:
    op.drop_index("ix_backtests_hours", "backtests")
    op.drop_table("backtests")

"""Execution: plan lines, trading states, reconciliations, the audit log; styles of orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0005"
down_revision = "0004"

_ADDED = {
    "allocations": ("keep", "coverage", "trained_until"),
    "orders": ("type", "limit_price", "due_at", "sent_at"),
}
_INDEXED = (("orders", "planned_at"), ("activities", "at"))
_TABLES = ("plan_lines", "trading_states", "reconciliations", "audit_log")


def _code(length: int) -> TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(sa.String(length, collation="Latin1_General_BIN2"), "mssql")
    )


def upgrade() -> None:
    op.add_column("allocations", sa.Column("keep", sa.UnicodeText()))
    op.add_column("allocations", sa.Column("coverage", sa.Float(53)))
    op.add_column("allocations", sa.Column("trained_until", sa.BigInteger()))
    kind = sa.Column("type", sa.String(10), nullable=False, server_default="market")
    op.add_column("orders", kind)
    op.add_column("orders", sa.Column("limit_price", sa.Float(53)))
    op.add_column("orders", sa.Column("due_at", sa.BigInteger()))
    op.add_column("orders", sa.Column("sent_at", sa.BigInteger()))
    op.create_table(
        "plan_lines",
        sa.Column("allocation_id", _code(16), nullable=False),
        sa.Column("symbol", _code(16), nullable=False),
        sa.Column("account", _code(60), nullable=False),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Float(53)),
        sa.Column("decision_price", sa.Float(53)),
        *[
            sa.Column(n, sa.Float(53), nullable=False)
            for n in ("weight_before", "weight_target", "weight_planned")
        ],
        sa.Column("parts", sa.UnicodeText(), nullable=False),
        sa.Column("reason", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("allocation_id", "symbol"),
    )
    op.create_table(
        "trading_states",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.UnicodeText(), nullable=False),
        sa.Column("changed_by", sa.String(60), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("lift_code", sa.String(16), nullable=False),
        sa.Column("lift_until", sa.Float(53), nullable=False),
        sa.Column("accepted", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("account", _code(60), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("cash_diff", sa.String(40), nullable=False),
        sa.Column("share_diffs", sa.UnicodeText(), nullable=False),
        sa.Column("order_diffs", sa.UnicodeText(), nullable=False),
        sa.Column("value_diff", sa.Float(53), nullable=False),
        sa.Column("message", sa.UnicodeText(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at"),
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("account", _code(60), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", _code(128), nullable=False),
        sa.Column("content", sa.UnicodeText(), nullable=False),
        sa.Column("previous", _code(64), nullable=False),
        sa.Column("hash", _code(64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    for table, column in _INDEXED:
        op.create_index(f"ix_{table}_account_{column}", table, ["account", column])


def downgrade() -> None:
    for table, column in _INDEXED:
        op.drop_index(f"ix_{table}_account_{column}", table)
    for table in _TABLES:
        op.drop_table(table)
    for table, columns in _ADDED.items():
        for column in columns:
            op.drop_column(table, column, mssql_drop_default=True)

"""Forecasts: the 80 % band beside the 50 and 90 % ones; earlier forecasts have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("q10", "q90"):
        op.add_column("forecasts", sa.Column(name, sa.Float(53)))


def downgrade() -> None:
    for name in ("q10", "q90"):
        op.drop_column("forecasts", name)

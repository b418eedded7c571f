"""A desk is what the settings say, and nothing else."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import desk as trading
import pytest

from astra.execution.desk import Desk
from astra.risk import Limits
from astra.settings import Settings
from astra.store import open_store
from astra.tactics import Style

SET = Settings.model_construct(
    drift_band=0.002, min_order_usd=5.0, hold="KO|PFE", cash_buffer=0.03, max_turnover=0.4,
    order_style="limit", limit_collar_bp=50.0, twap_minutes=7, k=12, capital=9_000.0,
    fill_timeout=3.0, vendor_timeout=4.0, adopt="XOM", max_books_difference=0.01,
    rebalance_on="drift", drift_threshold=0.2, max_gross=0.8, closing_minutes=9,
)  # fmt: skip


def test_every_setting_of_trading_reaches_the_desk(sandbox: trading.Desk, tmp_path: Path) -> None:
    desk = Desk.of(sandbox.alpaca, open_store(f"sqlite:///{tmp_path / 'a.db'}"), SET)
    rules = desk.rules
    assert (rules.drift_band, rules.min_order_usd, rules.cash_buffer) == (0.002, 5.0, 0.03)
    assert (rules.max_turnover, rules.hold) == (0.4, {"KO", "PFE"})
    assert rules.collar == pytest.approx(0.005), "what a limit order may cost more is kept ready"
    assert desk.style == Style("limit", 50.0, 7)
    assert (desk.max_names, desk.capital, desk.adopt) == (12, 9_000.0, {"XOM"})
    assert (desk.fill_timeout, desk.doubt_seconds) == (3.0, 4.0)
    assert (desk.max_books_difference, desk.rebalance_on, desk.drift_threshold) == (
        0.01, "drift", 0.2,
    )  # fmt: skip
    for field in fields(Limits):
        assert getattr(desk.limits, field.name) == getattr(SET, field.name)


@pytest.mark.parametrize("kind", [Desk, Limits, Style])
def test_no_default_stands_beside_that_of_the_settings(kind: type) -> None:
    assert all(field.default is MISSING for field in fields(kind))

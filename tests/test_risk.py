"""The risk gate: each refusal has its code."""

from __future__ import annotations

from decimal import Decimal

import pytest

from astra.records import PlannedOrder, Side
from astra.risk import Limits, Situation, deny

LIMITS = Limits(max_order_weight=0.25)


@pytest.mark.parametrize(
    ("qty", "equity", "gross", "is_open", "code"),
    [
        ("10", 10_000.0, 0.0, True, None),
        ("10", 10_000.0, 0.0, False, "RISK_MARKET_CLOSED"),
        ("10", 0.0, 0.0, True, "RISK_NO_EQUITY"),
        ("26", 10_000.0, 0.0, True, "RISK_ORDER_VALUE"),
        ("10", 10_000.0, 9_500.0, True, "RISK_GROSS_EXPOSURE"),
        ("10", 10_000.0, float("nan"), True, "RISK_GROSS_EXPOSURE"),
    ],
)
def test_the_gate_denies_with_a_code(
    qty: str, equity: float, gross: float, is_open: bool, code: str | None
) -> None:
    order = PlannedOrder("A", Side.BUY, Decimal(qty), 100.0, "")
    denial = deny(order, Situation(equity, gross, is_open), LIMITS)
    assert (denial.code if denial else None) == code


def test_a_sell_that_lowers_the_risk_is_let_through() -> None:
    order = PlannedOrder("A", Side.SELL, Decimal(90), 100.0, "")
    assert deny(order, Situation(10_000.0, 12_000.0), LIMITS) is None

"""The risk gate's rules: why an order may not leave. Pure; each refusal has a code.

What an order is held against is gathered by `astra.execution.door`, the only way to the broker;
a backtest asks the same rules with what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from astra.records import PlannedOrder, Side, TradingState


@dataclass(frozen=True, slots=True)
class Limits:
    """What the account's owner allows.

    Attributes:
        max_order_weight: of equity in one purchase.
        max_gross: value of all positions after a purchase, of equity.
    """

    max_order_weight: float = 0.25
    max_gross: float = 1.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when an order is about to leave. None = not known, and then not held against
    the order.

    Attributes:
        equity: USD of the account now.
        gross: USD value of all positions once the orders already let through are filled.
        is_open: the exchange is.
        state: what the account may do.
    """

    equity: float
    gross: float
    is_open: bool = True
    state: TradingState = TradingState.ACTIVE


@dataclass(frozen=True, slots=True)
class Denial:
    """The gate's refusal of one order."""

    code: str
    reason: str


def deny(order: PlannedOrder, situation: Situation, limits: Limits) -> Denial | None:
    """Why this order may not leave, or None."""
    value = float(order.qty) * order.reference_price
    is_buy, equity = order.side is Side.BUY, situation.equity
    after = situation.gross + (value if is_buy else -value)
    for code, broken, reason in (
        (
            "RISK_HALTED",
            not situation.state.allows(order.side),
            f"the account is {situation.state.value}",
        ),
        ("RISK_MARKET_CLOSED", not situation.is_open, "the market is closed"),
        ("RISK_NO_EQUITY", not equity > 0, f"equity must be above 0, found {equity:.2f} USD"),
        (
            "RISK_ORDER_VALUE",
            is_buy and not value <= limits.max_order_weight * equity,
            f"{value:.2f} USD is over {limits.max_order_weight:.0%} of equity in one order",
        ),
        (
            "RISK_GROSS_EXPOSURE",
            is_buy and not after <= limits.max_gross * equity,
            f"positions would reach {after / equity if equity else 0:.2f} of equity, "
            f"over {limits.max_gross:.2f}",
        ),
    ):
        if broken:
            return Denial(code, f"{order.symbol}: {reason}")
    return None

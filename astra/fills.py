"""What a trade is booked at: the price of a market order at a bar's open, and the fee of a sale.

One rule for the sandbox's broker and for backtests, exact in Decimal, so that both book the same
cash to the cent.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from astra.records import Side

PRICE_STEP = Decimal("1e-6")  # USD
CENT = Decimal("0.01")
BP = 10_000


def price_at(opens: float, side: Side, half_spread_bp: Decimal) -> Decimal:
    """USD a share at a bar's open, half a spread against us, rounded half to even to 1e-6."""
    sign = 1 if side is Side.BUY else -1
    return (Decimal(repr(float(opens))) * (1 + sign * half_spread_bp / BP)).quantize(PRICE_STEP)


def fee_of_sale(value: Decimal, fee_bp: Decimal) -> Decimal:
    """USD for selling shares worth `value`; a part of a cent counts as a whole one."""
    return (value * fee_bp / BP).quantize(CENT, ROUND_UP)

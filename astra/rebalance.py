"""From target weights to orders. Pure: the same inputs, the same plan.

Sells come first and raise cash; buys spend only the cash that is there. Every difference that is
not traded is listed with its reason, so that a plan explains itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from astra.records import Asset, PlannedOrder, Position, Side

# Of equity, never spent: a market buy is charged at its fill, which may lie above the last price.
CASH_RESERVE = 0.01
# Alpaca refuses market buys without 2.5-4 % of head-room in buying power.
BUYING_POWER_HEADROOM = 0.04
_FRACTION = Decimal("0.000001")
_WHOLE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan may do.

    Attributes:
        drift_band: differences below this fraction of equity are left alone.
        min_order_usd: smaller orders are left out.
        hold: symbols whose shares stay as they are.
    """

    drift_band: float
    min_order_usd: float
    hold: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A difference that is not traded, and why."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Sells and buys by symbol in ascending order, and what was left out."""

    sells: tuple[PlannedOrder, ...]
    buys: tuple[PlannedOrder, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a plan starts from, all at one instant.

    Attributes:
        positions: those we may touch.
        prices: last price of every symbol in positions and targets; a missing one skips it.
        assets: what the broker knows of each symbol; a missing one skips it.
        equity: USD that the weights are fractions of.
        cash, buying_power: USD that buys may use.
    """

    positions: Sequence[Position]
    prices: Mapping[str, float]
    assets: Mapping[str, Asset]
    equity: float
    cash: float
    buying_power: float


def plan_orders(targets: Mapping[str, float], holdings: Holdings, rules: Rules) -> Plan:
    """Orders that move the holdings to the target weights.

    A holding without a target is sold out. Quantities are rounded towards zero: to 6 decimals
    where the asset is fractionable, else to whole shares. If the buys would cost more than the
    cash (with head-room), all are scaled down alike.
    """
    sells: list[PlannedOrder] = []
    wanted: list[tuple[str, Decimal, float, str]] = []
    skipped: list[Skipped] = []
    held = {p.symbol: p for p in holdings.positions if p.qty > 0}
    for symbol in sorted(held.keys() | targets.keys()):
        weight = targets.get(symbol, 0.0)
        position = held.get(symbol)
        reason = _cannot_trade(symbol, holdings)
        if symbol in rules.hold:
            reason = "on hold: its shares stay"
        if reason is not None:
            skipped.append(Skipped(symbol, reason))
            continue
        price, step = holdings.prices[symbol], _step(holdings.assets[symbol])
        have = position.qty if position else Decimal(0)
        want = _round(Decimal(str(weight * holdings.equity / price)), step)
        change = want - have
        value = abs(float(change)) * price
        floor = max(rules.min_order_usd, rules.drift_band * holdings.equity if weight else 0.0)
        if change == 0 or value < floor:
            if change != 0:
                skipped.append(Skipped(symbol, f"difference of {value:.2f} USD under {floor:.2f}"))
        elif change < 0 and position is not None:
            sells.append(_sell(position, -change, weight, price, step))
        else:
            wanted.append((symbol, change, price, f"to {weight:.2%} of equity"))
    buys, left_out = _affordable(wanted, holdings, rules)
    return Plan(tuple(s for s in sells if s.qty > 0), buys, (*skipped, *left_out))


def _cannot_trade(symbol: str, holdings: Holdings) -> str | None:
    asset = holdings.assets.get(symbol)
    for broken, reason in (
        (asset is None, "unknown to the broker: its weight stays cash"),
        (asset is not None and not asset.tradable, "not tradable: its weight stays cash"),
        (not holdings.prices.get(symbol, 0.0) > 0, "no price: its weight stays cash"),
    ):
        if broken:
            return reason
    return None


def _sell(
    position: Position, qty: Decimal, weight: float, price: float, step: Decimal
) -> PlannedOrder:
    available = position.qty if position.qty_available is None else position.qty_available
    # A sell-out takes the odd fraction along; a reduction is rounded like any order.
    exact = min(qty, available) if weight == 0 else _round(min(qty, available), step)
    reason = "sold out: no target" if weight == 0 else f"down to {weight:.2%} of equity"
    return PlannedOrder(position.symbol, Side.SELL, exact, price, reason)


def _affordable(
    wanted: Sequence[tuple[str, Decimal, float, str]], holdings: Holdings, rules: Rules
) -> tuple[tuple[PlannedOrder, ...], list[Skipped]]:
    cost = sum(float(qty) * price for _, qty, price, _ in wanted)
    budget = min(
        holdings.cash - CASH_RESERVE * holdings.equity,
        holdings.buying_power / (1 + BUYING_POWER_HEADROOM),
    )
    scale = min(1.0, max(0.0, budget) / cost) if cost > 0 else 1.0
    buys, skipped = [], []
    for symbol, full, price, why in wanted:
        step = _step(holdings.assets[symbol])
        qty = full if scale == 1.0 else _round(full * Decimal(str(scale)), step)
        if float(qty) * price < rules.min_order_usd:
            skipped.append(Skipped(symbol, f"buys for {cost:.2f} USD, cash for {budget:.2f}"))
            continue
        reason = why if scale == 1.0 else f"{why}, scaled by {scale:.3f} to the cash"
        buys.append(PlannedOrder(symbol, Side.BUY, qty, price, reason))
    return tuple(buys), skipped


def _step(asset: Asset) -> Decimal:
    return _FRACTION if asset.fractionable else _WHOLE


def _round(qty: Decimal, step: Decimal) -> Decimal:
    return (qty / step).to_integral_value(ROUND_DOWN) * step

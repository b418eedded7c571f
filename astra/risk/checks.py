"""What each rule of the gate asks: one function a rule, the broken rule's sentence or None.

Comparisons are written so that NaN breaks the rule. Those that come later in the table rely on
those before: quantity, price and equity are then finite and above 0.
"""

from __future__ import annotations

import datetime as dt
import math

from astra.records import PlannedOrder, Side, TradingState
from astra.risk.situation import Limits, Situation

LEAST_FACTOR, MOST_FACTOR = 0.6, 1.6  # of the last close: what a sale's price may be


def value_of(order: PlannedOrder) -> float:
    return float(order.qty) * order.reference_price


def no_value(order: PlannedOrder, _: Situation, __: Limits) -> str | None:
    usable = order.qty.is_finite() and order.reference_price > 0 and 0 < value_of(order) < math.inf
    return None if usable else f"quantity {order.qty} at {order.reference_price} USD is no order"


def halted(order: PlannedOrder, now: Situation, _: Limits) -> str | None:
    return "the account is HALTED" if now.state is TradingState.HALTED else None


def reducing(order: PlannedOrder, now: Situation, _: Limits) -> str | None:
    return None if now.state.allows(order.side) else f"the account is {now.state.value}"


def blocked(_: PlannedOrder, now: Situation, __: Limits) -> str | None:
    return "the broker has blocked trading on the account" if now.is_blocked else None


def closed(_: PlannedOrder, now: Situation, __: Limits) -> str | None:
    return None if now.is_open else "the market is closed"


def closing(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.now is None or now.closes_at is None:
        return None
    left = now.closes_at - now.now
    if left > dt.timedelta(minutes=limits.closing_minutes):
        return None
    minutes = left / dt.timedelta(minutes=1)
    return f"the market closes in {minutes:.1f} minutes, {limits.closing_minutes} are too few"


def stale(_: PlannedOrder, now: Situation, __: Limits) -> str | None:
    if now.now is None or now.expires_at is None or now.now < now.expires_at:
        return None
    return f"the allocation expired at {now.expires_at:%Y-%m-%d %H:%M} UTC"


def no_equity(_: PlannedOrder, now: Situation, __: Limits) -> str | None:
    usable = 0 < now.equity < math.inf
    return None if usable else f"equity must be above 0, found {now.equity:.2f} USD"


def model_age(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.now is None or now.trained_until is None or not limits.model_max_age_days:
        return None
    days = (now.now - now.trained_until).days
    if days <= limits.model_max_age_days:
        return None
    return f"the model's training ended {days} days ago, over {limits.model_max_age_days}"


def coverage(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.coverage is None or now.coverage >= limits.min_coverage:
        return None
    if math.isnan(now.coverage):
        return "nobody knows what share of the candidates the forecast covered"
    least = limits.min_coverage
    return f"the forecast covered {now.coverage:.1%} of the candidates, under {least:.1%}"


def daily_loss(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.day_return is None or -now.day_return <= limits.max_daily_loss:
        return None
    if math.isnan(now.day_return):
        return "the account's value at the last close is not known, nor so the day's loss"
    return f"the day has lost {-now.day_return:.2%}, over {limits.max_daily_loss:.2%}"


def drawdown(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.drawdown is None or now.drawdown <= limits.max_drawdown:
        return None
    return f"the account is {now.drawdown:.2%} below its peak, over {limits.max_drawdown:.2%}"


def reject_rate(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.reject_rate is None or now.reject_rate <= limits.max_reject_rate:
        return None
    most = limits.max_reject_rate
    return f"{now.reject_rate:.0%} of the day's orders were rejected, over {most:.0%}"


def orders(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.orders is None or now.orders < limits.max_orders_per_rebalance:
        return None
    return f"{now.orders} orders of the allocation were sent, {limits.max_orders_per_rebalance} may"


def orders_today(_: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.orders_today is None or now.orders_today < limits.max_orders_per_day:
        return None
    return f"{now.orders_today} orders of the session were sent, {limits.max_orders_per_day} may"


def price(order: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    """A sale may meet any price but one that a split would explain, and needs no known close: it
    must not wait for the market to calm down."""
    if now.mark is None:
        return None
    if order.side is Side.SELL:
        return _split(order.reference_price, now.mark.close)
    sigmas = now.mark.sigmas(order.reference_price)
    if sigmas <= limits.price_collar_sigmas:
        return None
    if math.isnan(sigmas):
        return f"no close is known to hold {order.reference_price:.4f} USD against"
    return (
        f"{order.reference_price:.4f} USD is {sigmas:.1f} deviations from the last close "
        f"{now.mark.close:.4f}, over {limits.price_collar_sigmas:g}"
    )


def _split(price: float, close: float) -> str | None:
    factor = price / close if close > 0 else math.nan
    if math.isnan(factor) or LEAST_FACTOR <= factor <= MOST_FACTOR:
        return None
    return f"{price:.4f} USD is {factor:.2f} times the last close {close:.4f}: a split, or wrong"


def order_value(order: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    value = value_of(order)
    if not value <= limits.max_order_weight * now.equity:
        return f"{value:.2f} USD is over {limits.max_order_weight:.0%} of equity in one order"
    if limits.max_order_usd and not value <= limits.max_order_usd:
        return f"{value:.2f} USD is over {limits.max_order_usd:.2f} USD in one order"
    return None


def position(order: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    if now.position is None:
        return None
    after = now.position + value_of(order)
    if after <= limits.max_position_weight * now.equity:
        return None
    return f"its weight would reach {after / now.equity:.2%}, over {limits.max_position_weight:.2%}"


def gross(order: PlannedOrder, now: Situation, limits: Limits) -> str | None:
    after = now.gross + value_of(order)
    if after <= limits.max_gross * now.equity:
        return None
    return f"positions would reach {after / now.equity:.2f} of equity, over {limits.max_gross:.2f}"


def oversold(order: PlannedOrder, now: Situation, _: Limits) -> str | None:
    if order.side is Side.BUY or now.held is None:
        return None
    if now.held.is_finite() and order.qty <= now.held:
        return None
    return f"{order.qty} shares are to be sold, {now.held} are free"


def cash(order: PlannedOrder, now: Situation, _: Limits) -> str | None:
    if now.unpriced:
        return f"what cash is free is not known: no price is known of {now.unpriced}"
    if now.cash is None or value_of(order) <= now.cash:
        return None
    return f"{value_of(order):.2f} USD is more than the cash, {now.cash:.2f}"

"""The rules as a table, walked once: the first that is broken denies the order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from astra.records import PlannedOrder, Side, TradingState
from astra.risk import checks
from astra.risk.situation import UNLIMITED, Denial, Limits, Situation

Broken = Callable[[PlannedOrder, Situation, Limits], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        code: what a denied order ends with.
        against: what the rule keeps from happening.
        broken: why an order breaks it, or None.
        settings: names of the settings that it reads.
        sells: whether sales are held to it too; where not, they lower the risk.
        remedy: what the account's owner can do.
    """

    code: str
    against: str
    broken: Broken
    settings: tuple[str, ...]
    sells: bool
    remedy: str

    def holds(self, side: Side) -> bool:
        return self.sells or side is Side.BUY


def deny(order: PlannedOrder, situation: Situation, limits: Limits) -> Denial | None:
    """Why this order may not leave, or None."""
    return _first(RULES, order, situation, limits)


def denied_by_state(order: PlannedOrder, state: TradingState) -> Denial | None:
    """Why this order may not leave for the account's state alone, or None."""
    return _first(STATE_RULES, order, Situation(0.0, 0.0, state=state), UNLIMITED)


def _first(
    rules: Iterable[Rule], order: PlannedOrder, situation: Situation, limits: Limits
) -> Denial | None:
    for rule in rules:
        if rule.holds(order.side) and (reason := rule.broken(order, situation, limits)):
            return Denial(rule.code, f"{order.symbol}: {reason}")
    return None


STATE_RULES = (
    Rule(
        "RISK_HALTED",
        "an account that was halted, by a person or by a breaker",
        checks.halted,
        (),
        True,
        "`astra lift` tells why, and lifts it in two steps",
    ),
    Rule(
        "RISK_REDUCING",
        "purchases while the account may only sell",
        checks.reducing,
        (),
        False,
        "as above",
    ),
)

RULES = (
    Rule(
        "RISK_NO_VALUE",
        "a quantity or a price that is missing, not finite or not above 0",
        checks.no_value,
        (),
        True,
        "load bars: the plan had no price it could count with",
    ),
    *STATE_RULES,
    Rule(
        "RISK_ACCOUNT_BLOCKED",
        "an account on which the broker lets nobody trade",
        checks.blocked,
        (),
        True,
        "ask the broker",
    ),
    Rule(
        "RISK_MARKET_CLOSED",
        "orders that would wait for the next session's open",
        checks.closed,
        (),
        True,
        "none needed: the next decision trades",
    ),
    Rule(
        "RISK_MARKET_CLOSING",
        "orders so late that they may not fill before the close",
        checks.closing,
        ("closing_minutes",),
        True,
        "none needed: the next decision trades",
    ),
    Rule(
        "RISK_STALE_ALLOCATION",
        "weights of a decision that has expired",
        checks.stale,
        (),
        True,
        "decide again: `astra allocate`",
    ),
    Rule(
        "RISK_NO_EQUITY",
        "an account without value, or whose value is not known: no weight can be measured",
        checks.no_equity,
        (),
        True,
        "pay money in, or see what the broker says of the account",
    ),
    Rule(
        "RISK_MODEL_AGE",
        "forecasts of a model that was trained too long ago; files dropped by hand are exempt, and "
        "those whose forecast moved no weight",
        checks.model_age,
        ("model_max_age_days",),
        False,
        "train and promote a new model: `astra train`",
    ),
    Rule(
        "RISK_COVERAGE",
        "forecasts that saw too few of the candidates, or do not say how many; files dropped by "
        "hand are exempt",
        checks.coverage,
        ("min_coverage",),
        False,
        "see which bars are missing: the ETL service's `/quality`",
    ),
    Rule(
        "RISK_DAILY_LOSS",
        "buying on after a day's large loss, deposits and withdrawals taken out",
        checks.daily_loss,
        ("max_daily_loss",),
        False,
        "look at the positions; the account stays REDUCING, also the next session, until "
        "`astra lift`",
    ),
    Rule(
        "RISK_DRAWDOWN",
        "buying on far below the account's peak, deposits and withdrawals taken out",
        checks.drawdown,
        ("max_drawdown",),
        False,
        "look at the strategy; raise the limit only on purpose",
    ),
    Rule(
        "RISK_REJECT_RATE",
        "sending on while the broker rejects most of at least five orders of the day",
        checks.reject_rate,
        ("max_reject_rate",),
        True,
        "read the orders' reasons and remove the cause",
    ),
    Rule(
        "RISK_ORDERS_REBALANCE",
        "an allocation that sends orders without end",
        checks.orders,
        ("max_orders_per_rebalance",),
        True,
        "hold fewer names, or raise the limit",
    ),
    Rule(
        "RISK_ORDERS_DAY",
        "a session in which orders are sent without end",
        checks.orders_today,
        ("max_orders_per_day",),
        True,
        "find out what sends them, or raise the limit",
    ),
    Rule(
        "RISK_PRICE_COLLAR",
        "a price that cannot be right: a wrong tick, or a split that one side does not know yet; "
        "a purchase more deviations from the last close than the setting or where no close is "
        f"known, a sale under {checks.LEAST_FACTOR:g} or over {checks.MOST_FACTOR:g} times the "
        "last close",
        checks.price,
        ("price_collar_sigmas",),
        True,
        "load bars again (`astra load`); after news, wait for the first bars",
    ),
    Rule(
        "RISK_ORDER_VALUE",
        "one purchase that is too large",
        checks.order_value,
        ("max_order_weight", "max_order_usd"),
        False,
        "lower the target's weights, or raise the limit",
    ),
    Rule(
        "RISK_POSITION_WEIGHT",
        "one position that grows too large, however many purchases it takes",
        checks.position,
        ("max_position_weight",),
        False,
        "lower the target's weight, or raise the limit",
    ),
    Rule(
        "RISK_GROSS_EXPOSURE",
        "positions on credit",
        checks.gross,
        ("max_gross",),
        False,
        "none needed: sales bring it down",
    ),
    Rule(
        "RISK_OVERSOLD",
        "sales of more shares than are held and not on sale already",
        checks.oversold,
        (),
        True,
        "hold the books against the broker's: `/reconcile`",
    ),
    Rule(
        "RISK_CASH",
        "purchases for more than the cash, on a cash account the settled cash",
        checks.cash,
        (),
        False,
        "none needed: the next decision plans from the cash there is; cancel an order that is "
        "named, or give it a limit",
    ),
)

"""What an order is held against: the owner's limits, and what is known as it is about to leave."""

from __future__ import annotations

import datetime as dt
import math
import sys
from dataclasses import dataclass
from decimal import Decimal

from astra.records import TradingState
from astra.risk.mark import Mark


@dataclass(frozen=True, slots=True)
class Limits:
    """What the account's owner allows; each field is the setting of its name.

    Equity is what is managed: cash and our own positions, at most the capital where one is set.

    Attributes:
        max_order_weight, max_order_usd: of equity, and USD, in one purchase; 0 USD = any.
        max_position_weight: of equity in one position after a purchase.
        max_gross: value of all positions after a purchase, of equity.
        max_orders_per_rebalance, max_orders_per_day: orders of one allocation, of one session.
        price_collar_sigmas: deviations between an order's price and the last close.
        closing_minutes: before the close nothing is sent any more; 0 = up to the close.
        max_daily_loss, max_drawdown: share of equity; purchases stop beyond it.
        max_reject_rate: share of the day's orders that the broker rejected; all stops beyond it.
        min_coverage: share of the candidates that the forecast covered.
        model_max_age_days: since the end of the model's training; 0 = any.
    """

    max_order_weight: float
    max_order_usd: float
    max_position_weight: float
    max_gross: float
    max_orders_per_rebalance: int
    max_orders_per_day: int
    price_collar_sigmas: float
    closing_minutes: int
    max_daily_loss: float
    max_drawdown: float
    max_reject_rate: float
    min_coverage: float
    model_max_age_days: int


# For who asks only some of the rules: a backtest, or whether the account's state forbids an order.
UNLIMITED = Limits(
    max_order_weight=math.inf,
    max_order_usd=0.0,
    max_position_weight=math.inf,
    max_gross=math.inf,
    max_orders_per_rebalance=sys.maxsize,
    max_orders_per_day=sys.maxsize,
    price_collar_sigmas=math.inf,
    closing_minutes=0,
    max_daily_loss=math.inf,
    max_drawdown=math.inf,
    max_reject_rate=math.inf,
    min_coverage=0.0,
    model_max_age_days=0,
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when an order is about to leave.

    None = whoever asks does not hold the order against it: a backtest, or something that nobody
    can know yet, as the day's return of an account of today. NaN = it should be known and is not:
    that denies a purchase. Equity has no None, nor has the order's own price: without them nothing
    leaves.

    Attributes:
        equity: USD now that weights are fractions of: cash and our own positions, at most the
            capital where one is set.
        gross: USD value of our positions once the orders already let through are filled.
        is_open: the exchange is.
        state: what the account may do.
        is_blocked: the broker lets the account trade nothing.
        now, closes_at: the market's time, and the end of its session.
        expires_at: from then on the allocation trades nothing.
        trained_until: the end of the model's training; None for a file dropped by hand, and where
            its age does not matter: a forecast that moved no weight, a simulated market.
        coverage: share of the candidates that the forecast covered; None for a file dropped by
            hand.
        position: USD value of what is ours of the order's symbol once the orders let through are
            filled.
        held: its shares that may be sold.
        cash: USD that purchases may use, those let through already taken off.
        unpriced: an open order that binds cash, nobody knows how much; "" if there is none.
        mark: the last close that is believed.
        orders: of this allocation, sent before this one.
        orders_today: of this session, sent before this one.
        day_return: since the last session's close, deposits and withdrawals taken out; None for an
            account that had no value then.
        drawdown: share of equity below its peak, 0 or more; None while nothing was recorded.
        reject_rate: share of the day's orders that the broker rejected; None of fewer than five.
    """

    equity: float
    gross: float
    is_open: bool = True
    state: TradingState = TradingState.ACTIVE
    is_blocked: bool = False
    now: dt.datetime | None = None
    closes_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    trained_until: dt.datetime | None = None
    coverage: float | None = None
    position: float | None = None
    held: Decimal | None = None
    cash: float | None = None
    unpriced: str = ""
    mark: Mark | None = None
    orders: int | None = None
    orders_today: int | None = None
    day_return: float | None = None
    drawdown: float | None = None
    reject_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """The gate's refusal of one order."""

    code: str
    reason: str

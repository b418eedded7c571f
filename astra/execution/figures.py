"""Where an account stands today: what it lost, what was rejected, how many orders it sent.

Read from the store in three statements and from the account as the broker has it now. Nothing is
asked of the broker.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from astra.execution.desk import Desk
from astra.records import Account, OrderStatus
from astra.risk import FLOWS, Amount, fallen, growth, placed
from astra.sessions import NEW_YORK, session_before
from astra.store.journal import OrderRow

FEWEST_ORDERS = 5  # of a day, before the share of those that were rejected says anything


@dataclass(frozen=True, slots=True)
class Figures:
    """The account's figures; None = cannot be known yet.

    Losses are the whole account's, shares of its value or of the capital where that is less.

    Attributes:
        day_return: since the close of the session before, deposits and withdrawals taken out; NaN
            where the broker does not say what the account was worth then.
        drawdown: share below the peak of the days' last values, 0 or more.
        peak_at: when that peak was reached.
        reject_rate: share of the day's orders that the broker rejected, an order counting once
            however often it was tried; None of fewer than five.
        orders_today: sent since the close of the session before, each attempt counting.
    """

    day_return: float | None
    drawdown: float | None
    reject_rate: float | None
    orders_today: int
    peak_at: dt.datetime | None = None

    @property
    def of_breakers(self) -> dict[str, float | None]:
        """What `astra.breakers` holds against the limits: larger is worse."""
        return {
            "daily_loss": None if self.day_return is None else -self.day_return,
            "drawdown": self.drawdown,
            "reject_rate": self.reject_rate,
        }


def figures_of(desk: Desk, account: Account, now: dt.datetime) -> Figures:
    """The figures of `account`, as the broker has it, at the market's `now`."""
    store, number = desk.store, account.number
    day = session_before(now).closes_at
    flows = store.equity.flows(number, FLOWS)
    orders = store.journal.orders_since(number, day)
    equity = float(account.equity)
    daily = store.equity.daily(number, now)
    fall = fallen([*daily, (now, equity)], flows)
    return Figures(
        day_return=_day_return(account, daily, day, now, flows, desk.capital),
        drawdown=None if fall is None else _drawdown(fall.share, equity, desk.capital),
        reject_rate=_reject_rate(orders),
        orders_today=sum(order.sent_at is not None for order in orders),
        peak_at=None if fall is None else fall.peak_at,
    )


def _day_return(
    account: Account,
    daily: Sequence[Amount],
    close: dt.datetime,
    now: dt.datetime,
    flows: Sequence[Amount],
    capital: float,
) -> float | None:
    """Since the last close; the day before it tells on which side of it a flow of its day was."""
    if account.last_equity is None:
        return math.nan
    last, equity = float(account.last_equity), float(account.equity)
    date = close.astimezone(NEW_YORK).date()
    earlier = [value for value in daily if value[0].astimezone(NEW_YORK).date() < date]
    values = [*earlier[-1:], (close, last), (now, equity)]
    flow = placed(values, flows)[-1]
    found = growth(last, equity, flow)
    return None if found is None else found * _of_capital(last + max(0.0, flow), capital)


def _drawdown(share: float, equity: float, capital: float) -> float:
    return share * _of_capital(equity / (1.0 - share), capital) if share < 1 else share


def _of_capital(value: float, capital: float) -> float:
    """What makes a share of `value` one of the capital, where one is set that is less."""
    return max(1.0, value / capital) if capital > 0 else 1.0


def _reject_rate(orders: Sequence[OrderRow]) -> float | None:
    """By the last attempt: one refused in passing and then filled was not rejected. What our own
    gate denied does not count, else a denial would bring on the next."""
    last = {
        (o.allocation_id, o.symbol, o.side): o for o in sorted(orders, key=attrgetter("attempt"))
    }
    sent = {(o.allocation_id, o.symbol, o.side) for o in orders if o.sent_at}
    if len(sent) < FEWEST_ORDERS:
        return None
    return sum(_is_rejected(last[key]) for key in sent) / len(sent)


def _is_rejected(order: OrderRow) -> bool:
    return order.status is OrderStatus.REJECTED and not order.reason.startswith("RISK_")

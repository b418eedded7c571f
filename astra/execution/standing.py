"""Where an account stands today: what it lost, what was rejected, how many orders it sent.

Read from the store in three statements and from the account as the broker has it now. Nothing is
asked of the broker.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astra.execution.desk import Desk
from astra.records import Account, OrderStatus
from astra.risk import FLOWS, drawdown, growth
from astra.sessions import session_before
from astra.store import Query, Store

FEWEST_ORDERS = 5  # of a day, before the share of those that were rejected says anything


@dataclass(frozen=True, slots=True)
class Standing:
    """The account's figures; None = cannot be known yet.

    Attributes:
        day_return: since the close of the session before, deposits and withdrawals taken out.
        drawdown: share below the peak of the days' last values, in [0, 1].
        reject_rate: share of the day's orders that the broker rejected, an order counting once
            however often it was tried; None of fewer than five.
        orders_today: sent since the close of the session before, each attempt counting.
    """

    day_return: float | None
    drawdown: float | None
    reject_rate: float | None
    orders_today: int


def standing(desk: Desk, account: Account, now: dt.datetime) -> Standing:
    """The figures of `account`, as the broker has it, at the market's `now`."""
    store, number = desk.store, account.number
    day = session_before(now).closes_at
    flows = store.equity.flows(number, FLOWS)
    orders = _orders(store, number, day)
    equity = float(account.equity)
    today = sum(amount for at, amount in flows if at > day)
    before = account.last_equity
    return Standing(
        day_return=None if before is None else growth(float(before), equity, today),
        drawdown=drawdown([*store.equity.daily(number, now), (now, equity)], flows),
        reject_rate=_reject_rate(orders),
        orders_today=sum(order["sent_at"] is not None for order in orders),
    )


def _orders(store: Store, number: str, since: dt.datetime) -> list[dict[str, Any]]:
    names = ("allocation_id", "symbol", "side", "attempt", "status", "reason", "sent_at")
    rows: list[dict[str, Any]] = (
        store.dump(Query("orders", names, account=number, start=since)).read_all().to_pylist()
    )
    return sorted(rows, key=lambda row: row["attempt"])


def _reject_rate(orders: Sequence[dict[str, Any]]) -> float | None:
    """By the last attempt: one refused in passing and then filled was not rejected. What our own
    gate denied does not count, else a denial would bring on the next."""
    last = {(o["allocation_id"], o["symbol"], o["side"]): o for o in orders}
    sent = {(o["allocation_id"], o["symbol"], o["side"]) for o in orders if o["sent_at"]}
    if len(sent) < FEWEST_ORDERS:
        return None
    rejected = [key for key in sent if _is_rejected(last[key])]
    return len(rejected) / len(sent)


def _is_rejected(order: dict[str, Any]) -> bool:
    status, reason = order["status"], str(order["reason"])
    return status == OrderStatus.REJECTED.value and not reason.startswith("RISK_")

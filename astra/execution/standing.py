"""Where an account stands today: what it lost, what was rejected, how many orders it sent.

Read from the store in three statements and from the account as the broker has it now. Nothing is
asked of the broker.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astra.execution.desk import Desk
from astra.records import Account, OrderStatus
from astra.risk import FLOWS, drawdown, growth
from astra.sessions import session_before, sessions_between
from astra.store import Query, Store

FEWEST_ORDERS = 5  # of a day, before the share of those that were rejected says anything
_AFTER_THE_CLOSE = 3600  # seconds in which a saved account still tells the session's last value

Flow = tuple[dt.datetime, float]


@dataclass(frozen=True, slots=True)
class Standing:
    """The account's figures; None = cannot be known yet.

    Attributes:
        day_return: since the close of the session before, deposits and withdrawals taken out.
        drawdown: share below the peak of the sessions' last values, in [0, 1].
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
    flows = _flows(store, number)
    orders = _orders(store, number, day)
    equity = float(account.equity)
    today = sum(amount for at, amount in flows if at > day)
    before = account.last_equity
    return Standing(
        day_return=None if before is None else growth(float(before), equity, today),
        drawdown=drawdown([*_last_values(store, number, now), (now, equity)], flows),
        reject_rate=_reject_rate(orders),
        orders_today=sum(order["sent_at"] is not None for order in orders),
    )


def _flows(store: Store, number: str) -> list[Flow]:
    """What came in and went, without the deposit that opened the account: the broker's value of
    the close before it holds that already."""
    query = Query("activities", ("type", "at", "net_amount"), account=number)
    found = store.dump(query).read_all()
    opened_at = pc.min(found["at"]).as_py()
    moved = found.filter(pc.is_in(found["type"], pa.array(sorted(FLOWS)))).to_pylist()
    return [(row["at"], float(row["net_amount"])) for row in moved if row["at"] > opened_at]


def _last_values(store: Store, number: str, now: dt.datetime) -> list[Flow]:
    """The last value saved of each session before today's, oldest first."""
    query = Query("account_summary", ("at", "equity"), account=number, end=now)
    found = store.dump(query).read_all()
    if not len(found):
        return []
    at = found["at"].to_numpy().astype("datetime64[s]").astype(np.int64)
    first = dt.datetime.fromtimestamp(int(at[0]) - _AFTER_THE_CLOSE, dt.UTC)
    sessions = sessions_between(first, session_before(now).closes_at)
    opens = np.array([int(s.opens_at.timestamp()) for s in sessions], np.int64)
    closes = np.array([int(s.closes_at.timestamp()) for s in sessions], np.int64)
    # The last value up to an hour after each close, if it is not from before the session.
    last = np.searchsorted(at, closes + _AFTER_THE_CLOSE, "right") - 1
    is_of_session = (last >= 0) & (at[np.maximum(last, 0)] >= opens)
    equity = found["equity"]
    return [
        (dt.datetime.fromtimestamp(int(at[i]), dt.UTC), float(equity[int(i)].as_py()))
        for i in last[is_of_session]
    ]


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

"""How things stand: data, last decision, last rebalance, trading state, drift, books, jobs, alerts.

Gathered from the store alone, in a few short reads, so that it may be asked for at any time: nobody
asks the broker here, and nothing is changed. What calls for somebody is `astra.alerts`' to say.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from astra import __version__, owned
from astra.jobs import GRACE, JobStatus, job_statuses, last_decision_time
from astra.quality import FRESH_BARS
from astra.rebalance import drift
from astra.records import TradingState
from astra.schedule import deployed
from astra.sessions import BAR, BAR_SECONDS, session_at
from astra.settings import Settings
from astra.store import Store
from astra.store.alerts import AlertRow
from astra.store.newest import DecisionRow, Rebalance, Summary
from astra.store.rows import moment

_FRESH = FRESH_BARS * BAR


@dataclass(frozen=True, slots=True)
class Data:
    """The bars of the tradable names, judged at the last decision time that is 15 minutes ago.

    Attributes:
        as_of: end of the last stored bar, None before the first load.
        judged_at: that decision time.
        names, fresh: tradable names, and how many of them printed in the hour before it.
        is_open: whether the exchange is.
        is_stale: whether too few are fresh, at a decision time of the session that is open.
    """

    as_of: dt.datetime | None
    judged_at: dt.datetime
    names: int
    fresh: int
    needed: float
    is_open: bool
    is_stale: bool

    @property
    def share(self) -> float | None:
        """Of the names that are fresh; None of no names."""
        return self.fresh / self.names if self.names else None

    @property
    def is_short(self) -> bool:
        """Whether less than the share that a decision needs is fresh, the exchange open or not."""
        return self.fresh < self.needed * self.names


@dataclass(frozen=True, slots=True)
class Trading:
    """What the account may do. `is_confirmed`: whether the broker had nothing open any more that
    the state forbids; True for an account that may trade."""

    state: TradingState
    reason: str
    changed_by: str
    since: dt.datetime | None
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """Share of the managed equity that would have to move to be as the last traded allocation."""

    share: float
    object: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Books:
    """The last reconciliation, see `astra.store.reconciliations`."""

    at: dt.datetime
    status: str
    cash_diff: Decimal
    share_diffs: Mapping[str, Decimal]
    value_diff: float
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """How an account and its services stand at the market's time `at`. None = there is none yet.

    Attributes:
        account: "" before the first was recorded.
        market: the store's identity, "" before the first load.
        rebalance: the allocation that came last.
        alerts: those that are open, the oldest first.
    """

    account: str
    at: dt.datetime
    paper: bool
    market: str
    release: str
    worth: Summary | None
    data: Data
    decision: DecisionRow | None
    rebalance: Rebalance | None
    trading: Trading
    drift: Drift | None
    books: Books | None
    jobs: tuple[JobStatus, ...]
    alerts: tuple[AlertRow, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain texts, numbers, lists and objects; times in ISO, amounts as text."""
        found: dict[str, Any] = _plain(self)
        found["data"]["share"] = self.data.share
        return found


def gather(store: Store, account: str, now: dt.datetime, settings: Settings) -> Status:
    """How things stand at the market's `now`.

    Raises:
        ConfigError: the job file cannot be read.
        TemporaryError: the store does not answer.
    """
    newest = store.newest
    worth = newest.summary(account)
    return Status(
        account=account,
        at=now,
        paper=settings.alpaca_paper,
        market=store.market() or "",
        release=__version__,
        worth=worth,
        data=_data(store, now, settings.min_coverage),
        decision=newest.decision(),
        rebalance=newest.rebalance(account),
        trading=trading(store, account),
        drift=_drift(worth, newest.traded(account), settings.capital),
        books=_books(store, account),
        jobs=job_statuses(store, deployed(), now),
        alerts=store.alerts.open(account),
    )


def _data(store: Store, now: dt.datetime, needed: float) -> Data:
    members = [m.ticker for m in store.books.universe() if m.tradable]
    last = store.prices.last_ts()
    judged_at, session = last_decision_time(now - GRACE), session_at(now)
    since = (judged_at - _FRESH).timestamp()
    fresh = sum(last.get(ticker, 0) >= since for ticker in members)
    is_due = session is not None and judged_at >= session.opens_at
    found = Data(
        as_of=moment(max(last.values()) + BAR_SECONDS) if last else None,
        judged_at=judged_at,
        names=len(members),
        fresh=fresh,
        needed=needed,
        is_open=session is not None,
        is_stale=False,
    )
    return dataclasses.replace(found, is_stale=is_due and found.is_short)


def trading(store: Store, account: str) -> Trading:
    """What the account may do."""
    row = store.states.get(account)
    is_confirmed = row.state is TradingState.ACTIVE or store.states.is_confirmed(account)
    return Trading(row.state, row.reason, row.changed_by, row.since, is_confirmed)


def _drift(worth: Summary | None, traded: Rebalance | None, capital: float) -> Drift | None:
    """Holdings as they were saved against the allocation's weights."""
    if worth is None or traded is None:
        return None
    value = sum(worth.own.values())
    equity = owned.managed_equity(float(worth.cash), value, capital, float(worth.equity))
    if not equity > 0:
        return None
    held = {symbol: usd / equity for symbol, usd in worth.own.items()}
    return Drift(drift(held, traded.weights), traded.object, worth.at)


def _books(store: Store, account: str) -> Books | None:
    found = store.reconciliations.latest(account)
    if found is None:
        return None
    names = (field.name for field in dataclasses.fields(Books))
    return Books(**{name: getattr(found, name) for name in names})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    match value:
        case dt.datetime():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case Enum():
            return value.value
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case tuple() | list():
            return [_plain(one) for one in value]
        case _:
            return value

"""The short reads that a day is put together from; none writes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from astra.equity_curve import Curve
from astra.jobs import WATCH
from astra.records import TradingState
from astra.report import profit
from astra.report.profit import Profit, Saved
from astra.report.session import Bounds
from astra.scoring import Tally
from astra.store import Query, Store
from astra.store.alerts import AlertRow
from frontend import account as holding
from frontend import decided, decision
from frontend.account import Holdings
from frontend.decision import Decision
from frontend.trades import prices_of

_REACH = dt.timedelta(days=6)  # back over a long weekend to a benchmark's last close
_SECOND = dt.timedelta(seconds=1)
_STATE = "state"  # the audit log's kind of line for a change of what an account may do


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what the account may do."""

    at: dt.datetime
    before: TradingState
    after: TradingState
    reason: str
    by: str


def frame(store: Store, query: Query) -> pd.DataFrame:
    """The rows of a table; times in UTC."""
    found: pd.DataFrame = store.dump(query).read_all().to_pandas()
    return found


def beside(store: Store, curve: Curve, names: Iterable[str]) -> dict[str, Curve]:
    """The curve beside the closes of each benchmark, whether there are any or not."""
    found = {}
    for name in names:
        since, until = curve.times[0] - _REACH, curve.times[-1]
        query = Query("price_history", ("ts", "close"), (name,), start=since, end=until)
        prices = frame(store, query)
        starts = prices["ts"].to_numpy("datetime64[s]").astype(np.int64)
        found[name] = curve.beside(starts, prices["close"].to_numpy(np.float64))
    return found


def decisions(store: Store, account: str, bounds: Bounds) -> tuple[Decision, ...]:
    """The account's of the day, oldest first."""
    columns = ("as_of", "object", "document")
    told = frame(store, Query("decisions", columns, start=bounds.start, end=bounds.end))
    own = told[told["object"].isin(decided.own(store, account))].sort_values(["as_of", "object"])
    return tuple(decision.parse(str(text)) for text in own["document"])


def decision_before(store: Store, account: str, at: dt.datetime) -> Decision | None:
    """The account's last one before `at`."""
    known = frame(store, Query("decisions", ("as_of", "object"), end=at))
    own = known[known["object"].isin(decided.own(store, account))].sort_values(["as_of", "object"])
    if own.empty:
        return None
    document = store.books.decision(str(own["object"].iloc[-1]))
    return None if document is None else decision.parse(json.dumps(document))


def summary_at(store: Store, account: str, at: dt.datetime) -> pd.DataFrame:
    """The saved summary of that time: one row."""
    query = Query("account_summary", account=account, start=at, end=at + _SECOND)
    return frame(store, query)


def profit_of(
    store: Store, account: str, saved: Sequence[dt.datetime], bounds: Bounds
) -> Profit | None:
    """From the last summary before the day (of a new account its first) to the day's last; None
    where these are not two.

    Args:
        saved: times of all summaries, oldest first.
    """
    own = [at for at in saved if bounds.has(at)]
    before = [at for at in saved if at < bounds.start]
    ends = [*before[-1:], *own][:1] + own[-1:]
    if not own or ends[0] == ends[1]:
        return None
    first, last = (_saved(summary_at(store, account, at)) for at in ends)
    return profit.between(store.books.activities(account), first, last)


def _saved(summary: pd.DataFrame) -> Saved:
    row = summary.iloc[0]
    positions = str(row["positions"])
    prices = prices_of(positions)  # reads them with care
    shares = {str(p["symbol"]): Decimal(str(p["qty"])) for p in json.loads(positions)}
    return Saved(row["at"].to_pydatetime(), shares, prices)


def held(
    store: Store, account: str, at: dt.datetime, targets: Decision | None, capital: float
) -> Holdings:
    """What the summary of that time holds, beside the weights that were decided; `capital` is USD
    managed at most, 0 = all."""
    columns = ("ticker", "name", "sector")
    members = frame(store, Query("universe", columns, known_at=at))
    weights = None if targets is None else targets.weights
    return holding.holdings(summary_at(store, account, at), members, weights, capital)


def tallies(store: Store, made: Iterable[Decision]) -> tuple[Tally, ...]:
    """What came of the forecasts of these decisions, of all names that were forecast."""
    times: dict[str, list[dt.datetime]] = {}
    for one in made:
        times.setdefault(one.model_id, []).append(one.as_of)
    found: list[Tally] = []
    for model, asked in times.items():
        names = {t for at in asked for t in store.forecasts.made(model, at)["ticker"]}
        found += store.forecasts.tallies(model, asked, sorted(names)) if names else []
    return tuple(found)


def alerts(store: Store, account: str, bounds: Bounds) -> tuple[AlertRow, ...]:
    """This account's alerts and those of no account that were open at a time of the day, the
    oldest first; one that ended after the day has no end yet."""
    table = frame(store, Query("alerts", end=bounds.end))
    own = table[table["account"].isin(["", account])]
    own = own[own["closed_at"].isna() | (own["closed_at"] >= pd.Timestamp(bounds.start))]
    own = own.sort_values(["opened_at", "key"])
    return tuple(
        AlertRow(
            key=row["key"], severity=row["severity"], message=row["message"],
            account=row["account"], opened_at=row["opened_at"].to_pydatetime(),
            seen_at=row["seen_at"].to_pydatetime(), closed_at=_until(row["closed_at"], bounds.end),
        )
        for row in own.to_dict("records")
    )  # fmt: skip


def _until(closed: pd.Timestamp, end: dt.datetime) -> dt.datetime | None:
    return None if pd.isna(closed) or closed >= end else closed.to_pydatetime()


def changes(
    store: Store, account: str, start: dt.datetime, end: dt.datetime | None = None
) -> tuple[Change, ...]:
    """What was asked for of the account's state, oldest first; a request that changed nothing, as
    only a stricter state or lifting it does, is left out."""
    columns = ("seq", "at", "kind", "content")
    lines = frame(store, Query("audit_log", columns, account=account, start=start, end=end))
    told = lines[lines["kind"] == _STATE].sort_values("seq").to_dict("records")
    found = [_change(row["at"].to_pydatetime(), str(row["content"])) for row in told]
    return tuple(
        one
        for one in found
        if one.after.is_stricter_than(one.before) or one.after is TradingState.ACTIVE
    )


def _change(at: dt.datetime, content: str) -> Change:
    told = json.loads(content)
    reason, by = str(told.get("reason") or ""), str(told.get("by") or "")
    return Change(at, TradingState(told["from"]), TradingState(told["to"]), reason, by)


def state_at(store: Store, account: str, end: dt.datetime) -> TradingState:
    """What the account might do just before `end`."""
    now = store.states.get(account)
    if now.since is None or now.since < end:
        return now.state
    later = changes(store, account, end)
    return later[0].before if later else now.state


def is_watched(store: Store, end: dt.datetime) -> bool:
    """Whether somebody had looked for alerts before `end`."""
    first = store.newest.first_run(WATCH)
    return first is not None and first < end

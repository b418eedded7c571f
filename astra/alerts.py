"""What needs somebody: conditions that a status meets, and which of them are to be told now. Pure.

An alert lasts as long as its condition. It is told once, again after a day, and when it is over.
What is worth another notice is another alert with a key of its own: a stricter state, another file.
"""

from __future__ import annotations

import datetime as dt
import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from astra.jobs import WATCH, JobStatus
from astra.records import TradingState
from astra.sessions import NEW_YORK
from astra.status import Status
from astra.store.alerts import KEY_LENGTH, Alert, AlertRow

AGAIN = dt.timedelta(days=1)
CRITICAL, WARNING = "critical", "warning"
_SECONDS_TO_CONFIRM = 120.0  # a halt looks at the broker for less
_STALE = "stale-bars"
_REFUSED = ("refused", "abandoned")
_STOPPED, _REFUSED_PLAN = "trading-stopped", "refused-plan"  # see _is_followed


def conditions(status: Status) -> tuple[Alert, ...]:
    """All that needs somebody as things stand, the critical ones first."""
    found = [
        *_stale_bars(status),
        *_stopped(status),
        *_books(status),
        *_refused_plan(status),
        *_model(status),
        *(_missed(job) for job in status.jobs if job.is_missed and job.name != WATCH),
    ]
    return tuple(sorted(found, key=lambda alert: alert.severity != CRITICAL))


def due(rows: Iterable[AlertRow], now: dt.datetime) -> tuple[AlertRow, ...]:
    """Of the alerts that are open, or over and told to have begun, those to be told at `now`."""
    return tuple(
        row for row in rows if not row.is_open or row.told_at is None or now - row.told_at >= AGAIN
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about several alerts; `lines` are plain text."""

    subject: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join((self.subject, *self.lines))

    @property
    def slack(self) -> str:
        """The same as Slack wants it: three characters are its own."""
        return html.escape(self.text, quote=False)


def notice(rows: Sequence[AlertRow], status: Status, earlier: Sequence[str] = ()) -> Notice:
    """What to tell of these alerts; `earlier` are lines that could not be delivered before."""
    told = [row for row in rows if not _is_followed(row, rows)]
    counts = Counter("over" if not row.is_open else row.severity for row in told)
    counted = [f"{counts[kind]} {kind}" for kind in (CRITICAL, WARNING, "over") if counts[kind]]
    if earlier:
        counted.append(f"{len(earlier)} from before")
    kind = "paper" if status.paper else "REAL MONEY"
    where = f"{kind} account {status.account}" if status.account else f"{kind}, no account yet"
    made_up = status.market.partition(":")[0]
    market = {"simulated": ", SIMULATED market", "replay": ", REPLAYED market"}.get(made_up, "")
    return Notice(f"ASTrA: {', '.join(counted)} ({where}{market})", (*earlier, *lines(rows)))


def lines(rows: Sequence[AlertRow]) -> tuple[str, ...]:
    """A sentence for each, but those that another of `rows` follows."""
    return tuple(_line(row) for row in rows if not _is_followed(row, rows))


def _is_followed(row: AlertRow, rows: Iterable[AlertRow]) -> bool:
    """Whether what is over became something else of its kind, so that nobody may be relieved.

    A halt follows a state that allowed sales, a refused file the one before.
    """
    kind = row.key.partition(":")[0]
    if row.is_open or kind not in (_STOPPED, _REFUSED_PLAN):
        return False
    return any(
        other.is_open and other.key.partition(":")[0] == kind and other.account == row.account
        for other in rows
    )


def _line(row: AlertRow) -> str:
    since = new_york(row.opened_at)
    if row.closed_at is not None:
        return f"over since {new_york(row.closed_at)}: {row.message} (began {since})"
    again = f" (still, since {since})" if row.told_at else ""
    return f"{row.severity}: {row.message}{again}"


def new_york(at: dt.datetime) -> str:
    return f"{at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York"


def _stale_bars(status: Status) -> Iterator[Alert]:
    """Begins in a session; the close is no end of it, fresh bars are."""
    data = status.data
    is_known = any(alert.key == _STALE for alert in status.alerts)
    if data.is_stale or (is_known and data.is_short):
        yield Alert(
            _STALE,
            CRITICAL,
            f"fresh bars of {data.needed:.0%} of the names are needed to decide, and {data.fresh} "
            f"of {data.names} have any in the hour before {new_york(data.judged_at)}: "
            "look at the source of bars with astra doctor",
        )


def _stopped(status: Status) -> Iterator[Alert]:
    trading, account = status.trading, status.account
    if trading.state is TradingState.ACTIVE:
        return
    since = f" since {new_york(trading.since)}" if trading.since else ""
    allowed = "nothing is traded" if trading.state is TradingState.HALTED else "only sales are sent"
    yield Alert(
        f"{_STOPPED}:{trading.state.value}",
        CRITICAL,
        f"trading is {trading.state.value}{since}, {allowed} ({trading.changed_by}: "
        f"{trading.reason}): once you know why, astra lift lets it go on",
        account,
    )
    age = (status.at - trading.since).total_seconds() if trading.since else 0.0
    if not trading.is_confirmed and age > _SECONDS_TO_CONFIRM:
        yield Alert(
            "halt-unconfirmed",
            CRITICAL,
            f"the broker has not confirmed that nothing is open any more that {trading.state.value}"
            " forbids: look at the open orders there",
            account,
        )


def _books(status: Status) -> Iterator[Alert]:
    if status.books is not None and status.books.status == "differs":
        yield Alert("books-differ", CRITICAL, status.books.message, status.account)


def _refused_plan(status: Status) -> Iterator[Alert]:
    last = status.rebalance
    if last is not None and last.status in _REFUSED:
        message = f"{last.object} was {last.status} and not traded to its end: {last.reason}"
        key = f"{_REFUSED_PLAN}:{last.object}"[:KEY_LENGTH]
        yield Alert(key, WARNING, message, status.account)


def _model(status: Status) -> Iterator[Alert]:
    if status.decision is not None and status.decision.alarms:
        alarms = "; ".join(status.decision.alarms)
        message = f"forecasts of {status.decision.model_id} are out of use: {alarms}"
        yield Alert("model-drift", WARNING, message)


def _missed(job: JobStatus) -> Alert:
    due = new_york(job.due) if job.due else "its time"
    last = f", the last is of {new_york(job.last)}" if job.last else ""
    message = (
        f"the job {job.name}, due at {due}, has left no trace{last}: look at the scheduler and at "
        "the service's log"
    )
    if job.outcome == "failed":
        message = f"the job {job.name}, due at {due}, fails: {job.message}"
    if job.outcome == "running" and job.last:
        message = f"the job {job.name} began at {new_york(job.last)} and has not ended"
    return Alert(f"missed-run:{job.name}", WARNING, message)

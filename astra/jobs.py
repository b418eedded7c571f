"""Each job of the schedule: when it ran last, and whether a run of it was missed.

Told by what the jobs leave in the store: the monitor's own runs, loaded bars, decisions on record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from astra.schedule import Job
from astra.sessions import decision_times_between, last_sessions
from astra.store import Store
from astra.store.newest import Run

GRACE = dt.timedelta(minutes=15)  # after which bars, a decision or a run are missed
WATCH = "alerts"  # the job whose first run says that somebody keeps the schedule


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job of the schedule.

    Attributes:
        is_watched: whether its runs leave a trace of their own here.
        due: when it was to have run last, 15 minutes ago at the latest; None = not since the
            schedule is kept.
        last: when it ran last and that is known, None = never.
        outcome: ok, failed, running, or "" where only its result shows.
        message: why its last run failed.
        is_missed: whether it has not run to its end since it was due.
    """

    name: str
    schedule: str
    is_watched: bool
    due: dt.datetime | None
    last: dt.datetime | None
    outcome: str
    message: str
    is_missed: bool


def job_statuses(store: Store, jobs: Iterable[Job], now: dt.datetime) -> tuple[JobStatus, ...]:
    """The jobs at the market's `now`, in their order; the parts of an entry are one.

    Nothing is due before somebody keeps the schedule: where the steps of the hour are taken by
    hand, none is missed.
    """
    since = store.newest.first_run(WATCH)
    entries: dict[str, Job] = {}
    for job in jobs:
        entries.setdefault(job.entry, job)
    runs = store.newest.runs(_route(job) for job in entries.values() if job.service == "monitor")
    found = []
    for job in entries.values():
        due = _due(job, now)
        is_due = due is not None and since is not None and due >= since
        found.append(_status(store, job, due if is_due else None, runs))
    return tuple(found)


def last_decision_time(now: dt.datetime) -> dt.datetime:
    """The last decision time at or before `now`."""
    first = last_sessions(2, now)[0].opens_at
    return decision_times_between(first, now + dt.timedelta(microseconds=1))[-1]


def _route(job: Job) -> str:
    return job.path.partition("?")[0].strip("/")


def _status(
    store: Store, job: Job, due: dt.datetime | None, runs: Mapping[str, tuple[Run, Run | None]]
) -> JobStatus:
    last = done = None
    outcome = message = ""
    match job.service, _route(job), "period=" in job.path:
        case "monitor", name, _:
            if name in runs:
                run, ended = runs[name]
                last, outcome, message = run.started_at, run.status, run.message
                done = None if ended is None else ended.started_at
        case "etl", "load_price_history", False:
            last = done = store.newest.loaded_at()
        case "model", "allocate", _:
            last = done = store.newest.decided_at()
        case _:
            return JobStatus(job.entry, job.schedule, False, None, None, "", "", False)
    is_missed = due is not None and (done is None or done < due)
    return JobStatus(job.entry, job.schedule, True, due, last, outcome, message, is_missed)


def _due(job: Job, now: dt.datetime) -> dt.datetime | None:
    """When a job was to have run last, 15 minutes before `now` at the latest.

    Bars are loaded, and decisions made, for the decision times of a session.
    """
    due = job.last_before(now - GRACE)
    return due if due is None or job.service == "monitor" else last_decision_time(due)

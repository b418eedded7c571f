"""Runs the jobs of `deploy/jobs.yaml` on the market's clock, as Cloud Scheduler does in the cloud.

It decides when, never what: a job is one POST to one service. The clock is the broker's, so a
replayed day and a fast one need no special case.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import requests
import yaml
from apscheduler.triggers.cron import CronTrigger

from astra.errors import ConfigError

log = logging.getLogger("astra.scheduler")

JOB_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """One POST on a schedule (five cron fields, in `zone`); parts of one entry share `entry`."""

    name: str
    schedule: str
    service: str
    path: str
    zone: ZoneInfo
    entry: str

    def last_until(self, now: dt.datetime, due: dt.datetime) -> dt.datetime:
        """Its last time at or before `now`, from `due`, one of its times, on."""
        while (following := self.next_after(due)) <= now:
            due = following
        return due

    def next_after(self, now: dt.datetime) -> dt.datetime:
        """The first time strictly after `now`, UTC."""
        trigger = CronTrigger.from_crontab(self.schedule, timezone=self.zone)
        found: dt.datetime | None = trigger.get_next_fire_time(
            None, now + dt.timedelta(microseconds=1)
        )
        if found is None:
            raise ConfigError(f"job {self.name}: the schedule {self.schedule!r} never comes true")
        return found.astimezone(dt.UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body; status 0 where there was no answer, and what is wrong."""

    status: int
    text: str


def read_jobs(path: Path) -> tuple[Job, ...]:
    """The jobs of a job file, in its order.

    Raises:
        ConfigError: names the job and what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text())
        zone = ZoneInfo(content["timezone"])
        jobs = tuple(job for entry in content["jobs"] for job in _jobs(entry, zone))
        for job in jobs:
            CronTrigger.from_crontab(job.schedule, timezone=zone)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no job file: {error}") from error
    return jobs


def _jobs(entry: Mapping[str, Any], zone: ZoneInfo) -> Iterator[Job]:
    """The jobs of one entry: `parts: 10` makes ten that each ask for their part."""
    plain = {name: value for name, value in entry.items() if name != "parts"}
    whole = Job(**plain, zone=zone, entry=entry["name"])
    parts = int(entry.get("parts", 1))
    if parts == 1:
        yield whole
        return
    mark = "&" if "?" in whole.path else "?"
    for i in range(1, parts + 1):
        path = f"{whole.path}{mark}part={i}/{parts}"
        yield replace(whole, name=f"{whole.name}-{i:02}", path=path)


class Scheduler:
    """Fires jobs whose time has come. What was missed while nobody looked is fired once."""

    def __init__(
        self, jobs: tuple[Job, ...], urls: Mapping[str, str], token: str, now: dt.datetime
    ) -> None:
        """`urls` maps the services of the job file to their addresses."""
        unknown = sorted({j.service for j in jobs} - urls.keys())
        if unknown:
            raise ConfigError(f"the job file names services without an address: {unknown}")
        self._jobs = jobs
        self._urls = urls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._due = {job.name: job.next_after(now) for job in jobs}

    def fire(self, now: dt.datetime, report: Callable[[str, Sequence[Answer]], None]) -> None:
        """POST every job that is due at the market's `now`: those of one time together, earlier
        times first. Returns when all have answered.

        Of several missed times the last one counts, so that a decision follows the load that was to
        run before it. The parts of an entry are reported together, by its name. A job that fails is
        reported and runs again at its next time.
        """
        last = {j: j.last_until(now, self._due[j.name]) for j in self._jobs if self._is_due(j, now)}
        ready = sorted(last, key=last.__getitem__)
        for _, group in groupby(ready, key=last.__getitem__):
            jobs = list(group)
            with ThreadPoolExecutor(len(jobs)) as pool:
                answers = list(pool.map(self._post, jobs))
            told = groupby(zip(jobs, answers, strict=True), key=lambda one: one[0].entry)
            for entry, parts in told:
                report(entry, [answer for _, answer in parts])
        for job in ready:
            self._due[job.name] = job.next_after(now)

    def _post(self, job: Job) -> Answer:
        url = self._urls[job.service] + job.path
        try:
            answer = requests.post(url, headers=self._headers, timeout=JOB_SECONDS)
        except requests.RequestException as error:
            return Answer(0, f"{type(error).__name__}: {error}")
        return Answer(answer.status_code, answer.text)

    def next_due(self) -> dt.datetime:
        return min(self._due.values())

    def _is_due(self, job: Job, now: dt.datetime) -> bool:
        return self._due[job.name] <= now

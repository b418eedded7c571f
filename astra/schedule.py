"""The job file: which service is asked what and when, and when a job was to run last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from apscheduler.triggers.cron import CronTrigger

from astra.errors import ConfigError
from astra.settings import HOUSE

JOB_FILE = HOUSE / "deploy" / "jobs.yaml"
_MINUTE = dt.timedelta(minutes=1)
_FURTHEST = 7 * 24 * 60  # minutes back that a job's last time is looked for


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

    def last_before(self, now: dt.datetime) -> dt.datetime | None:
        """Its last time at or before `now`, UTC; None if it had none within a week."""
        known = _known.get(self)
        if known is None or not known[0] <= now < known[1]:
            last = self._found_before(now)
            if last is None:
                return None
            known = _known[self] = last, self.next_after(now)
        return known[0]

    def _found_before(self, now: dt.datetime) -> dt.datetime | None:
        """By halving, as a trigger only knows what comes next."""
        minute = now.replace(second=0, microsecond=0)
        near, far = 0, 1  # minutes back: none of its times is nearer, one is at least as near
        while self.next_after(minute - far * _MINUTE) > now:
            if far >= _FURTHEST:
                return None
            near, far = far, min(4 * far, _FURTHEST)
        while far - near > 1:
            middle = (near + far) // 2
            if self.next_after(minute - middle * _MINUTE) > now:
                near = middle
            else:
                far = middle
        return self.next_after(minute - far * _MINUTE)

    def next_after(self, now: dt.datetime) -> dt.datetime:
        """The first time strictly after `now`, UTC."""
        trigger = _trigger(self.schedule, self.zone)
        found: dt.datetime | None = trigger.get_next_fire_time(
            None, now + dt.timedelta(microseconds=1)
        )
        if found is None:
            raise ConfigError(f"job {self.name}: the schedule {self.schedule!r} never comes true")
        return found.astimezone(dt.UTC)


# The last time of a job that was asked for, and the next: true until that has come.
_known: dict[Job, tuple[dt.datetime, dt.datetime]] = {}


@lru_cache
def _trigger(schedule: str, zone: ZoneInfo) -> CronTrigger:
    """Raises: ValueError."""
    return CronTrigger.from_crontab(schedule, timezone=zone)


def read_jobs(path: Path = JOB_FILE) -> tuple[Job, ...]:
    """The jobs of a job file, in its order; by default of the one that is deployed.

    Raises:
        ConfigError: names the job and what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text())
        zone = ZoneInfo(content["timezone"])
        jobs = tuple(job for entry in content["jobs"] for job in _jobs(entry, zone))
        for job in jobs:
            _trigger(job.schedule, zone)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no job file: {error}") from error
    return jobs


@lru_cache
def deployed() -> tuple[Job, ...]:
    """The jobs of the deployed job file, read once. Raises as `read_jobs`."""
    return read_jobs()


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

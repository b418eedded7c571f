"""Runs the jobs of `deploy/jobs.yaml` on the market's clock, as Cloud Scheduler does in the cloud.

It decides when, never what: a job is one POST to one service. The clock is the broker's, so a
replayed day and a fast one need no special case.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import requests

from astra.errors import ConfigError
from astra.schedule import Job

log = logging.getLogger("astra.scheduler")

JOB_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body; status 0 where there was no answer, and what is wrong."""

    status: int
    text: str


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

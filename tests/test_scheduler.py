"""The jobs of the job file on the market's clock."""

import datetime as dt
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from zoneinfo import ZoneInfo

import pytest

from astra.cli.scheduler import Scheduler
from astra.errors import ConfigError
from astra.schedule import Job, read_jobs

NEW_YORK = ZoneInfo("America/New_York")


def new_york(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.fixture
def server():
    """A service that remembers what was posted to it and with which credential."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", seen
    listening.shutdown()
    listening.server_close()


def test_the_deployed_job_file_knows_weekends_and_both_offsets_of_the_year() -> None:
    jobs = {job.name: job for job in read_jobs()}
    allocate = jobs["allocate"]
    friday = new_york("2026-06-12T15:30")
    assert allocate.next_after(friday) == new_york("2026-06-15T10:02")
    assert allocate.next_after(new_york("2026-12-01T09:00")).hour == 15  # UTC in winter
    assert allocate.next_after(new_york("2026-06-01T09:00")).hour == 14


def test_a_job_is_due_once_for_each_of_its_times(server) -> None:
    url, seen = server
    job = Job("load", "*/5 9-16 * * mon-fri", "etl", "/load", NEW_YORK, "load")
    start = new_york("2026-06-15T10:00")
    scheduler = Scheduler((job,), {"etl": url}, "secret", start)
    reports: list[int] = []
    for minutes in (0, 4, 5, 5, 6, 10):
        now = start + dt.timedelta(minutes=minutes)
        scheduler.fire(now, lambda _, answers: reports.extend(a.status for a in answers))
    assert reports == [200, 200]
    assert seen == [("/load", "Bearer secret")] * 2


def test_missed_times_are_caught_up_once_and_a_failure_does_not_stop_the_others(server) -> None:
    url, seen = server
    jobs = (
        Job("broken", "0 * * * *", "etl", "/broken", NEW_YORK, "broken"),
        Job("later", "30 * * * *", "etl", "/later", NEW_YORK, "later"),
        Job("gone", "10 * * * *", "gone", "/gone", NEW_YORK, "gone"),
    )
    urls = {"etl": url, "gone": "http://127.0.0.1:9"}
    start = new_york("2026-06-15T09:50")
    reports: dict[str, int] = {}
    scheduler = Scheduler(jobs, urls, "", start)
    scheduler.fire(
        start + dt.timedelta(hours=3),
        lambda entry, answers: reports.update({entry: answers[0].status}),
    )
    assert reports == {"broken": 500, "gone": 0, "later": 200}
    assert [path for path, _ in seen] == ["/broken", "/later"]
    assert seen[0][1] is None


def test_the_deployed_job_file_loads_the_universe_in_ten_parts_at_once() -> None:
    jobs = read_jobs()
    loads = [job for job in jobs if job.name.startswith("load-price-history-")]
    assert [job.path for job in loads] == [f"/load_price_history?part={i}/10" for i in range(1, 11)]
    opening = new_york("2026-06-15T09:29")
    assert {job.next_after(opening) for job in loads} == {new_york("2026-06-15T09:30")}
    paths = {job.path for job in jobs if job.name.startswith("catch-up")}
    assert len(paths) == 10
    assert "/load_price_history?period=max&part=10/10" in paths
    assert len({job.name for job in jobs}) == len(jobs)


def test_jobs_of_one_time_run_together_and_parts_are_told_together() -> None:
    together = threading.Barrier(3)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            together.wait(timeout=5)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    jobs = tuple(Job(name, "0 * * * *", "etl", "/x", NEW_YORK, "all") for name in "abc")
    urls = {"etl": f"http://127.0.0.1:{listening.server_port}"}
    scheduler = Scheduler(jobs, urls, "", new_york("2026-06-15T09:50"))
    told: list[tuple[str, list[int]]] = []
    scheduler.fire(
        new_york("2026-06-15T10:00"),
        lambda entry, answers: told.append((entry, [a.status for a in answers])),
    )
    listening.shutdown()
    listening.server_close()
    assert told == [("all", [200] * 3)]  # in one go, and in one line


def test_a_broken_job_file_is_refused(tmp_path) -> None:
    path = tmp_path / "jobs.yaml"
    for text in (
        "jobs: []",
        "timezone: Mars/Olympus\njobs: []",
        "timezone: UTC\njobs: [{name: a}]",
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match="no job file"):
            read_jobs(path)
    with pytest.raises(ConfigError, match="without an address"):
        Scheduler(
            (Job("a", "* * * * *", "moon", "/", NEW_YORK, "a"),), {}, "", new_york("2026-06-15")
        )


def test_what_was_missed_runs_in_the_order_of_its_last_times(server) -> None:
    """A decision at 11:02 is about the bars loaded at 11:00, whatever was missed before."""
    url, seen = server
    jobs = (
        Job("load", "*/5 9-16 * * mon-fri", "etl", "/load", NEW_YORK, "load"),
        Job("allocate", "2 10-15 * * mon-fri", "etl", "/allocate", NEW_YORK, "allocate"),
    )
    scheduler = Scheduler(jobs, {"etl": url}, "", new_york("2026-06-15T10:01"))
    scheduler.fire(new_york("2026-06-15T11:03"), lambda entry, answers: None)
    assert [path for path, _ in seen] == ["/load", "/allocate"]

"""Keeps the whole house running: services, scheduler and page, until it is stopped.

With Alpaca keys in the settings the services meet the vendors that the settings name; without, the
sandbox stands in for all of them on a clock that runs.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from astra.alpaca import Alpaca
from astra.cli import loaded, sandboxed
from astra.cli.launcher import (
    House,
    flask_service,
    free_ports,
    function_service,
    page_service,
    sandbox_service,
)
from astra.cli.sandboxed import Options
from astra.cli.scheduler import Answer, Scheduler
from astra.errors import TemporaryError
from astra.schedule import read_jobs
from astra.sessions import NEW_YORK, next_session
from astra.settings import Settings, load

Say = Callable[[str], None]
ETL, MODEL, MONITOR, FUNCTION, PAGE = 8101, 8102, 8103, 8104, 8501
# Market time before the session's first decision at which a sandbox's clock starts.
HEAD_START = dt.timedelta(minutes=28)
LONGEST_NAP = 20.0


def keep_up(options: Options, speed: float, settings: Settings, say: Say) -> None:
    """Start everything, print the addresses, run the jobs; returns when interrupted.

    Raises:
        ConfigError: a port is taken or a setting is missing.
        TemporaryError: a service did not come up or died.
    """
    folder = settings.var / "up"
    overrides = {
        "ASTRA_ETL_URL": f"http://127.0.0.1:{ETL}",
        "ASTRA_MODEL_URL": f"http://127.0.0.1:{MODEL}",
        "ASTRA_MONITOR_URL": f"http://127.0.0.1:{MONITOR}",
    }
    if not settings.alpaca_key:
        folder = settings.var / "sandbox" / sandboxed.run_id(options)
    with House(folder / "logs", overrides) as house:
        if not settings.alpaca_key:
            overrides |= _start_sandbox(house, options, speed, settings, folder, say)
        house.start(
            [
                flask_service("etl", "etl_service.main", ETL),
                flask_service("model", "model.main", MODEL),
                flask_service("monitor", "monitor_service.main", MONITOR),
                function_service(FUNCTION),
                page_service(PAGE),
            ]
        )
        if settings.alpaca_key:
            kind = "paper" if settings.alpaca_paper else "REAL MONEY"
            say(f"{kind} trading at {settings.trading_url}")
        say(f"page      http://127.0.0.1:{PAGE}")
        for name, port in (("etl", ETL), ("model", MODEL), ("monitor", MONITOR)):
            say(f"{name:9} http://127.0.0.1:{port}")
        say(f"function  http://127.0.0.1:{FUNCTION}\nlogs      {folder / 'logs'}\nCtrl-C stops all")
        names = {k.removeprefix("ASTRA_").lower(): v for k, v in overrides.items()}
        _run_jobs(house, load(**names), speed, say)


def _start_sandbox(
    house: House,
    options: Options,
    speed: float,
    settings: Settings,
    folder: Path,
    say: Say,
) -> dict[str, str]:
    """The sandbox on four free ports, its clock running; what points the services at it."""
    ports = free_ports(4)
    names = ("control", "yahoo", "storage", "alpaca")
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    urls |= {"etl": f"http://127.0.0.1:{ETL}", "model": f"http://127.0.0.1:{MODEL}"}
    urls |= {"monitor": f"http://127.0.0.1:{MONITOR}"}
    arguments = options.sandbox_arguments(f"http://127.0.0.1:{FUNCTION}")
    house.start([sandbox_service(ports[0], arguments)])
    sandbox = sandboxed.Sandbox(urls["control"])
    opening = sandboxed.open_market(sandbox, options)
    say(sandboxed.headline(opening))
    first = next_session(opening.times[-1]).decision_times()[0]
    sandbox.step_to(first - HEAD_START)
    sandbox.open_account()
    sandbox.run(speed)
    environment = sandboxed.environment(settings, folder, urls)
    environment["ASTRA_TICKERS"] = "|".join(opening.candidates)
    house.add_environment(environment)
    return environment


def _run_jobs(house: House, settings: Settings, speed: float, say: Say) -> None:
    jobs = read_jobs()
    broker = Alpaca.from_settings(settings)
    urls = {"etl": settings.etl_url, "model": settings.model_url, "monitor": settings.monitor_url}
    now = broker.clock().now
    scheduler = Scheduler(jobs, urls, settings.token.get_secret_value(), now)

    def report(job: str, answers: Sequence[Answer]) -> None:
        status = "/".join(str(s) for s in sorted({answer.status for answer in answers}))
        told = digest([answer.text for answer in answers])
        say(f"{now.astimezone(NEW_YORK):%a %H:%M:%S}  {job:18} {status}  {told}")

    while True:
        house.check()
        try:
            now = broker.clock().now
        except TemporaryError as error:
            say(f"the broker's clock: {error}")
            time.sleep(LONGEST_NAP)
            continue
        scheduler.fire(now, report)
        pause = (scheduler.next_due() - now).total_seconds() / speed
        time.sleep(min(max(0.2, pause), LONGEST_NAP))


def digest(texts: Sequence[str]) -> str:
    """A job's JSON answer in a few words, or those of its parts together."""
    answers = [_parsed(text) for text in texts]
    loads = [answer for answer in answers if "tickers" in answer]
    others = [_told(answer) for answer in answers if "tickers" not in answer]
    return "; ".join(([loaded.news(loads)] if loads else []) + list(dict.fromkeys(others)))


def _parsed(text: str) -> dict[str, Any]:
    """The answer, or what came instead of one as its `message`."""
    with contextlib.suppress(ValueError):
        answer = json.loads(text)
        if isinstance(answer, dict):
            return answer
    return {"message": text.strip()}


def _told(answer: Mapping[str, Any]) -> str:
    if "reason" in answer:
        return f"{answer['policy']}: {answer['reason']}"
    if "equity" in answer:
        return f"equity {float(answer['equity']):,.2f} USD, {len(answer['positions'])} positions"
    if "points" in answer:
        return f"{answer['points']} points"
    if "pruned" in answer:
        changed, gone = answer["universe"]["changed"], answer["pruned"]["bars"]
        return f"{changed} changes of the universe, {gone:,} old bars deleted"
    if "new" in answer:
        count = answer["new"] if isinstance(answer["new"], int) else len(answer["new"])
        return f"{count} new"
    return str(answer.get("message") or json.dumps(answer))[:200]

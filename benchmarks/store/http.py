"""A refresh of the whole universe over HTTP: vendor's client, vendor's API, service and store.

The sandbox stands in for the vendor, on the same cores. Ten requests of a tenth each at once.
"""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from astra.cli.launcher import House, flask_service, free_ports, sandbox_service
from astra.cli.sandboxed import Options, Sandbox, environment
from astra.errors import AstraError
from astra.services import Services
from astra.sessions import last_sessions
from astra.settings import load
from benchmarks.results import Row
from benchmarks.timing import Timed, require_equal, timed

REQUESTS = 10
FIRST_LOAD = "6d"
TARGETS = {"yahoo": 20.0, "alpaca": 3.0}


@dataclass(frozen=True, slots=True)
class Counted:
    """What the answers of one load say together; `tickers` that are ok."""

    inserted: int
    updated: int
    tickers: int


def refreshes(tickers: int) -> list[Row]:
    """Seconds of the load an hour after the last one, from each source; then nothing is new."""
    return [_refresh(source, target, tickers) for source, target in TARGETS.items()]


def _refresh(source: str, target: float, tickers: int) -> Row:
    with TemporaryDirectory() as name:
        settings = load(_env_file=None, source=source)
        options = Options(None, tickers, 1, 0.04, 1)
        folder, ports = Path(name), free_ports(5)
        names = ("control", "yahoo", "storage", "alpaca", "etl")
        urls = {n: f"http://127.0.0.1:{p}" for n, p in zip(names, ports, strict=True)}
        urls |= dict.fromkeys(("model", "monitor"), "http://127.0.0.1:9")
        ours = environment(settings, folder, urls)
        # Several loads within one hour of the market.
        ours |= {"ASTRA_SOURCE": source, "ASTRA_YAHOO_REQUESTS_PER_HOUR": "10000"}
        with House(folder / "logs", ours) as house:
            house.start([sandbox_service(ports[0], options.sandbox_arguments(""))])
            sandbox = Sandbox(urls["control"])
            market = sandbox.state()["market"]
            members = sorted(set(market["tickers"]) - {"SPY", "QQQ"})[:tickers]
            day = last_sessions(1, dt.datetime.fromisoformat(market["last"]))[0]
            sandbox.step_to(day.decision_times()[1])
            house.add_environment({"ASTRA_TICKERS": "|".join(members)})
            house.start([flask_service("etl", "etl_service.main", ports[4])])
            services = Services(settings.model_copy(update={"etl_url": urls["etl"]}))
            _load(services, members, period=FIRST_LOAD)
            sandbox.step_to(day.decision_times()[2])
            done = timed(lambda: _load(services, members))
            again = _load(services, members)
    return _row(source, target, members, done, again)


def _row(source: str, target: float, members: list[str], done: Timed, again: Counted) -> Row:
    found: Counted = done.answer
    if found.tickers != len(members) or found.inserted < 10 * len(members):
        raise AstraError(f"{len(members)} tickers must get an hour of bars, found {found}")
    require_equal(again.inserted + again.updated, 0, f"a second load from {source} and nothing")
    case = f"SQLite: refresh of {len(members)} tickers over HTTP from {source}, 10 requests at once"
    return Row("store", case, done.seconds, "s", target, "lower")


def _load(services: Services, members: list[str], **query: str) -> Counted:
    def ask(part: Any) -> dict[str, Any]:
        return services.post("etl", "/load_price_history", None, ticker="|".join(part), **query)

    parts = np.array_split(np.array(members), REQUESTS)
    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = list(pool.map(ask, parts))
    statuses = [t["status"] for answer in answers for t in answer["tickers"].values()]
    return Counted(
        sum(answer["inserted"] for answer in answers),
        sum(answer["updated"] for answer in answers),
        statuses.count("ok"),
    )

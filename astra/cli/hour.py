"""The whole trading loop in the sandbox: step the clock, load, decide, wait for the orders, log.

It speaks HTTP to the services as Cloud Scheduler would, and to the sandbox's clock. What it finds
is a `RunReport`; how that looks to a person is `astra.cli.report`'s business.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from astra.bars import from_arrow
from astra.cli.launcher import (
    House,
    flask_service,
    free_ports,
    function_service,
    sandbox_service,
)
from astra.cli.run_report import Refusal, RunReport
from astra.cli.sandboxed import (
    HORIZON,
    Fault,
    Options,
    Sandbox,
    environment,
    headline,
    open_market,
    run_id,
)
from astra.errors import InsufficientDataError, TemporaryError
from astra.services import Services
from astra.sessions import NEW_YORK, next_bar_start
from astra.settings import Settings
from astra.store.journal import FINAL_STATUSES

Say = Callable[[str], None]
TRADING_SECONDS = 180.0
JOB_ATTEMPTS = 8


def run(options: Options, settings: Settings, say: Say) -> RunReport:
    """Trade the last `options.hours` decision times of the sandbox's market.

    Raises:
        DataError: the market holds no such times, or fewer than two candidates.
        AstraError: a step failed for good; what ran is stopped.
    """
    started = time.monotonic()
    folder = settings.var / "sandbox" / run_id(options)
    ports = free_ports(8)
    urls = {name: f"http://127.0.0.1:{p}" for name, p in zip(_PORT_NAMES, ports, strict=True)}
    say("starting the sandbox and the services ...")
    with House(folder / "logs", environment(settings, folder, urls)) as house:
        house.start([sandbox_service(ports[0], options.sandbox_arguments(urls["rebalance"]))])
        sandbox = Sandbox(urls["control"])
        opening = open_market(sandbox, options)
        report, times = RunReport(opening, folder), opening.times
        say(headline(opening, len(times)))
        for faults in (options.faults, ()):  # one that is not understood is said at once
            sandbox.arm(faults)
        sandbox.step_to(times[0])
        sandbox.open_account()
        house.add_environment({"ASTRA_TICKERS": "|".join(opening.candidates)})
        house.start(
            [
                flask_service("etl", "etl_service.main", ports[4]),
                flask_service("model", "model.main", ports[5]),
                flask_service("monitor", "monitor_service.main", ports[6]),
                function_service(ports[7]),
            ]
        )
        ours = settings.model_copy(update={f"{n}_url": urls[n] for n in _OURS})
        say("loading the history ...")
        hours = Hours(
            Services(ours), sandbox, house, report, say, options.faults,
            is_sliced=settings.order_style == "twap",
        )  # fmt: skip
        for t in times:
            hours.trade(t)
        hours.close(times)
        report.shadow = shadow(Services(ours), report, settings, times[-1] + HORIZON)
    report.seconds = time.monotonic() - started
    return report


_PORT_NAMES = ("control", "yahoo", "storage", "alpaca", "etl", "model", "monitor", "rebalance")
_OURS = ("etl", "model", "monitor")


class Hours:
    """Trades one decision time after the other and collects what happened."""

    def __init__(
        self,
        services: Services,
        sandbox: Sandbox,
        house: House,
        report: RunReport,
        say: Say,
        faults: Sequence[Fault] = (),
        *,
        is_sliced: bool = False,
    ) -> None:
        """`faults` are armed anew at each decision time; where orders are sliced, the minutes over
        which they leave have to pass."""
        self._faults = faults
        self._is_sliced = is_sliced
        self._services = services
        self._sandbox = sandbox
        self._house = house
        self._report = report
        self._say = say
        self._complaints: set[str] = set()

    def trade(self, t: dt.datetime) -> None:
        """One decision time: bars -> decision -> orders -> account log."""
        began = time.monotonic()
        self._sandbox.step_to(t)
        self._arm(self._faults)
        self._log_account()
        loaded = self._load()
        try:
            decision = self._job("model", "/allocate")
        except InsufficientDataError as error:
            self._report.refusals.append(Refusal(t.isoformat(), str(error)))
            self._say(f"{_clock(t)}  refused: {error}")
            return
        dropped = time.monotonic()
        to_first_order = self._wait(decision, dropped)
        for path in ("/update_account", "/activities", "/forecasts"):
            self._job("monitor", path)
        self._book(decision)
        self._log_account()
        decision["equity"] = self._report.equity
        seconds = {"load": loaded, **decision["seconds"]}
        decision["seconds"] = {
            **seconds,
            "drop_to_first_order": to_first_order,
            "total": round(time.monotonic() - began, 3),
        }
        self._report.decisions.append(decision)
        traded = f"{decision['fills']} orders filled"
        if decision.get("allocation", {}).get("status", "done") != "done":
            traded = f"{decision['allocation']['status']}: {decision['allocation']['reason']}"
        self._say(f"{_clock(t)}  {decision['reason']}; {traded}")

    def close(self, times: Sequence[dt.datetime]) -> None:
        """After the last decision's hour: value, books, benchmark; nothing fails any more."""
        self._arm(())
        self._sandbox.step_to(times[-1] + HORIZON)
        held = (b for d in self._report.decisions[-1:] for b in d.get("books", {}).values())
        self._load(("SPY", *{name for b in held for name in (*b["shares"], *b["weights"])}))
        self._log_account()
        for path in ("/activities", "/history"):
            self._job("monitor", path)
        if self._report.faults_met is not None:
            self._say(f"{self._report.faults_met} requests met a fault")
        self._report.books = self._services.get("monitor", "/reconcile")
        self._report.benchmark = self._benchmark(times)
        self._report.orders = self._services.dump("orders").table.to_pylist()
        stored = self._services.dump("price_history", columns="ticker")
        self._report.bars = stored.table.num_rows

    def _arm(self, faults: Sequence[Fault]) -> None:
        """These from now on; how many requests met those before is counted."""
        met = self._sandbox.arm(faults)
        if self._faults:
            self._report.faults_met = (self._report.faults_met or 0) + met

    def _job(self, service: str, path: str) -> dict[str, Any]:
        """One POST, as the scheduler makes it: what failed in passing is asked again."""
        for attempt in range(1, JOB_ATTEMPTS):
            try:
                return self._services.post(service, path)
            except TemporaryError as error:
                self._house.check()
                self._complain(f"  {error}")
                time.sleep(0.05 * 2**attempt)
        return self._services.post(service, path)

    def _load(self, only: Sequence[str] = ()) -> float:
        """Load the candidates and benchmarks; every ticker that failed is said."""
        began = time.monotonic()
        universe = self._services.dump("universe", columns="ticker").table
        known = set(universe["ticker"].to_pylist())
        tickers = sorted(known & set(only) if only else known)
        self._house.check()
        answer = self._services.post("etl", "/load_price_history", ticker="|".join(tickers))
        for ticker, found in answer["tickers"].items():
            if found["status"] not in ("ok", "empty"):
                self._complain(f"  {ticker}: {found['status']}: {found['message']}")
        return round(time.monotonic() - began, 3)

    def _complain(self, text: str) -> None:
        """Say it, but not every hour again."""
        if text not in self._complaints:
            self._complaints.add(text)
            self._say(text)

    def _wait(self, decision: dict[str, Any], dropped: float) -> float | None:
        """Wait until the rebalance function is done with the file; seconds to the first order."""
        name = decision["object"]
        if name is None:
            return None
        first, now = None, dt.datetime.fromisoformat(decision["as_of"])
        deadline = time.monotonic() + TRADING_SECONDS
        while time.monotonic() < deadline:
            self._house.check()
            rows = self._services.dump("allocations").table.to_pylist()
            mine = [r for r in rows if r["object"] == name]
            if first is None and mine and mine[0]["status"] != "received":
                first = round(time.monotonic() - dropped, 3)
            if mine and mine[0]["status"] in FINAL_STATUSES:
                decision["allocation"] = {n: mine[0][n] for n in ("status", "reason")}
                return first
            if self._is_sliced and first is not None:
                now += dt.timedelta(minutes=1)
                self._sandbox.step_to(now)
                self._job("monitor", "/resume")
            time.sleep(0.03)
        raise TemporaryError(
            f"{name} was not traded in {TRADING_SECONDS:.0f} seconds; the function's log ends:\n"
            + self._house.log_end("rebalance")
        )

    def _book(self, decision: dict[str, Any]) -> None:
        orders = self._services.dump("orders").table.to_pylist()
        known = {o["id"] for o in self._report.orders}
        new = [o for o in orders if o["id"] not in known]
        self._report.orders = orders
        decision["orders"] = len(new)
        decision["fills"] = sum(o["status"] == "filled" for o in new)

    def _log_account(self) -> None:
        """Let the monitor save the account, and keep its value for the report."""
        saved = self._job("monitor", "/update_account")
        self._report.equity = float(saved["equity"])
        self._report.positions = {p["symbol"]: p["qty"] for p in saved["positions"]}
        self._report.start_equity = self._report.start_equity or self._report.equity

    def _benchmark(self, times: Sequence[dt.datetime]) -> dict[str, Any] | None:
        """SPY from the first price that could be traded to the last close, or None without SPY."""
        start = next_bar_start(times[0])
        bars = self._services.dump("price_history", ticker="SPY", start=start.isoformat()).table
        if bars.num_rows == 0:
            return None
        first, last = bars["open"][0].as_py(), bars["close"][bars.num_rows - 1].as_py()
        return {"symbol": "SPY", "return": last / first - 1.0}


def shadow(
    services: Services, report: RunReport, settings: Settings, end: dt.datetime
) -> dict[str, float]:
    """What each policy's own book is worth at `end`, USD."""
    from model.books import carried, costs_of
    from model.panel import build

    if not report.decisions or not report.decisions[-1].get("books"):
        return {}
    last = report.decisions[-1]
    bars = services.dump("price_history", start=last["as_of"]).table
    shelf = carried(last, build(from_arrow(bars)), end, costs_of(settings))
    return {policy: float(equity) for policy, equity in shelf.equity().items()}


def _clock(t: dt.datetime) -> str:
    return t.astimezone(NEW_YORK).strftime("%a %H:%M New York")

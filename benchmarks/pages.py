"""What people look at, on a year of books: the page in a real browser, the monitor over HTTP.

Every round of a page meets books that have changed since the last, as they do every five minutes,
so what the page keeps does not help it; the browser has its scripts, as after the first visit.
"""

from __future__ import annotations

import datetime as dt
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

from astra.errors import AstraError
from astra.settings import load
from astra.store import Store, open_store
from benchmarks.execution.house import KEYS
from benchmarks.results import Row
from monitor_service.main import create_app
from sandbox.main import Sandbox
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from tests.browser import DRAWN, PATIENCE_MS, chromium, drawn, open_first, served
from tests.year import NOW, Size, seed_year

PAGES = ("Account", "Decisions", "Forecasts", "Trades", "Backtests", "System")
# Page, what is chosen, key of the selector, the choice: words of a button, or a place among what
# else a list offers.
SELECTORS: tuple[tuple[str, str, str, str | int], ...] = (
    ("Account", "a month", "account_since", "1M"),
    ("Account", "another benchmark", "account_benchmark", 0),
    ("Decisions", "an earlier decision", "decision_chosen", 5),
    ("Forecasts", "another ticker", "forecast_ticker", 3),
    ("Trades", "all closed trades", "trades_shown", "All"),
    ("Trades", "orders of all allocations", "orders_allocation", 0),
    ("Backtests", "a policy", "backtests_policy", 0),
    ("System", "an earlier session", "quality_session", 0),
)
PAINT, CHANGE, MEMORY, ANSWER = 2.0, 1.0, 400.0, 0.05  # s, s, MB, s
# Whether the script has run since; what was there before it is drawn already.
BEGIN = """() => {
  window.hasRun = false;
  const app = document.querySelector('[data-testid="stApp"]');
  new MutationObserver(() => {
    if (app.dataset.testScriptState !== 'notRunning') window.hasRun = true;
  }).observe(app, {attributes: true});
}"""
DRAWN_AGAIN = f"heading => window.hasRun && ({DRAWN})(heading)"


def measure(size: Size | None = None, rounds: int = 5) -> list[Row]:
    """Medians of `rounds`; the books are those of a full year unless told otherwise."""
    with TemporaryDirectory() as name:
        url = f"sqlite:///{name}/astra.db"
        store = open_store(url)
        seed_year(store, size or Size())
        rows = [*_pages(url, store, Path(name), rounds), *_monitor(url, 4 * rounds)]
        store.close()
    return rows


def _pages(url: str, store: Store, folder: Path, rounds: int) -> list[Row]:
    with served(url, folder / "log") as page, sync_playwright() as playwright:
        browser = chromium(playwright)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        least = f"a page of one title takes {_least(tab, url, folder, rounds):.2f} s"
        open_first(tab, page.url)
        drawn(tab, "Account")
        paints: dict[str, list[float]] = {name: [] for name in PAGES}
        for turn in range(rounds + 1):
            for name in PAGES:
                store.books.record_run(f"paint-{turn}-{name}", "bench", NOW)
                paints[name].append(_paint(tab, page.url, name))
        memory = _resident_mb(page.pid)
        rows = [
            Row("pages", f"{name}: first paint, new books", statistics.median(took[1:]), "s",
                PAINT, "lower", least)
            for name, took in paints.items()
        ]  # fmt: skip
        worst = max(took[0] for took in paints.values())
        rows.append(
            Row("pages", "slowest page when looked at for the first time", worst, "s", PAINT,
                "lower")
        )  # fmt: skip
        rows += [_change(tab, page.url, *selector, rounds) for selector in SELECTORS]
        rows.append(
            Row("pages", "memory of the page's process after all pages", memory, "MB", MEMORY,
                "lower")
        )  # fmt: skip
        browser.close()
    return rows


def _least(tab: Page, url: str, folder: Path, rounds: int) -> float:
    """Seconds of a page with nothing on it: what Streamlit and the browser take by themselves."""
    app = folder / "least.py"
    app.write_text("import streamlit as st\n\nst.title('Account', anchor=False)\n")
    with served(url, folder / "least.log", app=app) as page:
        open_first(tab, page.url)
        drawn(tab, "Account")
        return statistics.median(_paint(tab, page.url, "Account") for _ in range(rounds))


def _address(url: str, name: str) -> str:
    return url if name == "Account" else f"{url}/{name.lower()}"


def _paint(tab: Page, url: str, name: str) -> float:
    """Seconds from asking for the page until its last chart is drawn."""
    began = time.perf_counter()
    tab.goto(_address(url, name), timeout=PATIENCE_MS)
    drawn(tab, name)
    return time.perf_counter() - began


def _change(
    tab: Page, url: str, name: str, told: str, key: str, choice: str | int, rounds: int
) -> Row:
    """Seconds from a choice until the page shows it; each round on a page opened anew."""
    took = []
    for _ in range(rounds):
        tab.goto(_address(url, name), timeout=PATIENCE_MS)
        drawn(tab, name)
        click = _chooser(tab, key, choice)
        tab.evaluate(BEGIN)
        began = time.perf_counter()
        click()
        tab.wait_for_function(DRAWN_AGAIN, arg=name, timeout=PATIENCE_MS)
        took.append(time.perf_counter() - began)
    return Row("pages", f"{name}: {told}", statistics.median(took), "s", CHANGE, "lower")


def _chooser(tab: Page, key: str, choice: str | int) -> Callable[[], None]:
    """The click that chooses; a list is opened before."""
    box = tab.locator(f".st-key-{key}")
    if isinstance(choice, str):
        return box.get_by_text(choice, exact=True).click
    options = tab.locator('[role="option"]:not([aria-selected="true"])')
    _unfold(box.locator("input"), options)
    return options.nth(choice).click


def _unfold(field: Locator, options: Locator) -> None:
    """Open a list by key; where the page scrolls to it, it is folded again at once."""
    for _ in range(5):
        field.focus()
        field.press("ArrowDown")
        try:
            options.first.wait_for(timeout=2000)
        except TimeoutError:
            continue
        return
    raise AstraError("a list of choices must open by key, and did not in five tries")


def _resident_mb(pid: int) -> float:
    """Memory of a process and of those it started, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kib * 1024 / 1e6


def _monitor(url: str, rounds: int) -> list[Row]:
    """Seconds of an answer over loopback, on a connection that is kept."""
    day = NOW.date()
    market = simulated_market(
        ("AAPL", "JPM"), seed=1, edge=0.0, start=day - dt.timedelta(days=7), end=day, at=NOW
    )
    with Sandbox(market) as sandbox:
        settings = load(
            _env_file=None, database_url=url, **KEYS,
            alpaca_url=sandbox.urls.alpaca, alpaca_data_url=sandbox.urls.alpaca,
            storage_url=sandbox.urls.storage,
        )  # fmt: skip
        app = create_app(settings)
        logging.getLogger("astra.web").setLevel(logging.WARNING)  # no line for each request
        with Servers({"monitor": app}) as urls, requests.Session() as session:
            return [
                Row("pages", f"monitor: {path}", _answer(session, urls["monitor"] + path, rounds),
                    "s", ANSWER, "lower")
                for path in ("/metrics", "/status")
            ]  # fmt: skip


def _answer(session: requests.Session, address: str, rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        session.get(address, timeout=30).raise_for_status()
        took.append(time.perf_counter() - began)
    return statistics.median(took)

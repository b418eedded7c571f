"""Every page in a real Chromium, through the life of one database: none yet, empty, months of
books, and broken. What a person reads is held against figures counted apart from the books.

One server and one browser see it all; pictures of each page are left in `var/screenshots`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from browser import CHROMIUM, PATIENCE_MS, chromium, drawn, is_ours, open_first, served
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright
from year import NOW, SMALL, seed_year

from astra.store import open_store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on this machine: apt install chromium"
    ),
]
PAGES = ("Account", "Decisions", "Forecasts", "Trades", "Backtests", "System")
PICTURES = Path(__file__).resolve().parent.parent / "var" / "screenshots"
WIDE, NARROW, TALLEST = 1280, 390, 12_000
METRICS = """() => Object.fromEntries([...document.querySelectorAll('[data-testid="stMetric"]')]
  .map(e => ['stMetricLabel', 'stMetricValue'].map(
    name => e.querySelector(`[data-testid="${name}"]`).innerText.trim())))"""
HEIGHT = """() => Math.max(...[...document.querySelectorAll('.stMainBlockContainer')]
  .map(e => e.scrollHeight))"""
# What a person would have to move the whole page sideways for.
WIDEST = """() => Math.max(document.documentElement.scrollWidth,
  ...[...document.querySelectorAll('.stMain')].map(e => e.scrollWidth))"""
GROUND = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"


@dataclass
class Seen:
    """What a person saw of one page."""

    text: str
    metrics: dict[str, str]
    charts: int
    widest: int = 0
    grounds: list[str] = field(default_factory=list)


@dataclass
class House:
    """A database's address, a tab that looks at its page, and what the browser complained about."""

    path: Path
    url: str
    tab: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def complain(self, said: ConsoleMessage) -> None:
        """Streamlit asks for its own addresses below a page's first (404), then at the root."""
        where = said.location["url"]
        if "404" not in said.text or "/_stcore/" not in where:
            self.complaints.append(f"{said.text} {where}")

    def look(self, name: str) -> Seen:
        path = "" if name == "Account" else name.lower()
        open_first(self.tab, f"{self.url}/{path}")
        drawn(self.tab, name)
        return Seen(
            text=self.tab.locator(".stMain").inner_text(),
            metrics=self.tab.evaluate(METRICS),
            charts=self.tab.locator(".js-plotly-plot").count(),
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "astra.db"
    with served(f"sqlite:///{path}", folder / "log") as page, sync_playwright() as playwright:
        browser = chromium(playwright)
        tab = browser.new_page(viewport={"width": WIDE, "height": 900})
        found = House(path, page.url, tab)
        tab.on("console", lambda m: found.complain(m) if m.type == "error" else None)
        tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        tab.on(
            "request",
            lambda r: None if is_ours(r.url, page.url) else found.strangers.append(r.url),
        )
        yield found
        browser.close()


@pytest.fixture(scope="module")
def nothing(house: House) -> Seen:
    """Before there is a database."""
    return house.look("Account")


@pytest.fixture(scope="module")
def empty(house: House, nothing: Seen) -> dict[str, Seen]:
    """Tables, and nothing in them."""
    open_store(f"sqlite:///{house.path}").close()
    return {name: house.look(name) for name in PAGES}


@pytest.fixture(scope="module")
def seeded(house: House, empty: dict[str, Seen]) -> dict[str, Seen]:
    """Six weeks of books, each page looked at by day, by night and on a phone."""
    store = open_store(f"sqlite:///{house.path}")
    seed_year(store, SMALL)
    store.close()
    return {name: photographed(house, name) for name in PAGES}


@pytest.fixture(scope="module")
def broken(house: House, seeded: dict[str, Seen]) -> Seen:
    """A table is gone, as after a restore that was cut short."""
    store = open_store(f"sqlite:///{house.path}")
    with store._dialect.writing("books") as connection:
        connection.exec_driver_sql("DROP TABLE account_summary")
    store.close()
    return house.look("Account")


def photographed(house: House, name: str) -> Seen:
    tab = house.tab
    PICTURES.mkdir(parents=True, exist_ok=True)
    seen = house.look(name)
    for width, scheme, told in (
        (WIDE, "light", "light"), (WIDE, "dark", "dark"), (NARROW, "light", "narrow"),
    ):  # fmt: skip
        tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        tab.set_viewport_size({"width": width, "height": 900})
        tab.wait_for_function(
            f"document.querySelector('.stMainBlockContainer').offsetWidth <= {width}"
        )
        tab.set_viewport_size(
            {"width": width, "height": min(int(tab.evaluate(HEIGHT)) + 120, TALLEST)}
        )
        drawn(tab, name)
        tab.wait_for_timeout(400)
        seen.grounds.append(tab.evaluate(GROUND))
        tab.screenshot(path=PICTURES / f"{name.lower()}-{told}.png")
    seen.widest = tab.evaluate(WIDEST)
    tab.set_viewport_size({"width": WIDE, "height": 900})
    return seen


@pytest.fixture(scope="module")
def summaries(house: House, seeded: dict[str, Seen]) -> pd.DataFrame:
    """The account's values, USD."""
    return rows(house, "account_summary").astype({"equity": float, "cash": float})


def rows(house: House, table: str) -> pd.DataFrame:
    store = open_store(f"sqlite:///{house.path}")
    found = store.books.read(table).to_pandas()
    store.close()
    return found.sort_values("at" if "at" in found else "as_of", ignore_index=True)


def document(house: House) -> dict[str, object]:
    return json.loads(rows(house, "decisions")["document"].iloc[-1])


def test_before_there_is_a_database_the_remedy_is_said(nothing: Seen) -> None:
    assert "yet: start the services with astra up" in nothing.text
    assert "Traceback" not in nothing.text


@pytest.mark.parametrize("name", PAGES)
def test_of_an_empty_database_each_page_says_what_to_do(empty: dict[str, Seen], name: str) -> None:
    assert "No account has been recorded yet: astra monitor" in empty[name].text


@pytest.mark.parametrize("name", PAGES)
def test_each_page_says_that_its_market_is_made_up_and_as_of_when(
    seeded: dict[str, Seen], name: str
) -> None:
    text = seeded[name].text
    assert "SIMULATED market (seed 1)" in text
    assert "Paper trading · as of Fri 20 Nov 2026, 14:05 New York" in text
    assert "Trading is on" in text


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_a_stack_trace(seeded: dict[str, Seen], name: str) -> None:
    assert "Traceback" not in seeded[name].text


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(seeded: dict[str, Seen], name: str) -> None:
    assert seeded[name].widest <= NARROW


@pytest.mark.parametrize("name", PAGES)
def test_a_page_follows_the_light_of_the_room(seeded: dict[str, Seen], name: str) -> None:
    light, dark, narrow = (sum(map(int, re.findall(r"\d+", g)[:3])) for g in seeded[name].grounds)
    assert dark < 200 < 600 < light == narrow


def test_the_account_is_worth_what_was_recorded_last(
    seeded: dict[str, Seen], summaries: pd.DataFrame
) -> None:
    metrics, last = seeded["Account"].metrics, summaries.iloc[-1]
    assert metrics["Account value"] == f"${last['equity']:,.2f}"
    assert metrics["Cash"] == f"${last['cash']:,.2f}"
    whole = last["equity"] / summaries["equity"].iloc[0] - 1  # nothing was paid in since
    assert metrics["Since the start"] == f"{whole:+.2%}"
    days = summaries["at"].dt.tz_convert("America/New_York").dt.date
    before = summaries[days < days.iloc[-1]]["equity"].iloc[-1]
    assert metrics["Today"] == f"{last['equity'] / before - 1:+.2%}"
    depth = (summaries["equity"] / summaries["equity"].cummax() - 1).min()
    assert metrics["Maximum drawdown"] == f"{depth:.2%}"


def test_the_decision_is_told_with_its_figures(house: House, seeded: dict[str, Seen]) -> None:
    made = document(house)
    metrics = seeded["Decisions"].metrics
    assert metrics["Expected gain"] == f"{made['gain_bp']:.1f} bp"
    assert metrics["Expected cost"] == f"{made['cost_bp']:.1f} bp"
    assert metrics["Certificate"] == f"≤ {made['bound_gap']:.2%}"
    orders = len(rows_of_last_allocation(house))
    assert f"{orders} of {orders} orders filled" in seeded["Decisions"].text


def rows_of_last_allocation(house: House) -> pd.DataFrame:
    store = open_store(f"sqlite:///{house.path}")
    found = store.books.read("orders").to_pandas()
    store.close()
    return found[found["planned_at"] == found["planned_at"].max()]


def test_forecasts_say_their_skill_and_how_many_names_they_are_of(
    house: House, seeded: dict[str, Seen]
) -> None:
    skill = document(house)["skill"]
    shown = seeded["Forecasts"]
    assert shown.metrics["Skill (IC)"] == f"{skill['ic']:.3f}"
    assert f"t = {skill['t']:.1f}, {'on' if skill['on'] else 'off'}" in shown.text
    assert f"of {SMALL.names} names over the next 12 bars" in shown.text
    assert shown.charts >= 4  # fan, skill, calibration, error


def test_what_came_of_an_earlier_forecast_is_found_by_keyboard(
    house: House, seeded: dict[str, Seen]
) -> None:
    house.look("Forecasts")
    house.tab.get_by_role("combobox", name=re.compile("Session")).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        house.tab.keyboard.press(key)
    came = house.tab.get_by_text("All 12 closes forecast came")
    expect(came).to_be_visible(timeout=PATIENCE_MS)


def test_profit_is_of_sales_less_the_oldest_purchases(
    house: House, seeded: dict[str, Seen], summaries: pd.DataFrame
) -> None:
    fills = rows(house, "activities")
    fills = fills[fills["type"] == "FILL"].sort_values("id")
    lots: dict[str, deque[list[float]]] = {}
    profit = 0.0
    for symbol, qty, price in zip(
        fills["symbol"], fills["qty"].astype(float), fills["price"].astype(float), strict=True
    ):
        held = lots.setdefault(symbol, deque())
        if qty > 0:
            held.append([qty, price])
            continue
        left = -qty
        while left:
            taken = min(left, held[0][0])
            profit += taken * (price - held[0][1])
            left -= taken
            held[0][0] -= taken
            if not held[0][0]:
                held.popleft()
    metrics = seeded["Trades"].metrics
    assert dollars(metrics["Realised profit"]) == pytest.approx(profit, abs=0.006)
    now = {p["symbol"]: p["price"] for p in json.loads(summaries["positions"].iloc[-1])}
    paper = sum(q * (now[s] - price) for s, held in lots.items() for q, price in held)
    assert dollars(metrics["Unrealised profit"]) == pytest.approx(paper, abs=0.006)
    days = fills["at"].dt.tz_convert("America/New_York").dt.date.nunique()
    assert dollars(metrics["Fees"]) == pytest.approx(-1.37 * (days - 1))  # today's not yet


def dollars(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def test_the_value_is_explained_by_the_lines_on_record(
    house: House, seeded: dict[str, Seen]
) -> None:
    text = " ".join(seeded["Trades"].text.split())
    assert "the account's value as the broker gave it" in text
    assert "are not explained" not in text


def test_stored_backtests_are_counted_and_drawn(seeded: dict[str, Seen]) -> None:
    shown = seeded["Backtests"]
    assert (
        "24 backtests, each of one policy, the newest made Fri 20 Nov 2026, 14:05 New York"
        in shown.text
    )
    assert shown.charts == 1


def test_the_system_says_that_all_bars_and_no_alerts_are_there(seeded: dict[str, Seen]) -> None:
    shown = seeded["System"]
    assert "1 alert over" in shown.text
    assert shown.metrics["Late"] == shown.metrics["Refused"] == "0"
    bars = int((NOW.timestamp() - pd.Timestamp("2026-11-20T14:30Z").timestamp()) // 300)
    assert shown.metrics["Bars"] == f"{SMALL.names * bars:,}"
    assert "The newest 50 lines" in shown.text


@pytest.mark.parametrize("name", PAGES)
def test_a_picture_of_each_page_is_left(seeded: dict[str, Seen], name: str) -> None:
    for told in ("light", "dark", "narrow"):
        assert (PICTURES / f"{name.lower()}-{told}.png").stat().st_size > 10_000


def test_a_broken_database_is_one_sentence(broken: Seen) -> None:
    assert "Traceback" not in broken.text and "sqlite3" not in broken.text
    assert "account_summary" in broken.text or "cannot be used" in broken.text


def test_the_browser_neither_complains_nor_asks_strangers(house: House, broken: Seen) -> None:
    assert (house.complaints, house.strangers) == ([], [])

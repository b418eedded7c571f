"""The page on a real store behind the real ETL service: seeded, empty, failing, in a browser."""

from __future__ import annotations

import datetime as dt
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flask import Flask
from playwright.sync_api import Error, Page, expect, sync_playwright
from pydantic import SecretStr
from streamlit.testing.v1 import AppTest
from werkzeug.serving import make_server

from astra.records import Account, Activity, OrderStatus, Position, Side
from astra.sessions import HORIZON_BARS, Session, last_sessions
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.books import Member
from astra.store.journal import AllocationRow, OrderRow
from etl_service.main import create_app
from frontend.feed import Feed

HOUSE = Path(__file__).resolve().parent.parent
APP = HOUSE / "frontend" / "app.py"
NUMBER = "PA3SEEDED"
NOW = dt.datetime(2026, 11, 20, 19, 5, tzinfo=dt.UTC)
MEMBERS = {
    "AAPL": ("Apple Inc.", "Information Technology"),
    "AMGN": ("Amgen Inc.", "Health Care"),
    "BRK.B": ("Berkshire Hathaway Inc.", "Financials"),
    "CAT": ("Caterpillar Inc.", "Industrials"),
    "DUK": ("Duke Energy Corporation", "Utilities"),
    "GIS": ("General Mills, Inc.", "Consumer Staples"),
    "HD": ("The Home Depot, Inc.", "Consumer Discretionary"),
    "JNJ": ("Johnson & Johnson", "Health Care"),
    "KO": ("The Coca-Cola Company", "Consumer Staples"),
    "MSFT": ("Microsoft Corporation", "Information Technology"),
    "OXY": ("Occidental Petroleum Corporation", "Energy"),
    "PARA": ("Paramount Global", "Communication Services"),
    "PAYC": ("Paycom Software, Inc.", "Industrials"),
    "SO": ("The Southern Company", "Utilities"),
    "V": ("Visa Inc.", "Financials"),
    "XOM": ("Exxon Mobil Corporation", "Energy"),
}


@dataclass
class Trader:
    """A made-up account that rebalances into half of the tickers at every decision time."""

    cash: Decimal = Decimal(100_000)
    shares: dict[str, Decimal] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    lines: list[Activity] = field(default_factory=list)

    def equity(self, prices: dict[str, float]) -> Decimal:
        held = sum(float(q) * prices[s] for s, q in self.shares.items())
        return self.cash + Decimal(f"{held:.2f}")

    def trade(self, weights: dict[str, float], prices: dict[str, float], at: dt.datetime) -> None:
        equity = float(self.equity(prices))
        wanted = {s: Decimal(int(w * equity / prices[s])) for s, w in weights.items()}
        for symbol in sorted(self.shares.keys() | wanted.keys()):
            change = wanted.get(symbol, Decimal(0)) - self.shares.get(symbol, Decimal(0))
            if change:
                self._fill(symbol, change, Decimal(f"{prices[symbol]:.2f}"), at)

    def _fill(self, symbol: str, change: Decimal, price: Decimal, at: dt.datetime) -> None:
        name, side = f"fill-{len(self.lines):05d}", Side.BUY if change > 0 else Side.SELL
        self.lines.append(
            Activity(name, "FILL", at, -change * price, symbol, change, price, side, f"o-{name}")
        )
        held = self.shares.pop(symbol, Decimal(0)) + change
        if held:
            self.shares[symbol] = held
        if change > 0:
            before = self.cost.get(symbol, 0.0) * float(held - change)
            self.cost[symbol] = (before + float(change * price)) / float(held)
        self.cash -= change * price

    def positions(self, prices: dict[str, float]) -> list[Position]:
        return [Position(s, q, prices[s], self.cost[s]) for s, q in sorted(self.shares.items())]


def bars_of(sessions: tuple[Session, ...], seed: int) -> pd.DataFrame:
    """Random walks of all members and SPY, closed at NOW."""
    rng = np.random.default_rng(seed)
    grid = np.concatenate([s.grid() for s in sessions])
    grid = grid[grid + 300 <= NOW.timestamp()]
    market = rng.normal(3e-6, 4e-4, len(grid))
    frames = []
    for i, ticker in enumerate([*MEMBERS, "SPY"]):
        own = np.zeros(len(grid)) if ticker == "SPY" else rng.normal(0, 1.1e-3, len(grid))
        close = (40 + 37.5 * i) * np.exp(np.cumsum(market + own))
        frame = {"ticker": ticker, "ts": grid, "open": close, "high": close * 1.0005,
                 "low": close * 0.9995, "close": close, "volume": 1000}  # fmt: skip
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def forecasts_of(prices: dict[str, float], as_of: dt.datetime, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for ticker in MEMBERS:
        drift = rng.normal(0, 4e-4)
        for step in range(1, HORIZON_BARS + 1):
            middle = prices[ticker] * math.exp(drift * step)
            spread = 1.2e-3 * math.sqrt(step) * prices[ticker]
            around = zip(("q05", "q25", "q50", "q75", "q95"), (-1.64, -0.67, 0, 0.67, 1.64),
                         strict=True)  # fmt: skip
            rows.append(
                {"model_id": "nbeats-3f2a9c", "as_of": int(as_of.timestamp()), "ticker": ticker,
                 "step": step, "ts": int(as_of.timestamp()) + 300 * (step - 1), "close": middle}
                | {name: middle + z * spread for name, z in around}
            )  # fmt: skip
    return pd.DataFrame(rows)


def decision_of(
    weights: dict[str, float], as_of: dt.datetime, **changes: object
) -> dict[str, object]:
    return {
        "as_of": as_of.isoformat(),
        "policy": "measured",
        "model_id": "nbeats-3f2a9c",
        "skill": {"ic": 0.037, "t": 2.4, "days": 24, "on": True},
        "method": "max_sharpe",
        "reason": "trade: gain 6.8 bp > cost 2.9 bp",
        "sharpe": 1.31,
        "bound_gap": 0.0021,
        "tau": 0.62,
        "gain_bp": 6.8,
        "cost_bp": 2.9,
        "weights": weights,
        "targets": {"measured": weights},
        "left_out": {"PARA": "its last bar is 75 minutes old", "GIS": "11 of 60 bars"},
        "market": "simulated:1",
        "trained_on": "simulated",
        **changes,
    }


def seed_store(store: Store, days: int = 8, seed: int = 7, benchmark: bool = True) -> None:
    """Books of `days` sessions: bars, hourly rebalances, summaries, forecasts, one decision."""
    sessions = last_sessions(days + 2, NOW)
    bars = bars_of(sessions, seed)
    store.prices.upsert(bars if benchmark else bars[bars["ticker"] != "SPY"], NOW)
    store.claim_market("simulated:1")
    store.record_now(NOW)
    store.books.record_universe(
        [Member(t, name, sector, "", True) for t, (name, sector) in MEMBERS.items()],
        sessions[0].opens_at,
    )
    rng, trader = np.random.default_rng(seed), Trader()
    closes = bars.pivot_table(index="ts", columns="ticker", values="close")
    moments = [t for s in sessions[2:] for t in s.decision_times() if t <= NOW]
    for as_of in moments:
        row = closes[closes.index + 300 <= as_of.timestamp()].iloc[-1]
        prices = {str(ticker): float(price) for ticker, price in row.items()}
        chosen = sorted(rng.choice(sorted(MEMBERS), 10, replace=False))
        weights = {str(t): 0.098 - 0.002 * i for i, t in enumerate(chosen)}
        trader.trade(weights, prices, as_of + dt.timedelta(minutes=1))
        account = Account(NUMBER, trader.cash, trader.equity(prices), trader.cash)
        store.books.record_account_summary(
            account, trader.positions(prices), as_of + dt.timedelta(minutes=2)
        )
    store.books.record_activities(NUMBER, trader.lines)
    store.books.record_decision("decision_1.json", decision_of(weights, as_of))
    store.books.record_forecasts(forecasts_of(prices, as_of, seed))
    journal(store, weights, as_of, trader.lines)


def journal(
    store: Store, weights: dict[str, float], as_of: dt.datetime, lines: list[Activity]
) -> None:
    """The last decision's allocation and its orders, all filled."""
    at = as_of + dt.timedelta(minutes=1)
    key = "00112233aabbccdd"
    store.journal.receive(
        AllocationRow(
            key,
            NUMBER,
            "astra",
            "target_1.csv",
            1,
            as_of,
            as_of,
            "measured",
            "nbeats-3f2a9c",
            weights,
            at,
        )
    )
    fence = store.journal.take_lease(key, 60.0) or 0
    last = [a for a in lines if a.at == at]
    orders = [
        OrderRow(
            f"{key}-{a.symbol}-{a.side}-1",
            key,
            NUMBER,
            str(a.symbol),
            Side(a.side or "buy"),
            1,
            abs(a.qty or Decimal(0)),
            float(a.price or 0),
            "to target",
            at,
            at,
        )
        for a in last
    ]
    store.journal.plan_orders(key, fence, orders, "buying")
    for order in orders:
        store.journal.mark(
            order.id, fence, OrderStatus.FILLED, at, filled_qty=order.qty,
            filled_average_price=order.reference_price,
        )  # fmt: skip
    store.journal.set_status(key, fence, "done", finished_at=at)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The app on a free loopback port; its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class House:
    """A store and the ETL service before it."""

    store: Store
    url: str


def configured(**options: object) -> Settings:
    """Settings that no file of this machine takes part in."""
    return Settings(_env_file=None, **options)  # type: ignore[call-arg, arg-type]


@contextmanager
def house(folder: Path, token: str = "") -> Iterator[House]:
    settings = configured(
        var=folder,
        database_url=f"sqlite:///{folder}/astra.db",
        tickers="|".join(MEMBERS),
        token=SecretStr(token),
    )
    with serving(create_app(settings)) as url:
        store = open_store(settings.database_url)
        yield House(store, url)
        store.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Shared: tests read it only."""
    with house(tmp_path_factory.mktemp("page")) as found:
        seed_store(found.store)
        yield found


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], AppTest]:
    """Runs the page against an ETL service, out of reach of any `.env`."""
    monkeypatch.chdir(tmp_path)

    def run(url: str) -> AppTest:
        monkeypatch.setenv("ASTRA_ETL_URL", url)
        monkeypatch.delenv("ASTRA_TOKEN", raising=False)
        return AppTest.from_file(str(APP), default_timeout=60).run()

    return run


Runner = Callable[[str], AppTest]


def said(app: AppTest) -> str:
    """All the page says in text."""
    assert not app.exception
    kinds = (app.title, app.header, app.subheader, app.caption, app.markdown, app.info,
             app.warning, app.error)  # fmt: skip
    return "\n".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def metrics(app: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in app.metric}


def test_a_seeded_account_is_shown_with_its_value_and_its_market(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url)
    summary = seeded.store.books.read("account_summary").to_pandas()
    worth = float(summary.sort_values("at")["equity"].iloc[-1])
    assert metrics(app)["Account value"] == f"${worth:,.2f}"
    text = said(app)
    assert "Paper trading · as of Fri 20 Nov 2026, 14:02 New York · 3 minutes old" in text
    assert "SIMULATED market (seed 1)" in "".join(h.proto.body for h in app.get("html"))
    assert not app.error and not app.warning


def test_the_return_agrees_with_the_books(page: Runner, seeded: House) -> None:
    equity = seeded.store.books.read("account_summary").to_pandas()["equity"].astype(float)
    shown = metrics(page(seeded.url))["Since the start"]
    assert float(shown.rstrip("%")) / 100 == pytest.approx(
        equity.iloc[-1] / equity.iloc[0] - 1, abs=5e-5
    )


def test_positions_stand_beside_their_targets(page: Runner, seeded: House) -> None:
    table = page(seeded.url).dataframe[0].value
    assert len(table) == 10
    assert (table["Drift"] - (table["Weight"] - table["Target"])).abs().max() < 1e-12
    assert table["Value"].is_monotonic_decreasing


def test_the_decision_says_what_was_done_and_on_which_skill(page: Runner, seeded: House) -> None:
    app = page(seeded.url)
    text = said(app)
    assert "Traded 62% of the way to the target" in text
    assert "has shown skill (t = 2.4 over 24 days)" in text
    assert metrics(app)["Certificate"] == "≤ 0.21%"
    orders = len(seeded.store.journal.orders("00112233aabbccdd"))
    assert f"Allocation done: {orders} orders, {orders} filled." in text
    assert "2 tickers left out" in [e.label for e in app.expander]


def test_another_ticker_can_be_chosen(page: Runner, seeded: House) -> None:
    app = page(seeded.url)
    app.selectbox(key="forecast_ticker").select("OXY").run()
    assert said(app)
    assert app.selectbox(key="forecast_ticker").value == "OXY"


def test_best_and_worst_trades_are_told_apart(page: Runner, seeded: House) -> None:
    tables = [t.value for t in page(seeded.url).dataframe if "Profit" in t.value]
    best, worst = tables
    assert len(best) == len(worst) == 10
    assert best["Profit"].is_monotonic_decreasing and worst["Profit"].is_monotonic_increasing
    assert best["Profit"].min() > worst["Profit"].max()


def test_without_spy_the_account_stands_alone_and_the_page_says_so(
    page: Runner, empty: House
) -> None:
    seed_store(empty.store, days=2, benchmark=False)
    app = page(empty.url)
    assert "SPY is not in the store for this time" in said(app)
    assert metrics(app)["SPY over the same time"] == "n/a"


def test_an_empty_store_is_met_with_the_remedy(page: Runner, empty: House) -> None:
    assert "No account has been recorded yet: `astra monitor`" in said(page(empty.url))


def test_an_account_without_decision_says_where_decisions_come_from(
    page: Runner, empty: House
) -> None:
    account = Account(NUMBER, Decimal(5000), Decimal(5000), Decimal(5000))
    empty.store.books.record_account_summary(account, [], NOW)
    app = page(empty.url)
    text = said(app)
    assert metrics(app)["Account value"] == "$5,000.00"
    for sentence in ("No decision yet", "No forecast yet", "Everything is in cash ($5,000.00)",
                     "Nothing has been sold yet", "One value of the account is recorded so far",
                     "market not known before the first decision"):  # fmt: skip
        assert sentence in text


def test_new_records_show_without_asking(page: Runner, empty: House) -> None:
    app = page(empty.url)
    account = Account(NUMBER, Decimal(7), Decimal(7), Decimal(7))
    empty.store.books.record_account_summary(account, [], NOW)
    assert metrics(app.run())["Account value"] == "$7.00"


def test_a_decision_that_cannot_be_read_is_one_sentence(page: Runner, empty: House) -> None:
    account = Account(NUMBER, Decimal(7), Decimal(7), Decimal(7))
    empty.store.books.record_account_summary(account, [], NOW)
    broken = decision_of({}, NOW) | {"weights": None}
    empty.store.books.record_decision("decision_2.json", broken)
    assert "a decision needs as_of and weights" in said(page(empty.url))


def test_a_service_that_is_down_is_one_sentence_with_the_remedy(page: Runner) -> None:
    text = said(page(f"http://127.0.0.1:{free_port()}"))
    assert "does not answer: start it with `astra up`, or set ASTRA_ETL_URL" in text


def test_a_wrong_credential_is_one_sentence_with_the_remedy(page: Runner, tmp_path: Path) -> None:
    with house(tmp_path, token="right") as found:
        assert "set ASTRA_TOKEN" in said(page(found.url))


def test_the_right_credential_is_let_in(tmp_path: Path) -> None:
    with house(tmp_path, token="right") as found:
        feed = Feed(configured(etl_url=found.url, token=SecretStr("right")))
        assert feed.pulse().accounts == ()


def test_another_service_at_the_address_is_said_and_not_shown(page: Runner) -> None:
    stranger = Flask("stranger")
    stranger.add_url_rule("/dump_table", "dump_table", lambda: "<p>hello")
    with serving(stranger) as url:
        assert "check ASTRA_ETL_URL" in said(page(url))


def test_the_version_changes_with_the_books_and_only_then(empty: House) -> None:
    feed = Feed(configured(etl_url=empty.url))
    before = feed.pulse().version
    assert feed.pulse().version == before
    empty.store.books.record_decision("decision_3.json", decision_of({}, NOW))
    assert feed.pulse().version != before


CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def streamlit(etl_url: str, log: Path) -> Iterator[str]:
    """The page as a person starts it; its address."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.address", "127.0.0.1",
               "--server.port", str(port), "--server.headless", "true"]  # fmt: skip
    environment = {**os.environ, "ASTRA_ETL_URL": etl_url, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=out, stderr=out)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(20)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt install chromium")
def test_a_browser_draws_the_page_without_a_complaint(seeded: House, tmp_path: Path) -> None:
    with streamlit(seeded.url, tmp_path / "log") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        complaints: list[str] = []
        strangers: list[str] = []
        tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda r: None if _is_ours(r.url, url) else strangers.append(r.url))
        _open(tab, url)
        expect(tab.get_by_role("heading", name="Closed trades")).to_be_visible(timeout=60_000)
        expect(tab.locator(".js-plotly-plot .main-svg .trace").first).to_be_visible(timeout=60_000)
        expect(tab.locator(".js-plotly-plot")).to_have_count(3, timeout=60_000)
        expect(tab.get_by_text("SIMULATED market (seed 1)")).to_be_visible()
        expect(tab.get_by_text("3 minutes old")).to_be_visible()
        assert tab.locator(".js-plotly-plot path.js-line").count() >= 4
        browser.close()
    assert (complaints, strangers) == ([], [])


def _open(tab: Page, url: str) -> None:
    """Wait for the server's first answer: it takes seconds to start."""
    for _ in range(300):
        try:
            tab.goto(url, timeout=60_000)
        except Error as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            time.sleep(0.1)
        else:
            return
    pytest.fail("streamlit did not start within 30 s")


def _is_ours(address: str, url: str) -> bool:
    own = url.removeprefix("http")
    return address.removeprefix("http").startswith(own) or address.startswith(
        ("ws" + own, "data:", "blob:")
    )

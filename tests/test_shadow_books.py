"""Shadow books: carried from decision to decision at the prices that followed, to the cent."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient

from astra import bars
from astra.errors import DataError
from astra.gcs import connect
from astra.ledger import Book
from astra.records import Account
from astra.settings import Settings
from astra.store import open_store
from etl_service.main import create_app as create_etl
from model.backtest.fills import Costs
from model.backtest.walk import walk
from model.books import Shelf, carried, costs_of, read, write
from model.decision import Terms
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.holdings import Settled
from model.main import create_app
from model.panel import Panel, build
from model.portfolio.decision import decide_all
from model.portfolio.policies import POLICIES
from monitor_service.main import create_app as create_monitor
from sandbox.main import Sandbox
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from tests.test_policies import inputs as made_inputs

D = Decimal
T1 = dt.datetime(2026, 5, 12, 14, 0, tzinfo=dt.UTC)
T2 = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
COSTS = Costs(20.0, 10.0, max_order_weight=1.0)
TEN = dt.datetime(2026, 3, 20, 14, 0, tzinfo=dt.UTC)
NAMES = default_tickers(8)[:8]


def priced(prices: dict[str, dict[str, tuple[float, float]]]) -> Panel:
    """Bars from (open, close) by ticker and UTC clock of 2026-05-12, "-1 " before it a day ago."""
    rows = []
    for ticker, at in prices.items():
        for clock, (opening, close) in at.items():
            day, _, time = clock.rpartition(" ")
            ts = int(dt.datetime.fromisoformat(f"2026-05-12T{time}+00:00").timestamp())
            ts += 86_400 * int(day or 0)
            rows.append((ticker, ts, opening, max(opening, close), min(opening, close), close, 1))
    names = ["ticker", "ts", "open", "high", "low", "close", "volume"]
    return build(pd.DataFrame(rows, columns=names))


TWO_NAMES = {
    "A": {"13:55": (99.0, 100.0), "14:05": (100.0, 101.0), "14:55": (109.0, 110.0)},
    "B": {"13:55": (50.0, 50.0), "14:05": (50.0, 50.0), "14:55": (40.0, 40.0)},
}


def noted(weights: dict[str, float], book: Book, closes: dict[str, float]) -> dict[str, Any]:
    """A decision of 14:00 whose one policy holds `book`."""
    ts = int(T1.timestamp()) - 300
    return {
        "as_of": T1.isoformat(),
        "books": {
            "mine": {
                "equity": "0", "cash": str(book.cash), "weights": weights, "tau": 1.0,
                "reason": "", "shares": {s: str(q) for s, q in book.shares.items()},
            }
        },
        "books_of": {
            "account": "PA1", "since": T1.isoformat(), "note": "new",
            "closes": {s: [ts, close] for s, close in closes.items()},
        },
    }  # fmt: skip


def test_a_book_by_hand() -> None:
    document = noted({"A": 0.6, "B": 0.3}, Book(D(1000), {}), {"A": 100.0, "B": 50.0})
    shelf = carried(document, priced(TWO_NAMES), T2, COSTS)
    # Planned at 100 and 50: 6 A and 6 B; bought 20 bp above the opens of 14:05, 100 and 50.
    assert shelf.books["mine"].shares == {"A": D(6), "B": D(6)}
    assert shelf.books["mine"].cash == D(1000) - D("601.2") - D("300.6")
    assert shelf.marks == {"A": 110.0, "B": 40.0}
    assert shelf.equity() == {"mine": D("998.20")}
    assert shelf.weights()["mine"] == pytest.approx({"A": 660 / 998.2, "B": 240 / 998.2})
    assert (shelf.account, shelf.since, shelf.at) == ("PA1", T1, T2)


def test_a_split_between_two_decisions_rescales_the_shares() -> None:
    book, closes = Book(D(0), {"A": D(3), "B": D("2.5")}), {"A": 400.01, "B": 50.0}
    document = noted({"A": 0.9, "B": 0.1}, book, closes)
    costs = replace(COSTS, drift_band=0.09)
    shelf = carried(document, priced(TWO_NAMES), T2, costs)  # A's 13:55 now reads 100: 4 for 1
    assert shelf.books["mine"].shares == {"A": D(12), "B": D("2.5")}
    document["books_of"]["closes"]["A"][1] = 10.0  # 1 for 10
    shelf = carried(document, priced(TWO_NAMES), T2, replace(costs, drift_band=0.9))
    assert shelf.books["mine"].shares["A"] == D("0.3")


def test_a_correction_of_a_bar_is_no_split() -> None:
    book, closes = Book(D(0), {"A": D(3)}), {"A": 109.0}
    shelf = carried(noted({"A": 1.0}, book, closes), priced(TWO_NAMES), T2, COSTS)
    assert shelf.books["mine"].shares == {"A": D(3)}


def test_a_corrected_bar_makes_no_order_where_the_decision_was_to_hold() -> None:
    for close in (95.0, 105.0, 109.0):  # now it reads 100
        book = Book(D(9000), {"A": D(10)})
        document = noted({"A": 10 * close / (9000 + 10 * close)}, book, {"A": close})
        shelf = carried(document, priced(TWO_NAMES), T2, replace(COSTS, drift_band=0.0001))
        assert shelf.books["mine"] == book
        assert shelf.equity()["mine"] == D(9000) + D(1100)


def test_a_bad_print_that_is_corrected_is_no_split_if_the_session_before_stands() -> None:
    prices = {"A": {**TWO_NAMES["A"], "-1 19:55": (100.0, 100.0)}, "B": TWO_NAMES["B"]}
    book, costs = Book(D(0), {"A": D(4)}), replace(COSTS, drift_band=0.9)
    yesterday = int(T1.timestamp()) - 65_100  # 19:55
    for close, before, shares in ((200.0, 100.0, D(4)), (200.0, 200.0, D(8)), (200.0, 150.0, D(4))):
        document = noted({"A": 1.0}, book, {"A": close})
        document["books_of"]["closes"]["A"] += [yesterday, before]
        shelf = carried(document, priced(prices), T2, costs)
        assert shelf.books["mine"].shares == {"A": shares}
        assert shelf.closes["A"].before == (yesterday, 100.0)


def test_no_order_of_a_book_touches_what_is_on_hold() -> None:
    book = Book(D(500), {"A": D(5)})
    document = noted({"A": 0.1, "B": 0.3}, book, {"A": 100.0, "B": 50.0})
    costs = replace(COSTS, hold=frozenset({"A"}))
    assert carried(document, priced(TWO_NAMES), T2, costs).books["mine"].shares == {
        "A": D(5), "B": D(6),
    }  # fmt: skip
    assert costs_of(Settings(_env_file=None, hold="A| KO")).hold == {"A", "KO"}


def test_what_has_no_bar_keeps_its_shares_at_the_close_that_was_noted() -> None:
    book = Book(D(50), {"A": D(1), "GONE": D(4)})
    document = noted({"A": 0.2, "GONE": 0.8}, book, {"A": 100.0, "GONE": 100.0})
    shelf = carried(document, priced(TWO_NAMES), T2, replace(COSTS, drift_band=0.5))
    assert shelf.books["mine"] == book
    assert shelf.equity()["mine"] == D(50) + D(110) + D(400)
    again = read({**document, **told(shelf)})[0]
    assert again.closes["GONE"] == shelf.closes["GONE"]


def told(shelf: Shelf) -> dict[str, Any]:
    """The document's part of books whose policies all hold."""
    return {
        "books": {
            p: {"cash": str(b.cash), "shares": {s: str(q) for s, q in b.shares.items()},
                "weights": {}}
            for p, b in shelf.books.items()
        },
        "books_of": {
            "account": shelf.account, "since": shelf.since.isoformat(), "note": shelf.note,
            "closes": {s: [n.ts, n.close] for s, n in shelf.closes.items()},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("books"),
        lambda d: d.pop("books_of"),
        lambda d: d["books"].clear(),
        lambda d: d["books"]["mine"].update(cash="much"),
        lambda d: d["books"]["mine"].update(shares={"A": "x"}),
        lambda d: d["books"]["mine"].update(shares={"UNPRICED": "1"}),
        lambda d: d["books_of"].update(since=None),
        lambda d: d["books_of"].update(closes={"A": 1}),
        lambda d: d.update(books=[1]),
        lambda d: d.update(as_of="2026-05-12T14:00:00"),
        lambda d: d["books"]["mine"].update(cash="NaN"),
        lambda d: d["books"]["mine"].update(shares={"A": "Infinity"}),
        lambda d: d["books"]["mine"].update(weights={"A": float("nan")}),
        lambda d: d["books_of"].update(closes={"A": [1, 0.0]}),
        lambda d: d["books_of"].update(closes={"A": [1, 1.0, 0, float("nan")]}),
        lambda d: d["books_of"].update(closes={"A": [1, 1.0, 0]}),
    ],
)
def test_books_that_cannot_be_read_are_refused(spoil: Any) -> None:
    document = noted({"A": 0.5}, Book(D(1), {"A": D(1)}), {"A": 100.0})
    spoil(document)
    with pytest.raises(DataError, match="books"):
        carried(document, priced(TWO_NAMES), T2, COSTS)


def test_books_older_than_the_bars_are_refused() -> None:
    document = noted({"A": 0.5}, Book(D(1), {"A": D(1)}), {"A": 100.0})
    document["as_of"] = (T1 - dt.timedelta(days=90)).isoformat()
    with pytest.raises(DataError, match="doesn't cover"):
        carried(document, priced(TWO_NAMES), T2, COSTS)


def test_the_books_of_500_names_stay_small() -> None:
    inputs = made_inputs(500)
    (made,) = decide_all(inputs, {"equal": [np.zeros(500)]})["equal"]
    settled = dict.fromkeys(POLICIES, Settled(inputs, made, {}))
    panel = priced({t: {"13:55": (123.4567, 123.4567)} for t in inputs.tickers})
    shares = {t: D("123456.123456") for t in inputs.tickers[:20]}
    document = noted({}, Book(D("123456.789012"), shares), dict.fromkeys(shares, 123.4567))
    before, _ = read(document)
    shelf = replace(before, books=dict.fromkeys(POLICIES, before.books["mine"]))
    text = json.dumps(write(shelf, settled, panel), allow_nan=False)
    assert len(text) < 50_000
    assert read({"as_of": T1.isoformat(), **json.loads(text)})[0].books == shelf.books


@dataclass(frozen=True)
class House:
    """The model service and the monitor beside the sandbox, all real, on loopback."""

    sandbox: Sandbox
    settings: Settings
    etl: FlaskClient

    def load(self, hours: int = 0) -> None:
        if hours:
            self.sandbox.market.clock.step_to(TEN + dt.timedelta(hours=hours))
        assert self.etl.post("/load_price_history").status_code == 200

    def own(self, equity: int, number: str = "PA1", at: dt.datetime = TEN) -> None:
        store = open_store(self.settings.database_url)
        account = Account(number, D(equity), D(equity), D(equity))
        store.books.record_account_summary(account, [], at)
        store.close()

    def decide(self, body: dict[str, Any] | None = None, **changes: object) -> dict[str, Any]:
        client = create_app(self.settings.model_copy(update=changes)).test_client()
        answer = client.post("/allocate", json=body or {})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found


@contextmanager
def a_house(folder: Path) -> Iterator[House]:
    first, last = dt.date(2026, 2, 23), dt.date(2026, 3, 24)
    market = simulated_market((*NAMES, "SPY"), seed=3, edge=0.1, start=first, end=last, at=TEN)
    with Sandbox(market) as sandbox:
        settings = Settings(
            _env_file=None,
            var=folder,
            database_url=f"sqlite:///{folder / 'astra.db'}",
            source="alpaca",  # asked in this process: Yahoo's client would start two for each house
            storage_url=sandbox.urls.storage,
            alpaca_key="key",
            alpaca_secret="secret",
            alpaca_url=sandbox.urls.alpaca,
            alpaca_data_url=sandbox.urls.alpaca,
            tickers="|".join(NAMES),
            benchmarks="SPY",
            max_weight=0.2,
            vendor_timeout=5.0,
        )
        etl = create_etl(settings)
        with Servers({"etl": etl}) as urls:
            settings = settings.model_copy(update={"etl_url": urls["etl"]})
            yield House(sandbox, settings, etl.test_client())


@dataclass(frozen=True)
class Day:
    """Four decisions in a row of an account of 100,000 USD that never traded."""

    house: House
    times: tuple[dt.datetime, ...]
    made: tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    times = tuple(TEN + dt.timedelta(hours=h) for h in range(4))
    with a_house(tmp_path_factory.mktemp("day")) as house:
        house.own(100_000)
        made = []
        for hours in range(4):
            house.load(hours)
            made.append(house.decide())
        yield Day(house, times, tuple(made))


def test_the_books_go_on_from_decision_to_decision_as_a_backtest_does(day: Day) -> None:
    first = day.made[0]
    assert first["books_of"]["note"] == "new books: no earlier decision under the same settings"
    for book in first["books"].values():
        assert (book["cash"], book["shares"], book["equity"]) == ("100000.00", {}, "100000.00")
    assert first["books"]["measured"]["weights"] == first["weights"]
    settings = day.house.settings
    store = open_store(settings.database_url)
    panel = build(bars.from_arrow(store.prices.read()))
    sectors = {m.ticker: m.sector for m in store.books.universe() if m.tradable}
    store.close()
    found = walk(
        panel, NAMES, sectors, Terms.from_settings(settings), POLICIES,
        Forecaster(shipped().load()), day.times[:3], capital=100_000.0, costs=costs_of(settings),
    )  # fmt: skip
    for policy, curve in found.curves.items():
        equity = [float(document["books"][policy]["equity"]) for document in day.made]
        assert equity == pytest.approx(curve.equity.tolist(), abs=0.0051)
        for document, step in zip(day.made, curve.steps, strict=False):
            told = document["books"][policy]
            assert (told["tau"], told["reason"]) == (step.tau, step.reason)
            assert told["weights"] == step.weights
    assert len({document["books"]["original"]["equity"] for document in day.made}) == 4


def test_the_same_decision_has_the_same_books_and_a_replay_needs_none(day: Day) -> None:
    assert day.house.decide() == day.made[-1]
    client = create_app(day.house.settings).test_client()
    again = client.post("/replay", json={"as_of": day.times[-1].isoformat()}).get_json()
    assert (again["same_weights"], again["same_bars"], again["same_skill"]) == (True, True, True)


def test_another_policy_traded_goes_on_with_the_same_books(day: Day) -> None:
    other = day.house.decide({"policy": "original"})
    assert other["books_of"] == day.made[-1]["books_of"]
    assert other["books"] == day.made[-1]["books"]


def test_where_there_is_nothing_to_go_on_from_new_books_begin_and_say_why(day: Day) -> None:
    house, before, now = day.house, day.times[-2].isoformat(), day.times[-1].isoformat()

    def note(**body: object) -> str:
        found = house.decide({"as_of": now, **body})
        assert found["books_of"]["since"] == now
        assert {book["shares"] == {} for book in found["books"].values()} == {True}
        return str(found["books_of"]["note"])

    assert note(k=4) == "new books: no earlier decision under the same settings"
    house.decide({"as_of": before, "k": 5})
    house.own(70_000, "PA2", day.times[-1])
    assert "another account" in note(k=5)
    made = house.decide({"as_of": before, "k": 6})
    store, name = connect(house.settings).bucket(house.settings.bucket), made["object"]
    blob = store.blob(name.replace("target_", "decision_").replace(".csv", ".json"))
    blob.metadata = {"model_id": made["model_id"]}
    blob.upload_from_string("{", "application/json")
    assert "must be JSON" in note(k=6)


def test_the_monitor_records_the_books_of_each_decision_once(day: Day) -> None:
    client = create_monitor(day.house.settings).test_client()
    assert set(client.post("/forecasts").get_json()) == {"new"}
    assert client.post("/forecasts").get_json()["new"] == []
    store = open_store(day.house.settings.database_url)
    rows = [r for r in store.books.read("shadow_books").to_pylist() if r["at"] in day.times[:2]]
    store.close()
    assert len(rows) == 2 * len(POLICIES)
    for row in rows:
        book = day.made[day.times.index(row["at"])]["books"][row["policy"]]
        assert row["account"] == "PA1"
        assert (D(row["cash"]), D(row["equity"])) == (D(book["cash"]), D(book["equity"]))
        assert json.loads(row["shares"]).keys() == book["shares"].keys()
    dumped = day.house.etl.get("/dump_table?table=shadow_books&format=csv").text
    assert f'"PA1","measured",{day.times[0]:%Y-%m-%d %H:%M}' in dumped


def test_before_the_account_is_known_there_are_targets_and_then_books_of_what_is_managed(
    tmp_path: Path,
) -> None:
    with a_house(tmp_path) as house:
        house.load()
        found = house.decide()
        assert "books" not in found
        assert set(found["targets"]) == set(POLICIES)
        house.own(100_000)
        found = house.decide({"k": 5}, capital=25_000.0)
        assert {book["equity"] for book in found["books"].values()} == {"25000.00"}
        # The books of another k than the settings' are no part of the account's series.
        assert found["of_settings"] is False
        monitor = create_monitor(house.settings).test_client()
        assert len(monitor.post("/forecasts").get_json()["new"]) == 2
        store = open_store(house.settings.database_url)
        assert store.books.read("shadow_books").num_rows == 0
        store.close()

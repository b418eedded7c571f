"""A day that the services trade in the sandbox, beside its twin: what differs is told right."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from execution_desk import LIMITS, dropped
from flask import Flask
from flask.testing import FlaskClient
from stores import price_rows, set_price_rows
from typer.testing import CliRunner

from astra.alpaca.orders import Orders
from astra.cli.commands import app
from astra.errors import TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.gcs import Bucket
from astra.records import Side
from astra.services import Services
from astra.settings import Settings
from astra.store.journal import AllocationRow
from astra.web import create_service
from etl_service.main import create_app as create_etl
from model.main import create_app as create_model
from model.twin import routes
from monitor_service.main import create_app
from sandbox.main import Sandbox
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from sandbox.serving import Servers

NAMES = ("AAPL", "JPM", "MSFT", "XOM")
TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
NEXT_MORNING = dt.datetime(2026, 1, 13, 14, 20, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = (
    {"AAPL": 0.4, "JPM": 0.3, "XOM": 0.2},
    {"AAPL": 0.2, "JPM": 0.3, "MSFT": 0.3},
    {"AAPL": 0.2, "JPM": 0.1, "MSFT": 0.3, "XOM": 0.3},
    {"MSFT": 0.5, "XOM": 0.4},
)


@dataclass(frozen=True)
class House:
    """A sandbox and the services beside it, all real, on loopback."""

    sandbox: Sandbox
    settings: Settings
    desk: Desk
    etl: FlaskClient
    monitor: FlaskClient

    def step(self, to: dt.datetime) -> None:
        self.sandbox.market.clock.step_to(to)
        assert self.etl.post("/load_price_history").status_code == 200

    def fail(self, method: str, path: str, **effect: Any) -> None:
        self.sandbox.faults.arm({"vendor": "alpaca", "method": method, "path": path, **effect})

    def trade(self, number: int) -> AllocationRow:
        """The allocation of an hour; with faults as often as it takes."""
        self.step(TEN + number * HOUR)
        file = dropped(DAY[number], TEN + number * HOUR, generation=number + 1)
        for _ in range(5):
            try:
                return Executor(self.desk).execute(file)
            except TemporaryError:
                continue
        raise AssertionError("the allocation never came to its end")

    def bars(self, symbol: str, start: dt.datetime, end: dt.datetime) -> list[dict[str, Any]]:
        """As they are stored."""
        return self.desk.store.prices.read([symbol], start, end).to_pylist()

    def correct(self, symbol: str, bar: dict[str, Any], known_from: dt.datetime) -> None:
        """Another bar, first seen then."""
        ts = bar["ts"]
        row = {**bar, "ticker": symbol, "ts": int(ts.timestamp())}
        counts = self.desk.store.prices.upsert(pd.DataFrame([row]), known_from)
        assert counts.updated + counts.inserted == 1

    def decide(self, number: int) -> None:
        """A decision that is known and whose file never reaches the trader."""
        self.step(TEN + number * HOUR)
        document = {
            "as_of": (TEN + number * HOUR).isoformat(), "policy": "measured", "model_id": "m",
            "method": "none", "reason": "trade", "weights": DAY[number], "object": "target.csv",
        }  # fmt: skip
        assert self.desk.store.books.record_decision(f"decision_{number}.json", document)

    def trade_all(self, first: int = 0) -> None:
        for number in range(first, len(DAY)):
            assert self.trade(number).status == "done"

    def twin(self) -> dict[str, Any]:
        """What the monitor says on the next morning."""
        if self.sandbox.market.clock.now() < CLOSE:
            self.step(CLOSE)
        self.sandbox.market.clock.step_to(NEXT_MORNING)
        answer = self.monitor.post("/twin")
        assert answer.status_code == 200, answer.get_json()
        return dict(answer.get_json())

    def change(self) -> Decimal:
        """The account's own word on the day, from its deposit to the close."""
        return self.desk.broker.account().equity - Decimal(100_000)


def trader_of_days(settings: Settings) -> Flask:
    """A model service that decides nothing: it needs no network."""
    app = create_service("model", settings)
    app.register_blueprint(routes(settings))
    return app


@contextmanager
def opened(
    folder: Path,
    names: tuple[str, ...] = NAMES,
    start: dt.date = dt.date(2026, 1, 5),
    create_model: Callable[[Settings], Flask] = trader_of_days,
    **changes: Any,
) -> Iterator[House]:
    market = simulated_market(
        names, seed=5, edge=0.1, start=start, end=dt.date(2026, 1, 14), at=TEN, splits=0.0
    )
    with Sandbox(market) as sandbox:
        settings = Settings(
            _env_file=None,
            database_url=f"sqlite:///{folder / 'astra.db'}",
            source="alpaca",  # asked in this process: Yahoo's client would start two for each test
            alpaca_key="key",
            alpaca_secret="secret",
            alpaca_url=sandbox.urls.alpaca,
            alpaca_data_url=sandbox.urls.alpaca,
            storage_url=sandbox.urls.storage,
            tickers="|".join(names),
            benchmarks="",
            vendor_timeout=5.0,
            max_order_weight=LIMITS.max_order_weight,
            max_position_weight=LIMITS.max_position_weight,
            fill_timeout=5.0,
            **changes,
        )
        etl = create_etl(settings)
        with Servers({"etl": etl}) as urls:
            settings = settings.model_copy(update={"etl_url": urls["etl"]})
            with Servers({"model": create_model(settings)}) as ours:
                settings = settings.model_copy(update={"model_url": ours["model"]})
                desk = replace(Desk.from_settings(settings), doubt_seconds=0.2)
                monitor = create_app(settings).test_client()
                yield House(sandbox, settings, desk, etl.test_client(), monitor)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is said of `DAY` traded without faults, and what the account itself gained."""
    with opened(tmp_path_factory.mktemp("calm")) as house:
        house.trade_all()
        return {**house.twin(), "change": house.change()}


def parts(answer: dict[str, Any]) -> dict[str, Decimal]:
    """Those that are not 0.00; they sum to the difference."""
    found = {part: Decimal(usd) for part, usd in answer["parts"].items()}
    assert sum(found.values()) == Decimal(answer["live"]) - Decimal(answer["twin"])
    return {part: usd for part, usd in found.items() if usd}


def assert_is_told(house: House, calm: dict[str, Any], **expected: bool) -> dict[str, Decimal]:
    """Live is the broker's own word, the twin the day without faults; only parts expected to be
    other than 0.00 are. Returns them."""
    found = house.twin()
    assert found["status"] == "compared"
    assert Decimal(found["live"]) == house.change()
    assert Decimal(found["twin"]) == calm["change"]
    told = parts(found)
    assert told.keys() == {part for part, is_there in expected.items() if is_there}
    return told


def test_a_day_without_faults_is_its_twin_to_the_cent(calm: dict[str, Any]) -> None:
    assert (calm["status"], parts(calm)) == ("compared", {})
    assert Decimal(calm["live"]) == Decimal(calm["twin"]) == calm["change"] != 0
    gained = f"{calm['change']:+,.2f} USD from the first decision on"
    assert calm["message"] == f"as its twin, to the cent: {gained}"


def test_a_day_on_which_a_part_of_the_account_is_managed_is_its_twin_but_for_cents(
    tmp_path: Path,
) -> None:
    """Purchases are counted of the capital, the twin's of what the sales have left of it."""
    with opened(tmp_path, capital=40_000.0) as house:
        house.trade_all()
        found = house.twin()
        assert abs(parts(found)["price"]) <= Decimal("0.05")
        assert parts(found).keys() == {"price"}
        assert Decimal(found["live"]) == house.change() != 0


def test_the_command_says_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.trade(0)
    found = house.twin()
    with Servers({"monitor": house.monitor.application}) as urls:
        monkeypatch.setenv("ASTRA_MONITOR_URL", urls["monitor"])
        done = CliRunner().invoke(app, ["twin", "--day", "2026-01-12"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, found)


def test_a_dearer_broker_than_the_settings_expect_is_slippage(tmp_path: Path) -> None:
    """The sandbox takes half a spread of 2 bp, the twin expects 0.5 bp."""
    with opened(tmp_path, half_spread_bp=0.5) as house:
        row = house.trade(0)
        found = house.twin()
        orders = house.desk.store.journal.orders(row.id)
    value = sum(float(o.filled_qty) * float(o.filled_average_price or 0) for o in orders)
    assert parts(found).keys() == {"slippage"}
    assert float(found["parts"]["slippage"]) == pytest.approx(-1.5e-4 * value / 1.0002, abs=0.011)


def test_orders_that_leave_minutes_late_are_price(house: House) -> None:
    """Traded at 10:07: filled at the open of 10:10 in the place of 10:05."""
    house.step(TEN + HOUR * 7 / 60)
    row = Executor(house.desk).execute(dropped(DAY[0], TEN))
    assert row.status == "done"
    found = house.twin()
    assert parts(found).keys() == {"price"}
    assert abs(Decimal(found["parts"]["price"])) > 1
    assert Decimal(found["live"]) == house.change()


def test_the_rest_of_an_order_that_was_filled_in_part_is_missed(house: House) -> None:
    """By hand: of each name that rest, times what it gained from the twin's fill to the close."""
    house.fail("POST", "/v2/orders", partial_fill=0.25, rest="cancel", times=None)
    row = house.trade(0)
    house.sandbox.faults.disarm()
    missed, left = 0.0, {}
    found = house.twin()
    for order in house.desk.store.journal.orders(row.id):
        if order.attempt == 1:
            left[order.symbol] = left.get(order.symbol, 0.0) + float(order.qty)
        left[order.symbol] = left.get(order.symbol, 0.0) - float(order.filled_qty)
    assert all(qty > 0 for qty in left.values()) and left
    for symbol, qty in left.items():
        bars = house.desk.store.prices.read([symbol], TEN + dt.timedelta(minutes=5), CLOSE)
        opens, close = bars["open"][0].as_py(), bars["close"][len(bars) - 1].as_py()
        missed -= qty * (close - 1.0002 * opens)
    assert parts(found).keys() == {"missed"}
    assert float(found["parts"]["missed"]) == pytest.approx(missed, abs=0.011)
    assert Decimal(found["live"]) == house.change()


def test_a_rejected_order_and_all_that_follows_from_it_is_missed(
    house: House, calm: dict[str, Any]
) -> None:
    house.fail("POST", "/v2/orders", reject=True, times=1)
    house.trade_all()
    told = assert_is_told(house, calm, missed=True, fees=True)
    assert told["fees"] > 0, "what was not bought was not sold"
    assert abs(told["missed"]) > 10


def test_what_a_halt_kept_from_being_traded_is_missed(house: House, calm: dict[str, Any]) -> None:
    house.trade(0)
    assert house.monitor.post("/halt", json={"reason": "test"}).status_code == 200
    for number in range(1, len(DAY)):
        house.trade(number)
    told = assert_is_told(house, calm, missed=True, fees=True)
    assert told["fees"] > 0


def test_a_decision_whose_file_never_came_is_missed(house: House, calm: dict[str, Any]) -> None:
    house.trade(0)
    house.decide(1)
    house.trade_all(first=2)
    told = assert_is_told(house, calm, missed=True, fees=True)
    assert abs(told["missed"]) > 1
    (row,) = house.desk.store.books.read("twins").to_pylist()
    assert "; 0 of 1 decisions are the same when made again, not so 16:00 UTC" in row["message"]


def test_bars_that_were_corrected_after_they_were_used_are_told(house: House) -> None:
    """The open at which JPM was bought is 1 USD higher since the night: the fill was better than
    the twin's by as much as the twin does worse on corrected bars."""
    row = house.trade(0)
    house.step(CLOSE)
    five_past = TEN + dt.timedelta(minutes=5)
    (bar,) = house.bars("JPM", five_past, five_past + dt.timedelta(minutes=1))
    higher = {"open": bar["open"] + 1.0, "high": bar["high"] + 2.0}
    house.correct("JPM", bar | higher, NEXT_MORNING - HOUR)
    found = house.twin()
    assert found["live"] == found["twin"] == str(house.change())
    (order,) = (o for o in house.desk.store.journal.orders(row.id) if o.symbol == "JPM")
    told = parts(found)
    assert told.keys() == {"slippage", "corrections"}
    assert float(told["slippage"]) == pytest.approx(1.0002 * float(order.qty), abs=0.011)
    assert told["corrections"] == -told["slippage"]


def test_a_bar_that_came_late_is_a_correction(house: House) -> None:
    """The last bar of a name that is held is not known until the next morning."""
    house.trade_all()
    house.step(CLOSE)
    bars = house.bars("MSFT", CLOSE - HOUR, CLOSE)
    current, replaced = price_rows(house.desk.store)
    last = ("MSFT", int(bars[-1]["ts"].timestamp()))
    set_price_rows(house.desk.store, ([row for row in current if row[:2] != last], replaced))
    house.correct("MSFT", bars[-1], NEXT_MORNING - HOUR)
    found = house.twin()
    (qty,) = (p.qty for p in house.desk.broker.positions() if p.symbol == "MSFT")
    expected = float(qty) * (bars[-1]["close"] - bars[-2]["close"])
    assert parts(found).keys() == {"corrections"}
    assert float(found["parts"]["corrections"]) == pytest.approx(expected, abs=0.011)
    assert Decimal(found["live"]) == house.change()


def test_what_a_person_does_with_shares_of_ours_is_other(
    house: House, calm: dict[str, Any]
) -> None:
    """Half an hour after the last decision somebody sells ten shares of ours by hand, which no
    order of ours explains; its fee counts too."""
    house.trade_all()
    house.step(TEN + 3.5 * HOUR)
    by_hand = Orders(house.desk.broker)
    by_hand.submit("XOM", Side.SELL, Decimal(10), "by-hand")
    house.step(TEN + 3.6 * HOUR)
    told = assert_is_told(house, calm, other=True)
    (sale,) = (a for a in house.desk.broker.activities() if a.type == "FILL" and a.qty == -10)
    bars = house.bars("XOM", CLOSE - HOUR, CLOSE)
    expected = 10 * (float(sale.price or 0) - bars[-1]["close"])
    assert float(told["other"]) == pytest.approx(expected, abs=0.02)


def test_a_day_that_was_compared_stands(house: House) -> None:
    house.trade(0)
    found = house.twin()
    house.correct("JPM", house.bars("JPM", CLOSE - HOUR, CLOSE)[-1] | {"close": 1.0, "low": 1.0},
                  NEXT_MORNING)  # fmt: skip
    house.sandbox.market.clock.step_to(NEXT_MORNING + HOUR / 4)
    assert house.monitor.post("/twin").get_json() == found
    assert house.monitor.post("/twin?day=2026-01-12").get_json() == found
    assert len(house.desk.store.books.read("twins")) == 1
    jobs = house.desk.store.books.read("runs").to_pylist()
    assert [(run["job"], run["status"]) for run in jobs] == [("twin", "ok")] * 3


def test_a_day_without_a_decision_is_said_to_be_one(house: House) -> None:
    found = house.twin()
    assert (found["status"], found["live"], found["parts"]) == ("no_decision", "0", {})
    assert found["message"] == "nothing was decided for this account on 2026-01-12"


def test_an_account_that_began_after_the_first_decision_has_no_twin_that_day(
    house: House,
) -> None:
    house.decide(0)
    house.step(TEN + HOUR)
    house.sandbox.vendors["alpaca"].extensions["reset"]()
    house.trade(2)
    found = house.twin()
    assert found["status"] == "new_account"
    assert found["message"] == "the books of this account began on 2026-01-12"


def test_a_store_without_the_bars_says_so_and_may_be_asked_again(
    house: House, calm: dict[str, Any]
) -> None:
    house.trade_all()
    house.step(CLOSE)
    rows = price_rows(house.desk.store)
    opens = int((TEN - HOUR / 2).timestamp())
    early = [row for row in rows[0] if row[1] < opens]
    set_price_rows(house.desk.store, (early, []))
    house.sandbox.market.clock.step_to(NEXT_MORNING)
    found = house.monitor.post("/twin").get_json()
    assert found["status"] == "no_bars"
    assert "bars of 2026-01-12 are required" in found["message"]
    set_price_rows(house.desk.store, rows)
    found = house.monitor.post("/twin").get_json()
    assert (found["status"], found["live"]) == ("compared", calm["live"])


@pytest.mark.parametrize("day", ["2026-01-11", "2026-01-13", "yesterday", ""])
def test_a_day_that_is_no_session_that_is_over_is_refused(house: House, day: str) -> None:
    house.sandbox.market.clock.step_to(NEXT_MORNING)
    answer = house.monitor.post(f"/twin?day={day}")
    assert answer.status_code == 400
    assert "day must be" in answer.get_json()["message"]


def test_a_day_of_the_models_own_decisions_is_its_twin_and_would_be_decided_again(
    tmp_path: Path,
) -> None:
    """Load, decide, trade, record, each hour as the jobs do."""
    names = default_tickers(8)[:8]
    with opened(
        tmp_path, names, dt.date(2025, 12, 8), create_model, max_weight=0.2, var=tmp_path
    ) as house:
        services, bucket = Services(house.settings), Bucket.from_settings(house.settings)
        for number in range(3):
            house.step(TEN + number * HOUR)
            assert house.monitor.post("/update_account").status_code == 200
            name = services.post("model", "/allocate")["object"]
            file = bucket.read(name)
            delivered = Delivered(bucket.name, name, file.generation, file.content, file.metadata)
            assert Executor(house.desk).execute(delivered).status == "done"
            assert house.monitor.post("/forecasts").status_code == 200
        found = house.twin()
        assert Decimal(found["live"]) == house.change() != 0
    assert (found["status"], parts(found)) == ("compared", {})
    assert found["message"].endswith("; 3 of 3 decisions are the same when made again")

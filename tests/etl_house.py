"""One ETL service, its store and the vendors it meets over HTTP, for the tests of loading."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine

from astra.settings import Settings
from astra.store import Store, open_store, schema
from etl_service.loading.load import Vendors
from etl_service.main import create_app
from etl_service.sources.yahoo_workers import Yahoo
from sandbox import market_events
from sandbox.alpaca import create_app as create_alpaca
from sandbox.faults import Faults
from sandbox.market import Market
from sandbox.markets import simulated_market
from sandbox.serving import Servers
from sandbox.yahoo import create_app as create_yahoo

TICKERS = ("AAPL", "BRK.B", "OXY", "SPY")
MORNING = dt.datetime(2026, 7, 15, 15, 2, 30, tzinfo=dt.UTC)
MINUTES = dt.timedelta(minutes=1)


@dataclass
class Door:
    """The address of Yahoo for all tests of a module, and the one client that knows it: starting
    its process costs more than most tests. Behind it stands the market of the test under way."""

    url: str
    source: Yahoo
    front: Flask


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    front = Flask("door")
    with Servers({"yahoo": front}) as urls:
        var = tmp_path_factory.mktemp("yahoo")
        settings = settings_for(var, yahoo_url=urls["yahoo"], load_processes=1, vendor_timeout=5.0)
        source = Yahoo(settings)
        yield Door(urls["yahoo"], source, front)
        source.close()


@dataclass
class Wall:
    """The machine's clock, as the breakers see it."""

    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class House:
    """One ETL service, its store, and the vendors it talks to."""

    market: Market
    faults: Faults
    yahoo: Flask
    alpaca: Flask
    settings: Settings
    chosen: dict[str, Any]
    wall: Wall
    client: FlaskClient
    store: Store

    def load(self, query: str = "", status: int = 200) -> dict[str, Any]:
        response = self.client.get(f"/load_price_history{query}")
        assert response.status_code == status, response.get_data(as_text=True)
        return dict(response.get_json())

    def arm(self, **fault: Any) -> None:
        self.faults.arm({"vendor": "yahoo", "path": "/v8/finance/chart/*", **fault})

    def happen(self, **event: Any) -> None:
        market_events.take(self.market, event)

    def charts(self) -> int:
        """Requests for bars that Yahoo has answered."""
        return int(self.yahoo.extensions["state"]()["charts"])


def settings_for(var: Path, **named: Any) -> Settings:
    chosen = {"vendor_timeout": 2.0, "tickers": "AAPL|BRK.B|OXY", "benchmarks": "SPY"}
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        var=var,
        **({"database_url": f"sqlite:///{var}/astra.db"} | chosen | named),
    )


@contextmanager
def open_house(
    door: Door, var: Path, market: Market, feed: Literal["sip", "iex"] = "sip", **named: Any
) -> Iterator[House]:
    """A service with Yahoo behind the door, and Alpaca where `named` has its key."""
    faults = Faults()
    yahoo = create_yahoo(market, faults)
    door.front.wsgi_app = yahoo  # type: ignore[method-assign]
    alpaca = create_alpaca(market, faults, feed=feed)
    with Servers({"alpaca": alpaca}) as urls:
        chosen = {"yahoo_url": door.url, "alpaca_data_url": urls["alpaca"], **named}
        chosen["database_url"] = f"sqlite:///{var}/astra.db"
        settings = settings_for(var, **chosen)
        wall = Wall()
        app = create_app(
            settings, lambda own, store: Vendors.from_settings(own, store, door.source, wall)
        )
        store = open_store(settings.database_url)
        client = app.test_client()
        yield House(market, faults, yahoo, alpaca, settings, chosen, wall, client, store)
        store.close()


KEYS = {"alpaca_key": "KEY", "alpaca_secret": "SECRET"}


def market(
    tickers: tuple[str, ...] = TICKERS,
    splits: float = 0.0,
    start: dt.date = dt.date(2026, 7, 1),
    at: dt.datetime = MORNING,
) -> Market:
    return simulated_market(tickers, start=start, end=at.date(), at=at, splits=splits)


@pytest.fixture
def house(door: Door, tmp_path: Path) -> Iterator[House]:
    with open_house(door, tmp_path, market()) as opened:
        yield opened


def truth(house: House, ticker: str) -> list[tuple[int, float, int]]:
    bars = house.market.history(ticker, 0, 2**40)
    return list(zip(bars.ts.tolist(), bars.close.tolist(), bars.volume.tolist(), strict=True))


def stored(house: House, ticker: str) -> list[tuple[int, float, int]]:
    table = house.store.prices.read([ticker])
    ts = table["ts"].cast(pa.int64()).to_pylist()
    return list(zip(ts, table["close"].to_pylist(), table["volume"].to_pylist(), strict=True))


def forget(house: House, ticker: str, gone: list[int]) -> None:
    """Stored bars that the feed never brought."""
    engine = create_engine(house.settings.database_url)
    bars = schema.price_history.c
    with engine.begin() as connection:
        is_gone = (bars.ticker == ticker) & bars.ts.in_(gone)
        connection.execute(schema.price_history.delete().where(is_gone))
    engine.dispose()

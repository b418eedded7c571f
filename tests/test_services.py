"""The client of our own services, against them over HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from astra import bars
from astra.errors import ConfigError, DataError, TemporaryError
from astra.services import Dump, Pulse, Services
from astra.sessions import last_sessions
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.universe import Member
from astra.web import create_service
from etl_service import dump
from sandbox.serving import Servers
from tests.desk import answering
from tests.test_dump import LARGE, bars_of, spoil

NOW = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class House:
    """An ETL service and the client of it."""

    store: Store
    services: Services


def client(url: str, **more: str) -> Services:
    return Services(Settings(_env_file=None, etl_url=url, **more))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = open_store(f"sqlite:///{tmp_path}/astra.db")
    store.prices.upsert(bars_of(["A", "B"], last_sessions(1, NOW)), NOW)
    store.claim_market("simulated:1")
    store.record_now(NOW)
    app = create_service("etl", Settings(_env_file=None))
    app.register_blueprint(dump.routes(store))
    with Servers({"etl": app}) as urls:
        yield House(store, client(urls["etl"]))
    store.close()


def test_a_dump_has_plain_tickers_and_the_markets_times(house: House) -> None:
    found = house.services.dump("price_history", ticker="A|B", last=2)
    assert found.table.schema == bars.ARROW_SCHEMA
    assert found.table["ticker"].to_pylist() == ["A", "A", "B", "B"]
    assert (found.now, found.as_of, found.market) == (NOW, NOW, "simulated:1")
    assert bars.from_arrow(found.table)["ts"].tolist()[-1] == NOW.timestamp() - 300


def test_a_dump_of_nothing_has_its_columns(house: House) -> None:
    found = house.services.dump("price_history", ticker="NOPE")
    assert (found.table.num_rows, found.table.schema) == (0, bars.ARROW_SCHEMA)


def test_what_is_known_is_not_sent_again_until_it_changes(house: House) -> None:
    first = house.services.dump("price_history", ticker="A")
    assert house.services.dump_if_new(first.etag, "price_history", ticker="A") is None
    house.store.prices.upsert(bars_of(["A"], last_sessions(1, NOW), volume=2), NOW + HOUR)
    second = house.services.dump_if_new(first.etag, "price_history", ticker="A")
    assert isinstance(second, Dump)
    assert set(second.table["volume"].to_pylist()) == {2}
    assert second.etag != first.etag
    assert house.services.dump_if_new(second.etag, "price_history", ticker="A") is None


def test_no_tag_is_no_knowledge(house: House) -> None:
    assert isinstance(house.services.dump_if_new("", "universe"), Dump)
    status = house.services.dump("ticker_status")
    assert status.etag == ""
    assert isinstance(house.services.dump_if_new(status.etag, "ticker_status"), Dump)


def test_a_pulse_tells_whether_a_dump_would_differ(house: House) -> None:
    before = house.services.pulse("universe")
    found = house.services.dump("universe")
    assert before == Pulse(found.now, found.as_of, found.market, found.etag)
    house.store.books.record_universe([Member("A", "", "", "", True)], NOW)
    after = house.services.pulse("universe")
    assert (after.now, after.etag == before.etag) == (NOW, False)


def test_the_pulse_of_an_empty_store_has_no_times(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/empty.db")
    app = create_service("etl", Settings(_env_file=None))
    app.register_blueprint(dump.routes(store))
    with Servers({"etl": app}) as urls:
        pulse = client(urls["etl"]).pulse("price_history")
    store.close()
    assert (pulse.now, pulse.as_of, pulse.market) == (None, None, "")


def test_a_refusal_is_a_data_error_with_its_sentence(house: House) -> None:
    with pytest.raises(DataError, match="a table is one of price_history"):
        house.services.dump("nope")
    with pytest.raises(DataError, match="BAD REQUEST"):  # an answer to HEAD has no sentence
        house.services.pulse("nope")


def test_a_missing_token_is_a_matter_of_settings(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/astra.db")
    app = create_service("etl", Settings(_env_file=None, token="secret"))
    app.register_blueprint(dump.routes(store))
    with Servers({"etl": app}) as urls:
        with pytest.raises(ConfigError, match="ASTRA_TOKEN"):
            client(urls["etl"]).pulse("universe")
        assert client(urls["etl"], token="secret").dump("universe").table.num_rows == 0
    store.close()


def test_a_stream_that_breaks_is_no_table(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spoilt.db"
    store = open_store(url)
    store.prices.upsert(bars_of(LARGE, last_sessions(22, NOW)), NOW)
    spoil(url, LARGE[-1])
    app = create_service("etl", Settings(_env_file=None))
    app.register_blueprint(dump.routes(store))
    with Servers({"etl": app}) as urls, pytest.raises(TemporaryError):
        client(urls["etl"]).dump("price_history")
    store.close()


def test_an_answer_that_is_no_arrow_stream_points_at_the_address() -> None:
    with answering(200, b"<html>") as url, pytest.raises(DataError, match="ASTRA_ETL_URL"):
        client(url).dump("price_history")


@pytest.mark.parametrize("missing", [1, 8, 200, -1])
def test_an_arrow_stream_that_was_cut_is_no_table(house: House, missing: int) -> None:
    """8: it ends between two messages, without its end mark; -1: half of it is there."""
    table = house.services.dump("price_history").table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body = sink.getvalue().to_pybytes()
    cut = body[: len(body) // 2] if missing < 0 else body[:-missing]
    with answering(200, cut) as url, pytest.raises(TemporaryError, match="cut short"):
        client(url).dump("price_history")


def test_a_service_that_does_not_answer_may_later() -> None:
    with pytest.raises(TemporaryError, match="etl service does not answer"):
        client("http://127.0.0.1:9").pulse("universe")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"[1]"),
        (200, b"null"),
        (204, b""),
        (200, b"\xff"),
        (200, b"[" * 99_999),
    ],
)
def test_an_answer_that_is_no_json_object_is_an_error_of_ours(status: int, body: bytes) -> None:
    with answering(status, body) as url:
        services = client(url, monitor_url=url)
        with pytest.raises(TemporaryError, match="monitor/halt: a JSON object is required"):
            services.post("monitor", "/halt")
        with pytest.raises(TemporaryError, match="monitor/state: a JSON object is required"):
            services.get("monitor", "/state")

"""What PostgreSQL does besides the contract: turns by scope, lost connections, refusals."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.pool import QueuePool

from astra.errors import AstraError, ConfigError, TemporaryError
from astra.store import Store, open_store
from astra.store.dialect import Window
from astra.store.postgresql import Postgresql
from tests.grid import GRID, HOUR, NOW, frame, held
from tests.postgres import PostgresServer
from tests.stores import NewDatabase


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    return new_database("postgresql")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def database(store: Store) -> Postgresql:
    assert isinstance(store._dialect, Postgresql)
    return store._dialect


def disconnect_everybody(url: str) -> None:
    """As a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_that_restarted_between_two_calls_is_not_noticed(store: Store, url: str) -> None:
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    disconnect_everybody(url)
    store.prices.upsert(frame([("A", 1, 11.0)]), NOW)
    disconnect_everybody(url)
    assert held(store) == [("A", 0, 10.0), ("A", 1, 11.0)]


@pytest.mark.parametrize("is_raw", [False, True])
def test_a_server_that_stops_during_a_load_leaves_nothing_of_it(
    store: Store, database: Postgresql, url: str, is_raw: bool
) -> None:
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    with pytest.raises(TemporaryError, match="does not answer"), database.writing("prices") as c:
        c.exec_driver_sql("DELETE FROM price_history")
        disconnect_everybody(url)
        if is_raw:
            database.last_ts(c)
        else:
            c.exec_driver_sql("DELETE FROM price_history")
    assert held(store) == [("A", 0, 10.0)]


def test_a_writer_that_waits_too_long_for_its_turn_may_come_again(
    store: Store, database: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.postgresql.BUSY_SECONDS", 0.05)
    with (
        database.writing("prices"),
        pytest.raises(TemporaryError, match=r"locked for 0\.05 s") as caught,
    ):
        store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    assert caught.value.retry_after is not None
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    assert store.prices.count() == 1


def test_a_writer_of_the_books_that_freezes_holds_nobody_up(
    store: Store, database: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.postgresql.IDLE_SECONDS", 0.2)
    begun = time.monotonic()
    with (
        pytest.raises(TemporaryError, match="does not answer"),
        database.writing("prices"),
        database.writing("books") as frozen,
    ):
        frozen.exec_driver_sql("DELETE FROM runs")
        store.books.record_run("r1", "load", NOW)  # which waits for the lock, and gets it
        assert time.monotonic() - begun < 5
        frozen.exec_driver_sql("DELETE FROM runs")
    assert store.books.read("runs").num_rows == 1


def test_a_writer_of_prices_may_think_as_long_as_it_has_to(
    database: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.postgresql.IDLE_SECONDS", 0.05)
    with database.writing("prices") as connection:
        time.sleep(0.2)
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_load_and_the_books_do_not_wait_for_each_other(
    store: Store, database: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.postgresql.BUSY_SECONDS", 0.05)
    with database.writing("prices"):
        store.books.record_run("r1", "load", NOW)
        assert store.books.read("runs").num_rows == 1


def test_a_reader_cannot_write(database: Postgresql) -> None:
    with pytest.raises(ConfigError, match="read-only"), database.reading() as connection:
        connection.exec_driver_sql("DELETE FROM price_history")


def test_a_reader_sees_one_snapshot_in_all_its_statements(
    store: Store, database: Postgresql
) -> None:
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    window = [Window("A", 0, 2**62)]
    with database.reading() as connection:
        (before,) = database.windows(connection, window)
        store.prices.upsert(frame([("A", 0, 11.0), ("B", 0, 10.0)]), NOW + HOUR)
        assert list(database.last_ts(connection)) == ["A"]
        (after,) = database.windows(connection, window)
    assert before.tolist() == after.tolist()
    assert store.prices.stored_tickers() == ("A", "B")


def test_what_was_known_can_be_read_without_its_time(store: Store, database: Postgresql) -> None:
    store.prices.upsert(frame([("A", 0, 10.0), ("A", 1, 11.0)]), NOW)
    store.prices.upsert(frame([("A", 0, 20.0)]), NOW + HOUR)
    with database.reading() as connection:
        (known,) = database.windows(
            connection, [Window("A", 0, 2**62)], int(NOW.timestamp()), ["close"]
        )
    assert known.tolist() == [(10.0,), (11.0,)]


def test_a_stream_that_fails_half_way_gives_its_connection_back(
    store: Store, database: Postgresql
) -> None:
    store.prices.upsert(frame([(f"T{i}", 0, 10.0) for i in range(9)]), NOW)
    batches = store.prices.batches()
    with pytest.raises(KeyError), database.reading() as connection:
        next(database.windows(connection, [Window(f"T{i}", 0, 2**62) for i in range(9)]))
        raise KeyError
    batches.close()  # type: ignore[attr-defined]
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    assert store.prices.count() == 9


def test_a_request_too_many_is_asked_to_come_again(
    store: Store, database: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.05)
    with ExitStack() as requests:
        with pytest.raises(TemporaryError, match="all of ours in use"):
            while True:
                requests.enter_context(database.reading())
        assert database.engine.pool.checkedout() > 9  # type: ignore[attr-defined]
    assert store.prices.count() == 0


def test_a_ticker_of_any_letters_and_length_is_stored(store: Store) -> None:
    rows = [("BRK.B", 0, 5.0), ("É" * 16, 1, 6.0), ("a", 2, 7.0), ("Z", 3, 8.0)]
    store.prices.upsert(frame(rows), NOW)
    store.prices.upsert(frame([(ticker, i, close + 1) for ticker, i, close in rows]), NOW + HOUR)
    assert held(store) == sorted((ticker, i, close + 1) for ticker, i, close in rows)
    assert store.prices.stored_tickers() == tuple(sorted(ticker for ticker, _, _ in rows))
    last = dt.datetime.fromtimestamp(int(GRID[2]), dt.UTC)
    assert held(store, NOW)[-1][0] == "É" * 16
    assert store.prices.read(end=last).num_rows == 2


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", TemporaryError),  # serialization failure
        ("40P01", TemporaryError),  # deadlock
        ("53300", TemporaryError),  # too many connections
        ("57P03", TemporaryError),  # starting up
        ("42501", ConfigError),  # no permission
        ("28P01", ConfigError),  # wrong password
        ("23505", IntegrityError),  # a bug of ours
        ("42601", ProgrammingError),  # a bug of ours
        ("57014", DBAPIError),  # somebody cancelled it
    ],
)
def test_an_error_of_the_server_says_who_has_to_do_something(
    database: Postgresql, state: str, kind: type[AstraError | DBAPIError]
) -> None:
    with pytest.raises(kind), database.writing("prices") as connection:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"database": "nowhere"}, ConfigError, '"nowhere" does not exist'),
        ({"username": "nobody"}, ConfigError, '"nobody" does not exist'),
        ({"username": "guarded", "password": "wr0ng"}, ConfigError, "authentication failed"),
        ({"username": "guarded"}, ConfigError, "no password supplied"),
        ({"query": {"host": "/nowhere"}}, TemporaryError, "does not answer"),
        ({"host": "127.0.0.1", "port": 1, "query": {}}, TemporaryError, "does not answer"),
        ({"host": "no.such.host.invalid", "query": {}}, TemporaryError, "no.such.host.invalid"),
        ({"query": {"password": "wr0ng", "sslmode": "?"}}, ConfigError, "ASTRA_DATABASE_URL"),
        ({"query": {"sslmode": "nonsense"}}, ConfigError, "sslmode"),
    ],
)
def test_a_server_that_cannot_be_used_says_why_and_no_password(
    postgres: PostgresServer,
    change: dict[str, object],
    kind: type[AstraError],
    words: str,
) -> None:
    url = make_url(postgres.url("postgres")).set(**change)  # type: ignore[arg-type]
    with pytest.raises(kind, match=words) as caught:
        open_store(url.render_as_string(hide_password=False))
    assert "wr0ng" not in str(caught.value)

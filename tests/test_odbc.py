"""Microsoft's driver, pyodbc and `SqlServer` up to the wire: what is sent, what an error becomes.

A listener (`tests.tds`) stands for the server. What the T-SQL itself does, it cannot tell.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from astra.errors import AstraError, ConfigError, TemporaryError
from astra.store import odbc, open_store
from astra.store.dialect import VERSION, Window
from astra.store.sqlserver import SqlServer, _by_window
from astra.store.tsql import T_SQL
from tests import tds

PASSWORD = "s3cret"
# How a remote procedure call for one row of an array begins: sp_execute by its number, 12.
ONE_ROW = b"\xff\xff\x0c\x00"


@pytest.fixture
def driver() -> str:
    """Microsoft's driver, where pyodbc and it are installed."""
    try:
        import pyodbc  # noqa: F401 - can it be loaded?

        return odbc.driver()
    except (ImportError, ConfigError) as error:
        pytest.skip(f"no way to meet Microsoft's driver: {error}")


@contextmanager
def met(answers: dict[str, bytes], login: bytes = b"") -> Iterator[tuple[SqlServer, tds.Listener]]:
    """A `SqlServer` and the listener that it speaks to."""
    usual = {key: answer for key, answer in tds.GREETINGS.items() if key not in answers}
    with tds.listening(answers | usual, login) as listener:
        store = SqlServer(url(listener.port))
        try:
            yield store, listener
        finally:
            store.engine.dispose()


def url(port: int) -> URL:
    return make_url(f"mssql+pyodbc://astra:{PASSWORD}@127.0.0.1:{port}/prices?Encrypt=no")


def bars(ticker: str, count: int) -> tuple[str, np.ndarray]:
    versions = np.zeros(count, VERSION)
    versions["ts"] = np.arange(count) * 300
    return ticker, versions


def test_a_load_travels_in_one_transaction_and_its_bars_as_one_array(driver: str) -> None:
    with met({}) as (store, listener):
        with store.writing("prices") as connection:
            store.merge(connection, iter([bars("A", 2), bars("B", 3)]))
            store.append(connection, iter([bars("C", 4)]))
        said = listener.said()
    begun = said.index(T_SQL.begin_writing[0].format(scope="prices"))
    texts = [text.strip() for text in said[begun + 1 :] if isinstance(text, str)]
    columns = "ticker,[ts],[open],[high],[low],[close],[volume],[known_from],[feed]"
    assert said.index(T_SQL.temp_tables) < begun
    assert texts == [
        T_SQL.clear_staged,
        "set fmtonly on select * from #staged_bars where 1=2 set fmtonly off",
        *T_SQL.merge,
        f"set fmtonly on select {columns} from price_history where 1=2 set fmtonly off",  # noqa: S608
        T_SQL.commit,
    ]
    arrays = [call.count(ONE_ROW) for call in said[begun:] if isinstance(call, bytes)]
    assert [rows for rows in arrays if rows] == [5, 4]


def test_bars_come_back_by_window(driver: str) -> None:
    found = tds.rows(
        {"n": "int", "ts": "bigint", "close": "float"},
        [[0, 300, 1.5], [0, 600, 0.1], [2, 900, 3.5]],
    )
    windows = [Window(ticker, 0, 2**62) for ticker in ("A", "NONE", "C", "LAST")]
    with met({"FROM #windows w JOIN price_history": found}) as (store, listener):
        with store.reading() as connection:
            parts = list(store.windows(connection, windows, fields=["ts", "close"]))
        said = listener.said()
    assert [part.tolist() for part in parts] == [[(300, 1.5), (600, 0.1)], [], [(900, 3.5)], []]
    assert said.index(T_SQL.begin_reading) < said.index(T_SQL.clear_windows)
    assert said[-1] == T_SQL.commit
    assert sum(call.count(ONE_ROW) for call in said if isinstance(call, bytes)) == 4


def test_the_loop_over_the_tickers_answers_with_its_rows(driver: str) -> None:
    found = tds.rows({"ticker": "varchar", "ts": "bigint"}, [["A", 300], ["BRK.B", 600]])
    with met({"DECLARE @found": found}) as (store, _), store.reading() as connection:
        assert store.last_ts(connection) == {"A": 300, "BRK.B": 600}


def test_what_fails_within_a_transaction_is_rolled_back(driver: str) -> None:
    with met({}) as (store, listener):
        with pytest.raises(KeyError), store.writing("books"):
            raise KeyError
        said = listener.said()
    assert said[-1] == T_SQL.roll_back
    assert T_SQL.commit not in said


def test_a_lock_that_is_not_granted_is_worth_another_try(driver: str) -> None:
    refused = tds.rows({"granted": "int"}, [[-1]])
    with met({"sp_getapplock": refused}) as (store, listener):
        with (
            pytest.raises(TemporaryError, match=r"60 s by another writer of prices"),
            store.writing("prices"),
        ):
            pytest.fail("written without a lock")
        assert T_SQL.commit not in listener.said()


def test_a_transaction_that_fails_to_begin_leaves_none_behind(driver: str) -> None:
    late = tds.error(1222, "Lock request time out period exceeded.")
    with met({"sp_getapplock": late}) as (store, listener):
        with pytest.raises(TemporaryError), store.writing("prices"):
            pytest.fail("written without a lock")
        assert listener.said()[-1] == T_SQL.roll_back


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6), cut=st.integers(1, 7))
def test_windows_are_whole_however_the_rows_arrive(sizes: list[int], cut: int) -> None:
    places = np.repeat(np.arange(len(sizes)), sizes)
    _, rows = bars("A", len(places))
    arrived = ((places[i : i + cut], rows[i : i + cut]) for i in range(0, len(places), cut))
    parts = list(_by_window(arrived, len(sizes), VERSION))
    assert [len(part) for part in parts] == sizes
    assert np.concatenate(parts)["ts"].tolist() == rows["ts"].tolist()


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [
        (1205, "Transaction was deadlocked on lock resources", TemporaryError),
        (1222, "Lock request time out period exceeded.", TemporaryError),
        (3960, "Snapshot isolation transaction aborted due to update conflict.", TemporaryError),
        (40501, "The service is currently busy.", TemporaryError),
        (49918, "Cannot process request. Not enough resources.", TemporaryError),
        (229, "The INSERT permission was denied on the object 'price_history'.", ConfigError),
        (102, "Incorrect syntax near 'FORM'.", None),
        (2627, "Violation of PRIMARY KEY constraint.", None),
    ],
)
def test_an_error_of_a_statement_says_what_to_do(
    driver: str, number: int, said: str, remedy: type[AstraError] | None
) -> None:
    expected = remedy or DBAPIError
    with met({"TRUNCATE": tds.error(number, said)}) as (store, listener):
        with pytest.raises(expected) as raised, store.writing("prices") as connection:
            store.merge(connection, iter([bars("A", 1)]))
        assert T_SQL.commit not in listener.said()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [
        (18456, "Login failed for user 'astra'.", ConfigError),
        (4060, 'Cannot open database "prices" requested by the login.', ConfigError),
        (40615, "Client with IP address '10.0.0.1' is not allowed.", ConfigError),
        (40613, "Database 'prices' is not currently available.", TemporaryError),
    ],
)
def test_a_refused_login_says_why_and_not_the_password(
    driver: str, number: int, said: str, remedy: type[AstraError]
) -> None:
    with (
        met({}, login=tds.error(number, f"{said} {PASSWORD}")) as (store, _),
        pytest.raises(remedy, match=r"prices on 127\.0\.0\.1") as raised,
        store.reading(),
    ):
        pytest.fail("read without a login")
    assert said in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_a_server_that_is_not_there_is_worth_another_try(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.sqlserver._LOGIN_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    store = SqlServer(url(port))
    with pytest.raises(TemporaryError, match=r"prices on 127\.0\.0\.1"), store.writing("prices"):
        pytest.fail("written nowhere")


def test_a_connection_that_breaks_is_worth_another_try(driver: str) -> None:
    with (
        met({}) as (store, listener),
        pytest.raises(TemporaryError, match=r"prices on 127\.0\.0\.1"),
        store.writing("prices") as connection,
    ):
        listener.hang_up()
        store.merge(connection, iter([bars("A", 1)]))


@pytest.mark.parametrize("password", ["lib", PASSWORD])  # one that is part of what is said, too
def test_a_driver_that_cannot_be_loaded_says_what_it_needs(driver: str, password: str) -> None:
    missing = f"mssql+pyodbc://a:{password}@127.0.0.1/prices?driver=/nowhere/msodbcsql.so"
    with pytest.raises(ConfigError, match=r"/nowhere/msodbcsql\.so.*libkrb5-3"):
        open_store(missing)


def test_a_machine_without_any_driver_says_what_to_install(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if odbc._installed():
        pytest.skip("Microsoft's driver is installed in the system")
    monkeypatch.setitem(sys.modules, "mssql_python_odbc", None)
    with pytest.raises(ConfigError, match=r"pip install 'astra-portfolio\[sqlserver\]'"):
        open_store("mssql+pyodbc://a:b@127.0.0.1/prices")


def test_without_an_odbc_manager_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    with pytest.raises(ConfigError, match="libodbc2"):
        open_store("mssql+pyodbc://a:b@127.0.0.1/prices?driver=any")


def test_another_python_driver_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"use mssql\+pyodbc"):
        open_store("mssql+pymssql://a:b@127.0.0.1/prices")


def test_a_driver_that_the_url_names_is_taken() -> None:
    completed = odbc.complete(make_url("mssql+pyodbc://a:b@h/prices?Driver=Mine&Encrypt=no"))
    assert completed.query == {"Driver": "Mine", "Encrypt": "no", "UseFMTONLY": "yes"}

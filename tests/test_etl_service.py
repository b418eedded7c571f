"""The ETL service against the sandbox's Yahoo: loads, faults, the market's time, dumps."""

from __future__ import annotations

import datetime as dt
import io
import json
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient

from astra.sessions import last_sessions
from astra.settings import Settings
from etl_service.main import create_app
from sandbox.markets import simulated_market
from tests import etl_house
from tests.etl_house import (
    MINUTES,
    MORNING,
    TICKERS,
    Door,
    House,
    market,
    open_house,
    stored,
    truth,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

door, house = etl_house.door, etl_house.house  # fixtures


# --- loads


def test_a_first_load_brings_every_closed_bar_and_the_second_changes_nothing(house: House) -> None:
    first = house.load("?ticker=AAPL|BRK.B")
    for ticker in ("AAPL", "BRK.B"):
        assert stored(house, ticker) == truth(house, ticker)
        assert first["tickers"][ticker]["status"] == "ok"
    assert first["inserted"] == sum(len(truth(house, t)) for t in ("AAPL", "BRK.B"))
    assert max(ts for ts, _, _ in stored(house, "AAPL")) < MORNING.timestamp() - 300
    again = house.load("?ticker=AAPL|BRK.B")
    assert (again["inserted"], again["updated"]) == (0, 0)
    assert again["unchanged"] > 2 * 78


def test_without_tickers_the_whole_universe_is_loaded(house: House) -> None:
    answer = house.client.post("/load_price_history").get_json()
    assert sorted(answer["tickers"]) == sorted(TICKERS)
    assert house.store.prices.stored_tickers() == TICKERS


def test_a_later_load_asks_from_one_session_before_the_last_bar(house: House) -> None:
    house.load("?ticker=AAPL")
    house.market.clock.step_to(MORNING + 30 * MINUTES)
    second = house.load("?ticker=AAPL")["tickers"]["AAPL"]
    before = last_sessions(2, MORNING)[0].opens_at.timestamp()
    window = [ts for ts, _, _ in truth(house, "AAPL") if ts >= before]
    assert second["inserted"] == 6
    assert second["inserted"] + second["unchanged"] == len(window)
    assert stored(house, "AAPL") == truth(house, "AAPL")


def test_the_forming_bar_is_stored_once_it_has_closed(house: House) -> None:
    house.load("?ticker=AAPL")
    house.market.clock.step_to(MORNING + 2 * MINUTES)
    assert house.load("?ticker=AAPL")["inserted"] == 0
    house.market.clock.step_to(MORNING + 3 * MINUTES)  # half a minute after the close
    assert house.load("?ticker=AAPL")["inserted"] == 1
    assert stored(house, "AAPL") == truth(house, "AAPL")


def test_after_the_close_the_last_bar_is_the_markets(house: House) -> None:
    house.market.clock.step_to(MORNING.replace(hour=20, minute=0, second=0))
    house.load("?ticker=AAPL|OXY")
    for ticker in ("AAPL", "OXY"):
        assert stored(house, ticker)[-1] == truth(house, ticker)[-1]
        assert len(stored(house, ticker)) == len(truth(house, ticker))


def test_60_calendar_days_are_loaded_and_a_period_means_less(door: Door, tmp_path: Path) -> None:
    with open_house(door, tmp_path, market(start=dt.date(2026, 5, 1))) as house:
        few = house.load("?ticker=AAPL&period=5d")["inserted"]
        assert few == len([t for t, _, _ in truth(house, "AAPL") if t > reach(5)])
        house.load("?ticker=OXY")
        assert stored(house, "OXY") == [bar for bar in truth(house, "OXY") if bar[0] > reach(60)]
        house.load("?ticker=AAPL&period=max")
        assert len(stored(house, "AAPL")) > 39 * 70


def reach(days: int) -> float:
    margin = dt.timedelta(hours=days == 60)
    return (MORNING - dt.timedelta(days=days) + margin).timestamp()


def test_after_a_split_all_bars_are_on_one_scale(door: Door, tmp_path: Path) -> None:
    with_splits = market(splits=40.0)
    with_splits.tape.extended_to(MORNING + dt.timedelta(days=30))
    ticker, at = next(
        (ticker, action.at)
        for ticker in TICKERS
        for action in with_splits.tape.actions(ticker)
        if action.kind == "split" and action.at > MORNING
    )
    with open_house(door, tmp_path, with_splits) as house:
        house.market.clock.step_to(last_sessions(1, at - MINUTES)[0].closes_at)
        house.load(f"?ticker={ticker}")
        old = stored(house, ticker)
        house.market.clock.step_to(at + 30 * MINUTES)
        answer = house.load(f"?ticker={ticker}")
        assert answer["updated"] == len(old)
        assert stored(house, ticker) == truth(house, ticker)
        before = house.store.prices.read([ticker], known_at=at)
        assert before["close"].to_pylist() == [close for _, close, _ in old]


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_the_machines_clock_counts_for_nothing(door: Door, tmp_path: Path, days: int) -> None:
    session = last_sessions(1, dt.datetime.now(dt.UTC) + dt.timedelta(days=days))[0]
    now = session.opens_at + 92 * MINUTES
    start = (session.opens_at - dt.timedelta(days=10)).date()
    with open_house(
        door, tmp_path, simulated_market(TICKERS, start=start, at=now, splits=0.0)
    ) as house:
        house.load("?ticker=AAPL|OXY")
        for ticker in ("AAPL", "OXY"):
            assert stored(house, ticker) == truth(house, ticker) != []
        assert house.store.now() == now
        assert house.store.prices.as_of() == now - 2 * MINUTES


def test_requests_at_once_are_safe(house: House) -> None:
    answers: list[int] = []

    def ask(tickers: str) -> None:
        client = house.client.application.test_client()
        answers.append(client.get(f"/load_price_history?ticker={tickers}").status_code)

    threads = [
        threading.Thread(target=ask, args=(t,)) for t in ("AAPL|OXY", "OXY|AAPL", "SPY", "BRK.B")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    assert all(stored(house, ticker) == truth(house, ticker) for ticker in TICKERS)


# --- what goes wrong


def test_an_unknown_ticker_fails_alone(house: House) -> None:
    answer = house.load("?ticker=AAPL|NOPE", status=207)
    assert answer["tickers"]["AAPL"]["status"] == "ok"
    assert answer["tickers"]["NOPE"] == {
        "status": "error", "inserted": 0, "updated": 0, "unchanged": 0,
        "message": "Yahoo: No data found, symbol may be delisted",
        "last_bar": None, "quarantined": 0, "split": None,
        "quality": {
            "expected": None, "present": 0, "late": 0, "backfilled": 0, "corrected": 0,
            "quarantined": 0, "verdict": "missing",
        },
    }  # fmt: skip
    only = house.client.get("/load_price_history?ticker=NOPE")
    assert (only.status_code, only.headers.get("Retry-After")) == (207, None)


def test_a_rate_limit_stops_the_asking_and_says_when_to_come_back(house: House) -> None:
    house.arm(status=429, times=None)
    response = house.client.get("/load_price_history?ticker=AAPL|OXY|SPY")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    tickers = response.get_json()["tickers"]
    assert [t["status"] for t in tickers.values()] == ["rate_limited"] * 3
    assert "yahoo is not asked before" in tickers["SPY"]["message"]
    assert house.yahoo.extensions["state"]()["charts"] == 0


def test_a_server_error_passes_and_leaves_nothing_in_a_cache(house: House) -> None:
    house.arm(status=500, times=2)  # yfinance asks twice
    assert house.load("?ticker=AAPL", status=503)["tickers"]["AAPL"]["status"] == "error"
    assert house.load("?ticker=AAPL")["tickers"]["AAPL"]["status"] == "ok"
    assert stored(house, "AAPL") == truth(house, "AAPL")


def test_an_answer_without_its_fields_is_an_error_of_that_ticker(house: House) -> None:
    house.arm(drop_fields=["instrumentType"], times=1)
    answer = house.load("?ticker=AAPL|OXY", status=207)
    assert "cannot be read" in answer["tickers"]["AAPL"]["message"]
    assert answer["tickers"]["OXY"]["status"] == "ok"


def test_a_vendor_that_does_not_answer_is_a_503_with_every_ticker_named(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        var=tmp_path, database_url=f"sqlite:///{tmp_path}/astra.db",
        yahoo_url="http://127.0.0.1:9", tickers="AAPL", vendor_timeout=1.0,
    )  # fmt: skip
    response = create_app(settings).test_client().get("/load_price_history?ticker=AAPL|OXY")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) == 60
    for one in response.get_json()["tickers"].values():
        assert one["status"] == "error"
        assert "cannot be reached" in one["message"]


def name_market(yahoo: Flask, identity: str) -> None:
    """Let the vendor name its market, or none, whatever it says by itself."""
    inner = yahoo.wsgi_app

    def named(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [header for header in headers if header[0] != "X-Astra-Market"]
            own = [("X-Astra-Market", identity)] if identity else []
            return start_response(status, kept + own, *rest)

        return inner(environ, start)

    yahoo.wsgi_app = named  # type: ignore[method-assign]


def test_after_three_silences_the_others_are_not_asked(house: House) -> None:
    inner, asked = house.yahoo.wsgi_app, []

    def silent(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "chart" not in environ["PATH_INFO"]:
            return inner(environ, start_response)
        asked.append(environ["PATH_INFO"])
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return []

    house.yahoo.wsgi_app = silent  # type: ignore[method-assign]
    answer = house.load(status=503)
    assert {one["status"] for one in answer["tickers"].values()} == {"error"}
    assert "cannot be reached" in answer["tickers"]["AAPL"]["message"]
    assert "yahoo is not asked before" in answer["tickers"]["SPY"]["message"]
    before = len(asked)
    house.load("?ticker=AAPL", status=503)
    assert len(asked) == before


def test_another_markets_bars_are_refused(house: House) -> None:
    name_market(house.yahoo, "")  # as the real vendor
    house.load("?ticker=AAPL")
    assert house.store.market() == "real"
    name_market(house.yahoo, "simulated:1")
    response = house.client.get("/load_price_history?ticker=OXY")
    assert response.status_code == 500
    assert "ASTRA_DATABASE_URL" in response.get_json()["message"]
    assert house.store.prices.stored_tickers() == ("AAPL",)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/load_price_history?ticker=oxy", "'oxy'"),
        ("/load_price_history?ticker=", "tickers look like"),
        ("/load_price_history?ticker=A&ticker=B", "counts once"),
        ("/load_price_history?tickers=OXY", "'tickers'"),
        ("/load_price_history?ticker=A&interval=1d", "interval is 5m"),
        ("/load_price_history?ticker=A&period=99d", "a period is"),
        ("/load_price_history?ticker=A&period=3y", "a period is"),
        ("/dump_table", "a table is required"),
        ("/dump_table?table=sqlite_master", "a table is one of"),
        ("/dump_table?table=market", "a table is one of"),
        ("/dump_table?table=price_history&columns=ticker,sum(close)", "columns of"),
        ("/dump_table?table=price_history&format=pickle", "a format is one of"),
        ("/dump_table?table=price_history&start=yesterday", "start is an ISO time"),
        ("/dump_table?table=price_history&last=-1", "last is a number"),
        ("/dump_table?table=price_history&last=0", "at least 1"),
        ("/dump_table?table=price_history&where=1", "'where'"),
        ("/dump_table?table=forecasts&last=3", "price_history"),
        ("/dump_table?table=runs&ticker=A", "no filter ticker"),
    ],
)
def test_a_bad_request_is_one_sentence(client: FlaskClient, path: str, words: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    assert words in response.get_json()["message"]


def test_a_json_body_is_refused_before_it_loads_everything(client: FlaskClient) -> None:
    response = client.post("/load_price_history", json={"ticker": "AAPL"})
    assert response.status_code == 400
    assert "JSON body" in response.get_json()["message"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("etl")
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        var=folder, database_url=f"sqlite:///{folder}/astra.db", tickers="AAPL",
    )  # fmt: skip
    return create_app(settings).test_client()


# --- dumps


def dumped(house: House, query: str, name: str) -> pd.DataFrame:
    response = house.client.get(f"/dump_table?table=price_history&{query}&format={name}")
    assert response.status_code == 200
    body = io.BytesIO(response.get_data())
    if name == "arrow":
        return pd.DataFrame(pa.ipc.open_stream(body).read_all().to_pandas())
    if name == "parquet":
        return pd.DataFrame(pa.parquet.read_table(body).to_pandas())
    if name == "csv":
        return pd.read_csv(body, parse_dates=["ts"])
    frame = pd.DataFrame(json.load(body))
    return frame.assign(ts=pd.to_datetime(frame["ts"]))


@pytest.mark.parametrize("name", ["arrow", "parquet", "csv", "json"])
def test_every_format_carries_the_same_bars(house: House, name: str) -> None:
    house.load("?ticker=AAPL|BRK.B|OXY")
    found = dumped(house, "ticker=AAPL|BRK.B&last=60", name)
    expected = house.store.prices.read(["AAPL", "BRK.B"], last=60).to_pandas()
    assert 100 < len(found) <= 120
    pd.testing.assert_frame_equal(
        found.assign(ts=found["ts"].astype("datetime64[s, UTC]")),
        expected.astype({"ticker": found["ticker"].dtype}),
    )


def test_a_dump_names_the_markets_time_also_after_a_restart(house: House) -> None:
    assert "X-Astra-Now" not in house.client.get("/dump_table?table=runs").headers
    house.load("?ticker=AAPL")
    restarted = create_app(house.settings).test_client()
    for client in (house.client, restarted):
        headers = client.get("/dump_table?table=price_history&last=1").headers
        assert dt.datetime.fromisoformat(headers["X-Astra-Now"]) == MORNING
        as_of = dt.datetime.fromisoformat(headers["X-Astra-As-Of"])
        assert as_of == dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
        assert headers["Content-Type"] == "text/csv; charset=utf-8"


def test_a_dump_reads_what_was_known_then(house: House) -> None:
    house.load("?ticker=AAPL")
    later = MORNING + 60 * MINUTES
    row = house.store.prices.read(["AAPL"]).slice(0, 1)
    frame = row.to_pandas().assign(volume=1, ts=row["ts"].cast(pa.int64()).to_numpy())
    house.store.prices.upsert(frame.astype({"ticker": "str"}), later)
    now = dumped(house, "columns=ts,volume,known_from", "csv")
    then = dumped(house, f"columns=ts,volume&known_at={MORNING.isoformat()[:19]}Z", "csv")
    assert now["volume"][0] == 1
    assert then["volume"][0] == row["volume"][0].as_py()
    assert np.array_equal(now["volume"][1:], then["volume"][1:])


def test_dumps_that_nobody_reads_to_the_end_give_their_connections_back(house: House) -> None:
    house.load("?ticker=AAPL")
    for _ in range(20):  # more than the pool has
        response = house.client.get("/dump_table?table=price_history")
        assert next(response.iter_encoded()).startswith(b"ticker,ts")
        response.close()
    assert len(dumped(house, "ticker=AAPL", "csv")) == len(truth(house, "AAPL"))


def test_the_universe_can_be_dumped_and_a_restart_does_not_repeat_it(house: House) -> None:
    create_app(house.settings)
    rows = house.client.get("/dump_table?table=universe&format=json").get_json()
    assert [(r["ticker"], r["tradable"]) for r in rows] == [
        ("AAPL", True), ("BRK.B", True), ("OXY", True), ("SPY", False),
    ]  # fmt: skip
    assert rows[0]["sector"] == "Information Technology"


def test_the_token_guards_everything_but_health(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        var=tmp_path, database_url=f"sqlite:///{tmp_path}/astra.db", tickers="AAPL",
        token="secret",  # type: ignore[arg-type]
    )  # fmt: skip
    client = create_app(settings).test_client()
    assert client.get("/health").get_json()["service"] == "etl"
    assert client.get("/dump_table?table=runs").status_code == 401
    answer = client.get("/dump_table?table=runs", headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 200

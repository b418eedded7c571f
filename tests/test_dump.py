"""`/dump_table`: any size streamed, "anything new?" answered, the past read, bad values refused."""

from __future__ import annotations

import csv
import datetime as dt
import http.client
import io
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from astra.bars import COLUMNS
from astra.records import Account
from astra.sessions import Session, last_sessions
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.dump import TIMES
from astra.store.universe import Member
from astra.web import create_service
from etl_service import dump
from etl_service.formats import MIME_TYPES
from sandbox.serving import Servers

NOW = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
BARS = "/dump_table?table=price_history"
A = Member("A", "Agilent", "Health Care", "Tools", True)
B = Member("B", "Barnes", "Industrials", "", True)
SPY = Member("SPY", "SPY", "Other", "Benchmark", False)


def bars_of(tickers: Sequence[str], sessions: Sequence[Session], volume: int = 1) -> pd.DataFrame:
    """A bars frame without gaps; each close tells its ticker and time apart from all others."""
    grid = np.concatenate([s.grid() for s in sessions])
    ts = np.tile(grid, len(tickers))
    close = np.repeat(np.arange(1.0, len(tickers) + 1), len(grid)) + ts % 10**7 / 10**7
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    keys = {"ticker": np.repeat(list(tickers), len(grid)), "ts": ts}
    return pd.DataFrame({**keys, **prices, "volume": volume}).astype({"ticker": "str"})


def service(store: Store) -> Flask:
    app = create_service("etl", Settings(_env_file=None))
    app.register_blueprint(dump.routes(store))
    return app


def served(url: str) -> Flask:
    """What gunicorn runs."""
    return service(open_store(url))


def table(client: FlaskClient, query: str) -> pa.Table:
    response = client.get(f"/dump_table?{query}&format=arrow")
    assert response.status_code == 200, response.text
    return pa.ipc.open_stream(response.get_data()).read_all()


def starts(client: FlaskClient, query: str) -> list[str]:
    found = table(client, f"table=price_history&columns=ts&{query}")["ts"]
    return [f"{t:%m-%d %H:%M}" for t in found.to_pylist()]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    """One session of two tickers, as known at its close; a universe."""
    store = open_store(f"sqlite:///{tmp_path}/small.db")
    fill(store)
    yield store
    store.close()


def fill(store: Store) -> None:
    store.prices.upsert(bars_of(["A", "B"], last_sessions(1, NOW)), NOW)
    store.claim_market("simulated:1")
    store.record_now(NOW)
    store.books.record_universe([A, SPY], NOW)


@pytest.fixture
def client(small: Store) -> FlaskClient:
    return service(small).test_client()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """As `client`, of a store that no test changes."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('read')}/read.db")
    fill(store)
    yield service(store).test_client()
    store.close()


# --- streaming

LARGE = [f"T{i:02}" for i in range(50)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store whose bars fill several batches and no socket's buffer."""
    url = f"sqlite:///{tmp_path_factory.mktemp('large')}/large.db"
    store = open_store(url)
    store.prices.upsert(bars_of(LARGE, last_sessions(40, NOW)), NOW)
    store.close()
    return url


@pytest.mark.parametrize("name", MIME_TYPES)
def test_a_large_table_comes_whole_in_chunks_of_bounded_size(large: str, name: str) -> None:
    store = open_store(large)
    tickers = LARGE[:2] if name == "json" else LARGE
    response = service(store).test_client().get(f"{BARS}&format={name}&ticker={'|'.join(tickers)}")
    chunks = list(response.iter_encoded())
    response.close()
    # json in slices of a batch, the others a batch at a time; as csv that is about 5 MB
    assert max(map(len, chunks)) < (200_000 if name == "json" else 6_000_000)
    body = b"".join(chunks)
    assert len(body) > 1.5 * max(map(len, chunks))
    assert rows_in(body, name) == store.prices.count() * len(tickers) // len(LARGE)
    store.close()


def rows_in(body: bytes, name: str) -> int:
    if name == "json":
        return len(json.loads(body))
    if name == "csv":
        return sum(1 for _ in csv.reader(io.StringIO(body.decode()))) - 1
    if name == "parquet":
        return int(pa.parquet.read_metadata(io.BytesIO(body)).num_rows)
    return int(pa.ipc.open_stream(body).read_all().num_rows)


def test_tickers_travel_as_a_dictionary_and_feeds_by_name(reader: FlaskClient) -> None:
    found = table(reader, "table=price_history&columns=ticker,ts,feed")
    assert pa.types.is_dictionary(found.schema.field("ticker").type)
    assert set(found["ticker"].to_pylist()) == {"A", "B"}
    assert set(found["feed"].to_pylist()) == {"yahoo"}


def test_a_feed_has_its_name_in_revisions_too(small: Store, client: FlaskClient) -> None:
    corrected = bars_of(["A"], last_sessions(1, NOW), volume=2)
    small.prices.upsert(corrected, NOW + HOUR, "alpaca-iex")
    small.prices.upsert(corrected.assign(volume=3), NOW + 2 * HOUR, "alpaca-sip")
    revisions = client.get("/dump_table?table=price_revisions&columns=feed,volume&format=json")
    assert {(row["feed"], row["volume"]) for row in revisions.get_json()} == {
        ("yahoo", 1),
        ("alpaca-iex", 2),
    }


def is_read(url: str) -> bool:
    """Whether someone holds a snapshot that is older than the last commit."""
    with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS touched (at)")
        connection.execute("INSERT INTO touched VALUES (1)")
        connection.commit()
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    connection.close()
    return bool(busy)


@pytest.mark.parametrize("name", ["arrow", "csv", "json"])
def test_a_client_that_goes_away_lets_the_snapshot_go(large: str, name: str) -> None:
    with Servers({"etl": served(large)}) as urls:
        host = urls["etl"].removeprefix("http://")
        connection = http.client.HTTPConnection(host)
        connection.request("GET", f"{BARS}&format={name}&columns={','.join(COLUMNS)},known_from")
        answer = connection.getresponse()
        assert len(answer.read(1000)) == 1000
        assert is_read(large)
        answer.close()
        connection.close()
        assert_soon(lambda: not is_read(large))


def assert_soon(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.02)


# --- what breaks


def spoil(url: str, ticker: str) -> None:
    """A value that no bar can have, in the last bar of a ticker."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "UPDATE price_history SET volume = 'spoilt' WHERE ticker = ? AND ts = "
            "(SELECT max(ts) FROM price_history)",
            [ticker],
        )
    connection.close()


@contextmanager
def gunicorn(url: str, folder: Path) -> Iterator[str]:
    """The service as it runs in production; its address."""
    command = [
        sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1",
        "--threads", "2", "--no-control-socket", f"tests.test_dump:served({url!r})",
    ]  # fmt: skip
    log = folder / "gunicorn.log"
    with log.open("wb") as out, subprocess.Popen(command, stderr=out) as process:
        try:
            assert_soon(lambda: "Listening at: " in log.read_text(), 30.0)
            yield log.read_text().split("Listening at: http://")[1].split()[0]
        finally:
            process.terminate()


@contextmanager
def werkzeug(url: str, folder: Path) -> Iterator[str]:
    del folder
    with Servers({"etl": served(url)}) as urls:
        yield urls["etl"].removeprefix("http://")


@pytest.mark.parametrize("server", [werkzeug, gunicorn])
def test_an_error_in_the_middle_breaks_the_connection(
    tmp_path: Path, server: Callable[[str, Path], object]
) -> None:
    url = f"sqlite:///{tmp_path}/spoilt.db"
    store = open_store(url)
    store.prices.upsert(bars_of(LARGE, last_sessions(22, NOW)), NOW)
    spoil(url, LARGE[-1])
    store.close()
    with server(url, tmp_path) as host:  # type: ignore[attr-defined]
        connection = http.client.HTTPConnection(host)
        connection.request("GET", f"{BARS}&format=csv")
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        connection.close()
        assert_soon(lambda: not is_read(url))


@pytest.mark.parametrize("name", MIME_TYPES)
def test_an_error_before_the_first_byte_is_an_answer(
    small: Store, client: FlaskClient, name: str
) -> None:
    spoil(str(small._dialect.engine.url), "A")
    answer = client.get(f"{BARS}&format={name}")
    assert answer.status_code == 500
    assert set(answer.get_json()) == {"error", "message"}


# --- anything new?


def etag(client: FlaskClient, query: str) -> str:
    return client.head(f"/dump_table?{query}").headers["ETag"]


@pytest.mark.parametrize("name", MIME_TYPES)
def test_nothing_new_is_an_answer_without_a_body(reader: FlaskClient, name: str) -> None:
    first = reader.get(f"{BARS}&format={name}")
    again = reader.get(f"{BARS}&format={name}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.get_data()) == (304, b"")
    for header in ("ETag", "X-Astra-Now", "X-Astra-As-Of", "X-Astra-Market"):
        assert again.headers[header] == first.headers[header]
    other = reader.get(f"{BARS}&format={name}", headers={"If-None-Match": 'W/"prices-0-0"'})
    assert (other.status_code, other.get_data()) == (200, first.get_data())


def test_head_says_what_get_would_say_and_reads_no_row(small: Store, client: FlaskClient) -> None:
    spoil(str(small._dialect.engine.url), "A")  # reading it would fail
    head = client.head(f"{BARS}&format=arrow")
    assert (head.status_code, head.get_data()) == (200, b"")
    assert head.headers["X-Astra-Now"] == NOW.isoformat()
    assert head.headers["Content-Type"] == MIME_TYPES["arrow"]
    assert "Content-Length" not in head.headers
    assert client.head("/dump_table?table=nope").status_code == 400


CHANGES: dict[str, tuple[str, Callable[[Store], object]]] = {
    "a new bar": (
        "price_history",
        lambda s: s.prices.upsert(bars_of(["C"], last_sessions(1, NOW)), NOW),
    ),
    "a correction": (
        "price_history",
        lambda s: s.prices.upsert(bars_of(["A"], last_sessions(1, NOW), 9), NOW + HOUR),
    ),
    "what it replaces": (
        "price_revisions",
        lambda s: s.prices.upsert(bars_of(["A"], last_sessions(1, NOW), 9), NOW + HOUR),
    ),
    "the past": (
        "price_revisions",
        lambda s: s.prices.upsert(bars_of(["A"], last_sessions(1, NOW), 9).iloc[:9], NOW - HOUR),
    ),
    "a member": ("universe", lambda s: s.books.record_universe([A, B], NOW + HOUR)),
    "a run": ("runs", lambda s: s.books.record_run("r", "load", NOW)),
    "the account": (
        "account_summary",
        lambda s: s.books.record_account_summary(Account("PA1", 1, 1, 1), [], NOW),
    ),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=CHANGES)
def test_every_change_is_news_to_its_scope_only(
    small: Store, client: FlaskClient, name: str, change: Callable[[Store], object]
) -> None:
    other = "universe" if name.startswith("price") else "price_history"
    before = [etag(client, f"table={table}") for table in (name, other)]
    change(small)
    after = [etag(client, f"table={table}") for table in (name, other)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_database_made_anew_has_no_tag_of_the_one_before(tmp_path: Path) -> None:
    tags = []
    for volume in (1, 2):
        store = open_store(f"sqlite:///{tmp_path}/{volume}.db")
        store.claim_market("real")
        store.prices.upsert(bars_of(["A"], last_sessions(1, NOW), volume), NOW)
        store.books.record_run(f"r{volume}", "load", NOW)
        client = service(store).test_client()
        tags.append([etag(client, f"table={table}") for table in ("price_history", "runs")])
        store.close()
    assert not set(tags[0]) & set(tags[1])


def test_what_is_stored_again_is_no_news(small: Store, client: FlaskClient) -> None:
    before = [etag(client, f"table={table}") for table in ("price_history", "universe")]
    small.prices.upsert(bars_of(["A", "B"], last_sessions(1, NOW)), NOW + HOUR)
    small.books.record_universe([A, SPY], NOW + HOUR)
    small.record_now(NOW + HOUR)
    assert [etag(client, f"table={table}") for table in ("price_history", "universe")] == before


def test_the_same_question_has_the_same_tag_however_it_is_put(reader: FlaskClient) -> None:
    one = etag(reader, "table=price_history&ticker=A|B&start=2026-07-15T15:00:00Z")
    same = "ticker=B|A|B&start=2026-07-15T11:00:00-04:00&format=csv&table=price_history"
    assert etag(reader, same) == one
    others = [
        "table=price_history&ticker=A&start=2026-07-15T15:00:00Z",
        "table=price_history&ticker=A|B&start=2026-07-15T15:00:01Z",
        "table=price_history&ticker=A|B&end=2026-07-15T15:00:00Z",
        "table=price_history&ticker=A|B&start=2026-07-15T15:00:00Z&last=5",
        "table=price_history&ticker=A|B&start=2026-07-15T15:00:00Z&known_at=2026-07-15",
        "table=price_history&ticker=A|B&start=2026-07-15T15:00:00Z&columns=ts",
        "table=price_history&ticker=A|B&start=2026-07-15T15:00:00Z&format=arrow",
        "table=price_revisions&ticker=A|B&start=2026-07-15T15:00:00Z",
    ]
    assert len({one, *(etag(reader, other) for other in others)}) == 1 + len(others)


def test_what_changes_with_every_load_has_no_tag(reader: FlaskClient) -> None:
    for name in ("quarantine", "ticker_status", "sources"):
        answer = reader.get(f"/dump_table?table={name}", headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "ETag" not in answer.headers


def test_a_tag_is_never_newer_than_its_rows(small: Store) -> None:
    grid = last_sessions(1, NOW)
    count, version = small.prices.count(), small.versions()["prices"]
    done = threading.Event()

    def write() -> None:
        for i in range(30):
            small.prices.upsert(bars_of([f"N{i:02}"], grid).iloc[:1], NOW)
        done.set()

    writer = threading.Thread(target=write)
    client = service(small).test_client()
    writer.start()
    try:
        while not done.is_set():
            answer = client.get(f"{BARS}&columns=ts")
            seen = int(answer.headers["ETag"].split("-")[1]) - version
            assert len(answer.text.splitlines()) - 1 >= count + seen
    finally:
        writer.join()


# --- the last N bars, and the past


@pytest.mark.parametrize(
    ("now", "query", "first", "last", "count"),
    [
        # Thanksgiving is closed, the day after is a half day: 42 bars, the last at 12:55
        ("2025-11-28T18:00Z", "last=42", "11-28 14:30", "11-28 17:55", 42),
        ("2025-11-28T18:00Z", "last=43", "11-26 20:55", "11-28 17:55", 43),
        ("2025-12-01T15:00Z", "last=49", "11-26 20:55", "12-01 14:55", 49),
        # 2025-01-09, a day of mourning
        ("2025-01-10T14:35Z", "last=2", "01-08 20:55", "01-10 14:30", 2),
        ("2025-01-10T14:35Z", "last=2&end=2025-01-09T20:00:00Z", "01-08 20:50", "01-08 20:55", 2),
        # New York changes its clocks on 2026-03-08 and 2025-11-02: the open moves in UTC
        ("2026-03-09T13:40Z", "last=3", "03-06 20:55", "03-09 13:35", 3),
        ("2025-11-03T14:40Z", "last=3", "10-31 19:55", "11-03 14:35", 3),
        # `end` counts back from a time, `start` cuts
        ("2026-03-09T13:40Z", "last=2&end=2026-03-06T18:02:00Z", "03-06 17:50", "03-06 17:55", 2),
        ("2026-03-09T13:40Z", "last=9&start=2026-03-09", "03-09 13:30", "03-09 13:35", 2),
    ],
)
def test_last_counts_bars_of_the_session_grid(
    tmp_path: Path, now: str, query: str, first: str, last: str, count: int
) -> None:
    at = dt.datetime.fromisoformat(now)
    store = open_store(f"sqlite:///{tmp_path}/grid.db")
    bars = bars_of(["A"], last_sessions(4, at))
    store.prices.upsert(bars[bars["ts"] + 300 <= at.timestamp()], at)
    found = starts(service(store).test_client(), query)
    store.close()
    assert (found[0], found[-1], len(found)) == (first, last, count)


def test_more_bars_than_there_are_is_all_of_them(reader: FlaskClient) -> None:
    assert starts(reader, "ticker=A&last=9999999") == starts(reader, "ticker=A")
    assert len(starts(reader, "ticker=A")) == 78


def test_last_counts_back_from_what_was_known_then(small: Store, client: FlaskClient) -> None:
    corrected = bars_of(["A"], last_sessions(1, NOW), volume=2)
    small.prices.upsert(corrected, NOW + HOUR)
    known = "known_at=2026-07-15T20:30:00Z"
    assert starts(client, f"ticker=A&last=1&{known}") == ["07-15 19:55"]
    then = table(client, f"table=price_history&ticker=A&last=1&{known}")
    now = table(client, "table=price_history&ticker=A&last=1")
    assert (then["volume"].to_pylist(), now["volume"].to_pylist()) == ([1], [2])
    # nothing was known before the first load, whatever the grid says
    assert starts(client, "ticker=A&last=3&known_at=2026-07-15T16:00:00Z") == []


def test_a_fraction_of_a_second_belongs_to_the_bar_before_it(reader: FlaskClient) -> None:
    half = "2026-07-15T19:50:00.5Z"
    assert starts(reader, f"ticker=A&start={half}") == ["07-15 19:55"]
    assert starts(reader, f"ticker=A&end={half}")[-1] == "07-15 19:50"


def test_the_universe_is_read_as_it_was(store: Store) -> None:
    client = service(store).test_client()
    store.books.record_universe([A, SPY], NOW)
    store.books.record_universe([B, SPY], NOW + HOUR)

    def valid(query: str) -> list[str]:
        return table(client, f"table=universe{query}")["ticker"].to_pylist()

    assert valid("&known_at=2026-07-15T19:59:59Z") == []
    assert valid("&known_at=2026-07-15T20:00:00Z") == ["A", "SPY"]
    assert valid("&known_at=2026-07-15T20:59:59Z&ticker=A|B") == ["A"]
    assert valid("&known_at=2026-07-15T21:00:00Z") == ["B", "SPY"]
    assert valid("") == ["A", "B", "SPY"]
    left = table(client, "table=universe&ticker=A").to_pylist()[0]
    assert (left["valid_from"], left["valid_to"]) == (NOW, NOW + HOUR)


# --- what is no value

NASTY = [
    "", " ", "'", '"', "' OR '1'='1", "price_history; DROP TABLE price_history", "--", "/*", "%",
    "A'||'B", "A|", "|", "a", "BRK-B", "A\x00", "\x00", "x" * 10_000, "٣", "\uff11", "-1", "0",
    "+1", "1e3", "0x10", "9" * 19, "9" * 5000, "9" * 8, "NaN", "inf", "None", "null", "[]", "{}",
    "../../etc/passwd", "\ud7ff", "🂡", "\u202e", "sqlite_master", "versions", "market",
    "0000-01-01", "10000-01-01", "2026-13-01", "2026-07-15T25:00", "2026-07-15T15:00:00+99:00",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-07-15T15:00:00 00:00",
    "yesterday", "1752591600",
]  # fmt: skip


@pytest.mark.parametrize("value", NASTY, ids=[ascii(v)[:24] for v in NASTY])
@pytest.mark.parametrize(
    "name", ["table", "columns", "ticker", "account", "start", "end", "last", "known_at", "format"]
)
def test_a_nasty_value_is_an_ordinary_bad_value(reader: FlaskClient, name: str, value: str) -> None:
    asked = {"table": "orders" if name == "account" else "price_history", name: value}
    answer = reader.get(f"/dump_table?{urlencode(asked)}")
    fine = name == "account" and value.isprintable() and 1 <= len(value) <= 60
    assert answer.status_code == (200 if fine else 400)
    if not fine:
        message = answer.get_json()["message"]
        assert len(message) < 600
        assert "\n" not in message


def test_nothing_that_was_said_changed_the_tables(store: Store) -> None:
    store.books.record_universe([A, SPY], NOW)
    store.prices.upsert(bars_of(["A"], last_sessions(1, NOW)), NOW)
    client = service(store).test_client()
    for table_name in TIMES:
        for name in ("ticker", "account", "start", "end", "known_at", "last", "columns"):
            for value in ("'; DROP TABLE universe; --", "\x00", "9" * 30, "0001-01-01"):
                query = urlencode({"table": table_name, name: value})
                assert client.get(f"/dump_table?{query}").status_code in (200, 400)
    assert len(store.books.universe()) == 2
    assert store.prices.count() == 78


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("table=nope", "price_history"),
        ("table=runs&columns=nope", "started_at"),
        ("table=runs&format=xml", "parquet"),
        ("table=runs&where=1=1", "known_at"),
        ("table=runs&start=2026-07-15T15:00:00+00:00", "%2B"),
        ("table=runs&end=9999-12-31T23:59:59.5Z", "ISO time"),
        ("table=price_history&ticker=BRK-B", "write BRK.B"),
        ("table=runs&known_at=2026-07-15", "universe"),
        ("table=universe&last=3", "price_history"),
    ],
)
def test_a_refusal_names_what_is_allowed(reader: FlaskClient, query: str, words: str) -> None:
    answer = reader.get(f"/dump_table?{query}")
    assert answer.status_code == 400
    assert words in answer.get_json()["message"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-15T19:50:00Z", "2026-07-15T19:50", "2026-07-15 19:50:00", "20260715T195000Z",
        "2026-07-15T15:50:00-04:00", "2026-07-16T01:20:00+05:30", "2026-W29-3T19:50:00Z",
    ],
)  # fmt: skip
def test_a_time_may_be_written_in_any_iso_way(reader: FlaskClient, text: str) -> None:
    assert starts(reader, f"ticker=A&start={quote(text)}") == ["07-15 19:50", "07-15 19:55"]


def test_any_day_of_the_calendar_is_a_time(reader: FlaskClient) -> None:
    everything = starts(reader, "ticker=A")
    assert starts(reader, "ticker=A&start=0001-01-01&end=9999-12-31") == everything
    assert starts(reader, "ticker=A&start=1969-07-20T20:17:40Z&known_at=9999-12-31") == everything
    assert starts(reader, "ticker=A&end=1969-07-20") == []


texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(NASTY),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(dt.datetime.isoformat),
    st.sampled_from(["A", "A|B", "ticker,ts", "csv", "arrow", "json", "parquet", *TIMES]),
)
names = st.sampled_from(
    ["table", "columns", "ticker", "account", "start", "end", "last", "known_at", "format"]
)


@hypothesis_settings(max_examples=200)
@given(
    table_name=st.one_of(st.sampled_from(sorted(TIMES)), texts),
    asked=st.dictionaries(st.one_of(names, st.text(max_size=8)), texts, max_size=4),
    tag=st.one_of(st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126))),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_whatever_is_asked_is_answered_or_refused(
    reader: FlaskClient, table_name: str, asked: dict[str, str], tag: str | None, method: str
) -> None:
    query = urlencode({"table": table_name, **asked}, errors="replace")
    headers = {} if tag is None else {"If-None-Match": tag}
    answer = reader.open(f"/dump_table?{query}", method=method, headers=headers)
    answer.get_data()
    assert answer.status_code in (200, 304, 400)

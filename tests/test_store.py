"""The price store: upsert as a list of examples, known_at, reads, migrations, claims."""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from astra import bars
from astra.errors import ConfigError, DataError, TemporaryError
from astra.store import Counts, Store, connect, open_store
from astra.store.dialect import FIELDS, VERSION, Window
from astra.store.schema import REVISION, metadata, revisions
from tests.grid import GRID, HOUR, NOW, frame, held


def test_new_bars_are_inserted_and_the_same_again_changes_nothing(store: Store) -> None:
    rows = [("A", 0, 10.0), ("A", 1, 11.0), ("BRK.B", 0, 5.0)]
    assert store.prices.upsert(frame(rows), NOW) == Counts(3, 0, 0)
    assert store.prices.upsert(frame(rows), NOW + HOUR) == Counts(0, 0, 3)
    assert held(store) == rows
    assert store.prices.count() == 3


def test_a_mixed_load_counts_each_bar_once(store: Store) -> None:
    store.prices.upsert(frame([("A", 0, 10.0), ("A", 1, 11.0)]), NOW)
    later = frame([("A", 2, 12.0), ("A", 0, 10.5), ("A", 1, 11.0)])
    assert store.prices.upsert(later, NOW + HOUR) == Counts(1, 1, 1)
    assert held(store) == [("A", 0, 10.5), ("A", 1, 11.0), ("A", 2, 12.0)]


def test_a_correction_keeps_the_old_value_readable_as_it_was_known(store: Store) -> None:
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    store.prices.upsert(frame([("A", 0, 10.5)]), NOW + 2 * HOUR)
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW + 4 * HOUR)
    known = [held(store, NOW + i * HOUR) for i in range(-1, 5)]
    assert [rows[0][2] if rows else None for rows in known] == [None, 10.0, 10.0, 10.5, 10.5, 10.0]


def test_of_two_values_in_one_second_the_later_arrival_stays(store: Store) -> None:
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    assert store.prices.upsert(frame([("A", 0, 9.0)]), NOW) == Counts(0, 1, 0)
    assert held(store, NOW) == held(store) == [("A", 0, 9.0)]


def test_a_late_arriving_old_value_goes_into_the_past(store: Store) -> None:
    store.prices.upsert(frame([("A", 0, 12.0)]), NOW + 2 * HOUR)
    assert store.prices.upsert(frame([("A", 0, 10.0)]), NOW) == Counts(0, 0, 1)
    store.prices.upsert(frame([("A", 0, 11.0)]), NOW + HOUR)
    assert [held(store, NOW + i * HOUR)[0][2] for i in range(3)] == [10.0, 11.0, 12.0]
    assert held(store) == [("A", 0, 12.0)]


def test_an_empty_load_is_fine(store: Store) -> None:
    assert store.prices.upsert(bars.empty(), NOW) == Counts()
    assert store.prices.read().num_rows == 0
    assert store.prices.read().schema == bars.ARROW_SCHEMA
    assert store.prices.as_of() is None
    assert store.prices.read(last=60).num_rows == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ts", int(GRID[-1]) + 300),  # after the close
        ("ts", int(GRID[0]) + 60),  # between two bars
        ("close", np.nan),
        ("close", -1.0),
        ("high", 1.0),
        ("volume", -1),
    ],
)
def test_a_bad_bar_refuses_the_whole_load(store: Store, column: str, value: float) -> None:
    bad = frame([("A", 0, 10.0), ("A", 1, 11.0)])
    bad.loc[1, column] = value
    with pytest.raises(DataError, match="1 "):
        store.prices.upsert(bad, NOW)
    assert store.prices.count() == 0


def test_a_bar_that_has_not_closed_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="forming"):
        store.prices.upsert(frame([("A", -1, 10.0)]), NOW - dt.timedelta(seconds=1))


def test_reads_are_half_open_and_skip_unknown_tickers(store: Store) -> None:
    store.prices.upsert(frame([("A", i, 10.0 + i) for i in range(5)] + [("B", 1, 5.0)]), NOW)
    start, end = (dt.datetime.fromtimestamp(int(GRID[i]), dt.UTC) for i in (1, 3))
    table = store.prices.read(["B", "A", "ZZZ"], start, end)
    assert table["ticker"].to_pylist() == ["A", "A", "B"]
    assert table["close"].to_pylist() == [11.0, 12.0, 5.0]
    assert store.prices.last_ts(["B", "ZZZ"]) == {"B": int(GRID[1])}
    assert store.prices.stored_tickers() == ("A", "B")


def test_last_counts_bars_of_the_grid_so_gaps_stay_gaps(store: Store) -> None:
    n = len(GRID)
    rows = [("A", i, 10.0) for i in range(n - 100, n)] + [("THIN", i, 5.0) for i in (n - 90, n - 3)]
    store.prices.upsert(frame(rows), NOW)
    table = store.prices.read(last=80)  # across a night
    assert table["ticker"].to_pylist() == ["A"] * 80 + ["THIN"]
    at = dt.datetime.fromtimestamp(int(GRID[n - 50]), dt.UTC)
    shifted = store.prices.read(["A"], last=10, end=at)["ts"].cast(pa.int64()).to_pylist()
    assert shifted == GRID[n - 60 : n - 50].tolist()


def test_batches_stream_in_order_and_agree_with_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astra.store.prices.BATCH_ROWS", 100)
    rows = [(t, i, 10.0 + i) for t in ("A", "B", "C") for i in range(90)]
    store.prices.upsert(frame(rows), NOW)
    batches = list(store.prices.batches())
    assert [b.num_rows for b in batches] == [180, 90]
    whole = pa.Table.from_batches(batches).select(bars.ARROW_SCHEMA.names)
    assert whole.equals(store.prices.read())


def test_windows_come_in_the_order_asked_for_with_the_fields_asked_for(store: Store) -> None:
    rows = [(t, i, 10.0 + i) for t in ("A", "B") for i in range(4)]
    store.prices.upsert(frame(rows), NOW)
    store.prices.upsert(frame([("A", 1, 20.0)]), NOW + 2 * HOUR)
    at = [int(ts) for ts in GRID[:5]]
    asked = [
        Window("B", at[1], at[3]),
        Window("NONE", at[0], at[4]),
        Window("A", -(2**62), 2**62),
        Window("A", at[1], at[2]),
        Window("B", at[4], at[4]),
    ]
    with store._dialect.reading() as connection:
        whole = list(store._dialect.windows(connection, asked))
        closes = list(store._dialect.windows(connection, asked, fields=["volume", "close"]))
        before = int((NOW + HOUR).timestamp())
        earlier = list(store._dialect.windows(connection, asked, before, ["close"]))
        assert list(store._dialect.windows(connection, [])) == []
    assert [part.dtype for part in whole] == [VERSION] * 5
    assert [part["ts"].tolist() for part in whole] == [at[1:3], [], at[:4], at[1:2], []]
    assert [part["close"].tolist() for part in closes] == [
        [11.0, 12.0], [], [10.0, 20.0, 12.0, 13.0], [20.0], [],
    ]  # fmt: skip
    assert closes[0].dtype.names == ("volume", "close")
    assert earlier[2]["close"].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert whole[3].tolist() == [(at[1], 20.0, 21.0, 19.0, 20.0, 100, before + 3600, 0)]
    assert len(whole[3].tolist()[0]) == len(FIELDS)


def test_a_stream_that_is_left_gives_its_connection_back(store: Store) -> None:
    store.prices.upsert(frame([(f"T{i}", 0, 10.0) for i in range(9)]), NOW)
    with store._dialect.reading() as connection:
        windows = [Window(f"T{i}", 0, 2**62) for i in range(9)]
        parts = store._dialect.windows(connection, windows)
        assert len(next(parts)) == 1
        parts.close()  # type: ignore[attr-defined]
        assert len(store._dialect.last_ts(connection)) == 9
    store.prices.batches().close()  # type: ignore[attr-defined]
    assert store.prices.count() == 9


def test_a_reader_sees_one_snapshot_while_a_writer_goes_on(store: Store) -> None:
    store.prices.upsert(frame([("A", 0, 10.0), ("B", 0, 10.0)]), NOW)
    reader = store.prices.batches()
    first = next(reader)
    store.prices.upsert(frame([("B", 1, 10.0)]), NOW + HOUR)
    assert first.num_rows + sum(b.num_rows for b in reader) == 2


def test_a_reader_that_closes_loses_no_commit_of_a_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/astra.db"
    store = open_store(url)
    store.prices.upsert(frame([("A", 0, 10.0)]), NOW)
    reader = open_store(url)
    assert reader.prices.read().num_rows == 1
    reader.close()
    store.prices.upsert(frame([("A", 1, 10.0)]), NOW)
    script = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    )
    count = "SELECT count(*) FROM price_history"
    another = [sys.executable, "-c", script, f"{tmp_path}/astra.db", count]
    assert subprocess.run(another, capture_output=True, text=True).stdout == "(2,)\n"


def open_and_claim(url: str, k: int) -> str | None:
    opened = open_store(url)
    opened.claim_market("real")
    return opened.market()


def test_services_that_start_at_once_migrate_once(bare_store_url: str) -> None:
    starts = [(bare_store_url, k) for k in range(4)]
    with multiprocessing.get_context("fork").Pool(4) as services:
        assert services.starmap(open_and_claim, starts, chunksize=1) == ["real"] * 4


def test_the_migrations_lead_to_the_tables_of_the_schema(bare_store_url: str) -> None:
    opened = open_store(bare_store_url)
    with opened._dialect.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    opened.close()


def test_a_store_takes_the_bars_of_one_market_only(store: Store) -> None:
    assert store.market() is None
    store.claim_market("simulated:1")
    store.claim_market("simulated:1")
    with pytest.raises(ConfigError, match=r"simulated:1.*ASTRA_DATABASE_URL"):
        store.claim_market("real")
    assert store.market() == "simulated:1"


def test_the_vendor_time_survives_a_restart_and_never_runs_back(store_url: str) -> None:
    first = open_store(store_url)
    first.claim_market("real")
    assert first.now() is None
    first.record_now(NOW)
    first.record_now(NOW - HOUR)
    first.close()
    second = open_store(store_url)
    assert second.now() == NOW
    second.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/astra", "speaks sqlite, postgresql"),
        ("not a url", "must be a database URL"),
        ("sqlite://", "in memory"),
        ("sqlite:////proc/nowhere/astra.db", "cannot be created"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_store(url)


def test_bars_of_the_first_release_come_over_with_their_past(bare_store_url: str) -> None:
    old = connect(bare_store_url)
    config = Config()
    folder = Path(__file__).parents[1] / "astra" / "store" / "migrations"
    config.set_main_option("script_location", str(folder))
    ts, known = int(GRID[0]), int(NOW.timestamp())
    with old._dialect.writing("schema") as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        row = {"ts": ts, "known": known, "later": known + 3600}
        for statement in (
            "INSERT INTO price_revisions VALUES ('A', :ts, :later, 10, 11, 9, 10, 100, :known)",
            "INSERT INTO price_history VALUES ('A', :ts, 10, 11, 9, 10.5, 100, :later)",
        ):
            connection.execute(text(statement), row)
    old.close()
    opened = open_store(bare_store_url)
    assert (held(opened, NOW), held(opened)) == ([("A", 0, 10.0)], [("A", 0, 10.5)])
    assert opened.prices.read(columns=("feed",))["feed"].to_pylist() == ["yahoo"]
    assert opened.prices.upsert(frame([("A", 0, 10.0)]), NOW + 2 * HOUR) == Counts(0, 1, 0)
    assert opened.versions()["prices"] > 0 == opened.versions()["books"]
    opened.close()


def test_a_database_of_a_later_release_is_left_alone(store: Store, store_url: str) -> None:
    def note(revision: str) -> None:
        with store._dialect.writing("schema") as connection:
            connection.execute(revisions.update().values(version_num=revision))

    note("9999")
    try:
        with pytest.raises(ConfigError, match=rf"{REVISION} or before is required, found 9999"):
            open_store(store_url)
    finally:
        note(REVISION)


def test_a_request_more_than_the_file_has_connections_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"sqlite:///{tmp_path}/astra.db")
    monkeypatch.setattr(store._dialect.engine.pool, "_timeout", 0.01)
    with contextlib.ExitStack() as busy:
        for _ in range(15):
            busy.enter_context(store._dialect.reading())
        with pytest.raises(TemporaryError, match="all of ours in use"):
            store.prices.count()
    assert store.prices.count() == 0
    store.close()


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "astra.db").write_text("ticker,ts\n" * 1000)
    with pytest.raises(ConfigError, match=r"astra\.db cannot be used"):
        open_store(f"sqlite:///{tmp_path}/astra.db")

"""Retention: what is old goes, what a forecast, a decision or a trade refers to stays."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from dataclasses import astuple
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.records import Activity, Side
from astra.sessions import closed_grid, last_sessions
from astra.store import Store, open_store, schema
from astra.store.journal import AllocationRow, OrderRow
from astra.store.retention import Pruned, gaps

NOW = dt.datetime(2026, 1, 20, 15, 2, tzinfo=dt.UTC)
SESSIONS = last_sessions(40, NOW)  # Thanksgiving's half day and Christmas Eve are among them
GRID = closed_grid(NOW, SESSIONS)
TICKERS = ("A", "B", "BRK.B")
DAY = 86_400


def bars_at(places: list[int], ticker: str, close: float) -> pd.DataFrame:
    frame = pd.DataFrame({"ticker": ticker, "ts": GRID[places]})
    frame[["open", "high", "low", "close"]] = close
    return frame.assign(volume=100)


def fill(store: Store) -> None:
    """Every sixth bar of three tickers; some of A corrected, some of BRK.B refused."""
    sixth = list(range(0, len(GRID), 6))
    for ticker in TICKERS:
        store.prices.upsert(bars_at(sixth, ticker, 10.0), NOW)
    store.prices.upsert(bars_at(sixth[::5], "A", 11.0), NOW + dt.timedelta(minutes=1))
    refused = [
        {"ticker": "BRK.B", "ts": ts, "reason": "implausible", "feed": 0, "seen_at": ts + 600}
        for ts in GRID[::50].tolist()
    ]
    with store._dialect.writing("prices") as connection:
        store._dialect.insert_new(connection, schema.quarantine, refused)
    store.claim_market("simulated:1")
    store.record_now(NOW)


def keys(store: Store, table: str) -> set[tuple[str, int]]:
    if table == "price_history":
        found = store.prices.read(columns=("ticker", "ts"))
    else:
        found = store.books.read(table)
    ts = found["ts"].cast(pa.int64()).to_pylist()
    return set(zip(found["ticker"].to_pylist(), ts, strict=True))


def time_of(ts: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ts, dt.UTC)


def forecast(store: Store, ticker: str, place: int) -> None:
    """A forecast after the bar at `place` of the grid has closed, for the next 12 bars."""
    as_of = int(GRID[place]) + 300
    steps = range(1, 13)
    frame = pd.DataFrame({"step": steps, "ts": [as_of + 300 * (s - 1) for s in steps]})
    frame = frame.assign(model_id="m", as_of=as_of, ticker=ticker)
    frame[["close", "q05", "q25", "q50", "q75", "q95"]] = 10.0
    store.books.record_forecasts(frame)


def decide(store: Store, ticker: str, place: int) -> None:
    document: dict[str, Any] = dict.fromkeys(("policy", "model_id", "method", "reason"), "x")
    as_of = time_of(int(GRID[place]) + 300)
    document |= {"as_of": as_of.isoformat(), "weights": {ticker: 0.1}}
    store.books.record_decision(f"decision_{place}_{ticker}.json", document)


def order(store: Store, ticker: str, place: int) -> None:
    at = time_of(int(GRID[place]))
    key = f"{ticker}{place}"
    row = AllocationRow(key, "1", "b", key, 1, at, at, "p", "m", {ticker: 0.1}, at)
    store.journal.receive(row)
    fence = store.journal.take_lease(key, 60.0) or 0
    planned = OrderRow(
        f"{key}-buy-1", key, "1", ticker, Side.BUY, 1, Decimal(1), 10.0, "to target", at, at
    )  # fmt: skip
    store.journal.plan_orders(key, fence, [planned], "buying")


def fill_order(store: Store, ticker: str, place: int) -> None:
    at = time_of(int(GRID[place]) + 60)
    activity = Activity(
        f"f-{ticker}-{place}", "FILL", at, Decimal(-10), ticker, Decimal(1), Decimal(10), Side.BUY
    )
    store.books.record_activities("1", [activity])


REFERENCES = {"forecast": forecast, "decide": decide, "order": order, "fill": fill_order}


def session_of(ts: int) -> int:
    """Its place among the sessions."""
    return next(i for i, s in enumerate(SESSIONS) if ts < s.closes_at.timestamp())


def referred_to(kind: str, place: int) -> tuple[int, int]:
    """First and last instant of the bars that a reference needs."""
    first = SESSIONS[session_of(int(GRID[place]))]
    if kind == "forecast":
        return int(GRID[max(0, place - 59)]), int(GRID[place]) + 300 * 12
    if kind == "decide":
        back = SESSIONS[max(0, session_of(int(GRID[place])) - 20)]
        return int(back.opens_at.timestamp()), int(GRID[place])
    return int(first.opens_at.timestamp()), int(first.closes_at.timestamp())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with bars, to be copied."""
    path = tmp_path_factory.mktemp("retention") / "filled.db"
    store = open_store(f"sqlite:///{path}")
    fill(store)
    store.close()
    return path


numbers = itertools.count()
references = st.lists(
    st.tuples(
        st.sampled_from(sorted(REFERENCES)),
        st.sampled_from(TICKERS),
        st.integers(0, len(GRID) - 20),
    ),
    max_size=5,
)


@settings(max_examples=25)
@given(made=references, keep_days=st.integers(1, 70))
def test_just_what_is_old_and_not_referred_to_goes(
    filled: Path, made: list[tuple[str, str, int]], keep_days: int
) -> None:
    path = filled.with_name(f"{next(numbers)}.db")
    shutil.copy(filled, path)
    store = open_store(f"sqlite:///{path}")
    try:
        for kind, ticker, place in dict.fromkeys(made):
            REFERENCES[kind](store, ticker, place)
        cutoff = int(NOW.timestamp()) // DAY * DAY - keep_days * DAY
        kept = [(t, *referred_to(kind, place)) for kind, t, place in made]
        tables = ("price_history", "price_revisions", "quarantine")
        before = {table: keys(store, table) for table in tables}
        wanted = {
            table: {
                (t, ts)
                for t, ts in rows
                if ts >= cutoff or any(t == k and a <= ts <= b for k, a, b in kept)
            }
            for table, rows in before.items()
        }
        gone = [len(before[table] - wanted[table]) for table in tables]
        assert list(astuple(store.prune(keep_days, NOW, dry_run=True))[2:]) == gone
        assert {table: keys(store, table) for table in tables} == before
        pruned = store.prune(keep_days, NOW)
        assert {table: keys(store, table) for table in tables} == wanted
        assert [pruned.bars, pruned.revisions, pruned.quarantined] == gone
        assert pruned.before == time_of(cutoff)
        version = store.versions()
        assert store.prune(keep_days, NOW) == Pruned(time_of(cutoff))
        assert store.versions() == version
    finally:
        store.close()
        path.unlink()


@pytest.fixture
def stocked(store: Store) -> Store:
    fill(store)
    return store


def test_every_database_forgets_the_same(stocked: Store) -> None:
    for kind, place in (("forecast", 280), ("decide", 2200), ("order", 120), ("fill", 500)):
        REFERENCES[kind](stocked, "A", place)
    versions = stocked.versions()
    found = stocked.prune(30, NOW)
    bars = keys(stocked, "price_history")
    old = [s for s in SESSIONS if s.date < dt.date(2025, 12, 21)]
    assert found.before == dt.datetime(2025, 12, 21, tzinfo=dt.UTC)
    assert found.tickers == 3
    assert min(ts for t, ts in bars if t == "B") == SESSIONS[len(old)].opens_at.timestamp()
    assert (found.bars, found.revisions, found.quarantined) == (
        3 * len(GRID[::6]) - len(bars),
        len(GRID[::30]) - len(keys(stocked, "price_revisions")),
        len(GRID[::50]) - len(keys(stocked, "quarantine")),
    )
    assert {ts for t, ts in bars if t == "A"} >= {
        ts for ts in GRID[::6].tolist() if GRID[221] <= ts <= GRID[292]
    }
    assert stocked.versions()["prices"] > versions["prices"]
    assert stocked.versions()["books"] == versions["books"]


def test_a_decision_to_hold_nothing_keeps_nothing(filled: Path) -> None:
    path = filled.with_name("cash.db")
    shutil.copy(filled, path)
    store = open_store(f"sqlite:///{path}")
    document: dict[str, Any] = dict.fromkeys(("policy", "model_id", "method", "reason"), "x")
    nothing: list[dict[str, float] | None] = [{}, None]
    for i, weights in enumerate(nothing):
        document |= {"as_of": NOW.isoformat(), "weights": weights}
        store.books.record_decision(f"decision_{i}.json", document)
    assert store.prune(10, NOW).bars == prune_count(filled, 10)
    store.close()


def prune_count(path: Path, keep_days: int) -> int:
    """Bars that would go."""
    store = open_store(f"sqlite:///{path}")
    found = store.prune(keep_days, NOW, dry_run=True).bars
    store.close()
    return found


def test_zero_days_keep_everything(filled: Path) -> None:
    store = open_store(f"sqlite:///{filled}")
    count = store.prices.count()
    assert store.prune(0, NOW) == Pruned()
    assert store.prices.count() == count
    store.close()


def test_a_load_gets_in_between_two_tickers(filled: Path) -> None:
    """No transaction spans two tickers: each that was changed counts as a change of its own."""
    path = filled.with_name("steps.db")
    shutil.copy(filled, path)
    store = open_store(f"sqlite:///{path}")
    before = store.versions()["prices"]
    assert store.prune(20, NOW).tickers == 3
    assert store.versions()["prices"] == before + 3
    store.close()


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ([], [(0, 100)]),
        ([(0, 100)], []),
        ([(20, 30)], [(0, 20), (30, 100)]),
        ([(50, 60), (20, 55)], [(0, 20), (60, 100)]),
        ([(20, 90), (30, 40)], [(0, 20), (90, 100)]),
        ([(90, 120)], [(0, 90)]),
        ([(120, 130)], [(0, 100)]),
    ],
)
def test_gaps_are_what_no_kept_span_covers(
    kept: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert gaps(kept, 100) == left

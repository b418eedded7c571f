"""Quality of a session's bars: the rules, and what /quality answers from a store."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from astra import quality
from astra.quality import Figures
from astra.sessions import Session, closed_grid, last_sessions
from astra.settings import Settings
from astra.store import Store, open_store, schema
from astra.store.feeds import Feed
from astra.store.universe import Member
from astra.web import create_service
from etl_service.quality import routes, summary

MINUTE = dt.timedelta(minutes=1)
# A Wednesday after a half day's week; 42 of 78 bars have closed.
TODAY = dt.date(2025, 12, 3)
NOW = dt.datetime(2025, 12, 3, 18, 2, tzinfo=dt.UTC)
SESSIONS = last_sessions(25, NOW)
SESSION = SESSIONS[-1]
CLOSED = closed_grid(NOW, [SESSION])
NAMES = ("LIVE", "OTHER", "THIN")


# --- rules


def shares(rows: Iterable[Iterable[int]], lengths: Iterable[int]) -> list[float]:
    counts = np.array(list(rows), np.int64).T.reshape(-1, 1)
    found: list[float] = quality.usual_shares(counts, np.array(list(lengths))).tolist()
    return found


def test_what_is_usual_is_the_median_of_the_sessions_with_bars() -> None:
    assert shares([[78, 39, 0, 78, 42]], [78, 78, 78, 78, 42]) == [1.0]
    assert shares([[78, 39, 39, 0, 78]], [78] * 5) == [0.75]
    assert shares([[21]], [42]) == [0.5]
    assert np.isnan(shares([[0, 0]], [78, 78])).all()


@given(
    counts=st.lists(st.lists(st.integers(0, 78), min_size=3, max_size=3), min_size=1, max_size=30)
)
def test_what_is_usual_agrees_with_the_median_of_each_ticker_alone(counts: list[list[int]]) -> None:
    table = np.array(counts, np.int64)
    found = quality.usual_shares(table, np.full(len(table), 78, np.int64))
    for column, usual in zip(table[-20:].T, found, strict=True):
        known = column[column > 0] / 78
        if len(known):
            assert usual == pytest.approx(float(np.median(known)))
        else:
            assert np.isnan(usual)


def test_without_any_session_before_nothing_is_usual() -> None:
    found = quality.usual_shares(np.zeros((0, 2), np.int64), np.zeros(0, np.int64))
    assert found.shape == (2,) and np.isnan(found).all()


@pytest.mark.parametrize(
    ("expected", "present", "fresh", "verdict"),
    [
        (42, 42, True, "ok"),
        (42, 34, True, "ok"),
        (42, 33, True, "gaps"),
        (42, 30, False, "stale"),
        (42, 0, False, "missing"),
        (None, 0, False, "missing"),
        (None, 12, True, "ok"),
        (None, 12, False, "stale"),
        (3, 2, True, "ok"),  # one bar is no gap
        (4, 2, True, "gaps"),
        (0, 0, False, "ok"),
        (0, 1, True, "ok"),
    ],
)
def test_a_verdict_follows_from_three_figures(
    expected: int | None, present: int, fresh: bool, verdict: str
) -> None:
    assert quality.judge(expected, present, fresh) == verdict


def test_a_surplus_of_one_ticker_hides_no_gap_of_another() -> None:
    full = Figures(10, 20, 1, 2, 3, 4)
    empty, unknown = Figures(10, 0, 0, 0, 0, 0), Figures(None, 5, 0, 0, 0, 0)
    assert quality.coverage([full, empty, unknown]) == 0.5
    assert quality.total([full, empty, unknown]) == Figures(20, 25, 1, 2, 3, 4)
    assert quality.coverage([unknown]) is None
    assert quality.total([unknown]).expected is None


def test_a_bar_is_wanted_by_the_first_decision_that_could_use_it() -> None:
    ts, hours = np.array([0, 300, 3300, 3600, 7200]), np.array([600, 3600])
    wanted = quality.wanted_by(ts, hours, next_open=50_000)
    assert wanted.tolist() == [1500, 1500, 4500, 49_999, 49_999]


def test_a_bar_that_missed_a_decision_is_late_and_backfilled_after_the_night() -> None:
    due = 4500
    seen = np.array([[600, due, due + 1, 49_999, 50_000, 5000, -1]])
    sight = np.array([0, 0, 0, 0, 0, 5000, 0])
    late, backfilled = quality.count_delays(np.array([due]), seen, sight, next_open=50_000)
    assert late.tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert backfilled.tolist() == [0, 0, 0, 0, 1, 1, 0]


# --- figures of a store


def put(
    store: Store,
    ticker: str,
    ts: Iterable[int],
    known_from: dt.datetime,
    close: float = 10.0,
    feed: Feed = "yahoo",
) -> None:
    frame = pd.DataFrame({"ts": np.array(list(ts), np.int64)}).assign(ticker=ticker, volume=1)
    frame[["open", "high", "low", "close"]] = close
    store.prices.upsert(frame, known_from, feed)


def load_live(store: Store, ticker: str, session: Session, every: int = 1) -> None:
    """Bars as live loads bring them: a quarter of an hour's, a minute after the last closed."""
    grid = closed_grid(NOW, [session])[::every].tolist()
    few = 3 // every
    for i in range(0, len(grid), few):
        part = grid[i : i + few]
        put(store, ticker, part, dt.datetime.fromtimestamp(part[-1] + 360, dt.UTC))


def stock(store: Store) -> None:
    """LIVE and OTHER print every bar, THIN every third; all of them live today."""
    for name, every in zip(NAMES, (1, 1, 3), strict=True):
        past = np.concatenate([s.grid()[::every] for s in SESSIONS[:-1]])
        put(store, name, past, SESSIONS[-2].closes_at + MINUTE)
        load_live(store, name, SESSION, every)
    store.claim_market("simulated:1")
    store.record_now(NOW)
    members = [Member(name, name, "", "", True) for name in NAMES]
    store.books.record_universe(members, SESSIONS[0].opens_at)


def client(store: Store) -> FlaskClient:
    app = create_service("etl", Settings(_env_file=None))  # type: ignore[call-arg]
    app.register_blueprint(routes(store))
    return app.test_client()


def ask(store: Store, query: str = "") -> dict[str, Any]:
    response = client(store).get(f"/quality{query}")
    assert response.status_code == 200, response.get_data(as_text=True)
    return dict(response.get_json())


@pytest.fixture
def stocked(store: Store) -> Store:
    stock(store)
    return store


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A SQLite store that no test changes."""
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('quality')}/quiet.db")
    stock(opened)
    return opened


@pytest.fixture
def own(quiet: Store, tmp_path: Path) -> Iterator[Store]:
    """A copy of `quiet` for one test."""
    with sqlite3.connect(tmp_path / "own.db") as copy, quiet._dialect.reading() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(copy)
    copy.close()
    opened = open_store(f"sqlite:///{tmp_path}/own.db")
    yield opened
    opened.close()


def test_a_session_that_went_well(quiet: Store) -> None:
    found = ask(quiet)
    assert (found["date"], found["bars"], found["closed"]) == ("2025-12-03", 78, 42)
    assert (found["now"], found["coverage"]) == (NOW.isoformat(), 1.0)
    assert found["total"] == {
        "expected": 98, "present": 98, "late": 0, "backfilled": 0, "corrected": 0,
        "quarantined": 0, "verdicts": {"ok": 3, "gaps": 0, "stale": 0, "missing": 0},
    }  # fmt: skip
    assert found["tickers"]["THIN"] == {
        "expected": 14, "present": 14, "late": 0, "backfilled": 0, "corrected": 0,
        "quarantined": 0, "verdict": "ok", "last_bar": "2025-12-03T17:45:00+00:00",
        "status": None, "message": "",
    }  # fmt: skip
    assert list(found["tickers"]) == list(NAMES)


def test_each_flaw_is_counted_where_it_is(stocked: Store) -> None:
    grid, yesterday = CLOSED.tolist(), int(SESSIONS[-2].grid()[0])
    put(stocked, "GAPPY", SESSIONS[-2].grid(), SESSIONS[-2].closes_at)
    put(stocked, "GAPPY", grid[::2], NOW - MINUTE)  # most of them late
    put(stocked, "LIVE", grid[3:8], NOW - MINUTE, close=11.0)
    put(stocked, "LIVE", grid[5:6], NOW, close=12.0)
    put(stocked, "NEW", grid[:30], NOW - 2 * MINUTE, feed="alpaca-iex")
    put(stocked, "NEW", grid[30:], NOW)
    refused = [
        {"ticker": "OTHER", "ts": ts, "reason": reason, "feed": 0, "seen_at": ts + 400}
        for ts, reason in (
            (grid[0], "implausible"), (grid[0], "missing"), (yesterday, "missing"),
        )
    ]  # fmt: skip
    said = {
        "ticker": "GAPPY", "source": "yahoo", "status": "rate_limited", "message": "429",
        "asked_at": 1,
    }  # fmt: skip
    with stocked._dialect.writing("prices") as connection:
        stocked._dialect.insert_new(connection, schema.quarantine, refused)
        stocked._dialect.insert_new(connection, schema.ticker_status, [said])
    found = ask(stocked, "?ticker=NEW|GAPPY|LIVE|OTHER")["tickers"]
    gappy = found["GAPPY"]
    assert (gappy["expected"], gappy["present"], gappy["verdict"]) == (42, 21, "gaps")
    assert (gappy["late"], gappy["backfilled"]) == (15, 0)
    assert (gappy["status"], gappy["message"]) == ("rate_limited", "429")
    live = found["LIVE"]
    assert (live["corrected"], live["late"], live["verdict"]) == (5, 0, "ok")
    new = found["NEW"]
    assert (new["expected"], new["present"], new["verdict"]) == (None, 42, "ok")
    assert (new["backfilled"], new["late"]) == (30, 0)
    assert new["feeds"] == {"yahoo": 12, "alpaca-iex": 30}
    assert "feeds" not in live
    assert (found["OTHER"]["quarantined"], found["OTHER"]["present"]) == (2, 42)


def test_a_feed_that_stopped_is_stale_and_one_that_never_came_is_missing(own: Store) -> None:
    grid = CLOSED.tolist()
    for name, last in (("STOPPED", 30), ("GONE", 0), ("JUST", 31)):
        put(own, name, SESSIONS[-2].grid(), SESSIONS[-2].closes_at)
        put(own, name, grid[:last], NOW)
    found = ask(own, "?ticker=STOPPED|GONE|JUST")
    assert {n: t["verdict"] for n, t in found["tickers"].items()} == {
        "STOPPED": "stale", "GONE": "missing", "JUST": "gaps",
    }  # fmt: skip
    assert found["tickers"]["GONE"]["last_bar"] == "2025-12-02T20:55:00+00:00"
    assert found["total"]["verdicts"] == {"ok": 0, "gaps": 1, "stale": 1, "missing": 1}
    assert found["coverage"] == round(61 / 126, 4)


def test_a_session_repaired_the_day_after_is_backfilled(own: Store) -> None:
    found = ask(own, "?date=2025-12-02&ticker=LIVE")
    assert (found["closed"], found["tickers"]["LIVE"]["present"]) == (78, 78)
    put(own, "FIXED", SESSIONS[-3].grid(), SESSIONS[-3].opens_at + 450 * MINUTE)
    put(own, "FIXED", SESSIONS[-2].grid()[:20], SESSIONS[-2].closes_at)
    put(own, "FIXED", SESSIONS[-2].grid()[20:], SESSION.opens_at)
    fixed = ask(own, "?date=2025-12-02&ticker=FIXED")["tickers"]["FIXED"]
    assert (fixed["late"], fixed["backfilled"]) == (20, 58)


def test_the_same_values_from_another_feed_are_no_correction(own: Store) -> None:
    for feed, close in (("alpaca-sip", 10.0), ("yahoo", 10.0)):
        put(own, "TWICE", CLOSED[:3], NOW, close, feed)
    put(own, "TWICE", CLOSED[2:3], NOW + MINUTE, 11.0)
    found = ask(own, "?ticker=TWICE")["tickers"]["TWICE"]
    assert (found["present"], found["corrected"]) == (3, 1)


def test_a_half_day_expects_its_own_bars(quiet: Store) -> None:
    found = ask(quiet, "?date=2025-11-28")
    assert (found["bars"], found["closed"], found["coverage"]) == (42, 42, 1.0)
    assert found["tickers"]["LIVE"]["expected"] == 42
    assert found["tickers"]["THIN"]["expected"] == 14


def test_the_past_can_be_asked_as_it_was_known(stocked: Store) -> None:
    noon = dt.datetime(2025, 12, 3, 17, 0, tzinfo=dt.UTC)
    put(stocked, "LIVE", CLOSED[:2], NOW, close=11.0)
    found = ask(stocked, f"?known_at={noon:%Y-%m-%dT%H:%M:%SZ}&ticker=LIVE")
    assert (found["closed"], found["now"]) == (30, noon.isoformat())
    assert (found["tickers"]["LIVE"]["present"], found["tickers"]["LIVE"]["corrected"]) == (27, 0)
    assert ask(stocked, "?ticker=LIVE")["tickers"]["LIVE"]["corrected"] == 2
    asked = f"?known_at={SESSIONS[-2].opens_at:%Y-%m-%dT%H:%M:%SZ}"
    assert ask(stocked, asked)["date"] == "2025-12-02"


def test_only_the_members_of_that_day_are_looked_at(own: Store) -> None:
    now = [Member(name, name, "", "", True) for name in ("LIVE", "NEW")]
    own.books.record_universe(now, NOW)
    assert list(ask(own)["tickers"]) == ["LIVE", "NEW"]
    assert ask(own)["tickers"]["NEW"]["verdict"] == "missing"
    assert list(ask(own, "?date=2025-12-02")["tickers"]) == list(NAMES)


def test_before_the_first_bar_has_closed_nothing_is_expected(quiet: Store) -> None:
    opening = SESSION.opens_at + 2 * MINUTE
    found = ask(quiet, f"?known_at={opening:%Y-%m-%dT%H:%M:%SZ}")
    assert (found["closed"], found["coverage"], found["total"]["expected"]) == (0, None, 0)
    assert found["total"]["verdicts"]["ok"] == 3


def test_the_answer_says_when_it_was_true(quiet: Store) -> None:
    headers = client(quiet).get("/quality").headers
    assert headers["X-Astra-Now"] == NOW.isoformat()
    assert headers["X-Astra-As-Of"] == "2025-12-03T18:00:00+00:00"
    assert headers["X-Astra-Market"] == "simulated:1"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?date=2025-11-27", "before is 2025-11-26, the next one 2025-11-28"),
        ("?date=2025-01-09", "before is 2025-01-08, the next one 2025-01-10"),
        ("?date=2025-12-04", "the last that has opened is 2025-12-03"),
        ("?date=2025-12-03&known_at=2025-12-03T12:00:00Z", "last that has opened is 2025-12-02"),
        ("?date=yesterday", "a date looks like"),
        ("?date=2025-13-01", "a date looks like"),
        ("?date=9999-12-31", "the exchange calendar covers"),
        ("?date=2025-12-02' OR 1=1", "a date looks like"),
        ("?ticker=LIVE|NOBODY", "found NOBODY"),
        ("?ticker=live", "tickers look like"),
        ("?known_at=noon", "known_at is an ISO time"),
        ("?dates=2025-12-02", "parameters are date, ticker, known_at"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_can(
    quiet: Store, query: str, sentence: str
) -> None:
    response = client(quiet).get(f"/quality{query}")
    assert response.status_code == 400
    assert response.get_json()["error"] == "DataError"
    assert sentence in response.get_json()["message"]


def test_an_empty_store_has_no_quality(store: Store) -> None:
    response = client(store).get("/quality")
    assert response.status_code == 409
    assert "POST /load_price_history first" in response.get_json()["message"]


def test_a_load_gets_the_figures_of_its_own_tickers(quiet: Store) -> None:
    found = summary(quiet, ("THIN", "LIVE", "LIVE"), NOW)
    assert found.total == Figures(56, 56, 0, 0, 0, 0)
    assert found.tickers["THIN"].figures == Figures(14, 14, 0, 0, 0, 0)
    assert summary(quiet, (), NOW).total == Figures(None, 0, 0, 0, 0, 0)

"""What the store remembers of loading, over every database; and loads of many offers at once."""

from __future__ import annotations

import datetime as dt
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from astra import bars
from astra.errors import DataError
from astra.records import Account, Position
from astra.sessions import last_sessions
from astra.store import Counts, Offer, Store
from astra.store.feeds import Feed
from astra.store.loads import SourceRow, TickerStatus

NOW = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)  # a session's close
HOUR = dt.timedelta(hours=1)
GRID = np.concatenate([s.grid() for s in last_sessions(2, NOW)])


def frame(ticker: str, closes: dict[int, float]) -> pd.DataFrame:
    """Bars by their number on the grid."""
    close = np.array(list(closes.values()), np.float64)
    return pd.DataFrame(
        {
            "ticker": ticker,
            "ts": GRID[list(closes)],
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": np.full(len(close), 100, np.int64),
        }
    )


def held(store: Store, known_at: dt.datetime | None = None) -> list[tuple[str, int, float, str]]:
    columns = ("ticker", "ts", "close", "feed")
    rows = store.prices.read(known_at=known_at, columns=columns).to_pylist()
    return [
        (r["ticker"], int(np.searchsorted(GRID, r["ts"].timestamp())), r["close"], r["feed"])
        for r in rows
    ]


# --- many offers in one transaction


def test_counts_come_by_ticker_and_each_bar_keeps_its_own_time_and_feed(store: Store) -> None:
    store.prices.upsert(frame("B", {0: 5.0, 1: 6.0}), NOW)
    counts = store.prices.upsert_many(
        [
            Offer(frame("B", {1: 6.0, 2: 7.0}), NOW + HOUR),
            Offer(frame("A", {0: 1.0}), NOW + 2 * HOUR, "alpaca-iex"),
            Offer(frame("B", {0: 5.5}), NOW + 3 * HOUR),
        ]
    )
    assert counts == {"A": Counts(1, 0, 0), "B": Counts(1, 1, 1)}
    yahoo: list[tuple[str, int, float, str]] = [
        ("B", 0, 5.0, "yahoo"), ("B", 1, 6.0, "yahoo"), ("B", 2, 7.0, "yahoo"),
    ]  # fmt: skip
    assert held(store, NOW) == yahoo[:2]
    assert held(store, NOW + HOUR) == yahoo
    assert held(store, NOW + 2 * HOUR) == [("A", 0, 1.0, "alpaca-iex"), *yahoo]
    assert held(store)[1] == ("B", 0, 5.5, "yahoo")


def test_one_bar_in_two_offers_is_refused_and_nothing_stored(store: Store) -> None:
    twice = [Offer(frame("A", {0: 1.0, 1: 2.0}), NOW), Offer(frame("A", {1: 2.0}), NOW)]
    with pytest.raises(DataError, match="A in two offers"):
        store.prices.upsert_many(twice)
    assert store.prices.count() == 0
    assert store.prices.upsert_many([Offer(bars.empty(), NOW)]) == {}


def test_the_same_value_from_another_feed_takes_its_mark_and_the_past_keeps_the_old(
    store: Store,
) -> None:
    store.prices.upsert(frame("A", {0: 1.0}), NOW, "alpaca-sip")
    assert store.prices.upsert(frame("A", {0: 1.0}), NOW + HOUR, "yahoo") == Counts(0, 1, 0)
    assert held(store) == [("A", 0, 1.0, "yahoo")]
    assert held(store, NOW) == [("A", 0, 1.0, "alpaca-sip")]


SEEN: list[tuple[dt.datetime, float, Feed]] = [
    (NOW, 1.0, "alpaca-sip"),
    (NOW + HOUR, 1.0, "yahoo"),
    (NOW + 2 * HOUR, 1.0, "yahoo"),
    (NOW + 3 * HOUR, 2.0, "yahoo"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_marks_come_out_the_same_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    for i in order:
        at, close, feed = SEEN[i]
        store.prices.upsert(frame("A", {0: close}), at, feed)
    known = [held(store, at)[0][2:] for at, _, _ in SEEN]
    assert known == [(1.0, "alpaca-sip"), (1.0, "yahoo"), (1.0, "yahoo"), (2.0, "yahoo")]


# --- sources


def test_no_change_of_a_source_is_lost_between_writers(store: Store) -> None:
    def spend(row: SourceRow) -> tuple[SourceRow, int]:
        return replace(row, spent=row.spent + 1), row.spent

    assert store.loads.source("yahoo") == SourceRow("yahoo")
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda _: store.loads.change_source("yahoo", spend)[1], range(20)))
    assert sorted(found) == list(range(20))
    assert store.loads.source("yahoo").spent == 20


# --- tickers


def test_a_failure_leaves_the_last_answer_in_the_record(store: Store) -> None:
    good = TickerStatus("A", "yahoo", "ok", "", NOW, NOW)
    store.loads.record_statuses([good, TickerStatus("B", "yahoo", "empty", "", NOW)])
    store.loads.record_statuses([TickerStatus("A", "yahoo", "error", "no", NOW + HOUR)])
    found = store.loads.statuses(["A", "C"])
    assert found == {"A": TickerStatus("A", "yahoo", "error", "no", NOW + HOUR, NOW)}


def test_bars_that_were_refused_are_kept_once_with_their_reason(store: Store) -> None:
    bad = frame("A", {0: 1.0, 1: np.nan, 2: 3.0, 3: 4.0})
    bad.loc[2, "low"] = -1.0
    bad.loc[3, "ts"] += 60
    refused = bars.refused(bad, NOW)
    assert sorted(refused["reason"]) == ["implausible", "missing", "off_grid"]
    for i in range(2):
        store.loads.quarantine(refused, "yahoo", NOW + i * HOUR)
    rows = store.books.read("quarantine").to_pylist()
    assert [r["reason"] for r in rows] == ["missing", "implausible", "off_grid"]
    assert rows[0]["close"] is None
    assert {r["seen_at"] for r in rows} == {NOW}  # what was refused at a time stays so


def test_what_has_not_closed_is_not_refused() -> None:
    forming = frame("A", {-1: np.nan})
    assert bars.refused(forming, NOW - HOUR).empty
    assert len(bars.refused(forming, NOW)) == 1


def test_bars_of_a_stand_in_are_found_until_the_source_was_asked_again(store: Store) -> None:
    store.prices.upsert(frame("A", {0: 1.0}), NOW)
    store.prices.upsert(frame("A", {80: 1.0, 81: 1.0}), NOW, "alpaca-sip")
    store.prices.upsert(frame("B", {0: 1.0}), NOW, "alpaca-iex")
    found = {"A": int(GRID[80]), "B": int(GRID[0])}
    assert store.loads.first_of_other_feeds("yahoo", NOW - 40 * HOUR) == found
    assert store.loads.first_of_other_feeds("yahoo", NOW - 7 * HOUR) == {"A": found["A"]}
    stood_in = TickerStatus("A", "alpaca", "ok", "", NOW, NOW)
    store.loads.record_statuses([stood_in])
    assert store.loads.first_of_other_feeds("yahoo", NOW - 40 * HOUR) == found
    store.loads.record_statuses([replace(stood_in, source="yahoo", answered_at=NOW + HOUR)])
    assert store.loads.first_of_other_feeds("yahoo", NOW - 40 * HOUR) == {"B": found["B"]}


# --- whose bars come first


def test_held_is_what_is_our_own_in_the_last_summary(store: Store) -> None:
    assert store.loads.held() == frozenset()
    account = Account("A1", *[Decimal(1000)] * 3)
    old, theirs, ours = (Position(t, Decimal(5), 10.0, 10.0) for t in ("OLD", "THEIRS", "OURS"))
    store.books.record_account_summary(account, [old], NOW - HOUR)
    own = {"OURS": Decimal("0.5")}
    store.books.record_account_summary(account, [theirs, ours], NOW, own=own)
    assert store.loads.held() == {"OURS"}


def test_candidates_are_what_the_last_decisions_weigh_or_aim_at(store: Store) -> None:
    assert store.loads.candidates() == frozenset()
    words = dict.fromkeys(("policy", "model_id", "method", "reason"), "x")
    for name, at, weights, target in (
        ("a", NOW - HOUR, {"OLD": 1.0}, {}),
        ("b", NOW, {"A": 0.5, "ZERO": 0.0}, {"B": 0.5}),
        ("c", NOW, {"C": 1.0}, None),
    ):
        document = {**words, "as_of": at.isoformat(), "weights": weights, "target": target}
        store.books.record_decision(name, document)
    assert store.loads.candidates() == {"A", "B", "C"}

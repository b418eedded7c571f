"""Books: every write may be repeated."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from astra.errors import DataError
from astra.records import Account, Activity, Position, Side
from astra.store import Query, Store
from astra.store.books import FORECAST_COLUMNS, Member

NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ACCOUNT = Account("PA1", Decimal("10.50"), Decimal("100.25"), Decimal(20))
POSITION = Position("AAPL", Decimal("0.123456789"), 200.0, 190.0)


@dataclass(frozen=True)
class Point:
    at: dt.datetime
    equity: Decimal | float
    profit_loss: Decimal | float | None


def activity(n: int, amount: str = "-10.01") -> Activity:
    return Activity(
        f"id{n}", "FILL", NOW, Decimal(amount), "AAPL", Decimal("0.05"), Decimal("200.2"),
        Side.BUY, "o1",
    )  # fmt: skip


def test_the_universe_keeps_its_past(store: Store) -> None:
    first = [Member("A", "Agilent", "Health Care", "Tools", True), Member("SPY", "", "", "", False)]
    assert store.books.record_universe(first, NOW) == 2
    assert store.books.record_universe(first, NOW + HOUR) == 0
    second = [replace(first[0], sector="Materials"), Member("B", "Barnes", "Industrials", "", True)]
    assert store.books.record_universe(second, NOW + HOUR) == 4  # A changed, SPY left, B came
    assert store.books.universe() == (second[0], second[1])
    ended = store.books.read("universe", tickers=["SPY"]).to_pylist()
    assert [(row["valid_from"], row["valid_to"]) for row in ended] == [(NOW, NOW + HOUR)]


def test_activities_are_added_once(store: Store) -> None:
    assert store.books.record_activities("PA1", [activity(1), activity(2)]) == 2
    assert store.books.record_activities("PA1", [activity(2), activity(3)]) == 1
    assert store.books.record_activities("PA2", [activity(1)]) == 1
    assert store.books.record_activities("PA1", []) == 0
    found = store.books.read("activities", account="PA1", tickers=["AAPL"])
    assert found["id"].to_pylist() == ["id1", "id2", "id3"]
    assert found["net_amount"].to_pylist() == ["-10.01"] * 3
    assert found.schema.field("at").type == pa.timestamp("s", tz="UTC")


def test_activities_come_back_as_they_were_recorded(store: Store) -> None:
    store.books.record_activities("PA1", [activity(2), activity(1)])
    store.books.record_activities("PA2", [activity(3)])
    assert store.books.activities("PA1") == (activity(1), activity(2))
    assert store.books.activities("PA9") == ()


def test_an_account_summary_again_overwrites_but_keeps_its_allocation(store: Store) -> None:
    store.books.record_account_summary(ACCOUNT, [POSITION], NOW, allocation_id="x" * 16)
    store.books.record_account_summary(replace(ACCOUNT, cash=Decimal("1E+1")), [], NOW)
    (row,) = store.books.read("account_summary").to_pylist()
    assert row["cash"] == "10"
    assert row["positions"] == "[]"
    assert row["allocation_id"] == "x" * 16


def test_the_history_is_overwritten_point_by_point(store: Store) -> None:
    points = [Point(NOW + i * HOUR, 100.0 + i, None if i == 0 else Decimal(i)) for i in range(3)]
    store.books.record_history("PA1", points)
    store.books.record_history("PA1", [replace(points[2], equity=102.5)])
    found = store.books.read("history", start=NOW + HOUR, end=NOW + 3 * HOUR)
    assert found["equity"].to_pylist() == ["101.0", "102.5"]
    assert store.books.read("history")["profit_loss"].to_pylist() == [None, "1", "2"]
    with pytest.raises(DataError, match="finite"):
        store.books.record_history("PA1", [replace(points[0], equity=float("nan"))])


def test_forecasts_never_change_once_recorded(store: Store) -> None:
    rows = pd.DataFrame(
        {
            **{"model_id": "m1", "as_of": 1000, "ticker": ["A", "A"], "step": [1, 2]},
            **{"ts": [1000, 1300], "close": [10.0, 11.0]},
            **dict.fromkeys(("q05", "q25", "q50", "q75", "q95"), 10.0),
        }
    )
    assert store.books.record_forecasts(rows) == 2
    assert store.books.record_forecasts(rows.assign(close=99.0)) == 0
    assert store.books.read("forecasts")["close"].to_pylist() == [10.0, 11.0]
    with pytest.raises(DataError, match="q95"):
        store.books.record_forecasts(rows.drop(columns="q95"))
    with pytest.raises(DataError, match="2 missing"):
        store.books.record_forecasts(rows.assign(close=np.nan))
    assert set(FORECAST_COLUMNS) == {*rows.columns, "q10", "q90"}


def test_a_decision_is_kept_whole_and_once(store: Store) -> None:
    document = {
        "as_of": NOW.isoformat(), "policy": "measured", "model_id": "m1", "method": "slsqp",
        "reason": "hold", "tau": 0.0, "bound_gap": None, "weights": {"AAPL": 0.1},
    }  # fmt: skip
    assert store.books.record_decision("decision_1.json", document)
    assert not store.books.record_decision("decision_1.json", document | {"tau": 1.0})
    assert store.books.decision("decision_1.json") == document
    assert store.books.decision("decision_2.json") is None
    (row,) = store.books.read("decisions").to_pylist()
    assert (row["as_of"], row["tau"], row["sharpe"]) == (NOW, 0.0, None)
    for broken in ({}, document | {"as_of": "yesterday"}, document | {"reason": None}):
        with pytest.raises(DataError, match=r"decision_3\.json"):
            store.books.record_decision("decision_3.json", broken)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": "\ud800"}, "UTF-8"),
        ({"weights": {"\ud800": 0.1}}, "UTF-8"),
        ({"reason": "a\0b"}, "NUL"),
        ({"policy": "x" * 121}, "policy of at most 120 characters"),
        ({"tau": 10**400}, "numbers, or null, in tau"),
        ({"tau": float("nan"), "sharpe": float("inf")}, "numbers, or null, in sharpe, tau"),
        ({"as_of": "0001-01-01T00:00:00+14:00"}, "ISO time"),
    ],
)
def test_a_decision_that_some_database_cannot_keep_is_refused(
    store: Store, changes: dict[str, Any], words: str
) -> None:
    document = {
        "as_of": NOW.isoformat(), "policy": "measured", "model_id": "m1", "method": "slsqp",
        "reason": "hold",
    }  # fmt: skip
    with pytest.raises(DataError, match=words):
        store.books.record_decision("decision_1.json", document | changes)
    assert store.books.read("decisions").num_rows == 0


def test_shadow_books_and_runs_are_recorded(store: Store) -> None:
    shares = {"A": Decimal("0.1")}
    new = [
        store.books.record_shadow_book("PA1", "equal", NOW, Decimal(10), Decimal(cash), shares)
        for cash in ("1.5", "2.5")
    ]
    assert new == [True, False]
    (shadow,) = store.books.read("shadow_books").to_pylist()
    assert (shadow["cash"], shadow["shares"]) == ("1.5", '{"A": "0.1"}')
    store.books.record_run("r1", "load", NOW)
    store.books.finish_run("r1", "ok", "3 bars", NOW + HOUR)
    store.books.record_run("r1", "load", NOW + HOUR)
    (run,) = store.books.read("runs").to_pylist()
    assert (run["status"], run["started_at"], run["finished_at"]) == ("ok", NOW, NOW + HOUR)
    with pytest.raises(DataError, match="r2"):
        store.books.finish_run("r2", "ok", "", NOW)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (Query("market"), "a table is one of"),
        (Query("price_history; DROP TABLE runs"), "a table is one of"),
        (Query("runs", columns=["id", "nope"]), "nope"),
        (Query("runs", columns=[]), "none"),
        (Query("runs", tickers=["A"]), "no filter ticker"),
        (Query("forecasts", account="PA1"), "no filter account"),
        (Query("price_history", account="PA1"), "no filter account"),
        (Query("orders", last=3), "price_history"),
        (Query("orders", known_at=NOW), "price_history"),
        (Query("price_history", last=0), "at least 1"),
        (Query("orders", start=NOW.replace(tzinfo=None)), "zone"),
        (Query("price_history", start=NOW.replace(tzinfo=None)), "zone"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(store: Store, query: Query, words: str) -> None:
    with pytest.raises(DataError, match=words):
        store.dump(query)


def test_columns_come_in_the_order_asked_for(store: Store) -> None:
    store.books.record_activities("PA1", [activity(1)])
    query = Query("activities", columns=["net_amount", "id", "id"])
    assert store.dump(query).read_all().to_pylist() == [{"net_amount": "-10.01", "id": "id1"}]
    assert store.dump(Query("runs")).read_all().num_rows == 0

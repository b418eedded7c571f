"""Books and journal: every write may be repeated, and an overtaken worker writes nothing."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from astra.errors import DataError, TemporaryError
from astra.records import Account, Activity, OrderStatus, Position, Side
from astra.store import Query, Store
from astra.store.books import FORECAST_COLUMNS, Member
from astra.store.journal import AllocationRow, Journal, OrderRow

NOW = dt.datetime(2026, 7, 15, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ACCOUNT = Account("PA1", Decimal("10.50"), Decimal("100.25"), Decimal(20))
POSITION = Position("AAPL", Decimal("0.123456789"), 200.0, 190.0)
ALLOCATION = AllocationRow(
    "a" * 16, "PA1", "bucket", "target_1.csv", 7, NOW, NOW + HOUR, "measured", "m1",
    {"AAPL": 0.5}, NOW,
)  # fmt: skip
SELL = OrderRow(
    "a-AAPL-sell-1", ALLOCATION.id, "PA1", "AAPL", Side.SELL, 1, Decimal("0.5"), 200.0, "", NOW, NOW
)


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


# --- books


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


# --- journal


def test_an_allocation_delivered_twice_is_one_row(store: Store) -> None:
    assert store.journal.allocation(ALLOCATION.id) is None
    assert store.journal.receive(ALLOCATION) == ALLOCATION
    again = replace(ALLOCATION, weights={"AAPL": 0.9}, received_at=NOW + HOUR)
    assert store.journal.receive(again) == ALLOCATION
    manual = replace(ALLOCATION, id="b" * 16, as_of=None, expires_at=None)
    assert store.journal.receive(manual) == manual == store.journal.allocation(manual.id)


def test_one_worker_at_a_time_holds_the_lease(store: Store) -> None:
    wall = [1000.0]
    store.journal.receive(ALLOCATION)
    journal = Journal(store._dialect, wall=lambda: wall[0])
    assert journal.take_lease(ALLOCATION.id, 30) == 1
    assert journal.take_lease(ALLOCATION.id, 30) is None
    journal.renew(ALLOCATION.id, 1, 60)
    wall[0] += 59
    assert journal.take_lease(ALLOCATION.id, 30) is None
    wall[0] += 1  # the first worker is taken for dead
    assert journal.take_lease(ALLOCATION.id, 30) == 2
    journal.release(ALLOCATION.id, 1)  # it wakes up: nothing happens
    assert journal.take_lease(ALLOCATION.id, 30) is None
    journal.release(ALLOCATION.id, 2)
    assert journal.take_lease(ALLOCATION.id, 30) == 3


def test_of_many_deliveries_at_once_one_gets_the_lease(store: Store) -> None:
    leases: list[int | None] = []
    barrier = threading.Barrier(8)

    def deliver() -> None:
        barrier.wait()
        store.journal.receive(ALLOCATION)
        leases.append(store.journal.take_lease(ALLOCATION.id, 60))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leases, key=str) == [1] + [None] * 7


def test_an_overtaken_worker_can_write_nothing(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 0)
    journal.plan_orders(ALLOCATION.id, 1, [SELL])
    assert journal.take_lease(ALLOCATION.id, 60) == 2
    for write in (
        lambda: journal.mark(SELL.id, 1, OrderStatus.SENDING, NOW),
        lambda: journal.plan_orders(ALLOCATION.id, 1, [replace(SELL, id="other")], "buying"),
        lambda: journal.set_status(ALLOCATION.id, 1, "done", finished_at=NOW),
        lambda: journal.renew(ALLOCATION.id, 1, 60),
    ):
        with pytest.raises(TemporaryError, match="taken over"):
            write()
    assert journal.orders(ALLOCATION.id) == (SELL,)
    held = journal.allocation(ALLOCATION.id)
    assert held is not None
    assert held == replace(ALLOCATION, fence=2, leased_until=held.leased_until)
    assert held.leased_until > 0


def test_journaled_quantities_never_change(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 60)
    journal.plan_orders(ALLOCATION.id, 1, [SELL], "selling")
    buy = replace(SELL, id="a-B-buy-1", symbol="B", side=Side.BUY)
    both = journal.plan_orders(ALLOCATION.id, 1, [replace(SELL, qty=Decimal(9)), buy], "buying")
    assert both == (SELL, buy) == journal.orders(ALLOCATION.id)
    held = journal.allocation(ALLOCATION.id)
    assert held is not None
    assert held.status == "buying"


def test_an_order_is_marked_until_it_is_final(store: Store) -> None:
    journal = store.journal
    journal.receive(ALLOCATION)
    journal.take_lease(ALLOCATION.id, 60)
    journal.plan_orders(ALLOCATION.id, 1, [SELL])
    sent = journal.mark(SELL.id, 1, OrderStatus.ACCEPTED, NOW + HOUR, broker_id="b1")
    assert sent == replace(SELL, status=OrderStatus.ACCEPTED, broker_id="b1", updated_at=NOW + HOUR)
    filled = journal.mark(
        SELL.id, 1, OrderStatus.FILLED, NOW + HOUR, filled_qty=SELL.qty, filled_average_price=199.5
    )
    assert (filled.filled_qty, filled.broker_id) == (Decimal("0.5"), "b1")
    assert journal.mark(SELL.id, 1, OrderStatus.ACCEPTED, NOW + 2 * HOUR) == filled


def test_finished_allocations_are_not_leased_again(store: Store) -> None:
    journal = store.journal
    older = replace(ALLOCATION, id="0" * 16, as_of=NOW - HOUR, generation=9)
    for row in (ALLOCATION, older):
        journal.receive(row)
    assert [row.id for row in journal.open_allocations("PA1")] == [older.id, ALLOCATION.id]
    assert journal.newest_done("PA1") is None
    for row in (ALLOCATION, older):
        fence = journal.take_lease(row.id, 0)
        assert fence == 1
        done = journal.set_status(row.id, fence, "done", "all filled", finished_at=NOW)
        assert done.is_final
        assert journal.take_lease(row.id, 60) is None
        assert journal.set_status(row.id, fence, "abandoned", finished_at=NOW).status == "done"
    newest = journal.newest_done("PA1")
    assert newest is not None
    assert newest.id == ALLOCATION.id
    assert journal.open_allocations("PA1") == () == journal.open_allocations("PA2")


@pytest.mark.parametrize(
    ("status", "finished_at"), [("sold", None), ("done", None), ("selling", NOW)]
)
def test_a_status_that_cannot_be_is_refused(
    store: Store, status: str, finished_at: dt.datetime | None
) -> None:
    store.journal.receive(ALLOCATION)
    with pytest.raises(DataError, match="a status of"):
        store.journal.set_status(ALLOCATION.id, 0, status, finished_at=finished_at)


def test_what_is_not_in_the_journal_is_said(store: Store) -> None:
    with pytest.raises(DataError, match="nope"):
        store.journal.take_lease("nope", 60)
    with pytest.raises(DataError, match="nope"):
        store.journal.mark("nope", 1, OrderStatus.FILLED, NOW)
    store.journal.receive(ALLOCATION)
    with pytest.raises(DataError, match="phase"):
        store.journal.plan_orders(ALLOCATION.id, 0, [], "done")

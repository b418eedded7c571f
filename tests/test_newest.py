"""The newest rows of the books, in every database."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from astra.records import Account, Activity, Position
from astra.store import Store
from astra.store.journal import AllocationRow
from astra.store.loads import TickerStatus
from astra.store.newest import Rebalance, Run, Summary
from tests.seeded_books import decision_of

NOW = dt.datetime(2026, 11, 20, 17, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def receive(store: Store, name: str, at: dt.datetime, status: str = "", account: str = "A") -> None:
    row = AllocationRow(name, account, "b", f"{name}.csv", 1, at, at, "p", "m", {"V": 0.5}, at)
    store.journal.receive(row)
    if status:
        fence = store.journal.take_lease(name, 60.0) or 0
        store.journal.set_status(name, fence, status, "why", at + HOUR)


def test_of_an_empty_store_there_is_nothing(store: Store) -> None:
    newest = store.newest
    assert [newest.decision(), newest.decided_at(), newest.loaded_at()] == [None] * 3
    asked = (newest.rebalance, newest.traded, newest.summary, newest.valued_at, newest.opened_at)
    assert [ask("A") for ask in asked] == [None] * 5
    assert (newest.runs(["x"]), newest.first_run("x"), newest.decisions()) == ({}, None, ())


def test_the_decision_of_the_newest_time_is_the_last_whenever_it_was_read(store: Store) -> None:
    alarms = {"alarms": ["inputs have drifted"]}
    store.books.record_decision("decision_b.json", decision_of({}, NOW, health=alarms))
    store.books.record_decision("decision_a.json", decision_of({}, NOW - HOUR))
    found = store.newest.decision()
    assert found is not None
    assert (found.object, found.as_of) == ("decision_b.json", NOW)
    assert found.alarms == ("inputs have drifted",)
    assert store.newest.decided_at() == NOW
    assert set(store.newest.decisions()) == {"decision_a.json", "decision_b.json"}


def test_a_decision_of_an_earlier_release_has_no_alarms(store: Store) -> None:
    store.books.record_decision("decision_a.json", decision_of({}, NOW, health=None))
    found = store.newest.decision()
    assert found is not None
    assert found.alarms == ()


def test_the_last_file_and_the_last_traded_one_may_differ(store: Store) -> None:
    receive(store, "one", NOW - 2 * HOUR, "done")
    receive(store, "two", NOW - HOUR, "refused")
    receive(store, "other", NOW, "done", account="B")
    assert store.newest.rebalance("A") == Rebalance("two.csv", "refused", "why", NOW, {"V": 0.5})
    traded = store.newest.traded("A")
    assert traded is not None
    assert traded.object == "one.csv"
    receive(store, "three", NOW)
    under_way = store.newest.rebalance("A")
    assert under_way is not None
    assert (under_way.status, under_way.at) == ("received", NOW)


def test_the_last_summary_has_our_part_of_each_position(store: Store) -> None:
    account = Account("A", Decimal("1.50"), Decimal("301.50"), Decimal(1))
    positions = [Position("V", Decimal(3), 100.0, 1.0), Position("KO", Decimal(1), 50.0, 1.0)]
    store.books.record_account_summary(account, [], NOW - HOUR)
    store.books.record_account_summary(account, positions, NOW, None, {"V": Decimal(2)})
    assert store.newest.summary("A") == Summary(
        NOW, Decimal("1.50"), Decimal("301.50"), {"V": 200.0}
    )


def test_of_each_job_the_last_run_and_the_last_good_one_are_told(store: Store) -> None:
    for i, (job, status) in enumerate([("x", "ok"), ("x", "failed"), ("y", "ok"), ("x", "")]):
        at = NOW + i * HOUR
        store.books.record_run(f"{i}", job, at)
        if status:
            store.books.finish_run(f"{i}", status, "why", at)
    assert store.newest.runs(["x", "y", "z"]) == {
        "x": (Run(NOW + 3 * HOUR, None, "running", ""), Run(NOW, NOW, "ok", "why")),
        "y": (Run(NOW + 2 * HOUR, NOW + 2 * HOUR, "ok", "why"),) * 2,
    }
    assert store.newest.first_run("x") == NOW


def test_first_and_last_times_are_an_accounts_own(store: Store) -> None:
    for account, at in (("A", NOW), ("A", NOW + HOUR), ("B", NOW - HOUR)):
        line = Activity(f"{account}-{at:%H}", "CSD", at, Decimal(1))
        store.books.record_activities(account, [line])
    assert store.newest.opened_at("A") == NOW
    asked = [TickerStatus(t, "yahoo", "ok", "", NOW - i * HOUR) for i, t in enumerate("AB")]
    store.loads.record_statuses(asked)
    assert store.newest.loaded_at() == NOW

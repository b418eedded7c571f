"""How things stand, gathered from a store: each figure against what was put there."""

from __future__ import annotations

import datetime as dt
import json
import statistics
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from astra.alerts import conditions
from astra.jobs import JobStatus, job_statuses
from astra.records import Account, Position, TradingState
from astra.schedule import Job, deployed
from astra.sessions import last_sessions
from astra.settings import Settings
from astra.status import Status, gather
from astra.store import Store, open_store, rows, schema
from astra.store.alerts import Alert
from astra.store.books import Member
from astra.store.journal import AllocationRow
from astra.store.reconciliations import Reconciliation
from tests.seeded_books import MEMBERS, NOW, NUMBER, decision_of, seed_store

SETTINGS = Settings(_env_file=None)
NEW_YORK = ZoneInfo("America/New_York")
WEEK = dt.timedelta(days=7)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(dt.UTC)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'astra.db'}")
    yield store
    store.close()


@pytest.fixture
def seeded(empty: Store) -> Store:
    seed_store(empty, days=2)
    return empty


def stood(store: Store, now: dt.datetime = NOW, account: str = NUMBER, **changes: Any) -> Status:
    return gather(store, account, now, SETTINGS.model_copy(update=changes))


def load(store: Store, tickers: list[str], until: dt.datetime) -> None:
    """The session's bars of `tickers` that have closed by `until`, and the universe."""
    store.books.record_universe([Member(t, t, "", "", True) for t in MEMBERS], until)
    grid = last_sessions(1, until)[0].grid()
    grid = grid[grid + 300 <= until.timestamp()]
    frames = [
        pd.DataFrame({"ticker": t, "ts": grid, "open": 9.0, "high": 9.0, "low": 9.0,
                      "close": 9.0, "volume": 1}) for t in tickers
    ]  # fmt: skip
    store.prices.upsert(pd.concat(frames, ignore_index=True), until)


def watched(store: Store, now: str) -> str:
    """Look for alerts: how severe the one of stale bars is, "" if it is not open."""
    found = conditions(stood(store, at(now), ""))
    store.alerts.see("", found, at(now))
    return "".join(a.severity for a in store.alerts.open("") if a.key == "stale-bars")


def test_a_fresh_database_stands_somehow_too(empty: Store) -> None:
    found = stood(empty, account="")
    assert (found.worth, found.decision, found.rebalance, found.drift, found.books) == (None,) * 5
    assert (found.data.as_of, found.data.share, found.data.is_stale) == (None, None, False)
    assert found.trading.state is TradingState.ACTIVE
    assert not any(job.is_missed for job in found.jobs)
    assert json.loads(json.dumps(found.as_json()))["account"] == ""


def test_the_account_the_decision_and_the_rebalance_are_the_last_ones(seeded: Store) -> None:
    found = stood(seeded)
    assert found.worth is not None
    summary = seeded.books.read("account_summary", account=NUMBER).to_pylist()[-1]
    assert (found.worth.at, str(found.worth.equity)) == (summary["at"], summary["equity"])
    assert found.decision is not None
    assert (found.decision.policy, found.decision.tau) == ("measured", 0.62)
    assert found.decision.as_of == NOW.replace(minute=0)
    assert found.rebalance is not None
    assert (found.rebalance.object, found.rebalance.status) == ("target_1.csv", "done")
    assert found.rebalance.at == NOW.replace(minute=1)
    assert found.market == "simulated:1"


def test_a_later_file_that_was_refused_is_the_last_rebalance_and_not_the_last_traded(
    seeded: Store,
) -> None:
    file = ("ffff", NUMBER, "bucket", "target_2.csv", 2, None, None, "manual", "")
    row = AllocationRow(*file, {"V": 1.0}, NOW)
    seeded.journal.receive(row)
    fence = seeded.journal.take_lease("ffff", 60.0) or 0
    seeded.journal.set_status("ffff", fence, "refused", "weights sum to 2", NOW)
    found = stood(seeded)
    assert found.rebalance is not None
    assert (found.rebalance.status, found.rebalance.reason) == ("refused", "weights sum to 2")
    assert found.drift is not None
    assert found.drift.object == "target_1.csv"


def test_drift_is_half_of_all_differences_of_weights_cash_included(seeded: Store) -> None:
    done = stood(seeded).rebalance
    assert done is not None
    weights = dict(done.weights)
    first, second = sorted(weights)[:2]
    # 100,000 USD as the allocation says, but for 4 % moved from one name to another and 3 % to cash
    usd = {symbol: 100_000 * weight for symbol, weight in weights.items()}
    usd[first] += 4_000
    usd[second] -= 7_000
    cash = Decimal(100_000) - sum(Decimal(f"{value:.2f}") for value in usd.values())
    positions = [Position(s, Decimal(f"{value:.2f}"), 1.0, 1.0) for s, value in usd.items()]
    later = NOW + dt.timedelta(minutes=1)
    account = Account(NUMBER, cash, Decimal(100_000), cash)
    seeded.books.record_account_summary(account, positions, later)
    found = stood(seeded).drift
    assert found is not None
    assert found.share == pytest.approx(0.07, abs=1e-6)
    assert found.at == later


def test_a_persons_own_shares_are_no_part_of_the_drift(seeded: Store) -> None:
    own = stood(seeded).worth
    assert own is not None
    positions = [Position("NVDA", Decimal(10), 100.0, 1.0), Position("V", Decimal(5), 100.0, 1.0)]
    account = Account(NUMBER, Decimal(500), Decimal(2000), Decimal(500))
    managed = {"V": Decimal(5)}
    seeded.books.record_account_summary(account, positions, NOW + WEEK, None, managed)
    found = stood(seeded, NOW + WEEK)
    assert found.worth is not None
    assert found.worth.own == {"V": 500.0}


class TestData:
    def test_names_are_fresh_that_printed_in_the_hour_before_the_decision(
        self, empty: Store
    ) -> None:
        names = sorted(MEMBERS)
        load(empty, names[:10], at("2026-11-19T15:55"))
        load(empty, names[:7], at("2026-11-20T11:00"))
        found = stood(empty, at("2026-11-20T11:20")).data
        assert (found.names, found.fresh, found.is_stale) == (16, 7, True)
        assert found.share == 7 / 16
        assert found.judged_at == at("2026-11-20T11:00")
        assert found.as_of == at("2026-11-20T11:00")

    def test_half_of_them_is_enough_by_default(self, empty: Store) -> None:
        load(empty, sorted(MEMBERS)[:8], at("2026-11-20T11:00"))
        assert not stood(empty, at("2026-11-20T11:20")).data.is_stale
        assert stood(empty, at("2026-11-20T11:20"), min_coverage=0.6).data.is_stale

    def test_a_load_has_a_quarter_of_an_hour(self, empty: Store) -> None:
        load(empty, sorted(MEMBERS), at("2026-11-20T12:00"))
        assert not stood(empty, at("2026-11-20T13:14")).data.is_stale
        assert stood(empty, at("2026-11-20T13:15")).data.is_stale

    @pytest.mark.parametrize(
        "now",
        ["2026-11-21T12:00", "2026-11-23T09:00", "2026-11-23T09:35", "2026-11-23T10:14",
         "2026-11-26T12:00", "2026-11-20T16:00"],
        ids=["Saturday", "before the open", "just open", "first decision", "holiday", "closed"],
    )  # fmt: skip
    def test_nothing_is_stale_while_nothing_is_due(self, empty: Store, now: str) -> None:
        load(empty, sorted(MEMBERS), at("2026-11-12T15:55"))
        assert not stood(empty, at(now)).data.is_stale

    def test_after_the_first_decision_yesterdays_bars_are_stale(self, empty: Store) -> None:
        load(empty, sorted(MEMBERS), at("2026-11-19T16:00"))
        found = stood(empty, at("2026-11-20T10:15")).data
        assert (found.fresh, found.is_stale) == (0, True)

    def test_bars_that_were_stale_at_the_close_stay_an_alert_until_some_come(
        self, empty: Store
    ) -> None:
        load(empty, sorted(MEMBERS), at("2026-11-18T11:00"))
        assert watched(empty, "2026-11-17T16:30") == "", "no session: nothing is due"
        assert watched(empty, "2026-11-18T15:55") == "critical"
        for later in ("18T16:00", "18T22:00", "19T09:35", "19T10:14", "19T10:20", "19T16:05"):
            assert watched(empty, f"2026-11-{later}") == "critical"
        (alert,) = empty.alerts.open("")
        assert alert.opened_at == at("2026-11-18T15:55"), "one alert from its first day on"
        load(empty, sorted(MEMBERS), at("2026-11-19T15:30"))
        assert watched(empty, "2026-11-19T19:00") == "", "over when the bars came"

    def test_a_half_day_ends_with_its_last_decision(self, empty: Store) -> None:
        load(empty, sorted(MEMBERS), at("2026-11-27T11:30"))
        found = stood(empty, at("2026-11-27T12:50")).data
        assert (found.judged_at, found.is_stale) == (at("2026-11-27T12:00"), False)


class TestTrading:
    def test_a_halt_is_confirmed_once_the_broker_has_nothing_open(self, seeded: Store) -> None:
        seeded.states.set(NUMBER, TradingState.HALTED, "by hand", "monitor", NOW)
        found = stood(seeded).trading
        assert (found.state, found.reason, found.changed_by, found.since, found.is_confirmed) == (
            TradingState.HALTED, "by hand", "monitor", NOW, False,
        )  # fmt: skip
        seeded.states.confirm(NUMBER, NOW)
        assert stood(seeded).trading.is_confirmed

    def test_the_last_reconciliation_is_told(self, seeded: Store) -> None:
        assert stood(seeded).books is None
        for minutes, status in ((0, "equal"), (6, "differs")):
            seeded.reconciliations.record(
                Reconciliation(NUMBER, NOW + dt.timedelta(minutes=minutes), status,
                               Decimal("-1.50"), {"V": Decimal("0.25")}, {}, 3.0, "so it is")
            )  # fmt: skip
        found = stood(seeded).books
        assert found is not None
        assert (found.status, found.cash_diff, found.share_diffs) == (
            "differs", Decimal("-1.50"), {"V": Decimal("0.25")},
        )  # fmt: skip
        assert stood(seeded).as_json()["books"]["cash_diff"] == "-1.50"


class TestJobs:
    def ran(self, store: Store, job: str, when: str, status: str = "ok", message: str = "") -> None:
        store.books.record_run(f"{job}-{when}", job, at(when))
        if status != "running":
            store.books.finish_run(f"{job}-{when}", status, message, at(when))

    def job(self, store: Store, name: str, now: str) -> JobStatus:
        return next(j for j in job_statuses(store, deployed(), at(now)) if j.name == name)

    def test_nothing_is_missed_before_somebody_keeps_the_schedule(self, empty: Store) -> None:
        self.ran(empty, "update_account", "2026-11-20T10:01")
        assert not self.job(empty, "update-account", "2026-11-20T15:00").is_missed
        self.ran(empty, "alerts", "2026-11-20T15:00")
        assert not self.job(empty, "update-account", "2026-11-20T15:14").is_missed
        assert self.job(empty, "update-account", "2026-11-20T15:16").is_missed

    def test_a_run_that_began_since_it_was_due_and_ended_well_is_none_missed(
        self, empty: Store
    ) -> None:
        self.ran(empty, "alerts", "2026-11-20T09:00")
        self.ran(empty, "history", "2026-11-20T11:12")
        found = self.job(empty, "history", "2026-11-20T12:26")
        assert (found.due, found.last, found.is_missed) == (
            at("2026-11-20T11:12"), at("2026-11-20T11:12"), False,
        )  # fmt: skip
        assert self.job(empty, "history", "2026-11-20T12:27").is_missed

    def test_a_run_that_failed_or_never_ended_is_missed_and_says_why(self, empty: Store) -> None:
        self.ran(empty, "alerts", "2026-11-20T09:00")
        self.ran(empty, "history", "2026-11-20T11:12", "failed", "503 from the broker")
        found = self.job(empty, "history", "2026-11-20T11:30")
        assert (found.outcome, found.message) == ("failed", "503 from the broker")
        assert found.is_missed
        self.ran(empty, "history", "2026-11-20T11:31", "running")
        assert self.job(empty, "history", "2026-11-20T11:40").is_missed
        self.ran(empty, "history", "2026-11-20T11:41")
        assert not self.job(empty, "history", "2026-11-20T11:50").is_missed

    def test_a_failure_after_a_good_run_of_the_same_time_is_none_missed(self, empty: Store) -> None:
        self.ran(empty, "alerts", "2026-11-20T09:00")
        self.ran(empty, "history", "2026-11-20T11:12")
        self.ran(empty, "history", "2026-11-20T11:20", "failed", "later")
        found = self.job(empty, "history", "2026-11-20T11:40")
        assert (found.outcome, found.is_missed) == ("failed", False)

    def test_decisions_are_due_at_decision_times_only(self, empty: Store) -> None:
        self.ran(empty, "alerts", "2026-11-20T09:00")
        when = at("2026-11-20T15:00")
        empty.books.record_decision("decision_1.json", decision_of({}, when))
        for now in ("2026-11-21T12:00", "2026-11-23T10:16", "2026-11-20T16:30"):
            assert not self.job(empty, "allocate", now).is_missed
        assert self.job(empty, "allocate", "2026-11-23T10:17").is_missed
        assert self.job(empty, "allocate", "2026-11-26T12:00").is_missed  # since Wednesday
        wednesday = decision_of({}, at("2026-11-25T15:00"))
        empty.books.record_decision("decision_2.json", wednesday)
        assert not self.job(empty, "allocate", "2026-11-26T12:00").is_missed  # Thanksgiving
        half_day = decision_of({}, at("2026-11-27T12:00"))
        empty.books.record_decision("decision_3.json", half_day)
        assert not self.job(empty, "allocate", "2026-11-27T15:30").is_missed

    def test_what_leaves_no_trace_is_not_watched(self, empty: Store) -> None:
        self.ran(empty, "alerts", "2026-11-16T09:00")
        found = self.job(empty, "housekeeping", "2026-11-20T12:00")
        assert (found.is_watched, found.is_missed, found.last) == (False, False, None)

    def test_parts_of_a_job_are_one(self, empty: Store) -> None:
        names = [job.name for job in job_statuses(empty, deployed(), NOW)]
        assert len(names) == len(set(names))
        assert {"load-price-history", "catch-up", "alerts"} <= set(names)


@pytest.mark.parametrize(
    ("schedule", "now", "last"),
    [
        ("*/5 9-16 * * mon-fri", "2026-11-20T11:04", "2026-11-20T11:00"),
        ("*/5 9-16 * * mon-fri", "2026-11-20T11:05", "2026-11-20T11:05"),
        ("*/5 9-16 * * mon-fri", "2026-11-23T08:59", "2026-11-20T16:55"),
        ("12 10-16 * * mon-fri", "2026-11-22T23:00", "2026-11-20T16:12"),
        ("0 19 * * mon-fri", "2026-11-20T18:59", "2026-11-19T19:00"),
        ("30 1 * * sun", "2026-11-14T12:00", "2026-11-08T01:30"),
    ],
)
def test_a_jobs_last_time_is_the_last_that_has_come(schedule: str, now: str, last: str) -> None:
    job = Job("job", schedule, "monitor", "/job", NEW_YORK, "job")
    assert job.last_before(at(now)) == at(last)
    assert job.last_before(at(now)) == at(last)  # as it is remembered


def test_a_job_that_was_not_to_run_for_a_week_has_no_last_time() -> None:
    job = Job("yearly", "0 0 1 1 *", "monitor", "/job", NEW_YORK, "yearly")
    assert job.last_before(NOW) is None


def test_open_alerts_are_told_with_the_rest(seeded: Store) -> None:
    seeded.alerts.see(NUMBER, [Alert("stale-bars", "critical", "old")], NOW)
    assert [alert.key for alert in stood(seeded).alerts] == ["stale-bars"]
    assert stood(seeded).as_json()["alerts"][0]["opened_at"] == NOW.isoformat()


def test_a_year_of_five_minute_snapshots_is_gathered_in_fifty_milliseconds_of_cpu(
    seeded: Store,
) -> None:
    rng = range(19_656)
    positions = [Position(s, Decimal(10), 100.0, 90.0) for s in MEMBERS]
    account = Account(NUMBER, Decimal(1000), Decimal(17_000), Decimal(1000))
    text = json.dumps([{"symbol": p.symbol, "qty": "10", "price": 100.0} for p in positions])
    start = rows.seconds(NOW) - 300 * len(rng)
    summaries = [
        {"account": NUMBER, "at": start + 300 * i, "cash": "1000", "equity": "17000",
         "buying_power": "1000", "positions": text} for i in rng
    ]  # fmt: skip
    runs = [
        {"id": f"{job}-{i}", "job": job, "started_at": start + 300 * i, "finished_at": start,
         "status": "ok", "message": ""} for i in rng
        for job in ("update_account", "resume", "reconcile", "alerts")
    ]  # fmt: skip
    with seeded._dialect.writing("books") as connection:
        seeded._dialect.upsert(connection, schema.account_summary, summaries)
        seeded._dialect.upsert(connection, schema.runs, runs)
    seeded.books.record_account_summary(account, positions, NOW)
    stood(seeded)
    took = []
    for _ in range(9):
        began = time.process_time()
        stood(seeded)
        took.append(time.process_time() - began)
    assert statistics.median(took) < 0.05

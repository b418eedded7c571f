"""What needs somebody: which conditions a status meets, and what is told of them, when."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from astra.alerts import Notice, conditions, due, lines, notice
from astra.jobs import JobStatus
from astra.records import TradingState
from astra.status import Books, Data, Status, Trading
from astra.store import Store, schema
from astra.store.alerts import KEY_LENGTH, Alert, AlertRow
from astra.store.newest import DecisionRow, Rebalance

NOW = dt.datetime(2026, 11, 20, 17, 20, tzinfo=dt.UTC)  # 12:20 in New York
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
WELL = Status(
    account="PA1",
    at=NOW,
    paper=True,
    market="real",
    release="1",
    worth=None,
    data=Data(NOW, NOW.replace(minute=0), 100, 98, 0.5, is_open=True, is_stale=False),
    decision=DecisionRow("d", NOW, "measured", "nbeats-1", "hold", 0.0, ()),
    rebalance=Rebalance("target_1.csv", "done", "9 of 9 orders filled", NOW, {}),
    trading=Trading(TradingState.ACTIVE, "", "", None, is_confirmed=True),
    drift=None,
    books=Books(NOW, "equal", Decimal(0), {}, 0.0, "equal"),
    jobs=(),
    alerts=(),
)


def with_data(**changes: Any) -> Status:
    return replace(WELL, data=replace(WELL.data, **changes))


def with_job(name: str = "history", **changes: Any) -> Status:
    job = JobStatus(name, "0 * * * *", True, NOW - DAY, None, "", "", is_missed=True)
    return replace(WELL, jobs=(replace(job, **changes),))


def stopped(state: TradingState, since: dt.datetime = NOW, confirmed: bool = True) -> Status:
    trading = Trading(state, "3% lost in a day", "breaker", since, confirmed)
    return replace(WELL, trading=trading)


def keys(status: Status) -> list[str]:
    return [alert.key for alert in conditions(status)]


def test_nothing_needs_anybody_while_all_is_well() -> None:
    assert conditions(WELL) == ()
    assert conditions(replace(WELL, decision=None, rebalance=None, books=None)) == ()


@pytest.mark.parametrize(
    ("status", "key", "severity", "said"),
    [
        (with_data(is_stale=True, fresh=12), "stale-bars", "critical", "12 of 100 have any in"),
        (stopped(TradingState.HALTED), "trading-stopped:HALTED", "critical",
         "nothing is traded (breaker"),
        (stopped(TradingState.REDUCING), "trading-stopped:REDUCING", "critical",
         "only sales are sent"),
        (replace(WELL, books=replace(WELL.books, status="differs", message="by 3 USD")),
         "books-differ", "critical", "by 3 USD"),
        (replace(WELL, rebalance=replace(WELL.rebalance, status="refused", reason="expired")),
         "refused-plan:target_1.csv", "warning",
         "target_1.csv was refused and not traded to its end: expired"),
        (replace(WELL, rebalance=replace(WELL.rebalance, status="abandoned")),
         "refused-plan:target_1.csv", "warning", "abandoned"),
        (replace(WELL, decision=replace(WELL.decision, alarms=("inputs have drifted",))),
         "model-drift", "warning", "nbeats-1 are out of use: inputs have drifted"),
        (with_job(), "missed-run:history", "warning", "Thu 2026-11-19 12:20 New York, has left no"),
        (with_job(outcome="failed", message="503"), "missed-run:history", "warning", "fails: 503"),
        (with_job(outcome="running", last=NOW), "missed-run:history", "warning", "has not ended"),
    ],
)  # fmt: skip
def test_each_condition_is_an_alert(status: Status, key: str, severity: str, said: str) -> None:
    (alert,) = conditions(status)
    assert (alert.key, alert.severity) == (key, severity)
    assert said in alert.message


@pytest.mark.parametrize("status", ["superseded", "held", "received", "selling", "buying"])
def test_a_file_that_was_overtaken_or_is_under_way_needs_nobody(status: str) -> None:
    assert keys(replace(WELL, rebalance=replace(WELL.rebalance, status=status))) == []


def test_an_unconfirmed_halt_is_told_once_it_had_time_to_be_confirmed() -> None:
    assert keys(stopped(TradingState.HALTED, NOW - MINUTE, False)) == ["trading-stopped:HALTED"]
    late = stopped(TradingState.HALTED, NOW - 3 * MINUTE, False)
    assert keys(late) == ["trading-stopped:HALTED", "halt-unconfirmed"]


def test_the_longest_name_of_a_file_makes_a_key_that_can_be_kept() -> None:
    longest = replace(WELL.rebalance, object=f"target_{'x' * 189}.csv", status="refused")
    (key,) = keys(replace(WELL, rebalance=longest))
    assert len(key) == KEY_LENGTH == schema.alerts.c.key.type.length


def test_a_look_does_not_complain_of_itself() -> None:
    assert keys(with_job("alerts")) == []


def test_the_critical_ones_come_first() -> None:
    both = replace(with_job(), data=replace(WELL.data, is_stale=True))
    assert keys(both) == ["stale-bars", "missed-run:history"]


def test_alerts_of_an_account_carry_its_number_and_others_none() -> None:
    found = conditions(
        replace(with_data(is_stale=True), trading=stopped(TradingState.HALTED).trading)
    )
    assert [alert.account for alert in found] == ["", "PA1"]


class TestTelling:
    ROW = AlertRow("k", "critical", "it is so", "PA1", opened_at=NOW, seen_at=NOW)

    @pytest.mark.parametrize(
        ("changes", "after", "is_told"),
        [
            ({}, MINUTE, True),
            ({"told_at": NOW}, MINUTE, False),
            ({"told_at": NOW}, DAY - MINUTE, False),
            ({"told_at": NOW}, DAY, True),
            ({"told_at": NOW, "closed_at": NOW}, MINUTE, True),
        ],
        ids=["new", "told", "told for long", "a day later", "over"],
    )
    def test_it_is_told_once_again_after_a_day_and_when_it_is_over(
        self, changes: dict[str, Any], after: dt.timedelta, is_told: bool
    ) -> None:
        row = replace(self.ROW, **changes)
        assert due([row], NOW + after) == ((row,) if is_told else ())

    def test_one_notice_tells_them_all(self) -> None:
        rows = [
            self.ROW,
            replace(self.ROW, severity="warning", told_at=NOW),
            replace(self.ROW, told_at=NOW, closed_at=NOW + MINUTE),
        ]
        found = notice(rows, WELL)
        assert found.subject == "ASTrA: 1 critical, 1 warning, 1 over (paper account PA1)"
        assert found.lines == (
            "critical: it is so",
            "warning: it is so (still, since Fri 2026-11-20 12:20 New York)",
            "over since Fri 2026-11-20 12:21 New York: it is so (began Fri 2026-11-20 12:20 "
            "New York)",
        )

    def test_what_follows_at_once_is_told_and_not_that_the_one_before_is_over(
        self, store: Store
    ) -> None:
        told = []
        steps = [
            stopped(TradingState.REDUCING),
            stopped(TradingState.HALTED, NOW + MINUTE),
            stopped(TradingState.HALTED, NOW + MINUTE),
            WELL,
        ]
        for minute, status in enumerate(steps):
            at = NOW + minute * MINUTE
            store.alerts.see("PA1", conditions(status), at)
            if rows := due(store.alerts.to_tell("PA1"), at):
                told.append(notice(rows, status))
                store.alerts.mark_told(rows, at)
        began, worse, over = told
        assert began.subject.startswith("ASTrA: 1 critical (")
        assert worse.subject.startswith("ASTrA: 1 critical (")
        assert [line.split(" since")[0] for line in worse.lines] == ["critical: trading is HALTED"]
        assert over.subject.startswith("ASTrA: 1 over (")
        assert "trading is HALTED" in over.lines[0]

    def test_each_refused_file_is_told_and_the_last_one_is_over(self, store: Store) -> None:
        told: list[str] = []
        for hour, why in enumerate(["expired", "over the limit in NVDA", "over the limit in NVDA"]):
            refused = replace(
                WELL.rebalance, object=f"target_{hour}.csv", status="refused", reason=why
            )
            at = NOW + hour * 60 * MINUTE
            store.alerts.see("PA1", conditions(replace(WELL, rebalance=refused)), at)
            rows = due(store.alerts.to_tell("PA1"), at)
            told += lines(rows)
            store.alerts.mark_told(rows, at)
        assert [line.partition(" was ")[0] for line in told] == [
            "warning: target_0.csv", "warning: target_1.csv", "warning: target_2.csv",
        ]  # fmt: skip

    def test_one_that_is_kept_under_the_key_of_an_earlier_release_is_not_told_to_be_over(
        self, store: Store
    ) -> None:
        earlier = replace(conditions(stopped(TradingState.HALTED))[0], key="trading-stopped")
        store.alerts.see("PA1", [earlier], NOW)
        store.alerts.mark_told(store.alerts.to_tell("PA1"), NOW)
        store.alerts.see("PA1", conditions(stopped(TradingState.HALTED)), NOW + MINUTE)
        rows = due(store.alerts.to_tell("PA1"), NOW + MINUTE)
        assert [line.partition(":")[0] for line in lines(rows)] == ["critical"]

    def test_another_jobs_run_that_is_missed_does_not_hide_that_one_is_over(self) -> None:
        over = replace(self.ROW, key="missed-run:history", told_at=NOW, closed_at=NOW)
        assert len(lines([over, replace(self.ROW, key="missed-run:allocate")])) == 2

    @pytest.mark.parametrize(
        ("market", "paper", "said"),
        [
            ("simulated:1", True, "(paper account PA1, SIMULATED market)"),
            ("replay:ab", True, "(paper account PA1, REPLAYED market)"),
            ("real", False, "(REAL MONEY account PA1)"),
        ],
    )
    def test_a_notice_says_in_which_market(self, market: str, paper: bool, said: str) -> None:
        found = notice([self.ROW], replace(WELL, market=market, paper=paper))
        assert found.subject.endswith(said)

    def test_slack_gets_its_three_characters_escaped(self) -> None:
        assert Notice("a & b", ("gain 0.4 bp < cost 3.5 bp",)).slack == (
            "a &amp; b\ngain 0.4 bp &lt; cost 3.5 bp"
        )


class TestKeeping:
    ONE, TWO = Alert("one", "critical", "first", "PA1"), Alert("two", "warning", "second")

    def test_an_alert_is_opened_once_and_closed_when_it_is_over(self, store: Store) -> None:
        assert store.alerts.see("PA1", [self.ONE, self.TWO], NOW) == 2
        assert store.alerts.see("PA1", [self.ONE, self.TWO], NOW + MINUTE) == 0
        found = store.alerts.open("PA1")
        assert [(a.key, a.opened_at, a.seen_at) for a in found] == [
            ("one", NOW, NOW + MINUTE), ("two", NOW, NOW + MINUTE),
        ]  # fmt: skip
        assert store.alerts.see("PA1", [self.TWO], NOW + 2 * MINUTE) == 1
        assert [a.key for a in store.alerts.open("PA1")] == ["two"]
        assert len(store.books.read("alerts")) == 2

    def test_it_says_what_is_so_now(self, store: Store) -> None:
        store.alerts.see("PA1", [self.ONE], NOW)
        other = replace(self.ONE, message="worse")
        assert store.alerts.see("PA1", [other], NOW + MINUTE) == 1
        (row,) = store.alerts.open("PA1")
        assert (row.message, row.opened_at) == ("worse", NOW)

    def test_one_that_comes_back_is_another_row(self, store: Store) -> None:
        for minute, found in enumerate([[self.ONE], [], [self.ONE]]):
            store.alerts.see("PA1", found, NOW + minute * MINUTE)
        assert [a.opened_at for a in store.alerts.open("PA1")] == [NOW + 2 * MINUTE]
        assert len(store.books.read("alerts")) == 2

    def test_one_that_comes_back_within_its_second_goes_on(self, store: Store) -> None:
        for found in ([self.ONE], [], [self.ONE]):
            store.alerts.see("PA1", found, NOW)
        assert [a.key for a in store.alerts.open("PA1")] == ["one"]

    def test_another_accounts_alerts_stay(self, store: Store) -> None:
        store.alerts.see("PA1", [self.ONE, self.TWO], NOW)
        store.alerts.see("PA2", [], NOW + MINUTE)
        assert [a.key for a in store.alerts.open("PA1")] == ["one"]
        assert store.alerts.open("PA2") == ()

    def test_what_was_told_is_not_to_be_told_and_its_end_is(self, store: Store) -> None:
        store.alerts.see("PA1", [self.ONE, self.TWO], NOW)
        one, two = store.alerts.to_tell("PA1")
        store.alerts.mark_told([one], NOW)
        store.alerts.see("PA1", [], NOW + MINUTE)
        over = store.alerts.to_tell("PA1")
        assert [(a.key, a.is_open) for a in over] == [("one", False)]  # two was never told
        store.alerts.mark_told(over, NOW + MINUTE)
        assert store.alerts.to_tell("PA1") == ()
        assert two.told_at is None

    def test_only_news_count_as_a_change_of_the_books(self, store: Store) -> None:
        store.alerts.see("PA1", [self.ONE], NOW)
        before = store.versions()["books"]
        store.alerts.see("PA1", [self.ONE], NOW + MINUTE)
        assert store.versions()["books"] == before
        store.alerts.see("PA1", [], NOW + MINUTE)
        assert store.versions()["books"] > before

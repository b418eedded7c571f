"""The harness itself: its seeds repeat, its judge sees, its report says what held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from benchmarks.chaos import judge
from benchmarks.chaos.cases import Cases
from benchmarks.chaos.house import START, House, dropped
from benchmarks.chaos.lives import Life
from benchmarks.chaos.plans import CHANGED, EXACT, Case, draw
from benchmarks.chaos.points import Killed, Points
from benchmarks.chaos.report import Report
from benchmarks.chaos.trial import Verdict
from benchmarks.chaos.work import Result

HELD = {"AAPL": 0.5, "JPM": 0.4}
ASKED = {"BRK.B": 0.45, "JPM": 0.2}
KINDS = EXACT + CHANGED


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("chaos")) as house:
        yield house


@pytest.fixture(scope="module")
def cases(house: House) -> Cases:
    return Cases(house)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_trouble_violates_nothing(cases: Cases, kind: str) -> None:
    seed = next(seed for seed in range(1000) if draw(seed).kind == kind)
    verdict = cases.run(draw(seed))
    assert not verdict.wrong, f"seed {seed}, died {verdict.deaths}: {verdict.wrong}"


def test_a_seed_draws_the_same_case_again() -> None:
    assert draw(7) == draw(7)
    assert len({repr(replace(draw(seed), seed=0)) for seed in range(100)}) > 90


def test_every_kind_is_drawn() -> None:
    assert {draw(seed).kind for seed in range(2000)} == set(KINDS)


def test_a_case_begins_on_the_same_account_as_the_one_before(house: House) -> None:
    found = []
    for _ in range(2):
        place = house.begin(HELD)
        found.append(judge.Outcome.of(house.broker))
        with Life(place) as life:
            assert life.executor.execute(dropped(ASKED, START, 2)).status == "done"
    assert found[0] == found[1]
    assert found[0].positions.keys() == HELD.keys()


def test_a_dead_worker_does_nothing_more() -> None:
    points = Points(1)
    points.reach("before commit")
    for _ in range(2):
        with pytest.raises(Killed, match="after commit"):
            points.reach("after commit")
    with pytest.raises(Killed):
        points.check()
    assert points.passed == ["before commit", "after commit"]


def test_the_judge_sees_a_share_and_a_cent_too_much(cases: Cases) -> None:
    calm = cases.calm(HELD, ASKED).outcome
    assert judge.against_calm(calm, calm) == []
    more = {**calm.positions, "JPM": calm.positions["JPM"] + Decimal("1e-9")}
    assert len(judge.against_calm(replace(calm, positions=more), calm)) == 1
    assert len(judge.against_calm(replace(calm, cash=calm.cash + Decimal("0.001")), calm)) == 1
    twice = {key: 2 * qty for key, qty in calm.filled.items()}
    assert len(judge.against_calm(replace(calm, filled=twice), calm)) == len(twice)


def test_the_judge_sees_what_was_sold_short_and_bought_without_money(cases: Cases) -> None:
    calm = cases.calm(HELD, ASKED).outcome
    assert judge.always(calm) == []
    assert len(judge.always(replace(calm, shorted=frozenset({"JPM"})))) == 1
    assert len(judge.always(replace(calm, least_cash=Decimal("-0.01")))) == 1


def test_the_judge_sees_books_that_lack_a_line(house: House) -> None:
    place = house.begin(HELD)
    with Life(place) as life:
        life.executor.execute(dropped(ASKED, START, 2))
        broker = life.desk.broker
        account, lines = broker.account().number, list(broker.activities())
        life.store.books.record_activities(account, lines)
        assert judge.books(house.broker, life.store) == []
        house.broker.books.book(replace(house.broker.books.lines[-1], key="again"))
        assert len(judge.books(house.broker, life.store)) == 2  # shares and cash


def test_the_report_tells_the_seed_to_repeat_and_does_not_hold() -> None:
    fine = Verdict(Case(3, "killed", HELD, ASKED), deaths=["after commit"], deliveries=2)
    report = Report(mutants={"random order id": 4})
    report.add(Result("aborted", [fine]))
    assert report.holds
    assert "duplicates       0" in report.text()
    assert "books equal      all" in report.text()
    report.add(Result("killed", [fine], wrong=[(3, "x-JPM-buy has traded 2, 1 in the calm run")]))
    assert not report.holds
    assert "--how killed --seed 3" in report.text()
    assert report.as_json()["duplicates"] == 1


def test_a_mutant_that_was_not_caught_does_not_hold() -> None:
    assert not Report(mutants={"random order id": None}).holds

"""The harness itself: its seeds repeat, its judge sees, its report says what held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.chaos import judge
from benchmarks.chaos.cases import Cases
from benchmarks.chaos.command import main
from benchmarks.chaos.house import START, House, dropped
from benchmarks.chaos.lives import Life
from benchmarks.chaos.plans import CHANGED, EXACT, STYLED, Case, draw
from benchmarks.chaos.points import Killed, Points
from benchmarks.chaos.report import Report
from benchmarks.chaos.verdict import Verdict
from benchmarks.chaos.work import Result

HELD = {"AAPL": 0.24, "JPM": 0.22}
ASKED = {"BRK.B": 0.23, "JPM": 0.1}
KINDS = EXACT + CHANGED


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("chaos")) as house:
        yield house


@pytest.fixture(scope="module")
def cases(house: House) -> Cases:
    return Cases(house)


@pytest.mark.parametrize("style", ["limit", "twap"])
@pytest.mark.parametrize("kind", STYLED)
def test_orders_that_are_limited_or_sliced_end_as_in_the_calm_run(
    cases: Cases, kind: str, style: str
) -> None:
    seed = next(seed for seed in range(1000) if draw(seed).kind == kind)
    verdict = cases.run(replace(draw(seed), style=style))
    assert not verdict.wrong, f"seed {seed}, died {verdict.deaths}: {verdict.wrong}"


def test_a_worker_dies_in_any_of_the_calls_that_slices_take(cases: Cases) -> None:
    calm = cases.calm(HELD, ASKED, "twap")
    assert calm.points.count("after POST /v2/orders") == 3 * 3  # slices of two sells and a buy
    for kill in (0.2, 0.5, 0.8):
        verdict = cases.run(Case(0, "resumed", HELD, ASKED, (kill,), style="twap"))
        assert verdict.deaths == [calm.points[int(kill * len(calm.points))]]
        assert not verdict.wrong


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


def test_a_broker_at_hand_answers_as_over_its_port(tmp_path: Path, cases: Cases) -> None:
    with House(tmp_path, is_at_hand=True) as house:
        near, far = Cases(house).calm(HELD, ASKED), cases.calm(HELD, ASKED)
    assert near.points == far.points
    assert near.outcome.positions == far.outcome.positions


def test_the_judge_sees_a_name_that_was_not_traded_and_has_no_reason(
    house: House, cases: Cases
) -> None:
    calm = cases.calm(HELD, ASKED).outcome
    key = next(key for key in calm.filled if key.endswith("BRK.B-buy"))
    allocation = key.partition("-")[0]
    short = replace(calm, filled={k: qty for k, qty in calm.filled.items() if k != key})
    place = house.begin(HELD)
    with Life(place) as life:
        life.executor.execute(dropped(ASKED, START, 2))
        assert judge.unexplained(life.store, allocation, calm, calm) == []
        assert len(judge.unexplained(life.store, allocation, short, calm)) == 1


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "5 % as many are killed" in " ".join(capsys.readouterr().out.split())

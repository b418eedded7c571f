"""A worker killed at any point, and the platform's redelivery, lead where no death would have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.chaos.cases import Cases
from benchmarks.chaos.forks import call_forked
from benchmarks.chaos.house import House
from benchmarks.chaos.plans import FORKED, Case, draw

# Both phases are met, with two sells; all that is held and asked for is three names.
HELD = {"AAPL": 0.24, "JPM": 0.22}
ASKED = {"BRK.B": 0.23, "JPM": 0.1}
PARTS = 4  # of the points, so that several cores can share them


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """Cases whose workers are processes that are really killed."""
    with House(tmp_path_factory.mktemp("chaos")) as house:
        yield Cases(house, call_forked)


@pytest.mark.parametrize("part", range(PARTS))
def test_sigkill_at_every_point_leads_to_the_positions_of_a_calm_run(
    killed: Cases, part: int
) -> None:
    calm = killed.calm(HELD, ASKED)
    points = calm.points
    assert {key.rpartition("-")[2] for key in calm.outcome.filled} == {"buy", "sell"}
    assert {"before commit", "after commit", "before POST /v2/orders"} <= set(points)
    mine, met = range(part, len(points), PARTS), []
    for number in mine:
        verdict = killed.run(Case(number, "killed", HELD, ASKED, ((number + 0.5) / len(points),)))
        assert not verdict.wrong, f"killed {verdict.deaths}: {verdict.wrong}"
        met += verdict.deaths
    assert met == [points[number] for number in mine]  # each exactly once, and nobody died unasked


@pytest.mark.parametrize("seeds", [range(first, 50, 5) for first in range(5)])
def test_sigkill_among_random_faults_violates_nothing(killed: Cases, seeds: range) -> None:
    for seed in seeds:
        verdict = killed.run(draw(seed, FORKED))
        assert not verdict.wrong, f"{verdict.case}, killed {verdict.deaths}: {verdict.wrong}"

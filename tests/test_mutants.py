"""The harness catches workers that trade twice or not at all; else its silence proves nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.chaos.cases import Cases
from benchmarks.chaos.house import House
from benchmarks.chaos.mutants import MUTANTS, planted
from benchmarks.chaos.plans import Case
from benchmarks.chaos.work import shows

# Dead right after the first order has left: one of two sells, of so little that the gate would let
# it pass twice.
HELD = {"AAPL": 0.2, "JPM": 0.2, "KO": 0.2, "XOM": 0.2}
ASKED = {"AAPL": 0.15, "BRK.B": 0.2, "JPM": 0.15, "KO": 0.2, "XOM": 0.2}
CASE = Case(0, "killed", HELD, ASKED, ("after POST /v2/orders",))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    with House(tmp_path_factory.mktemp("mutants")) as house:
        yield Cases(house)


def test_the_real_code_passes_where_the_mutants_are_caught(cases: Cases) -> None:
    verdict = cases.run(CASE)
    assert verdict.deaths == ["after POST /v2/orders"]
    assert not verdict.wrong


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_harness_catches_the_mutant(cases: Cases, mutant: str) -> None:
    cases.calm(CASE.held, CASE.weights)  # by the real code
    with planted(mutant):
        verdict = cases.run(CASE)
    assert verdict.deaths == ["after POST /v2/orders"]
    assert shows(verdict), f"cash and positions were right, found {verdict.wrong}"

"""The gate's own error rates: `make null-test` in short, and the gate on pure noise."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import null_test
from model.forecast.skill import judge

DEVIATION = 0.06  # of a day's mean rank IC over sixty names, as in the simulated market


def gate_is_on(mean: float, paths: int, days: int) -> float:
    """Share of `paths` of independent days whose gate is on after the last one."""
    rng = np.random.default_rng(5)
    daily = mean + DEVIATION * rng.standard_normal((paths, days))
    return float(np.mean([judge(path, 0).on for path in daily]))


@pytest.mark.parametrize("days", [30, 36, 41])
def test_noise_opens_the_gate_on_at_most_five_days_of_a_hundred(days: int) -> None:
    assert 0.01 < gate_is_on(0.0, 3000, days) <= 0.05


def test_half_of_the_planted_edge_opens_it_more_often_than_not() -> None:
    assert gate_is_on(0.02, 500, 40) > 0.5
    assert gate_is_on(0.03, 500, 40) > 0.85


def test_skill_finds_what_is_planted_and_mostly_nothing_else() -> None:
    """Ten markets of each kind; the rates themselves take `make null-test`."""
    kinds = {0.0: null_test.NULL_SEEDS, null_test.EDGE: null_test.EDGE_SEEDS}
    on = {
        edge: sum(
            null_test.states(null_test.daily_ics(seed, edge, null_test.DAYS))[-1]
            for seed in range(first, first + 10)
        )
        for edge, first in kinds.items()
    }
    assert on[0.0] <= 2 and on[null_test.EDGE] >= 6


def test_the_rates_and_their_intervals() -> None:
    days = [[False] * 29 + [True] * 11, [False] * 40]
    assert null_test.share_of_days(days).share == 0.5
    end = null_test.share_of_markets(days, 40)
    assert (end.share, end.of) == (0.5, 2)
    assert (end.low, end.high) == pytest.approx((0.0126, 0.9874), abs=1e-4)


def test_the_written_rates_hold_their_targets() -> None:
    written = json.loads(Path(null_test.RESULTS).read_text())
    quiet, planted = written["nothing_planted"], written["planted"]
    assert quiet["days_on"]["share"] <= quiet["days_on_target"] == 0.05
    assert planted["on_after_40_days"]["share"] >= planted["on_after_40_days_target"] == 0.8
    assert quiet["days_on"]["of"] == planted["on_after_40_days"]["of"] >= 200

"""Statistics of backtests against published numbers, hand calculations and simulated markets."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.deflated import deflated_sharpe, probabilistic_sharpe
from astra.errors import DataError
from astra.performance import moments
from model.backtest.statistics import overfitting


def trials(n: int, variance: float) -> list[float]:
    """n numbers of this sample variance."""
    spread = np.linspace(-1, 1, n)
    return list(spread * math.sqrt(variance / spread.var(ddof=1)))


@pytest.mark.parametrize(
    ("skew", "kurtosis", "probability"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)]
)
def test_the_published_probabilistic_sharpe_ratio(
    skew: float, kurtosis: float, probability: float
) -> None:
    # Bailey and Lopez de Prado (2012): two years of months, a Sharpe ratio of 0.458 a month.
    found = probabilistic_sharpe(0.458, 24, skew, kurtosis)
    assert found == pytest.approx(probability, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "skew", "kurtosis", "probability"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_published_deflated_sharpe_ratio(
    n: int, skew: float, kurtosis: float, probability: float
) -> None:
    # Bailey and Lopez de Prado (2014): 2.5 a year over five years of 250 days, trials that vary
    # by 1/2 a year; 0.95 only if there had been 46 trials, or 88 with normal returns.
    found = deflated_sharpe(2.5 / math.sqrt(250), 1250, skew, kurtosis, trials(n, 0.5 / 250))
    assert found.probability == pytest.approx(probability, abs=5e-5)
    assert found.trials == n


def test_the_published_maximum_of_a_hundred_trials() -> None:
    found = deflated_sharpe(0.1581, 1250, -3, 10, trials(100, 0.5 / 250))
    assert found.expected_maximum == pytest.approx(0.1132, abs=5e-5)


def test_the_expected_maximum_is_that_of_simulated_trials_without_skill() -> None:
    rng = np.random.default_rng(0)
    best = rng.normal(0, 0.05, (20_000, 24)).max(axis=1).mean()
    found = deflated_sharpe(0.1, 500, 0, 3, trials(24, 0.05**2))
    assert found.expected_maximum == pytest.approx(float(best), rel=0.02)


def test_a_single_trial_is_not_deflated_and_nan_ones_are_not_counted() -> None:
    alone = deflated_sharpe(0.1, 300, -1, 5, [0.1])
    assert alone.expected_maximum == 0
    assert alone.probability == probabilistic_sharpe(0.1, 300, -1, 5)
    some = deflated_sharpe(0.1, 300, -1, 5, [0.1, math.nan, 0.02])
    assert some == deflated_sharpe(0.1, 300, -1, 5, [0.1, 0.02])
    assert some.trials == 2
    assert some.probability < alone.probability


def test_what_has_no_moments_has_no_deflated_ratio() -> None:
    flat = moments(np.full(9, 7.0))
    found = deflated_sharpe(flat.step_sharpe, flat.steps, flat.skew, flat.kurtosis, [0.1, 0.2])
    assert math.isnan(found.probability)
    assert math.isnan(probabilistic_sharpe(0.1, 1, 0, 3))


def test_the_deflated_ratio_of_the_best_of_noise_is_no_evidence() -> None:
    rng = np.random.default_rng(3)
    probabilities = []
    for _ in range(150):
        walks = rng.normal(0, 0.01, (250, 24))
        found = [moments(np.cumprod(np.append(1.0, 1 + w))) for w in walks.T]
        ratios = [m.step_sharpe for m in found]
        best = found[int(np.argmax(ratios))]
        probabilities.append(
            deflated_sharpe(best.step_sharpe, best.steps, best.skew, best.kurtosis, ratios)
        )
    over = np.mean([p.probability > 0.95 for p in probabilities])
    assert over < 0.05
    assert np.mean([p.probability for p in probabilities]) == pytest.approx(0.5, abs=0.1)


def test_two_halves_by_hand() -> None:
    first, second = np.array([[0.02, 0.0], [0.01, 0.01]]), np.array([[0.01, 0.03], [-0.02, 0.02]])
    turned = overfitting(np.vstack([first, second]), blocks=2)
    assert turned.probability == 1  # the better of one half is the worse of the other
    assert turned.logits.tolist() == pytest.approx([-math.log(2)] * 2)
    assert turned.loss == 0.5  # the first loses in the second half
    # Sharpe ratios of the first half: .015 / .00707 and .005 / .00707; of the second -.005 / .0212
    # and .025 / .00707.
    assert turned.chosen_sharpe == pytest.approx((1.5 + 2.5) / 2 * math.sqrt(2))
    assert turned.later_sharpe == pytest.approx((-0.005 / 0.03 + 0.5) / 2 * math.sqrt(2))
    stayed = overfitting(np.vstack([first, first]), blocks=2)
    assert stayed.probability == 0
    assert stayed.logits.tolist() == pytest.approx([math.log(2)] * 2)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.sampled_from([2, 4, 6]))
def test_the_splits_are_those_of_a_plain_loop(seed: int, names: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    walks = 0.01 + rng.normal(0, 0.002, (int(rng.integers(2 * blocks, 40)), names))
    parts = np.split(walks[len(walks) % blocks :], blocks)
    below = []
    for half in combinations(range(blocks), blocks // 2):
        here, there = (
            np.vstack([part for i, part in enumerate(parts) if (i in half) is inside])
            for inside in (True, False)
        )
        best = (here.mean(axis=0) / here.std(axis=0, ddof=1)).argmax()
        judged = there.mean(axis=0) / there.std(axis=0, ddof=1)
        rank = (judged <= judged[best]).sum()
        below.append(float(np.sign((names + 1) / 2 - rank) + 1) / 2)
    assert overfitting(walks, blocks).probability == pytest.approx(np.mean(below))


def test_noise_is_overfitted_in_half_of_all_splits() -> None:
    rng = np.random.default_rng(1)
    for names in (2, 9):
        found = [overfitting(rng.normal(0, 0.01, (240, names))).probability for _ in range(200)]
        assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_one_truly_better_strategy_is_not_overfitted() -> None:
    rng = np.random.default_rng(2)
    walks = rng.normal(0, 0.01, (600, 24))
    walks[:, 7] += 0.004
    found = overfitting(walks)
    assert found.probability < 0.01
    assert found.loss < 0.01
    assert len(found.logits) == 252
    assert found.chosen_sharpe == pytest.approx(0.4, abs=0.1)
    assert found.later_sharpe == pytest.approx(0.4, abs=0.1)


def test_a_rising_tide_is_no_reason_to_choose_one_boat() -> None:
    rng = np.random.default_rng(4)
    found = [overfitting(0.003 + rng.normal(0, 0.01, (200, 8))) for _ in range(100)]
    assert np.mean([f.probability for f in found]) == pytest.approx(0.5, abs=0.07)
    assert np.mean([f.loss for f in found]) < 0.05


def test_strategies_that_are_all_the_same_are_neither_skill_nor_overfitting() -> None:
    one = np.random.default_rng(0).normal(0, 0.01, (40, 1))
    assert overfitting(np.repeat(one, 5, axis=1), blocks=4).probability == 0.5
    assert overfitting(np.zeros((40, 3)), blocks=4).probability == 0.5


@pytest.mark.parametrize(
    ("shape", "blocks"), [((40, 1), 4), ((40, 3), 5), ((7, 3), 4), ((40, 3), 0), ((40,), 4)]
)
def test_what_cannot_be_split_is_refused(shape: tuple[int, ...], blocks: int) -> None:
    with pytest.raises(DataError, match="even number of blocks"):
        overfitting(np.zeros(shape), blocks)


def test_a_cross_validation_of_unknown_returns_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        overfitting(np.full((40, 2), math.nan), 4)

"""At most k names: against every subset for small n, and the certificate against the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astra.errors import DataError
from model.portfolio.certificate import tighter_bound
from model.portfolio.limits import (
    Limits,
    best_capacity,
    capacity,
    pick,
    sector_codes,
    trim,
    validate_weights,
)
from model.portfolio.problem import bound, prepare
from model.portfolio.sharpe import solve
from model.portfolio.top_k import max_sharpe, minimum_variance

Floats = NDArray[np.float64]


def market(n: int, seed: int, ic: float = 0.02) -> tuple[Floats, Floats, Floats, list[str]]:
    """Means, a covariance R + diag(d), d, and sectors."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.4, (n, 4))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    noise = 1e-5 * rng.uniform(0.5, 3.0, n)
    covariance = 1e-5 * loadings @ loadings.T + np.diag(noise)
    mean = 3e-5 + ic * np.sqrt(np.diag(covariance)) * rng.standard_normal(n)
    return mean, covariance, noise, [f"s{i}" for i in rng.integers(0, 4, n)]


def best_of_all_subsets(
    mean: Floats, covariance: Floats, sectors: list[str], limits: Limits
) -> float:
    """The highest Sharpe ratio of any k names that can hold as much as the best k names can."""
    codes = sector_codes(sectors, limits)
    goal, best = best_capacity(codes, limits), -np.inf
    for names in itertools.combinations(range(len(mean)), limits.k):
        part = list(names)
        if capacity(codes[part], limits) < goal - 1e-9:
            continue
        found = max_sharpe(
            mean[part], covariance[np.ix_(part, part)], [sectors[i] for i in part], limits
        )
        best = max(best, found.sharpe)
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "limits",
    [
        Limits(3, 1.0, 1.0, 0.0), Limits(4, 0.4, 0.6, 0.02),
        Limits(4, 0.4, 0.6, 0.02).beside({"s1": 0.6, "s2": 0.35}),
    ],
    ids=["without caps", "with caps", "beside others"],
)  # fmt: skip
def test_the_certificate_covers_the_best_of_all_subsets(seed: int, limits: Limits) -> None:
    mean, covariance, noise, sectors = market(9, seed)
    found = max_sharpe(mean, covariance, sectors, limits, noise)
    truth = best_of_all_subsets(mean, covariance, sectors, limits)
    assert found.sharpe <= truth * (1 + 1e-9)
    assert truth <= found.sharpe * (1 + found.bound_gap) * (1 + 1e-9)
    assert found.sharpe >= 0.995 * truth


def test_twenty_of_two_hundred_are_certified_closely() -> None:
    for seed in range(3):
        mean, covariance, noise, sectors = market(200, seed)
        found = max_sharpe(mean, covariance, sectors, Limits(), noise)
        assert (found.weights > 0).sum() <= 20
        assert found.bound_gap < 0.01


def test_a_known_diagonal_makes_the_bound_tighter_than_the_full_solution() -> None:
    mean, covariance, noise, sectors = market(60, 1, ic=0.0)
    limits = Limits(k=6, max_weight=0.5, max_sector_weight=1.0)
    found = max_sharpe(mean, covariance, sectors, limits, noise)
    everything = max_sharpe(mean, covariance, sectors, Limits(60, 0.5, 1.0), noise)
    assert found.sharpe * (1 + found.bound_gap) < everything.sharpe * 0.99


def test_the_closer_look_tightens_the_bound_and_stays_above_the_truth() -> None:
    limits = Limits(k=3, max_weight=0.5, max_sector_weight=1.0, cash_floor=0.0)
    tightened = 0
    for seed in range(5):
        mean, covariance, noise, sectors = market(10, seed, ic=0.002)
        codes = sector_codes(sectors)
        problem = prepare(mean, covariance, codes, limits, 1.0, 0.2 * noise)
        point = solve(problem)
        assert point is not None
        first, second = bound(problem, point, 3), tighter_bound(problem, point, 3, 0.0)
        unit = float(mean.max()) / np.sqrt(covariance.trace() / 10)
        truth = best_of_all_subsets(mean, covariance, sectors, limits) / unit
        assert truth <= second * (1 + 1e-9)
        tightened += int(second < first * (1 - 1e-4))
    assert tightened >= 4


def test_a_diagonal_that_is_none_is_not_believed() -> None:
    mean, covariance, noise, sectors = market(30, 2)
    honest = max_sharpe(mean, covariance, sectors, Limits(k=5, max_weight=0.5), noise)
    claimed = max_sharpe(mean, covariance, sectors, Limits(k=5, max_weight=0.5), noise * 50)
    assert claimed.sharpe * (1 + claimed.bound_gap) >= honest.sharpe


def test_minimum_variance_of_k_names_is_bounded_by_the_variance_of_all() -> None:
    _, covariance, noise, sectors = market(120, 4)
    few = minimum_variance(covariance, sectors, Limits(k=12), noise)
    every = minimum_variance(covariance, sectors, Limits(k=120), noise)
    volatility = [float(np.sqrt(f.weights @ covariance @ f.weights)) for f in (few, every)]
    assert volatility[0] >= volatility[1]
    assert volatility[0] / (1 + few.bound_gap) >= volatility[1] * (1 - 1e-9)


def test_the_kept_names_are_changed_until_the_caps_let_them_hold_enough() -> None:
    codes = np.array([0, 0, 0, 0, 1, 2], np.int64)
    limits = Limits(k=3, max_weight=0.3, max_sector_weight=0.3, cash_floor=0.0)
    picked = pick(np.arange(6), codes, limits, 3, best_capacity(codes, limits))
    assert list(picked) == [0, 4, 5]


def test_preferences_stand_where_the_caps_do_not_bind() -> None:
    codes = np.zeros(6, np.int64)
    limits = Limits(k=2, max_weight=0.5, max_sector_weight=1.0, cash_floor=0.0)
    picked = pick(np.array([5, 3, 1, 0, 2, 4]), codes, limits, 2, 1.0)
    assert list(picked) == [5, 3]


def test_a_name_without_a_sector_is_bound_by_its_own_cap_only() -> None:
    codes = sector_codes(["", "tech", "", "tech"])
    assert len(set(codes.tolist())) == 3
    limits = Limits(k=4, max_weight=0.3, max_sector_weight=0.3, cash_floor=0.0)
    assert capacity(codes, limits) == pytest.approx(0.9)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 4), st.integers(0, 999), st.sampled_from([0.1, 0.25, 0.6]),
    st.sampled_from([0.0, 0.07, 0.3]),
)  # fmt: skip
def test_the_closed_form_of_what_k_names_can_hold_is_the_best_of_all_subsets(
    n: int, k: int, seed: int, sector_cap: float, taken: float
) -> None:
    rng = np.random.default_rng(seed)
    sectors = [f"s{i}" for i in rng.integers(0, 3, n)]
    limits = Limits(k, 0.2, sector_cap, 0.02).beside({"s1": taken} if taken else {})
    codes = sector_codes(sectors, limits)
    subsets = itertools.combinations(range(n), min(k, n))
    truth = max(capacity(codes[list(names)], limits) for names in subsets)
    assert best_capacity(codes, limits) == pytest.approx(truth)
    picked = pick(rng.permutation(n), codes, limits, min(k, n), truth)
    assert capacity(codes[picked], limits) == pytest.approx(truth)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(0, 999), st.floats(0.1, 5.0))
def test_trimmed_weights_keep_every_limit_and_buy_nothing(n: int, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    weights = size * rng.dirichlet(np.full(n, 0.3))
    codes = sector_codes([f"s{i}" for i in rng.integers(0, 3, n)])
    limits = Limits(k=7)
    trimmed = validate_weights(trim(weights, codes, limits), codes, limits)
    assert (trimmed <= weights + 1e-15).all()


BREACHES = {
    "at most 0.1 a name": [0.2, 0.0, 0.0],
    "at most 0.3 a sector": [0.1, 0.1, 0.1, 0.1],
    "at least 0": [-0.1, 0.1, 0.0],
    "must be finite": [np.nan, 0.1, 0.0],
    "on 4 names at most": [0.01] * 5,
    "one weight per ticker": [[0.1]],
}


@pytest.mark.parametrize("message", BREACHES)
def test_weights_over_a_limit_are_refused_in_one_sentence(message: str) -> None:
    weights = np.array(BREACHES[message])
    codes = np.zeros(len(weights), np.int64)
    with pytest.raises(DataError, match=message):
        validate_weights(weights, codes, Limits(k=4))


def test_more_than_the_cash_floor_allows_is_refused() -> None:
    with pytest.raises(DataError, match=r"at most 0\.98 in all"):
        validate_weights(np.full(10, 0.099), np.arange(10), Limits())


@pytest.mark.parametrize(
    "limits",
    [
        (0, 0.1, 0.3, 0.0), (20, 0.0, 0.3, 0.0), (20, 0.1, 1.5, 0.0), (20, 0.1, 0.3, 1.0),
        (20, 0.3, 0.2, 0.02, 0.25), (20, 0.3, 1.0, 0.8, 0.25),
    ],
)  # fmt: skip
def test_limits_that_allow_nothing_are_refused(limits: tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        Limits(int(limits[0]), *limits[1:])

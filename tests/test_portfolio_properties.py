"""What holds for any mean and covariance: typed outcomes, limits, scale, continuity, more names."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.portfolio.factored import Factored, SolverError
from model.portfolio.limits import (
    Limits,
    best_capacity,
    fill,
    lift,
    sector_codes,
    validate_weights,
)
from model.portfolio.problem import prepare
from model.portfolio.sharpe import SOLVERS, Solution
from model.portfolio.top_k import max_sharpe, minimum_variance

Floats = NDArray[np.float64]

FREE = Limits(k=1000, max_weight=1.0, max_sector_weight=1.0, cash_floor=0.0)


def least_that_fits(min_weight: float, **others: float) -> Limits:
    """Limits whose least weight is one that can be held."""
    most = min(others["max_weight"], others["max_sector_weight"], 1.0 - others["cash_floor"])
    return Limits(k=int(others.pop("k")), min_weight=min(min_weight, most), **others)


LIMITS = st.builds(
    least_that_fits,
    k=st.integers(1, 25),
    max_weight=st.sampled_from([0.05, 0.1, 0.25, 0.34, 1.0]),
    max_sector_weight=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    cash_floor=st.sampled_from([0.0, 0.02, 0.5, 0.97]),
    min_weight=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.16, 0.3]),
)
BAD = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e-300])
TWISTS = (
    "none", "bad means", "bad covariances", "noise", "one factor", "twins", "tiny", "huge",
    "lopsided", "negative means", "one sector", "asymmetric",
)  # fmt: skip


def market(n: int, seed: int) -> tuple[Floats, Factored, list[str]]:
    """Means, a factor covariance on the scale of an hour, and sectors."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.4, (n, 3))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    factors = Factored(1e-5 * rng.uniform(0.4, 3.0, n), np.sqrt(1e-5) * loadings)
    mean = 3e-5 + 0.02 * np.sqrt(factors.variances) * rng.standard_normal(n)
    return mean, factors, [f"s{i}" for i in rng.integers(0, 5, n)]


def twisted(
    twist: str, n: int, seed: int, bad: float
) -> tuple[Floats, Floats | Factored, list[str]]:
    mean, factors, sectors = market(n, seed)
    covariance, rng = factors.dense(), np.random.default_rng(seed + 1)
    at, to = rng.integers(0, n, 2)
    if twist == "bad means":
        mean[rng.random(n) < 0.4] = bad
    elif twist == "bad covariances":
        covariance[at, to] = covariance[to, at] = bad
    elif twist == "noise":
        covariance = rng.standard_normal((n, n)) * 1e-5
        covariance += covariance.T
    elif twist == "one factor":
        return mean, Factored(np.zeros(n), factors.loadings[:, :1]), sectors
    elif twist == "twins":
        same = rng.integers(0, n, n)
        covariance, mean = covariance[np.ix_(same, same)], mean[same]
    elif twist in ("tiny", "huge"):
        scale = 1e-290 if twist == "tiny" else 1e290
        covariance, mean = covariance * scale, mean * scale
    elif twist == "lopsided":
        spread = np.logspace(0, 4, n)
        covariance, mean = covariance * np.outer(spread, spread), mean * spread
    elif twist == "negative means":
        mean = -np.abs(mean)
    elif twist == "one sector":
        sectors = ["all"] * n
    elif twist == "asymmetric":
        covariance[at, to] *= 1.5
    return mean, covariance, sectors


def what_fits(sectors: list[str], limits: Limits, found: Solution) -> float:
    """What the caps let be invested; not known of names some of which were left out."""
    if "left out" in found.reason:
        return float(found.weights.sum())
    return best_capacity(sector_codes(sectors, limits), limits)


def check(found: Solution, sectors: list[str], limits: Limits) -> None:
    assert found.weights.shape == (len(sectors),)
    codes = sector_codes(sectors, limits)
    validate_weights(found.weights, codes, limits)
    held = np.bincount(codes, weights=found.weights)
    assert (held <= limits.rooms(len(held)) + 1e-9).all()
    assert found.reason
    if found.status == "unsolved":
        assert found.method == "none"
        assert not found.weights.any()
        assert np.isnan([found.residual, found.bound_gap]).all()
    else:
        assert found.status in ("optimal", "fallback")
        assert found.method in dict(SOLVERS)
        assert found.weights.sum() == pytest.approx(what_fits(sectors, limits, found), abs=1e-6)
        assert found.residual >= 0
        assert found.bound_gap >= 0
        assert np.isfinite(found.sharpe)


@settings(max_examples=250, deadline=None)
@given(st.integers(1, 30), st.integers(0, 9999), LIMITS, st.sampled_from(TWISTS), BAD)
def test_any_input_has_a_typed_outcome_within_its_limits(
    n: int, seed: int, limits: Limits, twist: str, bad: float
) -> None:
    mean, covariance, sectors = twisted(twist, n, seed, bad)
    check(max_sharpe(mean, covariance, sectors, limits), sectors, limits)
    check(minimum_variance(covariance, sectors, limits), sectors, limits)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(2, 30), st.integers(0, 9999), LIMITS, st.sampled_from(["none", "lopsided"]),
    st.dictionaries(st.sampled_from(["s0", "s1", "s2", "s9"]), st.floats(0.001, 0.6)),
)  # fmt: skip
def test_the_room_that_other_holdings_leave_of_a_sector_is_used_and_kept(
    n: int, seed: int, limits: Limits, twist: str, kept: dict[str, float]
) -> None:
    mean, covariance, sectors = twisted(twist, n, seed, 0.0)
    beside = limits.beside(kept)
    for found in (
        max_sharpe(mean, covariance, sectors, beside),
        minimum_variance(covariance, sectors, beside),
    ):
        check(found, sectors, beside)
        room = best_capacity(sector_codes(sectors, beside), beside)
        assert found.status == ("optimal" if room > 0 else "unsolved")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40), st.integers(0, 9999), LIMITS,
    st.sampled_from(["none", "lopsided", "negative means", "one sector"]),
)  # fmt: skip
def test_a_good_covariance_is_always_solved_to_its_bound(
    n: int, seed: int, limits: Limits, twist: str
) -> None:
    mean, covariance, sectors = twisted(twist, n, seed, 0.0)
    found = max_sharpe(mean, covariance, sectors, limits)
    assert found.status == "optimal"
    assert found.method == "active set"
    assert found.residual < 1e-8


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(0, 9999), LIMITS,
    st.integers(-100, 100), st.integers(-100, 100),
)  # fmt: skip
def test_the_scales_of_mean_and_covariance_do_not_matter(
    n: int, seed: int, limits: Limits, of_mean: int, of_covariance: int
) -> None:
    mean, factors, sectors = market(n, seed)
    covariance = factors.dense()
    found = max_sharpe(mean, covariance, sectors, limits)
    scaled = max_sharpe(mean * 2.0**of_mean, covariance * 2.0**of_covariance, sectors, limits)
    assert scaled.weights == pytest.approx(found.weights, abs=1e-9)
    assert scaled.status == found.status


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(0, 9999), st.sampled_from([(1.0, 1.0), (0.1, 1.0)]))
def test_adding_an_asset_never_lowers_the_optimum(
    n: int, seed: int, caps: tuple[float, float]
) -> None:
    mean, factors, sectors = market(n, seed)
    limits = Limits(n, caps[0], caps[1], cash_floor=0.0)
    fewer = np.arange(n - 1)
    if caps[0] * (n - 1) < 1.0:
        limits = replace(limits, max_weight=1.0)
    less = max_sharpe(mean[:-1], factors.only(fewer), sectors[:-1], limits)
    more = max_sharpe(mean, factors, sectors, limits)
    if less.sharpe > 0:
        assert more.sharpe >= less.sharpe * (1 - 1e-9)
    calm = minimum_variance(factors.only(fewer), sectors[:-1], limits).weights
    calmer = minimum_variance(factors, sectors, limits).weights
    variances = calm @ factors.dense()[:-1, :-1] @ calm, calmer @ factors.dense() @ calmer
    assert variances[1] <= variances[0] * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limits", [FREE, Limits(k=1000)], ids=["free", "capped"])
def test_weights_are_continuous_in_the_skill(seed: int, limits: Limits) -> None:
    """mu = mu0 + IC sigma z: steps of the skill half as long move the weights half as far."""
    _, factors, sectors = market(60, seed)
    z = np.random.default_rng(seed + 100).standard_normal(60)
    deviation = np.sqrt(factors.variances)

    def longest_move(steps: int) -> float:
        skills = np.linspace(0.0, 0.01, steps + 1)
        weights = [
            max_sharpe(3e-5 + ic * deviation * z, factors, sectors, limits).weights for ic in skills
        ]
        return max(float(np.abs(b - a).sum()) for a, b in itertools.pairwise(weights))

    coarse, fine = longest_move(40), longest_move(80)
    assert fine < 0.2
    assert fine < 0.7 * coarse
    level = max_sharpe(np.full(60, 3e-5), factors, sectors, limits)
    assert np.array_equal(level.weights, minimum_variance(factors, sectors, limits).weights)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_on_k_names_with_least_weights_covers_every_choice_of_them(seed: int) -> None:
    mean, factors, sectors = market(8, seed)
    covariance = factors.dense()
    limits = Limits(k=4, max_weight=0.5, max_sector_weight=1.0, cash_floor=0.0, min_weight=0.15)
    found = max_sharpe(mean, factors, sectors, limits)
    held = found.weights[found.weights > 0]
    assert held.min() >= 0.15 - 1e-9
    best = 0.0
    grid = [np.array(g) / 20 for g in itertools.product(range(3, 11), repeat=4) if sum(g) == 20]
    for names in itertools.combinations(range(8), 4):
        part = np.ix_(names, names)
        for w in grid:
            best = max(best, mean[list(names)] @ w / np.sqrt(w @ covariance[part] @ w))
    assert found.sharpe * (1 + found.bound_gap) >= best * (1 - 1e-12)
    assert found.sharpe >= 0.99 * best


def test_a_name_held_only_because_it_must_be_is_dropped() -> None:
    mean, variances = np.array([3.0, 3.0, 0.3]), np.array([1.0, 1.0, 1.0])
    limits = Limits(k=3, max_weight=1.0, max_sector_weight=1.0, cash_floor=0.0, min_weight=0.2)
    found = max_sharpe(mean, np.diag(variances), ["", "", ""], limits)
    assert found.weights == pytest.approx([0.5, 0.5, 0.0])
    without = max_sharpe(mean, np.diag(variances), ["", "", ""], replace(limits, min_weight=0.0))
    assert 0 < without.weights[2] < 0.2


def test_least_weights_decide_how_many_names_fit() -> None:
    limits = Limits(k=20, max_weight=0.3, max_sector_weight=0.3, cash_floor=0.02, min_weight=0.2)
    assert limits.most_names == 4
    mean, factors, _ = market(30, 1)
    sectors = [f"s{i % 3}" for i in range(30)]
    found = max_sharpe(mean, factors, sectors, limits)
    assert found.weights[found.weights > 0] == pytest.approx([0.3, 0.3, 0.3])
    assert len({sectors[i] for i in np.flatnonzero(found.weights)}) == 3


@pytest.mark.parametrize(("seed", "less"), [(18, 3e-5), (24, 1e-4), (40, 1e-4), (258, 3e-5)])
def test_names_that_earn_but_cannot_hold_all_are_no_answer(seed: int, less: float) -> None:
    mean, factors, _ = market(8, seed)
    sectors = [f"s{i}" for i in (0, 1, 2, 3, 4, 2, 3, 5)]
    limits = Limits(k=10, max_weight=0.2, max_sector_weight=0.3, cash_floor=0.02, min_weight=0.16)
    found = max_sharpe(mean - less, factors, sectors, limits)
    check(found, sectors, limits)
    assert found.weights.sum() == pytest.approx(0.98)


def test_filling_up_leaves_no_name_below_its_least_weight() -> None:
    limits = Limits(k=5, max_weight=0.6, max_sector_weight=1.0, cash_floor=0.0, min_weight=0.1)
    codes = sector_codes([""] * 4)
    filled = fill(np.array([10.0, 6.0, 3.0, 0.5]), codes, limits, 1.0)
    assert filled == pytest.approx(np.array([10.0, 6.0, 3.0, 0.0]) / 19)
    validate_weights(filled, codes, limits)


def test_weights_a_rounding_under_the_least_one_are_lifted_and_others_refused() -> None:
    limits = Limits(k=5, max_weight=0.5, max_sector_weight=0.6, cash_floor=0.0, min_weight=0.1)
    codes = sector_codes(["a", "a", "b", "c"])
    problem = prepare(np.ones(4), np.eye(4), codes, limits, 1.0)
    y = np.array([0.5, 0.1 - 1e-7, 0.3 + 1e-7, 0.1])
    weights = problem.weights(y)
    validate_weights(weights, codes, limits)
    assert weights[1] == 0.1
    assert weights == pytest.approx(y, abs=3e-7)
    with pytest.raises(SolverError, match=r"0 or at least 0\.1 a name"):
        problem.weights(np.array([0.5, 0.09, 0.31, 0.1]))


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 12), st.integers(0, 9999), st.floats(0.0, 2e-6))
def test_lifting_keeps_all_limits_and_nearly_all_that_is_invested(
    n: int, seed: int, less: float
) -> None:
    rng = np.random.default_rng(seed)
    codes = sector_codes([f"s{i}" for i in rng.integers(0, 4, n)])
    limits = Limits(k=n, max_weight=0.4, max_sector_weight=0.5, cash_floor=0.02, min_weight=0.05)
    weights = fill(rng.dirichlet(np.ones(n)), codes, limits, best_capacity(codes, limits))
    at_least = np.abs(weights - 0.05) < 1e-3
    weights = np.where(at_least, 0.05 - min(less, 1e-6), weights)
    lifted = validate_weights(lift(weights, codes, limits), codes, limits)
    assert np.abs(lifted - weights).sum() <= 2.1e-6 * n

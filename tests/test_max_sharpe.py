"""Max-Sharpe and minimum variance: closed forms, other solvers, and inputs that break solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from astra.errors import DataError
from model.portfolio.kernel import (
    Cone,
    SolverError,
    least_distance,
    no_multipliers,
    nonnegative,
    sequential,
)
from model.portfolio.limits import Limits, sector_codes, validate_weights
from model.portfolio.problem import bound, prepare, residual
from model.portfolio.sharpe import solve
from model.portfolio.top_k import max_sharpe, minimum_variance

Floats = NDArray[np.float64]
FREE = Limits(k=1000, max_weight=1.0, max_sector_weight=1.0, cash_floor=0.0)


def market(n: int, seed: int, sectors: int = 5) -> tuple[Floats, Floats, list[str]]:
    """Means, a factor covariance on the scale of an hour of 5-minute bars, and sectors."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.3, (n, 4))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    covariance = 1e-5 * (loadings @ loadings.T + np.diag(rng.uniform(0.4, 3.0, n)))
    mean = 3e-5 + 0.01 * np.sqrt(np.diag(covariance)) * rng.standard_normal(n)
    return mean, covariance, [f"sector {i}" for i in rng.integers(0, sectors, n)]


def test_two_assets_get_the_closed_form_tangency_weights() -> None:
    mean, covariance = np.array([0.03, 0.05]), np.array([[0.04, 0.01], [0.01, 0.09]])
    direction = np.linalg.inv(covariance) @ mean
    found = max_sharpe(mean, covariance, ["", ""], FREE)
    assert found.weights == pytest.approx(direction / direction.sum(), abs=1e-12)
    assert found.sharpe == pytest.approx(np.sqrt(mean @ direction), rel=1e-12)
    assert found.status == "optimal"
    assert found.bound_gap < 1e-9


def test_two_assets_get_the_closed_form_minimum_variance() -> None:
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    found = minimum_variance(covariance, ["", ""], FREE)
    assert found.weights == pytest.approx([0.08 / 0.11, 0.03 / 0.11], abs=1e-12)
    assert found.sharpe == 0.0


@pytest.mark.parametrize("n", [3, 20, 120])
def test_the_active_set_agrees_with_nnls_on_the_cholesky_factor(n: int) -> None:
    for seed in range(5):
        mean, covariance, _ = market(n, seed)
        mean, covariance = mean / mean.max(), covariance / covariance.trace() * n
        lower = np.linalg.cholesky(covariance)
        expected, _ = nnls(lower.T, np.linalg.solve(lower, mean))
        assert nonnegative(covariance, mean) == pytest.approx(expected, abs=1e-9)


def test_two_solvers_that_share_no_code_agree_under_caps() -> None:
    for seed in range(4):
        mean, covariance, sectors = market(25, seed)
        mean, covariance = mean / mean.max(), covariance / covariance.trace() * 25
        cone = Cone(sector_codes(sectors), 0.12, 0.3)
        exact, multipliers = least_distance(covariance, mean, cone)
        other, _ = sequential(covariance, mean, cone)
        assert cone.contains(exact)
        assert min(multipliers.name.min(), multipliers.sector.min()) >= 0
        assert exact / exact.sum() == pytest.approx(other / other.sum(), abs=2e-5)


def test_no_random_portfolio_within_the_caps_beats_the_solution() -> None:
    mean, covariance, sectors = market(12, 1, sectors=3)
    limits = Limits(k=12, max_weight=0.2, max_sector_weight=0.5, cash_floor=0.0)
    found = max_sharpe(mean, covariance, sectors, limits)
    rng = np.random.default_rng(0)
    codes, beaten, tried = sector_codes(sectors), 0, 0
    for w in rng.dirichlet(np.full(12, 0.8), 20_000):
        near = 0.9 * found.weights + 0.1 * w
        for candidate in (w, near):
            by_sector = np.bincount(codes, weights=candidate)
            if candidate.max() <= 0.2 and by_sector.max() <= 0.5:
                tried += 1
                ratio = mean @ candidate / np.sqrt(candidate @ covariance @ candidate)
                beaten += int(ratio > found.sharpe * (1 + 1e-12))
    assert tried > 100
    assert beaten == 0


@pytest.mark.parametrize("n", [2, 17, 100, 400])
def test_every_solution_meets_its_bound(n: int) -> None:
    mean, covariance, sectors = market(n, n)
    for limits in (FREE, Limits(k=n)):
        for m in (mean, np.full(n, 3e-5)):
            found = max_sharpe(m, covariance, sectors, limits)
            assert found.status == "optimal"
            assert found.residual < 1e-9
            assert found.bound_gap < 1e-9


def test_the_bound_holds_for_any_point_and_any_multipliers() -> None:
    mean, covariance, sectors = market(30, 3)
    codes = sector_codes(sectors)
    problem = prepare(mean, covariance, codes, Limits(k=30), 0.98)
    best = solve(problem)
    assert best is not None
    rng = np.random.default_rng(2)
    for _ in range(50):
        guess = type(best)(rng.uniform(0, 1, 30), no_multipliers(problem.cone), "guess")
        guess.multipliers.name[:] = rng.uniform(0, 0.1, 30)
        assert bound(problem, guess, 30) >= problem.ratio(best.y) * (1 - 1e-12)
        assert residual(problem, guess) > 0


def test_the_units_of_mean_and_covariance_do_not_matter() -> None:
    mean, covariance, sectors = market(60, 5)
    small = max_sharpe(mean, covariance, sectors, Limits())
    large = max_sharpe(mean * 1e7, covariance * 1e9, sectors, Limits())
    assert small.weights == pytest.approx(large.weights, abs=1e-10)


def test_without_a_name_above_cash_the_answer_is_minimum_variance_and_says_so() -> None:
    mean, covariance, sectors = market(30, 2)
    found = max_sharpe(-np.abs(mean), covariance, sectors, Limits())
    floor = minimum_variance(covariance, sectors, Limits())
    assert np.array_equal(found.weights, floor.weights)
    assert found.reason.startswith("no portfolio earns more than cash")
    assert found.sharpe < 0


def test_one_name_above_cash_is_not_enough_if_the_caps_force_losers_on_it() -> None:
    mean = np.array([1e-4, -1e-2, -1e-2])
    limits = Limits(k=3, max_weight=0.4, max_sector_weight=1.0, cash_floor=0.0)
    found = max_sharpe(mean, np.eye(3) * 1e-4, ["a", "b", "c"], limits)
    assert found.reason.startswith("no portfolio earns more than cash")
    assert found.weights == pytest.approx(np.full(3, 1 / 3))


def test_one_asset_is_held_up_to_its_cap() -> None:
    found = max_sharpe(np.array([0.01]), np.array([[0.04]]), ["x"], Limits())
    assert found.weights == pytest.approx([0.10])
    assert "only 10% be invested" in found.reason
    assert found.sharpe == pytest.approx(0.01 * 0.1 / (0.2 * 0.1))


def test_two_names_under_a_ten_percent_cap_leave_the_rest_in_cash() -> None:
    found = max_sharpe(np.array([0.03, 0.01]), np.diag([0.04, 0.09]), ["x", "y"], Limits())
    assert found.weights == pytest.approx([0.10, 0.10])
    assert "only 20% be invested, the rest is cash" in found.reason


def test_duplicates_are_repaired_reported_and_share_one_weight() -> None:
    mean, covariance, _ = market(6, 4)
    twice = np.r_[np.arange(6), 2]
    found = max_sharpe(mean[twice], covariance[np.ix_(twice, twice)], [""] * 7, FREE)
    single = max_sharpe(mean, covariance, [""] * 6, FREE)
    assert found.weights[2] + found.weights[6] == pytest.approx(single.weights[2], abs=1e-5)
    assert "singular" in found.reason
    assert found.sharpe == pytest.approx(single.sharpe, rel=1e-6)


BAD = {
    "a NaN mean": (np.array([np.nan, 0.1]), np.eye(2)),
    "an infinite variance": (np.array([0.1, 0.1]), np.diag([np.inf, 1.0])),
    "a NaN covariance": (np.array([0.1, 0.1]), np.array([[1.0, np.nan], [np.nan, 1.0]])),
    "an asymmetric matrix": (np.array([0.1, 0.1]), np.array([[1.0, 0.5], [0.2, 1.0]])),
    "an indefinite matrix": (np.array([0.1, 0.1]), np.array([[1.0, 2.0], [2.0, 1.0]])),
    "no variance": (np.array([0.1, 0.1]), np.diag([0.0, 1.0])),
    "too many means": (np.array([0.1, 0.1, 0.1]), np.eye(2)),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_input_is_refused(case: str) -> None:
    mean, covariance = BAD[case]
    with pytest.raises(DataError):
        max_sharpe(mean, covariance, ["a", "b"], FREE)


def test_no_names_are_refused() -> None:
    with pytest.raises(DataError, match="at least one name"):
        max_sharpe(np.empty(0), np.empty((0, 0)), [], FREE)


def _gives_up(covariance: Floats, mean: Floats, cone: Cone) -> tuple[Floats, object]:
    raise SolverError("asked to")


def _wrong(covariance: Floats, mean: Floats, cone: Cone) -> tuple[Floats, object]:
    return np.ones(len(mean)), no_multipliers(cone)


@pytest.mark.parametrize("first", [_gives_up, _wrong])
def test_a_failing_or_wrong_solver_is_caught_and_the_next_one_asked(first: object) -> None:
    mean, covariance, sectors = market(25, 6)
    expected = max_sharpe(mean, covariance, sectors, Limits(k=25))
    solvers = (("first", first), ("SLSQP", sequential))
    found = max_sharpe(mean, covariance, sectors, Limits(k=25), solvers=solvers)  # type: ignore[arg-type]
    assert found.method == "SLSQP"
    assert found.status == "fallback"
    assert found.sharpe == pytest.approx(expected.sharpe, rel=1e-6)
    assert found.bound_gap > expected.bound_gap


def test_without_any_working_solver_there_is_an_error_not_garbage() -> None:
    mean, covariance, sectors = market(25, 6)
    with pytest.raises(DataError, match="no solver could handle"):
        max_sharpe(mean, covariance, sectors, Limits(), solvers=(("only", _gives_up),))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30), st.integers(0, 10_000), st.integers(1, 25),
    st.sampled_from([0.05, 0.1, 0.34, 1.0]), st.sampled_from([0.1, 0.3, 1.0]),
    st.sampled_from(["as is", "equal", "negative", "singular", "one sector", "lopsided"]),
)  # fmt: skip
def test_weights_always_keep_their_limits(
    n: int, seed: int, k: int, cap: float, sector_cap: float, twist: str
) -> None:
    mean, covariance, sectors = market(n, seed)
    if twist == "equal":
        mean = np.full(n, 1e-4)
    elif twist == "negative":
        mean = -np.abs(mean)
    elif twist == "singular":
        covariance = np.outer(np.ones(n), np.ones(n)) * 1e-5
    elif twist == "one sector":
        sectors = ["all"] * n
    elif twist == "lopsided":
        covariance = covariance * np.outer(np.logspace(0, 3, n), np.logspace(0, 3, n))
    limits = Limits(k=k, max_weight=cap, max_sector_weight=sector_cap)
    found = max_sharpe(mean, covariance, sectors, limits)
    validate_weights(found.weights, sector_codes(sectors), limits)
    assert found.weights.sum() > 0
    assert found.residual >= 0
    assert 0 <= found.bound_gap < np.inf

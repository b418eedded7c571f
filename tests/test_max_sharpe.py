"""Max-Sharpe and minimum variance: closed forms, other solvers, and inputs that break solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from astra.errors import DataError
from model.portfolio.factored import Dense, Factored, Matrix, SolverError
from model.portfolio.interior_point import interior_point
from model.portfolio.kernel import Cone, Multipliers, active_set, no_multipliers
from model.portfolio.limits import Limits, sector_codes, validate_weights
from model.portfolio.problem import bound, prepare, residual, shortfall
from model.portfolio.sharpe import ConeSolver, solve
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


def scaled(n: int, seed: int) -> tuple[Floats, Floats, Factored]:
    """Means and covariance in a solver's units, and the same covariance as factors."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.3, (n, 4))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    factors = Factored(rng.uniform(0.4, 3.0, n), loadings)
    mean = 0.3 + rng.standard_normal(n)
    return mean / mean.max(), factors.dense(), factors


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
        mean, covariance, _ = scaled(n, seed)
        lower = np.linalg.cholesky(covariance)
        expected, _ = nnls(lower.T, np.linalg.solve(lower, mean))
        found, _ = active_set(Dense(covariance), mean, Cone(np.zeros(n, np.int64)))
        assert found == pytest.approx(expected, abs=1e-9)


def dual_by_nnls(covariance: Floats, mean: Floats, cone: Cone) -> Floats:
    """The same program under caps from its dual, min |L^-1 (m + A'lambda)|, lambda >= 0, S = LL'.

    Lawson and Hanson (1974), ch. 23.4, problem LDP.
    """
    n = len(mean)
    sectors = (cone.codes == np.arange(cone.sectors)[:, None]).astype(np.float64)
    caps = cone.sector_caps[:, None]
    rows = np.vstack([np.eye(n) - cone.floor, cone.name_cap - np.eye(n), caps - sectors])
    lower = np.linalg.cholesky(covariance)
    normals, start = np.linalg.solve(lower, rows.T), np.linalg.solve(lower, mean)
    prices, _ = nnls(normals, -start)
    y: Floats = np.linalg.solve(lower.T, start + normals @ prices)
    return y


CONES: dict[str, tuple[float, float | Floats, float]] = {
    "loose": (0.4, 0.6, 0.0),
    "usual": (0.12, 0.3, 0.0),
    "narrow": (0.05, 0.25, 0.0),
    "with a floor": (0.12, 0.3, 0.01),
    "names pinned": (1 / 30, 1.0, 0.0),
    "sectors pinned": (0.12, 0.2, 0.0),
    "a cap for each sector": (0.12, np.array([0.1, 0.02, 0.3, 0.4, 1.0]), 0.0),
    "some sectors pinned": (0.05, np.array([0.1, 0.28, 0.3, 1.0, 0.02]), 0.0),
}


@pytest.mark.parametrize("kind", CONES)
@pytest.mark.parametrize("form", ["dense", "factored"])
def test_three_solvers_that_share_no_code_agree_under_caps(kind: str, form: str) -> None:
    for seed in range(4):
        mean, covariance, factors = scaled(30, seed)
        cone = Cone(np.arange(30) % 5, *CONES[kind])
        matrix: Matrix = Dense(covariance) if form == "dense" else factors
        exact, multipliers = active_set(matrix, mean, cone)
        assert cone.contains(exact, 1e-9)
        slope = multipliers.tilt(mean, cone) - covariance @ exact
        assert slope.max() < 1e-9
        assert np.abs(slope[exact > 1e-12]).max() < 1e-9
        prices = (multipliers.name, multipliers.sector, multipliers.floor)
        assert min(p.min() for p in prices) >= 0
        assert exact == pytest.approx(dual_by_nnls(covariance, mean, cone), abs=1e-8)
        other, _ = interior_point(matrix, mean, cone)
        assert exact == pytest.approx(other, abs=2e-5)
        value = [float(0.5 * y @ covariance @ y - mean @ y) for y in (exact, other)]
        assert value[0] == pytest.approx(value[1], abs=1e-8)


@pytest.mark.parametrize("solver", [active_set, interior_point])
def test_caps_that_cannot_hold_the_sum_are_a_solver_error(solver: ConeSolver) -> None:
    mean, covariance, _ = scaled(30, 0)
    with pytest.raises(SolverError, match=r"hold 60\.00% of it all"):
        solver(Dense(covariance), mean, Cone(np.arange(30), 0.02, 1.0))


def test_an_answer_above_its_bound_is_not_proven_but_impossible() -> None:
    assert shortfall(1.0, 1.0 + 1e-9) == 0.0
    assert shortfall(1.1, 1.0) == pytest.approx(0.1)
    assert shortfall(1.0, 1.01) == shortfall(1.0, -1.0) == np.inf


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


@pytest.mark.parametrize("low", [-1e-3, -1e-5, -1e-8, 0.0, 1e-8, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_what_is_proven_to_be_spare_is(low: float, spread: float) -> None:
    """The single and double precision proofs, near the edge of what they can decide."""
    rng = np.random.default_rng(int(spread))
    for n in (3, 30, 150):
        basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
        values = np.r_[low, rng.uniform(0.5, 2.0, n - 1)]
        covariance = (basis * values) @ basis.T
        covariance *= np.outer(*[np.geomspace(1.0, spread, n)] * 2)
        problem = prepare(np.ones(n), covariance, np.zeros(n, np.int64), FREE, 1.0)
        assert isinstance(problem.matrix, Dense)
        left = problem.matrix.values - np.diag(problem.diagonal)
        deviation = np.sqrt(problem.matrix.variances)
        assert (problem.diagonal > 0).all()
        assert np.linalg.eigvalsh(left / np.outer(deviation, deviation))[0] > -1e-13
        assert problem.distorted == ("indefinite" in problem.repair)


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


NAN = float("nan")
SHAPES = {
    "too many means": (np.full(3, 0.1), np.eye(2), ["a", "b"]),
    "a covariance of others": (np.full(2, 0.1), np.eye(3), ["a", "b"]),
    "factors of others": (np.full(2, 0.1), Factored(np.ones(3), np.ones((3, 1))), ["a", "b"]),
    "no names": (np.empty(0), np.empty((0, 0)), []),
}


@pytest.mark.parametrize("case", SHAPES)
def test_wrong_shapes_are_refused(case: str) -> None:
    with pytest.raises(DataError, match="needs at least one name, and as many means"):
        max_sharpe(*SHAPES[case], FREE)


def test_a_diagonal_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="a diagonal of 2 variances"):
        max_sharpe(np.ones(2), np.eye(2), ["a", "b"], FREE, np.ones(3))


def _with(covariance: Floats, i: int, j: int, value: float) -> Floats:
    changed = covariance.copy()
    changed[i, j] = changed[j, i] = value
    return changed


ODD = {
    "a NaN mean": (3, "1 without a finite mean"),
    "an infinite mean": (3, "1 without a finite mean"),
    "a NaN variance": (3, "1 without a finite covariance"),
    "a row of NaN": (3, "1 without a finite covariance"),
    "an infinite covariance": (1, "1 without a finite covariance"),
    "no variance": (3, "1 without a variance above 0"),
    "a negative variance": (3, "1 without a variance above 0"),
    "a NaN own variance of factors": (3, "1 without a finite covariance"),
}


def odd(case: str, mean: Floats, covariance: Floats) -> tuple[Floats, Floats | Factored]:
    """The market with one name, the fourth or for a single pair the second, unusable."""
    mean = mean.copy()
    if case == "a NaN mean":
        mean[3] = NAN
    elif case == "an infinite mean":
        mean[3] = np.inf
    elif case == "a NaN variance":
        return mean, _with(covariance, 3, 3, NAN)
    elif case == "a row of NaN":
        covariance = covariance.copy()
        covariance[3] = covariance[:, 3] = NAN
    elif case == "an infinite covariance":
        return mean, _with(covariance, 1, 3, np.inf)
    elif case == "no variance":
        covariance = covariance.copy()
        covariance[3] = covariance[:, 3] = 0.0
    elif case == "a negative variance":
        return mean, _with(covariance, 3, 3, -1.0)
    else:
        own = covariance.diagonal() / 2
        factored = Factored(own.copy(), np.sqrt(own)[:, None])
        factored.diagonal[3] = NAN
        return mean, factored
    return mean, covariance


@pytest.mark.parametrize("case", ODD)
def test_a_name_whose_numbers_cannot_be_used_is_left_out_and_the_rest_is_solved(case: str) -> None:
    mean, covariance, _ = market(8, 3)
    gone, said = ODD[case]
    mean, given = odd(case, mean, covariance)
    found = max_sharpe(mean, given, [""] * 8, FREE)
    rest = np.setdiff1d(np.arange(8), [gone])
    part = given.only(rest) if isinstance(given, Factored) else given[np.ix_(rest, rest)]
    alone = max_sharpe(mean[rest], part, [""] * 7, FREE)
    assert found.weights[gone] == 0.0
    assert np.array_equal(found.weights[rest], alone.weights)
    assert found.reason.endswith(f"names left out: {said}")
    assert found.status == "optimal"


NOTHING_LEFT = {
    "all means NaN": (np.full(3, NAN), np.eye(3)),
    "a covariance of NaN": (np.ones(3), np.full((3, 3), NAN)),
    "no variance at all": (np.ones(3), np.zeros((3, 3))),
}


@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_nothing_usable_is_unsolved_with_no_weights(case: str) -> None:
    found = max_sharpe(*NOTHING_LEFT[case], ["a", "b", "c"], Limits())
    assert found.status == "unsolved"
    assert found.method == "none"
    assert not found.weights.any()
    assert found.sharpe == 0.0
    assert np.isnan([found.residual, found.bound_gap]).all()
    assert found.reason.startswith("no name can be used; names left out: 3 without")


def test_an_indefinite_covariance_is_clipped_and_called_a_fallback() -> None:
    found = max_sharpe(np.array([0.1, 0.2]), np.array([[1.0, 2.0], [2.0, 1.0]]), ["a", "b"], FREE)
    assert found.status == "fallback"
    assert "covariance was indefinite (an eigenvalue of -1 beside 3): clipped" in found.reason
    assert found.weights.sum() == pytest.approx(1.0)


def test_an_asymmetric_covariance_is_averaged_and_called_a_fallback() -> None:
    mean, covariance, _ = market(5, 1)
    skewed = covariance.copy()
    skewed[0, 1], skewed[1, 0] = covariance[0, 1] * 1.5, covariance[0, 1] * 0.5
    found = max_sharpe(mean, skewed, [""] * 5, FREE)
    expected = max_sharpe(mean, covariance, [""] * 5, FREE)
    assert found.weights == pytest.approx(expected.weights, abs=1e-10)
    assert (found.status, expected.status) == ("fallback", "optimal")
    assert "not symmetric" in found.reason


def test_factors_without_own_variances_are_repaired_and_said() -> None:
    loadings = np.random.default_rng(0).normal(1.0, 0.5, (6, 2))
    found = max_sharpe(np.arange(1.0, 7.0), Factored(np.zeros(6), loadings), [""] * 6, FREE)
    assert "covariance was singular: 6 own variances raised" in found.reason
    assert found.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-24, 1e-12, 1e12, 1e150, 1e290])
def test_neither_tiny_nor_huge_numbers_change_the_answer(scale: float) -> None:
    mean, covariance, sectors = market(40, 3)
    expected = max_sharpe(mean, covariance, sectors, Limits())
    found = max_sharpe(mean * scale, covariance * scale, sectors, Limits())
    assert found.weights == pytest.approx(expected.weights, abs=1e-10)
    assert found.sharpe == pytest.approx(expected.sharpe * np.sqrt(scale), rel=1e-9)
    assert found.status == "optimal"


def test_factors_and_the_matrix_they_stand_for_give_the_same_weights() -> None:
    mean, covariance, factors = scaled(120, 2)
    sectors = [f"s{i % 7}" for i in range(120)]
    for limits in (FREE, Limits(k=120), Limits()):
        dense = max_sharpe(mean, covariance, sectors, limits, factors.diagonal)
        found = max_sharpe(mean, factors, sectors, limits)
        assert found.weights == pytest.approx(dense.weights, abs=1e-9)
        assert found.sharpe == pytest.approx(dense.sharpe, rel=1e-10)
        assert (found.status, dense.status) == ("optimal", "optimal")


def _gives_up(matrix: Matrix, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    raise SolverError("asked to")


def _wrong(matrix: Matrix, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    """The same in each sector: within the caps, and not the best."""
    return 1.0 / np.bincount(cone.codes)[cone.codes], no_multipliers(cone)


def _outside(matrix: Matrix, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    return np.eye(len(mean))[int(mean.argmax())], no_multipliers(cone)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (_gives_up, "gave up: asked to"), (_wrong, "of the bound only"),
        (_outside, "first broke a limit"),
    ],
)  # fmt: skip
def test_a_failing_or_wrong_solver_is_caught_and_the_next_one_asked(
    first: ConeSolver, why: str
) -> None:
    mean, covariance, sectors = market(25, 6)
    expected = max_sharpe(mean, covariance, sectors, Limits(k=25))
    solvers = (("first", first), ("Clarabel", interior_point))
    found = max_sharpe(mean, covariance, sectors, Limits(k=25), solvers=solvers)
    assert found.method == "Clarabel"
    assert found.status == "fallback"
    assert why in found.reason
    assert found.weights == pytest.approx(expected.weights, abs=1e-5)
    assert found.bound_gap < 1e-6


def test_without_any_working_solver_there_are_no_weights_and_a_reason() -> None:
    mean, covariance, sectors = market(25, 6)
    found = max_sharpe(mean, covariance, sectors, Limits(), solvers=(("only", _gives_up),))
    assert found.status == "unsolved"
    assert found.reason.startswith("no solver could handle")
    assert not found.weights.any()


def test_the_second_solver_does_not_take_the_numbers_of_an_indefinite_matrix_for_an_answer() -> (
    None
):
    with pytest.raises(SolverError, match="Clarabel ended with"):
        interior_point(
            Dense(np.array([[1.0, -2.0], [-2.0, 1.0]])), np.ones(2), Cone(np.zeros(2, np.int64))
        )


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

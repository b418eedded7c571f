"""Trade or hold: the closed form against a search, costs, the first investment, and k names."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astra.errors import DataError
from model.portfolio.limits import Limits, sector_codes, validate_weights
from model.portfolio.trade import (
    Bounds,
    Outlook,
    decide_tau,
    forecast_to_come,
    implied_mean,
    risk_aversion,
)

Floats = NDArray[np.float64]
TWENTY_SESSIONS = 0.05 * 20 / 252  # of a premium of 5 % a year
COST = 2.3e-4


def outlook(n: int, seed: int = 0, alpha: float = 0.0, cost: float = COST) -> Outlook:
    """Twenty sessions of n names with about 6 % volatility, and some forecast to come."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.02, (n, 3))
    covariance = loadings @ loadings.T + 0.0016 + np.diag(rng.uniform(0.001, 0.004, n))
    return Outlook(TWENTY_SESSIONS + alpha * rng.standard_normal(n), covariance, cost)


def free(n: int) -> Bounds:
    return Bounds(np.arange(n), Limits(n, 1.0, 1.0, 0.0))


def utility(weights: Floats, target: Floats, seen: Outlook) -> float:
    aversion = risk_aversion(target, seen)
    return float(seen.mean @ weights - aversion / 2 * weights @ seen.covariance @ weights)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(0, 9999), st.floats(0.0, 0.02), st.floats(0.0, 0.01))
def test_the_fraction_is_the_best_of_a_fine_search(
    n: int, seed: int, alpha: float, cost: float
) -> None:
    seen = outlook(n, seed, alpha, cost)
    rng = np.random.default_rng(seed + 1)
    current, target = rng.dirichlet(np.ones(n + 1))[:n], rng.dirichlet(np.ones(n))
    found = decide_tau(current, target, seen, free(n))
    turnover = float(np.abs(target - current).sum())

    def worth(tau: float) -> float:
        return utility(current + tau * (target - current), target, seen) - cost * tau * turnover

    searched = max(worth(t) for t in np.linspace(0, 1, 401))
    assert worth(found.tau) >= searched - 1e-12
    assert found.weights == pytest.approx(current + found.tau * (target - current), abs=1e-12)
    if found.tau > 0:
        net = worth(found.tau) - utility(current, target, seen)
        assert (found.gain_bp - found.cost_bp) / 1e4 == pytest.approx(net, abs=1e-9)


def test_the_first_investment_from_cash_pays_with_the_default_settings() -> None:
    target = np.full(20, 0.049)
    seen = outlook(20)
    found = decide_tau(np.zeros(20), target, seen, Bounds(np.arange(20), Limits()))
    expected = 1 - COST / TWENTY_SESSIONS
    assert found.tau == pytest.approx(expected, rel=1e-9)
    assert found.weights.sum() == pytest.approx(expected * 0.98)
    assert found.cost_bp == pytest.approx(2.3 * 0.98 * expected)
    assert found.reason.startswith("trade 94% of the way: gain")


def test_what_is_left_after_the_first_investment_is_held() -> None:
    target, seen = np.full(20, 0.049), outlook(20)
    first = decide_tau(np.zeros(20), target, seen, Bounds(np.arange(20), Limits()))
    second = decide_tau(first.weights, target, seen, Bounds(np.arange(20), Limits()))
    assert second.tau == pytest.approx(0.0, abs=1e-6)


def test_a_move_that_is_not_worth_its_cost_is_held_and_says_so() -> None:
    seen = outlook(4, alpha=1e-5)
    current, target = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.48, 0.48, 0.02, 0.02])
    found = decide_tau(current, target, Outlook(seen.mean, seen.covariance, 0.05), free(4))
    assert found.tau == 0.0
    assert np.array_equal(found.weights, current)
    assert found.reason.startswith("hold: gain ")
    assert "<= cost 40.0 bp" in found.reason
    assert found.gain_bp < found.cost_bp


def test_free_trading_towards_the_optimum_goes_the_whole_way() -> None:
    seen = outlook(5, alpha=0.003, cost=0.0)
    aversion = 3.0
    target = np.linalg.solve(seen.covariance, seen.mean) / aversion
    target = np.abs(target) / np.abs(target).sum()
    same = Outlook(aversion * seen.covariance @ target, seen.covariance, 0.0)
    found = decide_tau(np.zeros(5), target, same, free(5))
    assert found.tau == pytest.approx(1.0)
    assert risk_aversion(target, same) == pytest.approx(aversion)


def test_dearer_trading_never_moves_further() -> None:
    current, target = np.array([1.0, 0, 0, 0]), np.array([0.1, 0.3, 0.3, 0.3])
    moved = []
    for cost in np.linspace(0, 0.01, 20):
        found = decide_tau(current, target, outlook(4, 3, cost=float(cost)), free(4))
        moved.append(found.tau)
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 0 == moved[-1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(0, 9999), st.floats(0.0, 0.02), st.floats(0.0, 0.01))
def test_dearer_trading_never_moves_further_whatever_is_held(
    n: int, seed: int, alpha: float, cost: float
) -> None:
    rng = np.random.default_rng(seed)
    current, target = rng.dirichlet(np.ones(n + 1))[:n], rng.dirichlet(np.ones(n))
    seen = outlook(n, seed, alpha)
    cheap, dear = (
        decide_tau(current, target, Outlook(seen.mean, seen.covariance, c), free(n))
        for c in (cost, 1.5 * cost)
    )
    assert dear.tau <= cheap.tau + 1e-12


@pytest.mark.parametrize("always", [False, True])
def test_a_turnover_limit_cuts_the_way_and_says_so(always: bool) -> None:
    target, seen = np.full(20, 0.049), outlook(20)
    bounds = Bounds(np.arange(20), Limits(), most=0.25)
    found = decide_tau(np.zeros(20), target, seen, bounds, always=always)
    assert found.weights.sum() == pytest.approx(0.25)
    assert found.tau == pytest.approx(0.25 / 0.98)
    assert found.reason.endswith("; at most 25.0% of equity may be bought and sold at once")


@pytest.mark.parametrize("always", [False, True])
def test_no_purchase_is_smaller_than_the_least_weight(always: bool) -> None:
    target, seen = np.full(20, 0.049), outlook(20)
    limits = Limits(min_weight=0.049)
    for most in (0.05, 0.25, 2.0):
        bounds = Bounds(np.arange(20), limits, most=most)
        found = decide_tau(np.zeros(20), target, seen, bounds, always=always)
        assert (found.weights > 0).sum() == min(20, int(most / 0.049))
        assert found.weights[found.weights > 0] == pytest.approx(0.049)


def test_a_holding_under_the_least_weight_stays_or_goes_and_never_shrinks() -> None:
    limits = Limits(5, 1.0, 1.0, 0.0, 0.1)
    current = np.array([0.04, 0.5, 0.0, 0.0, 0.0])
    target = np.array([0.0, 0.5, 0.2, 0.3, 0.0])
    for cost in (0.0, 1e-4, 1e-3, 2e-3):
        found = decide_tau(current, target, outlook(5, cost=cost), Bounds(np.arange(5), limits))
        assert found.weights[0] in (0.0, 0.04)


def test_a_limit_that_allows_no_step_holds_and_says_so() -> None:
    target = np.array([0.2, 0.2])
    bounds = Bounds(np.arange(2), Limits(2, 1.0, 1.0, 0.0, 0.2), most=0.1)
    found = decide_tau(np.zeros(2), target, outlook(2), bounds)
    assert (found.tau, found.weights.tolist()) == (0.0, [0.0, 0.0])
    assert found.reason.startswith("hold: no step towards the target is allowed; at most 10.0%")


def test_a_sector_that_others_fill_is_cut() -> None:
    current, target = np.array([0.3, 0.3]), np.array([0.0, 0.3])
    taken = np.array([0.2, 0.0])
    bounds = Bounds(np.arange(2), Limits(2, 0.5, 0.4, 0.0), taken=taken)
    found = decide_tau(current, target, outlook(2, cost=1.0), bounds)
    assert found.weights == pytest.approx([0.2, 0.3])
    assert found.reason.endswith("10.00% of equity sold to keep the limits")


def test_a_target_that_is_held_already_needs_no_trade() -> None:
    target = np.array([0.4, 0.6])
    found = decide_tau(target, target, outlook(2), free(2))
    assert (found.tau, found.cost_bp) == (0.0, 0.0)
    assert found.reason == "hold: the target is held already"


def test_holding_trims_what_has_drifted_over_its_cap() -> None:
    current, target = np.array([0.104, 0.098, 0.05]), np.array([0.1, 0.1, 0.05])
    found = decide_tau(current, target, outlook(3), Bounds(np.arange(3), Limits(k=3)))
    assert found.tau == 0.0
    assert found.reason.endswith("; 0.40% of equity sold to keep the limits")
    assert found.weights == pytest.approx([0.10, 0.098, 0.05])


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.integers(0, 9999), st.integers(1, 8), st.floats(0, 0.03))
def test_what_is_held_keeps_the_limits_however_far_the_move(
    n: int, seed: int, k: int, alpha: float
) -> None:
    rng = np.random.default_rng(seed)
    codes = sector_codes([f"s{i}" for i in rng.integers(0, 5, n)])
    limits = Limits(k=k)
    target = np.zeros(n)
    target[rng.permutation(n)[: min(k, n)]] = 0.29 / k if k > 2 else 0.1
    current = rng.dirichlet(np.full(n, 0.3)) * rng.uniform(0, 1)
    target = np.where(np.bincount(codes, weights=target)[codes] > 0.3, 0.0, target)
    found = decide_tau(current, target, outlook(n, seed, alpha), Bounds(codes, limits))
    validate_weights(found.weights, codes, limits)
    assert 0.0 <= found.tau <= 1.0
    assert found.tau == 0.0 or found.gain_bp > found.cost_bp


def test_part_of_the_way_keeps_k_names_and_is_worth_more_than_all_of_it_or_none() -> None:
    n, limits = 8, Limits(k=4, max_weight=0.5, max_sector_weight=1.0, cash_floor=0.0)
    current = np.array([0.25, 0.25, 0.25, 0.25, 0, 0, 0, 0])
    target = np.array([0.3, 0.3, 0.2, 0, 0.2, 0, 0, 0])
    covariance = outlook(n, 5).covariance
    mean = implied_mean(target, covariance, TWENTY_SESSIONS)
    move = target - current
    worth = risk_aversion(target, Outlook(mean, covariance, 0.0)) * move @ covariance @ move
    seen = Outlook(mean, covariance, 0.5 * worth / np.abs(move).sum())
    whole = decide_tau(current, target, seen, Bounds(np.arange(n), Limits(8, 0.5, 1.0, 0.0)))
    found = decide_tau(current, target, seen, Bounds(np.arange(n), limits))
    assert whole.tau == pytest.approx(0.5)
    assert (whole.weights > 0).sum() == 5
    assert (found.weights > 0).sum() <= 4
    assert found.weights.sum() == pytest.approx(1.0, abs=0.06)
    net = utility(target, target, seen) - utility(current, target, seen)
    all_of_it = 1e4 * (net - seen.cost * np.abs(move).sum())
    assert found.gain_bp - found.cost_bp >= max(0.0, all_of_it)
    assert found.gain_bp - found.cost_bp <= whole.gain_bp - whole.cost_bp + 1e-9


def test_a_policy_that_always_trades_pays_for_the_whole_way() -> None:
    seen = outlook(3)
    found = decide_tau(
        np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 0.98]), seen, free(3), always=True
    )
    assert found.tau == 1.0
    assert found.cost_bp == pytest.approx(2.3 * 1.98)


def test_the_implied_means_make_the_target_optimal() -> None:
    seen, target = outlook(6, 2), np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.08])
    implied = Outlook(implied_mean(target, seen.covariance, TWENTY_SESSIONS), seen.covariance, 0.0)
    assert implied.mean @ target == pytest.approx(TWENTY_SESSIONS * target.sum())
    rng = np.random.default_rng(0)
    best = utility(target, target, implied)
    for _ in range(200):
        assert utility(target + 0.05 * rng.standard_normal(6), target, implied) <= best


def test_half_of_a_forecast_is_still_to_come_after_its_half_life() -> None:
    alpha = np.array([1e-3, -2e-3])
    assert forecast_to_come(alpha, 6.0, 6.0) == pytest.approx(2 * alpha)
    an_hour = forecast_to_come(alpha, 1.0, 6.0)
    per_hour = alpha / ((1 - 2 ** (-1 / 6)) * 6 / math.log(2))
    assert an_hour == pytest.approx(per_hour * 6 / math.log(2))


@pytest.mark.parametrize(("hours", "half_life"), [(0.0, 6.0), (1.0, 0.0)])
def test_a_horizon_or_half_life_of_nothing_is_refused(hours: float, half_life: float) -> None:
    with pytest.raises(DataError, match="above 0"):
        forecast_to_come(np.zeros(1), hours, half_life)


def test_a_target_that_loses_money_is_not_traded_into() -> None:
    seen = Outlook(np.full(2, -0.01), np.eye(2) * 0.01, COST)
    found = decide_tau(np.zeros(2), np.array([0.5, 0.5]), seen, free(2))
    assert found.tau == 0.0
    assert found.reason.startswith("hold: gain -100.0 bp")


def test_a_number_that_is_none_moves_nothing() -> None:
    seen = outlook(2)
    covariance = seen.covariance.copy()
    covariance[0, 1] = covariance[1, 0] = np.nan
    held = np.array([0.5, 0.2])
    found = decide_tau(held, held[::-1], Outlook(seen.mean, covariance, COST), free(2))
    assert (found.tau, found.weights.tolist()) == (0.0, held.tolist())


def test_a_target_of_nothing_is_a_target_as_others_are() -> None:
    limits = Limits(3, 0.1, 0.3, 0.02, 0.05)
    codes, held, nothing = np.zeros(3, np.int64), np.full(3, 0.06), np.zeros(3)
    for most, left in ((0.015, 0.055), (0.04, 0.05), (2.0, 0.0)):  # never under its least weight
        bounds = Bounds(codes, limits, most=most)
        found = decide_tau(held, nothing, outlook(3), bounds, always=True)
        assert found.weights == pytest.approx(np.full(3, left))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(0, 9999), st.sampled_from([0.02, 0.05, 0.1]))
def test_with_a_least_weight_no_allowed_part_of_the_way_is_better(
    n: int, seed: int, least: float
) -> None:
    rng = np.random.default_rng(seed)
    limits = Limits(n, 1.0, 1.0, 0.0, least)
    target = rng.dirichlet(np.ones(n))
    target[target < least] = 0.0
    current = rng.dirichlet(np.ones(n + 1))[:n] * rng.random()
    seen = outlook(n, seed, 0.005, float(rng.choice([0.0, COST, 2e-3])))
    found = decide_tau(current, target, seen, Bounds(np.arange(n), limits))

    def net(weights: Floats) -> float:
        return utility(weights, target, seen) - seen.cost * float(np.abs(weights - current).sum())

    for tau in np.linspace(0, 1, 101):
        there = current + tau * (target - current)
        changed = np.abs(there - current) > 1e-9
        if not ((there > 0) & (there < least - 1e-9) & changed).any():
            assert net(found.weights) >= net(there) - 1e-8

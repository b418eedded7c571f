"""Policies: no skill is minimum variance, more skill tilts without a jump, limits always hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astra.errors import DataError
from model.portfolio.covariance import Covariance, Horizon
from model.portfolio.decision import decide, decide_all
from model.portfolio.limits import Limits, fill, sector_codes, validate_weights
from model.portfolio.policies import (
    POLICIES,
    equal,
    equal_risk,
    from_function,
    measured,
    min_variance,
    original,
    risk_parity,
    standard_score,
    trust,
)
from model.portfolio.records import Inputs

Floats = NDArray[np.float64]
HOUR = Horizon(np.arange(12), 0)


def inputs(n: int = 80, seed: int = 0, sectors: int = 6, **changes: object) -> Inputs:
    """A market of n names with a factor structure, on the scale of 5-minute bars."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.3, (n, 4))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    noise = 1e-6 * rng.uniform(0.5, 3.0, n)
    per_bar = 1e-6 * loadings @ loadings.T + np.diag(noise)
    names = tuple(f"T{i:03d}" for i in range(n))
    risk = Covariance(names, per_bar, noise, np.full(n, 34.8), 0.1, 1560, 0.0)
    sigma = np.sqrt(12 * per_bar.diagonal())
    score = rng.standard_normal(n) * 0.1
    made = Inputs(
        names, tuple(f"s{i}" for i in rng.integers(0, sectors, n)), score, score * sigma, sigma,
        risk, HOUR, 0.01, np.zeros(n),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [2, 15, 80])
def test_without_skill_the_measured_policy_is_minimum_variance_exactly(n: int) -> None:
    known = inputs(n, ic=0.0)
    assert np.array_equal(measured(known).weights, min_variance(known).weights)
    assert measured(known).sharpe == min_variance(known).sharpe


def test_weights_move_without_a_jump_from_minimum_variance_as_skill_grows() -> None:
    known = inputs(limits=Limits(k=80))
    start = min_variance(known).weights
    skills = np.concatenate([[0.0], np.geomspace(1e-9, 0.05, 250)])
    path = [measured(replace(known, ic=float(ic))).weights for ic in skills]
    steps = [float(np.abs(a - b).sum()) for a, b in pairwise(path)]
    assert steps[0] < 1e-5
    assert max(steps) < 0.12
    distances = [float(np.abs(w - start).sum()) for w in path]
    assert distances[-1] > 1.0


def test_a_smaller_step_in_skill_is_a_smaller_step_in_weights() -> None:
    known = inputs(limits=Limits(k=80))
    for ic in (0.0, 0.002, 0.01):
        base = measured(replace(known, ic=ic)).weights
        near = [
            float(np.abs(measured(replace(known, ic=ic + step)).weights - base).sum())
            for step in (1e-4, 1e-6, 1e-8)
        ]
        assert near[1] < near[0] * 0.05
        assert near[2] < near[0] * 0.001


def test_with_k_names_a_change_of_names_is_a_change_of_the_smallest() -> None:
    known = inputs()
    path = [measured(replace(known, ic=float(ic))).weights for ic in np.linspace(0, 0.01, 150)]
    steps = [float(np.abs(a - b).sum()) for a, b in pairwise(path)]
    assert max(steps) < 0.2


def test_trust_takes_forecasts_at_face_value_and_expects_more() -> None:
    known = inputs()
    assert trust(known).sharpe > 3 * measured(known).sharpe
    doubled = replace(known, forecast=2 * known.forecast, equity_premium=0.10)
    assert trust(doubled).weights == pytest.approx(trust(known).weights, abs=1e-9)


def test_the_original_holds_only_the_highest_forecasts_and_trades_fully() -> None:
    known = inputs(limits=Limits(k=10))
    highest = np.argsort(-known.forecast)[:10]
    found = original(known)
    assert set(np.flatnonzero(found.weights)) <= set(highest.tolist())
    traded = decide(replace(known, cost_bp=500.0), "original", original)
    assert traded.trade.tau == 1.0
    assert np.array_equal(traded.trade.weights, found.weights)


def test_the_original_without_a_rising_forecast_takes_least_variance_and_says_so() -> None:
    known = inputs()
    found = original(replace(known, forecast=-np.abs(known.forecast)))
    assert "no portfolio earns more than cash" in found.reason
    assert found.sharpe < 0
    assert found.weights.sum() > 0.5


def test_risk_parity_spreads_risk_evenly_where_no_cap_binds() -> None:
    known = inputs(limits=Limits(k=8, max_weight=1.0, max_sector_weight=1.0))
    weights = risk_parity(known).weights
    covariance, _ = known.covariance()
    share = weights * (covariance @ weights) / (weights @ covariance @ weights)
    held = weights > 0
    assert share[held] == pytest.approx(np.full(held.sum(), 1 / held.sum()), rel=1e-6)


def test_equal_risk_of_two_names_is_inverse_volatility() -> None:
    found = equal_risk(np.array([[0.04, 0.018], [0.018, 0.09]]))
    assert found == pytest.approx([0.6, 0.4], abs=1e-12)


def test_equal_holds_the_k_highest_scores_alike() -> None:
    known = inputs(limits=Limits(k=20, max_sector_weight=1.0))
    weights = equal(known).weights
    assert set(np.flatnonzero(weights)) == set(np.argsort(-known.score)[:20].tolist())
    assert weights[weights > 0] == pytest.approx(np.full(20, 0.049))


def test_a_standard_score_is_centred_and_clipped() -> None:
    z = standard_score(np.r_[np.zeros(99), 50.0])
    assert z.mean() == pytest.approx(0.0, abs=1e-12)
    assert z.max() <= 3.1
    assert standard_score(np.full(5, 0.3)) == pytest.approx(np.zeros(5))
    assert standard_score(np.array([0.7])) == pytest.approx([0.0])
    normal = standard_score(np.random.default_rng(0).standard_normal(500))
    assert normal.std() == pytest.approx(1.0, abs=0.03)


def test_what_a_cap_cuts_off_goes_to_the_names_with_room() -> None:
    codes = sector_codes(["a", "a", "b", "c"])
    limits = Limits(k=4, max_weight=0.4, max_sector_weight=0.5, cash_floor=0.0)
    found = fill(np.array([8.0, 4.0, 1.0, 1.0]), codes, limits, 1.0)
    assert found.sum() == pytest.approx(1.0)
    assert found[:2].sum() == pytest.approx(0.5)
    assert found[2:] == pytest.approx([0.25, 0.25])


def test_the_first_decision_from_cash_invests_and_the_next_one_holds() -> None:
    known = inputs(ic=0.0)
    first = decide(known, "measured", measured)
    assert 0.9 < first.trade.tau < 1.0
    again = decide(replace(known, current=first.trade.weights), "measured", measured)
    assert again.trade.tau < 0.01


def test_noise_without_skill_does_not_trade() -> None:
    known = inputs(ic=0.0)
    held = decide(known, "measured", measured).trade.weights
    other = inputs(seed=0, ic=0.0, current=held, score=inputs(seed=9).score)
    found = decide(other, "measured", measured).trade
    assert found.tau < 0.01


def test_two_names_stay_mostly_in_cash_and_the_reason_says_why() -> None:
    for policy in POLICIES.values():
        assert policy(inputs(2)).weights.sum() <= 0.2 + 1e-12
    assert "only 20% be invested, the rest is cash" in measured(inputs(2)).reason


def test_a_users_function_is_a_policy_and_its_breach_names_it() -> None:
    known = inputs(5)
    mine = from_function(lambda _: np.full(5, 0.05), "mine.py:half")
    assert decide(known, "mine.py:half", mine).target.weights == pytest.approx(np.full(5, 0.05))
    greedy = from_function(lambda _: np.full(5, 0.5), "mine.py:greedy")
    with pytest.raises(DataError, match=r"policy mine.py:greedy: weights must be at most 0\.1"):
        decide(known, "mine.py:greedy", greedy)


def test_each_policy_starts_from_its_own_book() -> None:
    known = inputs()
    held = min_variance(known).weights
    found = decide_all(known, {"min_variance": [held, known.current], "measured": [known.current]})
    assert set(found) == {"min_variance", "measured"}
    holds, buys = found["min_variance"]
    assert holds.trade.reason == "hold: the target is held already"
    assert buys.target is holds.target and buys.trade.tau > 0
    assert found["measured"][0].trade.tau > 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(0, 9999), st.integers(1, 25), st.integers(1, 6),
    st.floats(0.0, 0.1), st.sampled_from(["as is", "equal", "falling", "twins", "huge"]),
)  # fmt: skip
def test_every_policy_always_keeps_the_limits(
    n: int, seed: int, k: int, sectors: int, ic: float, twist: str
) -> None:
    known = inputs(n, seed, sectors, ic=ic, limits=Limits(k=k))
    rng = np.random.default_rng(seed)
    if twist == "equal":
        known = replace(known, score=np.zeros(n), forecast=np.zeros(n))
    elif twist == "falling":
        known = replace(known, score=-np.abs(known.score), forecast=-np.abs(known.forecast))
    elif twist == "twins":
        pair = np.full((n, n), 1e-6)
        known = replace(known, risk=replace(known.risk, per_bar=pair, diagonal=np.zeros(n)))
    elif twist == "huge":
        known = replace(known, forecast=known.forecast * 1e6)
    known = replace(known, current=rng.dirichlet(np.full(n, 0.2)))
    for (decision,) in decide_all(known, {name: [known.current] for name in POLICIES}).values():
        for weights in (decision.target.weights, decision.trade.weights):
            validate_weights(weights, known.codes, known.limits)
        assert 0.0 <= decision.trade.tau <= 1.0
        assert decision.target.reason
        assert decision.trade.reason
        assert decision.target.bound_gap is None or decision.target.bound_gap >= 0
        assert np.isfinite([decision.target.sharpe, decision.trade.gain_bp]).all()


BAD: dict[str, dict[str, object]] = {
    "a NaN forecast": {"forecast": np.array([np.nan, 0.0, 0.0])},
    "a missing score": {"score": np.zeros(2)},
    "no volatility": {"sigma": np.zeros(3)},
    "a short position": {"current": np.array([-0.1, 0.0, 0.0])},
    "an unknown skill": {"ic": float("nan")},
    "tickers in another order": {"tickers": ("T002", "T001", "T000")},
    "a sector too few": {"sectors": ("a", "b")},
    "an unknown risk": {"risk": replace(inputs(3).risk, per_bar=np.full((3, 3), np.nan))},
    "an unknown night": {"risk": replace(inputs(3).risk, night_bars=np.full(3, np.nan))},
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_decided_upon_is_refused(case: str) -> None:
    with pytest.raises(DataError):
        replace(inputs(3), **BAD[case])  # type: ignore[arg-type]


def test_a_policy_that_goes_to_cash_is_followed() -> None:
    known = inputs(20, sectors=3)
    held = np.where(np.arange(20) < 5, 0.1, 0.0)
    leave = from_function(lambda told: np.zeros(len(told.tickers)), "leave")
    found = decide(replace(known, current=held), "leave", leave).trade
    assert (found.tau, found.gain_bp, found.weights.sum()) == (1.0, 0.0, 0.0)
    assert found.cost_bp == pytest.approx(2.3 * 0.5)
    slowly = replace(known, current=held, max_turnover=0.1)
    assert decide(slowly, "leave", leave).trade.weights.sum() == pytest.approx(0.4)


def test_an_indefinite_covariance_has_no_ratio_and_no_exception() -> None:
    known = inputs(6)
    risk = replace(known.risk, per_bar=-known.risk.per_bar)
    for name, (made,) in decide_all(
        replace(known, risk=risk), {name: [np.full(6, 0.1)] for name in ("trust", "equal")}
    ).items():
        assert np.isfinite([made.target.sharpe, made.trade.tau, made.trade.gain_bp]).all(), name

"""Certified weights of 20 names, and the problem without that limit against scipy's SLSQP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from benchmarks import inputs
from benchmarks.inputs import Floats, Market
from benchmarks.results import Row
from benchmarks.timing import DifferentAnswersError, in_turns, require_equal, timed
from model.portfolio.limits import Limits
from model.portfolio.sharpe import Solution
from model.portfolio.top_k import max_sharpe, minimum_variance

AGREEMENT = 1e-4  # relative; SLSQP is asked for more


@dataclass(frozen=True, slots=True)
class Goal:
    """One of the two portfolios: ours, the same from scratch, and what both are judged by."""

    name: str
    solve: Callable[[Market, Limits], Solution]
    objective: Callable[[Market], tuple[Callable[[Floats], float], Callable[[Floats], Floats]]]
    worth: Callable[[Market, Floats], float]
    gap: float


def measure(names: int = 500, rounds: int = 3) -> list[Row]:
    """Both goals under the default limits (20 names, 10 % a name, 30 % a sector, 2 % cash)."""
    market = inputs.market(names)
    return [row for goal in GOALS for row in _measured(goal, market, rounds)]


def _measured(goal: Goal, market: Market, rounds: int) -> list[Row]:
    limits = Limits()
    n = len(market.mean)
    everything = replace(limits, k=n)
    goal.solve(market, limits)
    few, full, rival = in_turns(
        rounds,
        lambda: timed(lambda: goal.solve(market, limits)),
        lambda: timed(lambda: goal.solve(market, everything)),
        lambda: timed(lambda: sequential(goal, market, limits)),
    )
    ours, theirs = goal.worth(market, full.answer.weights), goal.worth(market, rival.answer)
    require_equal(abs(ours / theirs - 1), AGREEMENT, f"{goal.name} of ours and of SLSQP")
    case = f"{goal.name}, best {limits.k} of {n} names under caps"
    return [
        Row("portfolio", case, 1e3 * few.seconds, "ms", 250, "lower"),
        Row(
            "portfolio", f"{case}: gap of its certificate", few.answer.bound_gap, "ratio",
            goal.gap, "lower",
        ),
        Row(
            "portfolio", f"{goal.name}, {n} names under caps, speed-up",
            rival.seconds / full.seconds, "ratio", 10, "higher",
            "scipy.optimize SLSQP with exact gradients",
        ),
    ]  # fmt: skip


def sequential(goal: Goal, market: Market, limits: Limits) -> Floats:
    """The problem without a limit on the number of names, stated to SLSQP in weights.

    Raises:
        DifferentAnswersError: SLSQP did not settle.
    """
    n = len(market.mean)
    codes = np.unique(np.array(market.sectors), return_inverse=True)[1]
    in_sector = (codes == np.arange(codes.max() + 1)[:, None]).astype(np.float64)
    value, slope = goal.objective(market)
    constraints: list[dict[str, Any]] = [
        {
            "type": "eq",
            "fun": lambda w: w.sum() - limits.investable,
            "jac": lambda _: np.ones(n),
        },
        {
            "type": "ineq",
            "fun": lambda w: limits.max_sector_weight - in_sector @ w,
            "jac": lambda _: -in_sector,
        },
    ]
    found = minimize(
        value, np.full(n, limits.investable / n), jac=slope, method="SLSQP",
        bounds=[(0.0, limits.max_weight)] * n, constraints=constraints,
        options={"maxiter": 500, "ftol": 1e-9},
    )  # fmt: skip
    if not found.success:
        raise DifferentAnswersError(f"SLSQP must settle on {goal.name}, found: {found.message}")
    weights: Floats = np.maximum(found.x, 0.0)
    return weights


def _sharpe_objective(
    market: Market,
) -> tuple[Callable[[Floats], float], Callable[[Floats], Floats]]:
    """Minus the Sharpe ratio and its gradient, in units where mean and variance are near 1."""
    m, S = market.mean / np.abs(market.mean).max(), _unit_covariance(market)

    def value(w: Floats) -> float:
        return float(-(m @ w) / (w @ S @ w) ** 0.5)

    def slope(w: Floats) -> Floats:
        Sw = S @ w
        variance = w @ Sw
        answer: Floats = -m / variance**0.5 + (m @ w) * Sw / variance**1.5
        return answer

    return value, slope


def _variance_objective(
    market: Market,
) -> tuple[Callable[[Floats], float], Callable[[Floats], Floats]]:
    S = _unit_covariance(market)
    return lambda w: float(0.5 * w @ S @ w), lambda w: S @ w


def _unit_covariance(market: Market) -> Floats:
    scaled: Floats = market.covariance * (len(market.mean) / market.covariance.trace())
    return scaled


def _volatility(market: Market, weights: Floats) -> float:
    return float((weights @ market.covariance @ weights) ** 0.5)


GOALS = (
    Goal(
        "max Sharpe",
        lambda m, limits: max_sharpe(m.mean, m.covariance, m.sectors, limits, m.noise),
        _sharpe_objective,
        lambda m, w: float(m.mean @ w) / _volatility(m, w),
        gap=1e-3,
    ),
    Goal(
        "minimum variance",
        lambda m, limits: minimum_variance(m.covariance, m.sectors, limits, m.noise),
        _variance_objective,
        _volatility,
        gap=1e-2,
    ),
)

"""Policies: pure functions from what is known to the weights to hold if trading were free."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.covariance import annualise
from model.portfolio.factored import Factored
from model.portfolio.limits import (
    Indices,
    best_capacity,
    fill,
    pick,
    validate_weights,
)
from model.portfolio.records import Inputs, Policy, Target
from model.portfolio.sharpe import Solution
from model.portfolio.top_k import max_sharpe, minimum_variance

SCORE_CLIP = 3.0


def standard_score(score: Floats) -> Floats:
    """Cross-sectional z: mean 0, standard deviation about 1, clipped at 3; 0 if all are equal."""
    centred = score - score.mean()
    deviation = float(centred.std())
    if deviation <= 1e-12 * max(1.0, float(np.abs(score).max())):
        return np.zeros(len(score))
    clipped = np.clip(centred / deviation, -SCORE_CLIP, SCORE_CLIP)
    z: Floats = clipped - clipped.mean()
    return z


def skilled(inputs: Inputs) -> Floats:
    """IC sigma z: what the forecast is worth until the next decision, shape (n,)."""
    alpha: Floats = inputs.ic * inputs.sigma * standard_score(inputs.score)
    return alpha


def measured(inputs: Inputs) -> Target:
    """mu_i = mu0 + IC sigma_i z_i (Grinold 1994): no skill, minimum variance; more, more tilt."""
    alpha = skilled(inputs)
    found = _solve(inputs, inputs.premium + alpha)
    return _target(inputs, found, f"skill {inputs.ic:.4f}: {found.reason}", alpha)


def trust(inputs: Inputs) -> Target:
    """The forecasts at face value on top of the premium."""
    found = _solve(inputs, inputs.premium + inputs.forecast)
    return _target(inputs, found, f"forecasts at face value: {found.reason}", inputs.forecast)


def original(inputs: Inputs) -> Target:
    """As ASTrA: the k highest forecasts, max-Sharpe among them at face value, traded every hour."""
    names = np.argsort(-inputs.forecast, kind="stable")[: inputs.limits.k]
    covariance, diagonal = inputs.covariance()
    part = max_sharpe(
        inputs.forecast[names],
        covariance[np.ix_(names, names)],
        [inputs.sectors[i] for i in names],
        inputs.limits,
        diagonal[names],
    )
    weights = np.zeros(len(inputs.tickers))
    weights[names] = part.weights
    found = replace(part, weights=weights, bound_gap=float("nan"))  # a rule, no optimum
    reason = f"the {len(names)} highest forecasts only: {part.reason}"
    alpha = inputs.forecast - inputs.premium
    return replace(_target(inputs, found, reason, alpha), always_trades=True)


def min_variance(inputs: Inputs) -> Target:
    """Least variance; every name is expected to earn the premium."""
    found = least_variance(inputs)
    return _target(inputs, found, found.reason, np.zeros(len(inputs.tickers)))


def risk_parity(inputs: Inputs) -> Target:
    """Equal contributions to risk among the names that the minimum variance portfolio holds."""
    found = least_variance(inputs)
    names = np.flatnonzero(found.weights > 0)
    if not len(names):
        return _target(inputs, found, found.reason, np.zeros(len(inputs.tickers)))
    direction = np.zeros(len(inputs.tickers))
    direction[names] = equal_risk(_part(inputs, names))
    weights = fill(direction, inputs.codes, inputs.limits, float(found.weights.sum()))
    held = int((weights > 0).sum())
    reason = f"equal risk of the {held} names of least variance together, as the caps allow"
    return _without_views(inputs, weights, "Newton", reason)


def equal(inputs: Inputs) -> Target:
    """The same weight in each of the k names with the highest scores: what optimising must beat.

    A change of names has to pay for itself by the measured skill.
    """
    codes, limits = inputs.codes, inputs.limits
    invested = best_capacity(codes, limits)
    order = np.argsort(-inputs.score, kind="stable")
    names = pick(order, codes, limits, min(limits.k, len(order)), invested)
    direction = np.zeros(len(order))
    direction[names] = 1.0 - 1e-9 * np.arange(len(names))  # of equals the last ones leave first
    weights, alpha = fill(direction, codes, limits, invested), skilled(inputs)
    held = int((weights > 0).sum())
    reason = f"the same weight in the {held} highest scores, as the caps allow"
    return Target(weights, "ranking", reason, _sharpe(inputs, weights, alpha), None, alpha)


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {p.__name__: p for p in (measured, trust, original, min_variance, risk_parity, equal)}
)


def from_function(function: Callable[[Inputs], Floats], name: str) -> Policy:
    """A user's function from inputs to weights (n,) as a policy, its answer checked.

    The policy raises DataError, naming the function, if the weights break a limit.
    """

    def policy(inputs: Inputs) -> Target:
        try:
            weights = validate_weights(function(inputs), inputs.codes, inputs.limits)
        except DataError as error:
            raise DataError(f"policy {name}: {error}") from error
        return _without_views(inputs, weights, name, f"weights of {name}")

    return policy


def equal_risk(covariance: Floats) -> Floats:
    """Weights summing to 1 whose contributions w_i (Sw)_i are equal, shape (n,).

    The minimum of x'Sx/2 - mean(log x) by damped Newton steps (Spinu 2013, SSRN 2297383), on the
    correlations.
    """
    n = len(covariance)
    deviation = np.sqrt(covariance.diagonal())
    correlation = covariance / np.outer(deviation, deviation)
    x = np.full(n, 1.0 / float(np.sqrt(correlation.sum())))
    for _ in range(100):
        slope = correlation @ x - 1.0 / (n * x)
        step = np.linalg.solve(correlation + np.diag(1.0 / (n * x**2)), slope)
        decrement = float(np.abs(step / x).max())
        x = x - step / (1.0 + decrement)
        if decrement < 1e-12:
            break
    weights: Floats = x / deviation
    return weights / float(weights.sum())


def least_variance(inputs: Inputs) -> Solution:
    """The minimum variance portfolio, solved once for all policies that need it."""

    def solve() -> Solution:
        covariance, diagonal = _structure(inputs)
        return minimum_variance(covariance, inputs.sectors, inputs.limits, diagonal)

    return inputs.once("least variance", solve)


def _solve(inputs: Inputs, mean: Floats) -> Solution:
    """Max-Sharpe; where all names promise the same, or none anything, that is least variance."""
    if mean.max() <= 0:
        floor = least_variance(inputs)
        return replace(floor, reason=f"no portfolio earns more than cash, so {floor.reason}")
    if mean.max() == mean.min():
        return least_variance(inputs)
    covariance, diagonal = _structure(inputs)
    return max_sharpe(mean, covariance, inputs.sectors, inputs.limits, diagonal)


def _structure(inputs: Inputs) -> tuple[Floats | Factored, Floats | None]:
    factored = inputs.factored()
    return inputs.covariance() if factored is None else (factored, None)


def _part(inputs: Inputs, names: Indices) -> Floats:
    covariance, _ = inputs.covariance()
    part: Floats = covariance[np.ix_(names, names)]
    return part


def _target(inputs: Inputs, found: Solution, reason: str, alpha: Floats) -> Target:
    sharpe = _sharpe(inputs, found.weights, alpha)
    method = f"{found.method}, fallback" if found.status == "fallback" else found.method
    gap = found.bound_gap if np.isfinite(found.bound_gap) else None
    unsolved = found.status == "unsolved"
    return Target(found.weights, method, reason, sharpe, gap, alpha, unsolved=unsolved)


def _without_views(inputs: Inputs, weights: Floats, method: str, reason: str) -> Target:
    sharpe, all_cash = _sharpe(inputs, weights, np.zeros(len(weights))), not weights.any()
    # Without expectations nothing is gained by leaving: cash is gone to because it is wanted.
    return Target(weights, method, reason, sharpe, None, None, always_trades=all_cash)


def _sharpe(inputs: Inputs, weights: Floats, alpha: Floats) -> float:
    held = np.flatnonzero(weights)
    variance = float(weights[held] @ _part(inputs, held) @ weights[held])
    if not variance > 0:  # an indefinite matrix may say less than nothing
        return 0.0
    earned = float((inputs.premium + alpha) @ weights)
    return annualise(earned / math.sqrt(variance), inputs.year_share)

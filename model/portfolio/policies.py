"""Policies: pure functions from what is known to the weights to hold if trading were free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.covariance import annualise
from model.portfolio.limits import best_capacity, fill, pick, validate_weights
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
    return Target(
        weights,
        part.method,
        f"the {len(names)} highest forecasts only: {part.reason}",
        annualise(part.sharpe, inputs.year_share),
        None,
        inputs.forecast - inputs.premium,
        always_trades=True,
    )


def min_variance(inputs: Inputs) -> Target:
    """Least variance; every name is expected to earn the premium."""
    covariance, diagonal = inputs.covariance()
    found = minimum_variance(covariance, inputs.sectors, inputs.limits, diagonal)
    return _target(inputs, found, found.reason, np.zeros(len(inputs.tickers)))


def risk_parity(inputs: Inputs) -> Target:
    """Equal contributions to risk among the names that the minimum variance portfolio holds."""
    covariance, diagonal = inputs.covariance()
    found = minimum_variance(covariance, inputs.sectors, inputs.limits, diagonal)
    names = np.flatnonzero(found.weights > 0)
    direction = np.zeros(len(inputs.tickers))
    direction[names] = equal_risk(covariance[np.ix_(names, names)])
    weights = fill(direction, inputs.codes, inputs.limits, float(found.weights.sum()))
    reason = f"equal risk of the {len(names)} names of least variance together, as the caps allow"
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
    direction[names] = 1.0
    reason = f"the same weight in the {len(names)} highest scores, as the caps allow"
    weights, alpha = fill(direction, codes, limits, invested), skilled(inputs)
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


def _solve(inputs: Inputs, mean: Floats) -> Solution:
    covariance, diagonal = inputs.covariance()
    return max_sharpe(mean, covariance, inputs.sectors, inputs.limits, diagonal)


def _target(inputs: Inputs, found: Solution, reason: str, alpha: Floats) -> Target:
    sharpe = _sharpe(inputs, found.weights, alpha)
    method = found.method if found.status == "optimal" else f"{found.method}, fallback"
    return Target(found.weights, method, reason, sharpe, found.bound_gap, alpha)


def _without_views(inputs: Inputs, weights: Floats, method: str, reason: str) -> Target:
    sharpe = _sharpe(inputs, weights, np.zeros(len(weights)))
    return Target(weights, method, reason, sharpe, None, None)


def _sharpe(inputs: Inputs, weights: Floats, alpha: Floats) -> float:
    covariance, _ = inputs.covariance()
    deviation = float(np.sqrt(weights @ covariance @ weights))
    if deviation <= 0:
        return 0.0
    earned = float((inputs.premium + alpha) @ weights)
    return annualise(earned / deviation, inputs.year_share)

"""Policies: from a forecast and its skill to a target, and from there to what is held.

A policy is a pure function from `Inputs` to a `Target`. `decide` adds trade or hold. Each decision
computes all policies; one is traded, the others live on in shadow books.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from astra.errors import DataError
from astra.sessions import FULL_DAY_BARS, HORIZON_BARS
from model.panel import Floats
from model.portfolio.covariance import Covariance, Horizon, annualise
from model.portfolio.limits import (
    Indices,
    Limits,
    best_capacity,
    fill,
    pick,
    sector_codes,
    validate_weights,
)
from model.portfolio.sharpe import Solution
from model.portfolio.top_k import max_sharpe, minimum_variance
from model.portfolio.trade import (
    BP,
    Outlook,
    Trade,
    decide_tau,
    forecast_to_come,
    implied_mean,
    trade_fully,
)

SCORE_CLIP = 3.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision may know of n usable candidates.

    Attributes:
        tickers, sectors: n names and their sectors, "" for none.
        score: forecasts in units of their volatility, shape (n,).
        forecast: the same at face value, log returns over the horizon, shape (n,).
        sigma: volatility over the horizon, shape (n,).
        risk: the covariance per bar; `horizon`: the bars and nights until the next decision.
        ic: measured skill in use, 0 if there is none.
        current: weights held today, shape (n,); what else is held counts as cash.
        equity_premium: expected return over cash a year, of every name.
        cost_bp: half spread and fee of one side.
        holding_sessions: over which premium and risk count when a move is weighed.
        alpha_half_life_hours: of the forecast, trading hours.
    """

    tickers: tuple[str, ...]
    sectors: tuple[str, ...]
    score: Floats
    forecast: Floats
    sigma: Floats
    risk: Covariance
    horizon: Horizon
    ic: float
    current: Floats
    limits: Limits = Limits()
    equity_premium: float = 0.05
    cost_bp: float = 2.3
    holding_sessions: float = 20.0
    alpha_half_life_hours: float = 6.0

    def __post_init__(self) -> None:
        n = len(self.tickers)
        arrays = {name: getattr(self, name) for name in ("score", "forecast", "sigma", "current")}
        for name, values in arrays.items():
            if values.shape != (n,) or not np.isfinite(values).all():
                raise DataError(f"a decision needs {n} finite values of {name}: leave out the rest")
        if not n or len(self.sectors) != n or self.risk.tickers != self.tickers:
            raise DataError("a decision needs names with a sector and a covariance each, in order")
        if (self.sigma <= 0).any() or (self.current < 0).any() or not np.isfinite(self.ic):
            raise DataError("a decision needs sigma > 0, weights held >= 0 and a finite skill")

    @property
    def codes(self) -> Indices:
        return sector_codes(self.sectors)

    @property
    def year_share(self) -> float:
        return self.risk.year_share(self.horizon.bars, self.horizon.nights)

    @property
    def premium(self) -> float:
        """mu0: what every name earns above cash until the next decision."""
        return self.equity_premium * self.year_share

    def covariance(self) -> tuple[Floats, Floats]:
        """Until the next decision, (n, n), and its diagonal part, (n,)."""
        return self.risk.over(self.horizon.bars, self.horizon.nights)


@dataclass(frozen=True, slots=True)
class Target:
    """What a policy would hold if trading were free.

    Attributes:
        weights: shape (n,), within the limits.
        method, reason: how it was found, and one sentence about it.
        sharpe: ex-ante, annualised, in excess of cash, under the policy's own expectations.
        bound_gap: how far below the best possible it can be, relatively; None if nothing is proven.
        alpha: what the policy expects beyond the premium until the next decision, shape (n,); None
            if it expects nothing in particular, so that a move is worth what it brings nearer.
        always_trades: go the whole way whatever it costs.
    """

    weights: Floats
    method: str
    reason: str
    sharpe: float
    bound_gap: float | None
    alpha: Floats | None
    always_trades: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A policy's target and the move that was decided: `trade.weights` are to be held."""

    policy: str
    target: Target
    trade: Trade


Policy = Callable[[Inputs], Target]


def standard_score(score: Floats) -> Floats:
    """Cross-sectional z: mean 0, standard deviation about 1, clipped at 3; 0 if all are equal."""
    centred = score - score.mean()
    deviation = float(centred.std())
    if deviation <= 1e-12 * max(1.0, float(np.abs(score).max())):
        return np.zeros(len(score))
    clipped = np.clip(centred / deviation, -SCORE_CLIP, SCORE_CLIP)
    z: Floats = clipped - clipped.mean()
    return z


def measured(inputs: Inputs) -> Target:
    """mu_i = mu0 + IC sigma_i z_i (Grinold 1994): no skill, minimum variance; more, more tilt."""
    alpha = inputs.ic * inputs.sigma * standard_score(inputs.score)
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
    """The same weight in each of the k names with the highest scores: what optimising must beat."""
    codes, limits = inputs.codes, inputs.limits
    invested = best_capacity(codes, limits)
    order = np.argsort(-inputs.score, kind="stable")
    names = pick(order, codes, limits, min(limits.k, len(order)), invested)
    direction = np.zeros(len(order))
    direction[names] = 1.0
    reason = f"the same weight in the {len(names)} highest scores, as the caps allow"
    return _without_views(inputs, fill(direction, codes, limits, invested), "ranking", reason)


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


def decide(inputs: Inputs, name: str, policy: Policy) -> Decision:
    """The policy's target, and how far to go towards it.

    Raises:
        DataError: the inputs cannot be optimised, or the target breaks a limit.
    """
    target = policy(inputs)
    validate_weights(target.weights, inputs.codes, inputs.limits)
    outlook = _outlook(inputs, target)
    if target.always_trades:
        return Decision(name, target, trade_fully(inputs.current, target.weights, outlook))
    trade = decide_tau(inputs.current, target.weights, outlook, inputs.codes, inputs.limits)
    return Decision(name, target, trade)


def decide_all(inputs: Inputs, current: Mapping[str, Floats]) -> dict[str, Decision]:
    """Every built-in policy's decision from the weights that its own book holds.

    Args:
        current: weights (n,) by policy; a policy that is missing starts from `inputs.current`.
    """
    return {
        name: decide(replace(inputs, current=current.get(name, inputs.current)), name, policy)
        for name, policy in POLICIES.items()
    }


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
    sharpe = _sharpe(inputs, found.weights, inputs.premium + alpha)
    method = found.method if found.status == "optimal" else f"{found.method}, fallback"
    return Target(found.weights, method, reason, sharpe, found.bound_gap, alpha)


def _without_views(inputs: Inputs, weights: Floats, method: str, reason: str) -> Target:
    means = np.full(len(weights), inputs.premium)
    return Target(weights, method, reason, _sharpe(inputs, weights, means), None, None)


def _sharpe(inputs: Inputs, weights: Floats, mean: Floats) -> float:
    covariance, _ = inputs.covariance()
    deviation = float(np.sqrt(weights @ covariance @ weights))
    if deviation <= 0:
        return 0.0
    return annualise(float(mean @ weights) / deviation, inputs.year_share)


def _outlook(inputs: Inputs, target: Target) -> Outlook:
    nights = inputs.holding_sessions
    bars = nights * FULL_DAY_BARS
    covariance, _ = inputs.risk.over(bars, nights)
    premium = inputs.equity_premium * inputs.risk.year_share(bars, nights)
    if target.alpha is None:
        mean = implied_mean(target.weights, covariance, premium)
    else:
        hours = inputs.horizon.bars / HORIZON_BARS
        mean = premium + forecast_to_come(target.alpha, hours, inputs.alpha_half_life_hours)
    return Outlook(mean, covariance, inputs.cost_bp / BP)

"""A decision: a policy's target, then how far to go towards it.

Each decision computes every policy; one is traded, the others live on in shadow books.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from astra.sessions import FULL_DAY_BARS, HORIZON_BARS
from model.panel import Floats
from model.portfolio.limits import Indices, validate_weights
from model.portfolio.policies import POLICIES
from model.portfolio.records import Decision, Inputs, Policy, Target
from model.portfolio.trade import (
    BP,
    NOTHING,
    Bounds,
    Outlook,
    Trade,
    cut,
    decide_tau,
    forecast_to_come,
    implied_mean,
)


def decide(inputs: Inputs, name: str, policy: Policy) -> Decision:
    """The policy's target, and how far to go towards it from `inputs.current`.

    Raises:
        DataError: the target breaks a limit, as a user's own policy may.
    """
    return decide_all(inputs, {name: (inputs.current,)}, {name: policy})[name][0]


def decide_all(
    inputs: Inputs,
    currents: Mapping[str, Sequence[Floats]],
    policies: Mapping[str, Policy] = POLICIES,
) -> dict[str, tuple[Decision, ...]]:
    """What each policy decides from what each of its books holds.

    What policies have in common is computed once, and a built-in policy's target once for all of
    its books: it does not depend on what they hold. A user's own may.

    Args:
        currents: weights (n,) of each book, by policy; policies that are not named are left out.

    Raises:
        DataError: a target breaks a limit, as a user's own policy may.
    """
    return {
        name: tuple(_decided(inputs, name, policies[name], held)) for name, held in currents.items()
    }


def without_forecast(inputs: Inputs) -> Target:
    """The target if nothing were known of the future: least variance, within the same limits."""
    return inputs.once(
        ("target", "min_variance"), lambda: _target(inputs, POLICIES["min_variance"])
    )


def _decided(
    inputs: Inputs, name: str, policy: Policy, currents: Sequence[Floats]
) -> Iterable[Decision]:
    if policy is POLICIES.get(name):
        target = inputs.once(("target", name), lambda: _target(inputs, policy))
        for current in currents:
            yield Decision(name, target, _trade(inputs, target, current))
        return
    for current in currents:
        target = _target(replace(inputs, current=current), policy)
        yield Decision(name, target, _trade(inputs, target, current))


def _target(inputs: Inputs, policy: Policy) -> Target:
    """Checked, and cut where a sector is filled by what is held beside these names.

    The built-in policies know that room; a user's own need not.
    """
    target = policy(inputs)
    validate_weights(target.weights, inputs.codes, inputs.limits)
    if inputs.taken is None:
        return target
    weights = cut(target.weights, Bounds(inputs.codes, inputs.limits, taken=inputs.taken))
    weights = np.where(weights < inputs.limits.min_weight - NOTHING, 0.0, weights)
    if float(np.abs(weights - target.weights).max()) <= NOTHING:
        return target
    reason = f"{target.reason}; cut where a sector is filled by what is kept"
    return replace(target, weights=weights, reason=reason, bound_gap=None)


def _trade(inputs: Inputs, target: Target, current: Floats) -> Trade:
    """Trade or hold, among the names that are held or wanted: the others stay at 0."""
    names = np.flatnonzero((current > 0) | (target.weights > 0))
    weights = np.zeros(len(current))
    if not len(names):
        reason = target.reason if target.unsolved else "the target is held already"
        return Trade(weights, 0.0, 0.0, 0.0, f"hold: {reason}")
    bounds = Bounds(inputs.codes[names], inputs.limits, inputs.max_turnover, inputs.taken)
    held, wanted = current[names], target.weights[names]
    if target.unsolved:
        weights[names] = cut(held, bounds)
        return Trade(weights, 0.0, 0.0, 0.0, f"hold: {target.reason}")
    outlook = _outlook(inputs, target, names)
    trade = decide_tau(held, wanted, outlook, bounds, always=target.always_trades)
    weights[names] = trade.weights
    return replace(trade, weights=weights)


def _outlook(inputs: Inputs, target: Target, names: Indices) -> Outlook:
    risk, nights = inputs.risk, inputs.holding_sessions
    bars = nights * FULL_DAY_BARS
    scale = np.sqrt(bars + nights * risk.night_bars[names])  # as in `Covariance.over`
    covariance = risk.per_bar[np.ix_(names, names)] * np.outer(scale, scale)
    share = inputs.once("holding share", lambda: risk.year_share(bars, nights))
    premium = inputs.equity_premium * share
    if target.alpha is None:
        mean = implied_mean(target.weights[names], covariance, premium)
    else:
        hours = inputs.horizon.bars / HORIZON_BARS
        alpha = target.alpha[names]
        mean = premium + forecast_to_come(alpha, hours, inputs.alpha_half_life_hours)
    return Outlook(mean, covariance, inputs.cost_bp / BP)

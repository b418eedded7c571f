"""A decision: a policy's target, then how far to go towards it.

Each decision computes every policy; one is traded, the others live on in shadow books.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from astra.sessions import FULL_DAY_BARS, HORIZON_BARS
from model.panel import Floats
from model.portfolio.limits import validate_weights
from model.portfolio.policies import POLICIES
from model.portfolio.records import Decision, Inputs, Policy, Target
from model.portfolio.trade import (
    BP,
    Outlook,
    decide_tau,
    forecast_to_come,
    implied_mean,
    trade_fully,
)


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

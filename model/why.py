"""Why each weight changes: the parts of a decision, name by name, for its document. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from astra.attribution import of_decision
from model.holdings import DUST, Settled
from model.portfolio.decision import without_forecast

# How `forecast` reads; of all of them it is what is wanted beyond the portfolio of least variance.
FORECAST = {
    "measured": "the target with the measured skill",
    "trust": "the target with the forecasts at face value",
    "original": "the best portfolio of the highest forecasts alone",
    "equal": "the same weight in each of the highest scores",
}
VIEWLESS = {"min_variance", "risk_parity"}


def why(settled: Settled, held: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The parts (`astra.attribution.DECIDED`) of the change of each weight held, wanted or decided,
    by ticker.

    A policy that uses no forecast has none of it: its target is `risk`. A name that is kept, or
    sold because it may not be held, is `limit` alone; so is all of a decision without a target.

    Args:
        held: all that was held, weights by ticker.
    """
    made, tickers = settled.decision, settled.inputs.tickers
    target, worth = made.target, made.trade.worth
    decided = settled.weights
    if target.unsolved:
        return _limits(held, decided)
    neutral = target
    if made.policy not in VIEWLESS:
        free = without_forecast(settled.inputs)
        neutral = target if free.unsolved else free
    found = _limits({t: w for t, w in held.items() if t not in set(tickers)}, decided)
    for ticker, wanted, without in zip(tickers, target.weights, neutral.weights, strict=True):
        had, gets = held.get(ticker, 0.0), decided.get(ticker, 0.0)
        if max(had, gets, float(wanted)) > DUST:
            found[ticker] = of_decision(had, float(without), float(wanted), worth, gets)
    return dict(sorted(found.items()))


def reads(policy: str) -> str:
    """How the parts of this policy are to be read, in one sentence."""
    if policy in VIEWLESS:
        return "this policy uses no forecast: risk is its target less what was held"
    wanted = FORECAST.get(policy, f"the target of {policy}, whatever it rests on")
    return f"forecast is {wanted} less the portfolio of least variance, risk that less what is held"


def _limits(held: Mapping[str, float], decided: Mapping[str, float]) -> dict[str, dict[str, float]]:
    names = sorted(t for t, w in held.items() if w > DUST)
    return {
        t: {"forecast": 0.0, "risk": 0.0, "cost": 0.0, "limit": decided.get(t, 0.0) - held[t]}
        for t in names
    }

"""One decision: from what can be known and what is held to weights with their reasons. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from astra.errors import InsufficientDataError
from astra.settings import Settings
from model.outlook import Outlook
from model.panel import Floats
from model.portfolio.covariance import sigma, until_next_decision
from model.portfolio.decision import decide
from model.portfolio.estimators import ESTIMATORS
from model.portfolio.limits import Limits, trim
from model.portfolio.policies import POLICIES
from model.portfolio.records import Decision, Inputs, Policy

DUST = 1e-6  # of equity: a smaller weight is none


@dataclass(frozen=True, slots=True)
class Terms:
    """The choices that, with the as-of time and the model, make a decision what it is."""

    policy: str
    limits: Limits
    equity_premium: float
    cost_bp: float
    holding_sessions: float
    alpha_half_life_hours: float
    drift_band: float = 0.0  # of equity: a smaller change of a weight makes no order
    model_max_age_days: int = 0  # of a network whose forecast is used; 0 = any
    risk_model: str = "ledoit_wolf"
    max_turnover: float = 2.0  # of one decision, buys and sales together, of equity
    exclude: tuple[str, ...] = ()  # never bought
    hold: tuple[str, ...] = ()  # neither bought nor sold

    @classmethod
    def from_settings(
        cls, settings: Settings, policy: str | None = None, k: int | None = None
    ) -> Terms:
        """As the settings say; `policy` and `k` replace theirs."""
        s = settings
        return cls(
            policy=policy or s.policy,
            limits=Limits(k or s.k, s.max_weight, s.max_sector_weight, s.cash_floor, s.min_weight),
            equity_premium=s.equity_premium,
            cost_bp=s.half_spread_bp + s.fee_bp,
            holding_sessions=s.holding_sessions,
            alpha_half_life_hours=s.alpha_half_life_hours,
            drift_band=s.drift_band,
            model_max_age_days=s.model_max_age_days,
            risk_model=s.risk_model,
            max_turnover=s.max_turnover,
            exclude=_names(s.exclude),
            hold=_names(s.hold),
        )

    def as_choices(self) -> dict[str, object]:
        """For the decision's tag."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be held: a decision under `inputs`, beside the unusable holdings `kept`."""

    inputs: Inputs
    decision: Decision
    kept: Mapping[str, float]

    @property
    def weights(self) -> dict[str, float]:
        """By ticker, those above dust."""
        return {**self.kept, **_named(self.inputs.tickers, self.decision.trade.weights)}


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision: weights by ticker (those above 0), and the document that explains it."""

    weights: Mapping[str, float]
    document: dict[str, Any]


def held_weights(values: Mapping[str, float], equity: float, capital: float) -> dict[str, float]:
    """USD held by ticker as fractions of the equity that is managed: `capital` at most, 0 = all.

    Empty where there is no equity above 0.
    """
    managed = min(equity, capital) if capital else equity
    return {ticker: value / managed for ticker, value in values.items()} if managed > 0 else {}


def choose(
    outlook: Outlook,
    sectors: Mapping[str, str],
    held: Mapping[str, float],
    terms: Terms,
    policy: Policy,
) -> Answer:
    """Trade or hold under `terms`, from the weights that are held.

    Raises:
        DataError: the inputs cannot be optimised or the policy's weights break a limit.
    """
    settled = settle(outlook, gather(outlook, sectors, terms), held, terms, policy)
    return Answer(settled.weights, _document(outlook, settled))


def settle(
    outlook: Outlook, inputs: Inputs, held: Mapping[str, float], terms: Terms, policy: Policy
) -> Settled:
    """What `policy`, called `terms.policy`, does from the weights that are held.

    A holding that is unusable right now is kept as it is: no news is no reason to sell.

    Raises:
        DataError: the inputs cannot be optimised or the policy's weights break a limit.
    """
    left_out = outlook.sight.coverage.left_out
    kept = {t: w for t, w in held.items() if t in left_out and w > DUST}
    current = np.array([max(0.0, held.get(t, 0.0)) for t in inputs.tickers])
    own = replace(inputs, current=current, limits=_beside(inputs.limits, kept))
    made = _worth_an_order(decide(own, terms.policy, policy), own, terms.drift_band)
    return Settled(own, made, kept)


def _worth_an_order(made: Decision, inputs: Inputs, band: float) -> Decision:
    """A move that no order would follow from is called what it is: hold."""
    stay = trim(inputs.current, inputs.codes, inputs.limits)
    if made.trade.tau == 0 or float(np.abs(made.trade.weights - stay).max()) >= band:
        return made
    reason = f"hold: no weight would change by {band:.2%} of equity"
    return replace(made, trade=replace(made.trade, weights=stay, tau=0.0, reason=reason))


def _beside(limits: Limits, kept: Mapping[str, float]) -> Limits:
    """The limits of the other names, once `kept` has its places and its weight."""
    if not kept:
        return limits
    floor = min(0.999, limits.cash_floor + sum(kept.values()))
    return replace(limits, k=max(1, limits.k - len(kept)), cash_floor=floor)


def gather(outlook: Outlook, sectors: Mapping[str, str], terms: Terms) -> Inputs:
    """What every policy is told at `outlook`, nothing held yet.

    Raises:
        InsufficientDataError: too little history for a covariance or a volatility.
    """
    sight = outlook.sight
    panel, forecast = sight.panel, sight.forecast
    risk = ESTIMATORS[terms.risk_model](panel, sight.normalised)
    horizon = until_next_decision(sight.as_of)
    volatility = sigma(panel, sight.normalised, risk, horizon)
    wanting = [
        t
        for t, ok, v in zip(panel.tickers, forecast.usable, volatility, strict=True)
        if not (ok and v > 0)
    ]
    if wanting:
        raise InsufficientDataError(
            f"a decision needs a volatility for each name, {', '.join(wanting[:5])} have none yet: "
            "load more history"
        )
    return Inputs(
        tickers=panel.tickers,
        sectors=tuple(sectors.get(t, "") for t in panel.tickers),
        score=forecast.score,
        forecast=np.log(forecast.close[:, -1] / forecast.last_close),
        sigma=volatility,
        risk=risk,
        horizon=horizon,
        ic=outlook.skill.used,
        current=np.zeros(len(panel.tickers)),
        limits=terms.limits,
        equity_premium=terms.equity_premium,
        cost_bp=terms.cost_bp,
        holding_sessions=terms.holding_sessions,
        alpha_half_life_hours=terms.alpha_half_life_hours,
    )


def _names(listed: str) -> tuple[str, ...]:
    return tuple(sorted(t.strip() for t in listed.split("|") if t.strip()))


def _named(tickers: tuple[str, ...], weights: Floats) -> dict[str, float]:
    """Weights above dust by ticker, the largest first."""
    found = {t: float(w) for t, w in zip(tickers, weights, strict=True) if w > DUST}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _document(outlook: Outlook, settled: Settled) -> dict[str, Any]:
    inputs, made, kept = settled.inputs, settled.decision, settled.kept
    sight, skill, health = outlook.sight, outlook.skill, outlook.health
    target, trade = made.target, made.trade
    left_out = dict(sight.coverage.left_out)
    left_out |= {t: f"{left_out[t]}: kept at {w:.2%}" for t, w in kept.items()}
    return {
        "as_of": sight.as_of.isoformat(),
        "policy": made.policy,
        "model_id": sight.forecast.model_id,
        "skill": {
            "ic": round(skill.ic, 6),
            "t": round(skill.t, 4),
            "days": skill.days,
            "decisions": skill.decisions,
            "on": skill.on,
            "used": round(skill.used, 6),
            "suspect": skill.suspect,
            "reason": skill.reason,
        },
        "health": {
            "psi": _rounded(health.psi),
            "cusum": _rounded(health.cusum),
            "age_days": health.age_days,
            "alarms": list(health.alarms),
        },
        "method": target.method,
        "reason": trade.reason,
        "target_reason": target.reason,
        "sharpe": target.sharpe,
        "bound_gap": target.bound_gap,
        "tau": trade.tau,
        "gain_bp": trade.gain_bp,
        "cost_bp": trade.cost_bp,
        "weights": settled.weights,
        "target": _named(inputs.tickers, target.weights),
        "targets": {
            name: _named(inputs.tickers, rule(inputs).weights) for name, rule in POLICIES.items()
        },
        "left_out": left_out,
        "coverage": round(sight.coverage.share, 4),
    }

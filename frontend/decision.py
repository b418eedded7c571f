"""A decision as the model service answered it, read for the page. Pure."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from astra.errors import DataError
from frontend.words import basis_points, percent

_FACE_VALUE = ("trust", "original", "equal")  # policies that follow the forecast whatever its skill
_VIEWLESS = ("min_variance", "risk_parity")  # that use none


@dataclass(frozen=True, slots=True)
class Skill:
    """Measured skill: `ic` is a mean rank correlation, `t` its t-value over `days` sessions.

    A `suspect` one is too good to be true; `alarms` (drift, age) end the forecast's use.
    """

    ic: float
    t: float
    days: int
    on: bool
    suspect: bool
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer of /allocate. Fractions and basis points; NaN where the answer has null.

    Attributes:
        weights: what was decided, on the way to `target`.
        target: what the policy wants; None where an earlier release did not say, as for `held`,
            what was held when it was decided.
        reads: how the parts of "why this weight" are to be read.
        file: the name of the allocation it made, "" if not known.
        document: the whole answer.
    """

    as_of: dt.datetime
    policy: str
    model_id: str
    method: str
    reason: str
    market: str
    trained_on: str
    skill: Skill
    sharpe: float
    bound_gap: float
    tau: float
    gain_bp: float
    cost_bp: float
    weights: Mapping[str, float]
    left_out: Mapping[str, str]
    target: Mapping[str, float] | None
    held: Mapping[str, float] | None
    target_reason: str
    reads: str
    coverage: float
    file: str
    document: Mapping[str, Any]

    @property
    def traded(self) -> bool:
        return self.tau > 0


def parse(document: str) -> Decision:
    """A decision from its JSON document; unknown fields are passed over.

    Raises:
        DataError: it is no JSON object or lacks its time or its weights.
    """
    try:
        found = json.loads(document)
        as_of = dt.datetime.fromisoformat(found["as_of"])
        weights = {str(t): float(w) for t, w in found["weights"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"a decision needs as_of and weights, found {document[:60]!r}") from error
    skill = found.get("skill") or {}
    return Decision(
        as_of=as_of,
        policy=_text(found, "policy"),
        model_id=_text(found, "model_id"),
        method=_text(found, "method"),
        reason=_text(found, "reason"),
        market=_text(found, "market"),
        trained_on=_text(found, "trained_on"),
        skill=Skill(
            _number(skill, "ic"),
            _number(skill, "t"),
            int(skill.get("days") or 0),
            bool(skill.get("on", False)),
            bool(skill.get("suspect", False)),
            tuple(str(alarm) for alarm in (found.get("health") or {}).get("alarms") or ()),
        ),
        sharpe=_number(found, "sharpe"),
        bound_gap=_number(found, "bound_gap"),
        tau=_number(found, "tau"),
        gain_bp=_number(found, "gain_bp"),
        cost_bp=_number(found, "cost_bp"),
        weights=weights,
        left_out={str(t): str(why) for t, why in (found.get("left_out") or {}).items()},
        target=_weights(found, "target"),
        held=_weights(found, "held_weights"),
        target_reason=_text(found, "target_reason"),
        reads=_text(found, "why_reads"),
        coverage=_number(found, "coverage"),
        file=_text(found, "object"),
        document=found,
    )


def _weights(fields: Mapping[str, Any], name: str) -> dict[str, float] | None:
    found = fields.get(name)
    return {str(t): float(w) for t, w in found.items()} if isinstance(found, dict) else None


def _text(fields: Mapping[str, Any], name: str) -> str:
    return str(fields.get(name) or "")


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    return math.nan if value is None else float(value)


def verdict(decision: Decision) -> str:
    """What was done, in one line."""
    if not decision.traded:
        return "Held: no trade was worth its cost"
    if decision.tau >= 1:
        return "Traded all the way to the target"
    return f"Traded {percent(decision.tau, digits=0)} of the way to the target"


def skill_sentence(skill: Skill) -> str:
    """What the measured skill means for the weights."""
    if skill.alarms:
        return f"The forecast is not used: {'; '.join(skill.alarms)}."
    if skill.days == 0 or not math.isfinite(skill.t):
        return "The forecast has no record yet, so it does not move the weights."
    record = f"t = {skill.t:.1f} over {skill.days} days"
    if skill.suspect:
        return (
            f"The forecast looks too good to be true ({record}): look for a leak or a fault in its "
            "record before trusting it."
        )
    if skill.on:
        return f"The forecast has shown skill ({record}) and moves the weights as far as it goes."
    return f"The forecast has not proven itself ({record}) and does not move the weights."


def forecast_sentence(decision: Decision) -> str:
    """What the forecast and its measured skill mean for the weights of this decision's policy."""
    policy, skill = decision.policy, decision.skill
    if policy in _VIEWLESS:
        return f"Policy {policy} uses no forecast."
    if policy == "measured" or not policy:
        return skill_sentence(skill)
    follows = "at face value, whatever its skill" if policy in _FACE_VALUE else "as it chooses"
    said = f"Policy {policy} follows the forecast {follows}"
    if skill.days == 0 or not math.isfinite(skill.t):
        return f"{said}; there is no record of it yet."
    record = f"t = {skill.t:.1f} over {skill.days} days"
    if skill.suspect:
        return f"{said}, which looks too good to be true ({record}): look for a leak."
    return f"{said}, which has {'shown skill' if skill.on else 'not proven itself'} ({record})."


def why(decision: Decision) -> str:
    """The trade-off behind trading or holding, in a sentence; "" if it was not weighed."""
    if not (math.isfinite(decision.gain_bp) and math.isfinite(decision.cost_bp)):
        return ""
    gain, cost = basis_points(decision.gain_bp), basis_points(decision.cost_bp)
    if not decision.traded:
        return f"Moving to the target was expected to gain {gain} of equity and to cost {cost}."
    told = f"The trades are expected to gain {gain} of equity and to cost {cost}"
    if decision.gain_bp > decision.cost_bp:
        return f"{told}."
    return f"{told}: not worth it by that, but this policy trades whatever it costs."


def certificate(decision: Decision) -> str:
    """What is proven of the target, in a sentence; "" if the answer says nothing of it."""
    reason = decision.target_reason.rstrip(".")
    said = f"Target: {reason}." if reason else ""
    if math.isfinite(decision.bound_gap):
        return said
    rule = "It follows a rule, so nothing is proven about how near it is to the best of all."
    return f"{said} {rule}".strip()


def left_out_table(decision: Decision) -> pd.DataFrame:
    """ticker, reason; by ticker."""
    rows = sorted(decision.left_out.items())
    return pd.DataFrame(rows, columns=["ticker", "reason"])


def market_line(market: str) -> str | None:
    """What a reader must know about where the prices come from; None for the real market."""
    kind, _, rest = market.partition(":")
    if kind == "simulated":
        return (
            f"SIMULATED market (seed {rest}): these prices are made up, with an edge planted in "
            "them to be found. Nothing here says what real trading would earn."
        )
    if kind == "replay":
        return (
            "REPLAYED market: recorded prices of the past, traded on the sandbox's clock. "
            "No order reached a broker."
        )
    return None

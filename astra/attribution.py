"""Why an order was made: the change of a name's weight as parts that sum to it. Pure.

The decision says what the forecast, the risk, the costs and its limits made of the weight that was
held; the plan adds what prices had moved since, its own limits and the rounding to shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from astra.records import PlanLine

DECIDED = ("forecast", "risk", "cost", "limit")
# What each part is; `file` stands for the first four where no decision is known.
PARTS = {
    "forecast": "the target less that without a forecast",
    "risk": "the target without a forecast, the one of least variance, less what was held",
    "cost": "the part of the way to the target that is not worth its cost",
    "file": "the weight in the file less what was held",
    "limit": "what is held cut down to the caps, turnover, least weights, names kept or sold; in "
    "the plan what cash and turnover leave, names that cannot be traded",
    "drift": "what was held when it was decided less what was held when it was planned",
    "rounding": "whole shares or the smallest part of one, the drift band, the least order",
}


@dataclass(frozen=True, slots=True)
class Attribution:
    """One name of a plan: `parts`, some of `PARTS` in their order, sum to `planned - before`."""

    symbol: str
    before: float
    planned: float
    parts: Mapping[str, float]

    @property
    def change(self) -> float:
        return self.planned - self.before


def of_decision(
    held: float, neutral: float, target: float, worth: float, decided: float
) -> dict[str, float]:
    """The parts of `decided - held`, weights of one name.

        forecast = target - neutral
        risk     = neutral - held
        cost     = (worth - 1) (target - held)
        limit    = the rest: what caps, turnover, least weights and the number of names change

    Args:
        neutral: the target without a forecast, under the same limits.
        worth: the fraction of the way to the target that is worth its cost.
    """
    forecast, risk = target - neutral, neutral - held
    cost = (worth - 1.0) * (target - held)
    limit = math.fsum((decided, -held, -forecast, -risk, -cost))
    return {"forecast": forecast, "risk": risk, "cost": cost, "limit": limit}


def of_plan(line: PlanLine, document: Mapping[str, object] | None) -> Attribution:
    """The parts of what was planned for one name.

    Args:
        document: of the decision; None, or one without `why`, as that of an earlier release: then
            `file` is all that is known of it.
    """
    parts = dict.fromkeys(PARTS, 0.0)
    planned = line.parts
    why, held, decided = (_table(document, n) for n in ("why", "held_weights", "weights"))
    if why is None or held is None or decided is None:
        parts = {"file": line.weight_target - line.weight_before, "limit": 0.0, "rounding": 0.0}
        off = 0.0
    else:
        del parts["file"]
        had, wanted = _number(held, line.symbol), _number(decided, line.symbol)
        told = _table(why, line.symbol) or {"limit": wanted - had}
        parts |= {name: _number(told, name) for name in DECIDED}
        parts["drift"] = had - line.weight_before
        off = line.weight_target - wanted  # the file's decimals
    parts["limit"] += planned.get("limit", 0.0)
    parts["rounding"] += planned.get("rounding", 0.0) + off
    return Attribution(line.symbol, line.weight_before, line.weight_planned, parts)


def _table(document: Mapping[str, object] | None, name: str) -> Mapping[str, object] | None:
    found = None if document is None else document.get(name)
    return found if isinstance(found, Mapping) else None


def _number(table: Mapping[str, object], name: str) -> float:
    found = table.get(name, 0.0)
    return float(found) if isinstance(found, int | float) else 0.0

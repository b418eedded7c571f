"""What a backtest found: each policy's steps and equity curve, beside the benchmark's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from astra.performance import Performance, summarize
from model.forecast.record import Floats


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of one policy and what it cost.

    Attributes:
        weights: decided, fractions of equity by ticker.
        tau: fraction of the way to the target; 0 = hold.
        turnover: value traded, buys and sales together, as a fraction of equity.
        cost_bp: spread and fees in bp of equity.
    """

    as_of: dt.datetime
    weights: Mapping[str, float]
    tau: float
    reason: str
    turnover: float
    cost_bp: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One policy's walk: a step for each decision that was not refused, equity in USD (D + 1,)."""

    policy: str
    steps: tuple[Step, ...]
    equity: Floats

    @property
    def turnover(self) -> float:
        return sum(step.turnover for step in self.steps)

    @property
    def cost_bp(self) -> float:
        return sum(step.cost_bp for step in self.steps)

    @property
    def trades(self) -> int:
        """Decisions after which anything was traded."""
        return sum(step.turnover > 0 for step in self.steps)

    @property
    def holds(self) -> int:
        return len(self.steps) - self.trades


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision time at which too little was known: every policy held."""

    as_of: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Backtest:
    """A walk over D decision times.

    Attributes:
        model_id: the bundle whose forecasts were used.
        times: the first decision, then the close of each decision's hour, shape (D + 1,).
        curves: by policy.
        benchmark: USD, bought with the capital at the first price that could be traded, shape
            (D + 1,); None if it is not among the bars.
        skill_ic, skill_t: of the forecasts, as known at the last decision that was not refused.
    """

    model_id: str
    times: tuple[dt.datetime, ...]
    curves: Mapping[str, Curve]
    refusals: tuple[Refusal, ...]
    benchmark: Floats | None
    skill_ic: float
    skill_t: float

    def performance(self, policy: str) -> Performance:
        return summarize(self.times, self.curves[policy].equity, self.benchmark)

    def benchmark_performance(self) -> Performance | None:
        return None if self.benchmark is None else summarize(self.times, self.benchmark)

    def as_json(self) -> dict[str, Any]:
        """Figures and curves in plain numbers; what cannot be known is null."""
        spy = self.benchmark_performance()
        return {
            "model_id": self.model_id,
            "times": [t.isoformat() for t in self.times],
            "skill": {"ic": self.skill_ic, "t": self.skill_t},
            "policies": {name: self._policy(curve) for name, curve in self.curves.items()},
            "benchmark": spy and {**_plain(spy), "equity": _cents(self.benchmark)},
            "refusals": [{"as_of": r.as_of.isoformat(), "reason": r.reason} for r in self.refusals],
        }

    def _policy(self, curve: Curve) -> dict[str, Any]:
        return {
            **_plain(self.performance(curve.policy)),
            "turnover": curve.turnover,
            "cost_bp": curve.cost_bp,
            "trades": curve.trades,
            "holds": curve.holds,
            "equity": _cents(curve.equity),
        }


def _plain(found: Performance) -> dict[str, float | None]:
    return {k: v if np.isfinite(v) else None for k, v in asdict(found).items()}


def _cents(equity: Floats | None) -> list[float]:
    return [] if equity is None else np.round(equity, 2).tolist()

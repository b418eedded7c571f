"""What a backtest found: each policy's steps, trades and equity, beside the benchmarks'."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from astra.performance import Performance, summarize
from astra.records import Side
from astra.sessions import BAR, HORIZON_BARS
from model.forecast.record import Floats

SPY, SPY_TOTAL = "SPY", "SPY, dividends assumed"
EQUAL, HOLD = "equal weight", "hold"
BENCHMARKS = (SPY, SPY_TOTAL, EQUAL, HOLD)
HOUR = HORIZON_BARS * BAR  # from a decision to the value that it is marked at
COSTS = (0.0, 1.0, 2.0)  # multiples of the assumed costs, each with a book of its own


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
class Closing:
    """A holding that trades no more, sold before a decision that did not ask for it; `turnover`
    and `cost_bp` as a step's."""

    at: dt.datetime
    turnover: float
    cost_bp: float


@dataclass(frozen=True, slots=True)
class Traded:
    """One filled order, or a holding that was closed.

    Attributes:
        at: start of the bar at whose open it was filled, UTC; of a holding that trades no more the
            decision before which it was closed.
        price: USD a share, spread included; a fee is not.
        gain: of a sale, USD after its costs against the average cost of the shares; None of a buy.
        reason: why, where no decision asked for it; else "".
    """

    at: dt.datetime
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    gain: Decimal | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One policy's walk.

    Attributes:
        steps: one for each decision that was not refused, at the assumed costs.
        equity: USD, shape (D + 1,), at the assumed costs.
        by_cost: the same at 0, 1 and 2 times the assumed costs, each from decisions of its own.
        trades: in the order in which they were booked, at the assumed costs.
        closings: what was sold without a decision, at the assumed costs; `trades` has it too.
    """

    policy: str
    steps: tuple[Step, ...]
    equity: Floats
    by_cost: Mapping[float, Floats]
    trades: tuple[Traded, ...]
    closings: tuple[Closing, ...] = ()

    @property
    def turnover(self) -> float:
        closed = sum(closing.turnover for closing in self.closings)
        return closed + sum(step.turnover for step in self.steps)

    @property
    def cost_bp(self) -> float:
        closed = sum(closing.cost_bp for closing in self.closings)
        return closed + sum(step.cost_bp for step in self.steps)

    @property
    def moves(self) -> int:
        """Decisions after which anything was traded."""
        return sum(step.turnover > 0 for step in self.steps)

    @property
    def holds(self) -> int:
        return len(self.steps) - self.moves

    @property
    def winning(self) -> int:
        """Sales that brought more than the shares had cost, after costs."""
        return sum(t.gain is not None and t.gain > 0 for t in self.trades)

    @property
    def losing(self) -> int:
        return sum(t.gain is not None and t.gain < 0 for t in self.trades)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision time at which too little was known: every policy held."""

    as_of: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class SkillStep:
    """What forecasts had been worth as known at `as_of`: rank IC, its t, the IC used, and whether
    it may move weights."""

    as_of: dt.datetime
    ic: float
    t: float
    used: float
    on: bool


@dataclass(frozen=True, slots=True)
class Backtest:
    """A walk over D decision times.

    Attributes:
        model_id: the bundle whose forecasts were used.
        times: the first decision, then the end of each decision's hour, shape (D + 1,).
        curves: by policy.
        benchmarks: USD by name, shape (D + 1,), from the same capital; one without prices is
            absent. See `BENCHMARKS`.
        skill: one for each decision that was not refused.
    """

    model_id: str
    times: tuple[dt.datetime, ...]
    curves: Mapping[str, Curve]
    refusals: tuple[Refusal, ...]
    benchmarks: Mapping[str, Floats]
    skill: tuple[SkillStep, ...]

    @property
    def skill_ic(self) -> float:
        """As known at the last decision; 0 if all were refused."""
        return self.skill[-1].ic if self.skill else 0.0

    @property
    def skill_t(self) -> float:
        return self.skill[-1].t if self.skill else 0.0

    def performance(self, policy: str, multiple: float = 1.0) -> Performance:
        """A policy's figures at a multiple of the assumed costs, beside SPY by price."""
        equity = self.curves[policy].by_cost[multiple]
        return summarize(self.times, equity, self.benchmarks.get(SPY))

    def benchmark_performance(self, name: str = SPY) -> Performance | None:
        found = self.benchmarks.get(name)
        return None if found is None else summarize(self.times, found)

    def as_json(self) -> dict[str, Any]:
        """Figures and curves in plain numbers; what cannot be known is null."""
        return {
            "model_id": self.model_id,
            "times": [t.isoformat() for t in self.times],
            "skill": {"ic": self.skill_ic, "t": self.skill_t},
            "skill_steps": [_written(asdict(step)) for step in self.skill],
            "policies": {name: self._policy(curve) for name, curve in self.curves.items()},
            "benchmarks": {
                name: {**_plain(summarize(self.times, equity)), "equity": _cents(equity)}
                for name, equity in self.benchmarks.items()
            },
            "refusals": [_written(asdict(refusal)) for refusal in self.refusals],
        }

    def _policy(self, curve: Curve) -> dict[str, Any]:
        return {
            **_plain(self.performance(curve.policy)),
            "turnover": curve.turnover,
            "cost_bp": curve.cost_bp,
            "trades": curve.moves,
            "holds": curve.holds,
            "winning": curve.winning,
            "losing": curve.losing,
            "equity": _cents(curve.equity),
            "by_cost": {
                f"{multiple:g}": {
                    **_plain(self.performance(curve.policy, multiple)),
                    "equity": _cents(equity),
                }
                for multiple, equity in curve.by_cost.items()
            },
            "orders": [_written(asdict(trade)) for trade in curve.trades],
        }


def _plain(found: Performance) -> dict[str, float | None]:
    return {k: v if np.isfinite(v) else None for k, v in asdict(found).items()}


def _cents(equity: Floats) -> list[float]:
    found: list[float] = np.round(equity, 2).tolist()
    return found


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Times in ISO form, exact decimals as text."""
    return {
        name: value.isoformat()
        if isinstance(value, dt.datetime)
        else format(value, "f")
        if isinstance(value, Decimal)
        else value
        for name, value in fields.items()
    }

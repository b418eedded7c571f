"""What a book holds, sorted for a decision: what may be traded, and what is kept as it is. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from model.panel import Floats
from model.portfolio.limits import Limits
from model.portfolio.records import Decision, Inputs, Target
from model.portfolio.trade import NOTHING, Trade

DUST = 1e-6  # of equity: a smaller weight is none
GRAIN = 1e-3  # of equity: what is kept counts in such steps, so that like books share a target


@dataclass(frozen=True, slots=True)
class Room:
    """What the holdings that are kept leave to the other names.

    Attributes:
        places: names that may still be held.
        limits: of these names; they mean nothing without a place.
        turnover: that may still be made, as a share of equity.
        sectors: share of equity kept of each sector.
    """

    places: int
    limits: Limits
    turnover: float
    sectors: tuple[tuple[str, float], ...]

    def of(self, inputs: Inputs) -> Inputs:
        """The inputs in this room, whose common results all books in it share."""
        if self == Room(inputs.limits.k, inputs.limits, inputs.max_turnover, ()):
            return inputs
        own = dict(self.sectors)
        return inputs.once(self, lambda: inputs.beside(self.limits, self.turnover, own))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a book stands.

    Attributes:
        current: weights of the names that a decision is about, shape (n,).
        kept: weights of the holdings that stay as they are.
        sold: weights of the holdings that go whatever is decided.
    """

    current: Floats
    kept: Mapping[str, float]
    sold: Mapping[str, float]
    room: Room


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be held: a decision under `inputs`, beside the holdings `kept` as they are."""

    inputs: Inputs
    decision: Decision
    kept: Mapping[str, float]

    @property
    def weights(self) -> dict[str, float]:
        """By ticker, those above dust."""
        return {**self.kept, **named(self.inputs.tickers, self.decision.trade.weights)}


def place(
    inputs: Inputs,
    held: Mapping[str, float],
    unusable: Collection[str],
    hold: Collection[str],
    exclude: Collection[str],
) -> Place:
    """Sort the weights that are held.

    What is unusable right now is kept, since no news is no reason to sell, and so is what the user
    has on hold; it takes its places, its weight and its share of its sector. What is excluded goes,
    and so does what is no candidate (any more).
    """
    above = {t: w for t, w in held.items() if w > DUST}
    kept = {t: w for t, w in above.items() if t in hold or (t in unusable and t not in exclude)}
    sold = {t: w for t, w in above.items() if t not in kept and t not in inputs.tickers}
    sectors: dict[str, float] = {}
    for ticker, weight in kept.items():
        sector = inputs.others.get(ticker, "")
        if sector:
            sectors[sector] = sectors.get(sector, 0.0) + weight
    limits = inputs.limits
    places = limits.k - len(kept)
    floor = limits.cash_floor + _up(sum(kept.values()))
    if not kept:
        left = limits
    elif places >= 1 and floor < 1.0 and limits.min_weight <= 1.0 - floor:
        left = replace(limits, k=places, cash_floor=floor)
    else:
        left, places = limits, 0
    room = Room(
        places=places,
        limits=left,
        turnover=max(0.0, inputs.max_turnover - sum(sold.values())),
        sectors=tuple(sorted((s, _up(w)) for s, w in sectors.items())),
    )
    current = np.array([max(0.0, held.get(t, 0.0)) for t in inputs.tickers])
    return Place(current, kept, sold, room)


def without_room(name: str, current: Floats) -> Decision:
    """The decision of a book whose kept holdings leave no place: nothing else is held."""
    nothing = np.zeros(len(current))
    why = "what is kept takes all the room there is"
    target = Target(nothing, "none", why, 0.0, None, None, unsolved=True)
    over = float(current.sum())
    said = f"; {over:.2%} of equity sold to keep the limits" if over > NOTHING else ""
    return Decision(name, target, Trade(nothing, 0.0, 0.0, 0.0, f"hold: {why}{said}"))


def named(tickers: tuple[str, ...], weights: Floats) -> dict[str, float]:
    """Weights above dust by ticker, the largest first."""
    found = {t: float(w) for t, w in zip(tickers, weights, strict=True) if w > DUST}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _up(weight: float) -> float:
    return math.ceil(weight / GRAIN - 1e-9) * GRAIN

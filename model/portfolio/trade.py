"""Trade or hold: how far to move from today's weights to the target, costs counted.

The whole way is seldom worth its cost, and a forecast that fades in hours cannot pay for a turnover
that costs days of premium. Between two portfolios expected utility less cost is a concave parabola
in the fraction moved, so the best fraction has a closed form.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.limits import Indices, Limits, trim

BP = 1e4
FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # tried if the best part of the way is not allowed
LEAST = 1e-3  # of the way: less is not worth an order
NOTHING = 1e-9  # of equity: a smaller difference between two portfolios is none
NO_LIMIT = 2.0  # of equity: all is sold and all is bought


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a portfolio is expected to earn and risk until the premium has been held for a while.

    Attributes:
        mean: premium over the holding horizon plus all of the forecast that is still to come, as a
            fraction of the price, shape (n,).
        covariance: over the holding horizon, shape (n, n).
        cost: half spread and fee of one side, as a fraction of the value traded.
    """

    mean: Floats
    covariance: Floats
    cost: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a move of n names must keep.

    Attributes:
        codes: sectors, shape (n,).
        most: buys and sales together, as a share of equity; what the limits and the user's choices
            force is not held back by it, and counts.
        taken: what is held of each sector beside these names, by code; None = nothing.
    """

    codes: Indices
    limits: Limits
    most: float = NO_LIMIT
    taken: Floats | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """The move that was decided.

    Attributes:
        weights: to hold now, shape (n,), within the limits.
        tau: fraction of the way to the target, in [0, 1].
        gain_bp: utility the move adds over the holding horizon, bp of equity, before cost; when
            held, what the whole way would add at most, or the move that was not worth its cost or
            an order.
        cost_bp: spread and fees of the same.
        reason: one sentence.
        worth: fraction of the way that is worth its cost, whatever else ends it earlier.
    """

    weights: Floats
    tau: float
    gain_bp: float
    cost_bp: float
    reason: str
    worth: float = 1.0


def forecast_to_come(alpha: Floats, hours: float, half_life_hours: float) -> Floats:
    """All that a decaying forecast will still earn, from what it earns in the next `hours`.

    With alpha(t) = a 2^(-t/h): the integral over all t against the integral over `hours`.

    Raises:
        DataError: hours or half-life are not above 0.
    """
    if hours <= 0 or half_life_hours <= 0:
        raise DataError(
            f"a forecast needs a horizon and a half-life above 0, "
            f"found {hours} and {half_life_hours} hours"
        )
    return alpha / (1.0 - math.pow(2.0, -hours / half_life_hours))


def risk_aversion(target: Floats, outlook: Outlook) -> float:
    """The lambda for which the target is scaled best: mean of the target / its variance.

    0 if the target earns nothing or risks nothing: then only the mean and the cost count.
    """
    earned = float(outlook.mean @ target)
    variance = float(target @ outlook.covariance @ target)
    return max(0.0, earned) / variance if variance > 0 else 0.0


def implied_mean(target: Floats, covariance: Floats, premium: float) -> Floats:
    """The means for which the target is optimal, if it earns `premium` a unit of weight, (n,).

    Reverse optimisation (Black and Litterman 1992): proportional to S w. For targets that are not
    derived from means, such as equal risk, so that a move is worth what it brings nearer to them.
    Nothing is the best where nothing is earned: then 0.
    """
    if not target.any():
        return np.zeros(len(target))
    pull = covariance @ target
    variance = float(target @ pull)
    if variance <= 0:
        return np.full(len(target), premium)
    scaled: Floats = pull * (premium * float(target.sum()) / variance)
    return scaled


def cut(current: Floats, bounds: Bounds) -> Floats:
    """Weights cut down to the limits, what is cut off becoming cash."""
    codes, limits, taken = bounds.codes, bounds.limits, bounds.taken
    kept = trim(current, codes, limits)
    if taken is None:
        return kept
    room = np.maximum(0.0, limits.max_sector_weight - taken)
    held = np.bincount(codes, weights=kept, minlength=len(room))
    share = np.where(held > room, room / np.where(held > 0, held, 1.0), 1.0)
    within: Floats = kept * share[codes]
    return within


def decide_tau(
    current: Floats, target: Floats, outlook: Outlook, bounds: Bounds, *, always: bool = False
) -> Trade:
    """Move the fraction of the way that maximises mean'w - lambda/2 w'Sw - cost |w - current|.

    Today's weights are first cut down to the limits, which needs no permission; the turnover limit
    ends the way earlier. A part of the way may hold more than k names, or a name with less than the
    least weight. Then some ways that don't are compared by what they are truly worth: a few
    fractions with the smallest names left out, and the way in whole names, one after the other.

    Args:
        current: today's weights of the same n names, shape (n,); what else is held counts as cash.
        target: within the limits, shape (n,).
        always: go as far as the bounds let, whatever it costs; gain and cost are still told.
    """
    stay = cut(current, bounds)
    sold = float(np.abs(current - stay).sum())
    said = f"; {sold:.2%} of equity sold to keep the limits" if sold > NOTHING else ""
    way = _Way(stay, target, outlook, risk_aversion(target, outlook))
    if way.turnover <= NOTHING:
        return Trade(stay, 0.0, 0.0, 0.0, f"hold: the target is held already{said}")
    wanted = 1.0 if always else way.best_fraction()
    if wanted < LEAST:
        gain, cost = way.slope * BP, way.price * BP
        why = f"hold: gain {_bp(gain)} <= cost {_bp(cost)}{said}"
        return Trade(stay, 0.0, gain, cost, why, worth=0.0)
    left = max(0.0, bounds.most - sold)
    tau = min(wanted, left / way.turnover)
    if tau < wanted:
        said = f"; at most {bounds.most:.1%} of equity may be bought and sold at once{said}"
    steps = [way.step(end) for end in _ends(way, tau, left, bounds)]
    if always:
        best = min(steps, key=lambda s: float(np.abs(target - s.weights).sum()), default=None)
    else:
        best = max(steps, key=lambda s: s.gain_bp - s.cost_bp, default=None)
    if best is None:
        gain, cost = way.slope * BP, way.price * BP
        why = f"hold: no step towards the target is allowed{said}"
        return Trade(stay, 0.0, gain, cost, why, worth=wanted)
    if not always and best.gain_bp <= best.cost_bp:
        reason = f"hold: no allowed move is worth its cost of {_bp(best.cost_bp)}{said}"
        return Trade(stay, 0.0, best.gain_bp, best.cost_bp, reason, worth=0.0)
    return replace(best, reason=best.reason + said, worth=wanted)


@dataclass(frozen=True, slots=True)
class _Way:
    """From `stay` to `target`, and what its parts are worth under one risk aversion."""

    stay: Floats
    target: Floats
    outlook: Outlook
    aversion: float

    @property
    def turnover(self) -> float:
        return float(np.abs(self.target - self.stay).sum())

    @property
    def price(self) -> float:
        """Of the whole way, as a fraction of equity."""
        return self.outlook.cost * self.turnover

    @property
    def slope(self) -> float:
        """Utility gained by the whole way if it went on as it begins."""
        move = self.target - self.stay
        pull = float(self.stay @ self.outlook.covariance @ move)
        return float(self.outlook.mean @ move) - self.aversion * pull

    def best_fraction(self) -> float:
        move = self.target - self.stay
        bend = self.aversion * float(move @ self.outlook.covariance @ move)
        return _best_fraction(self.slope - self.price, bend)

    def at(self, tau: float) -> Floats:
        mixed: Floats = (1.0 - tau) * self.stay + tau * self.target
        return mixed

    def step(self, end: Floats) -> Trade:
        """To go to `end`, wherever that is."""
        traded = float(np.abs(end - self.stay).sum())
        tau = min(1.0, traded / self.turnover)
        gain = BP * (self._utility(end) - self._utility(self.stay))
        cost = BP * self.outlook.cost * traded
        how = "trade" if tau >= 1.0 else f"trade {tau:.0%} of the way"
        return Trade(end, tau, gain, cost, f"{how}: gain {_bp(gain)}, cost {_bp(cost)}")

    def _utility(self, weights: Floats) -> float:
        risk = float(weights @ self.outlook.covariance @ weights)
        return float(self.outlook.mean @ weights) - 0.5 * self.aversion * risk


def _best_fraction(slope: float, bend: float) -> float:
    """Of slope tau - bend tau^2 / 2 over [0, 1]."""
    if not slope > 0:  # NaN moves nothing
        return 0.0
    return min(1.0, slope / bend) if bend > 0 else 1.0


def _ends(way: _Way, tau: float, left: float, bounds: Bounds) -> list[Floats]:
    """Where the way may lead: to its best part, or to what comes near it and is allowed."""
    mixed = way.at(tau)
    if _is_allowed(mixed, way.stay, bounds.limits):
        return [mixed] if tau >= LEAST else []
    return [
        end
        for end in _near(way, tau, left, bounds)
        if LEAST * way.turnover <= float(np.abs(end - way.stay).sum()) <= left + NOTHING
        and float(np.abs(end - cut(end, bounds)).max()) <= NOTHING
        and _is_allowed(end, way.stay, bounds.limits)
    ]


def _is_allowed(weights: Floats, stay: Floats, limits: Limits) -> bool:
    """At most k names, and none under the least weight but those that stay as they are."""
    return int((weights > 0).sum()) <= limits.k and not _too_small(weights, stay, limits).any()


def _too_small(weights: Floats, stay: Floats, limits: Limits) -> NDArray[np.bool_]:
    changed = np.abs(weights - stay) > NOTHING
    small: NDArray[np.bool_] = (weights > 0) & (weights < limits.min_weight - NOTHING) & changed
    return small


def _near(way: _Way, tau: float, left: float, bounds: Bounds) -> Iterator[Floats]:
    """Places between today's weights and the target, the target among them."""
    stay, limits = way.stay, bounds.limits
    for fraction in (tau, *FRACTIONS, *_crossings(way, limits.min_weight)):
        mixed = way.at(fraction)
        kept = mixed.copy()
        kept[np.argsort(-mixed, kind="stable")[limits.k :]] = 0.0
        if kept.any():
            yield cut(kept * (float(mixed.sum()) / float(kept.sum())), bounds)
        rounded = np.where(mixed < stay / 2, 0.0, stay)
        yield np.where(_too_small(mixed, stay, limits), rounded, mixed)
    yield from _name_by_name(stay, way.target, left, limits)


def _crossings(way: _Way, least: float) -> list[float]:
    """The fractions of the way at which a name has exactly its least weight."""
    move = way.target - way.stay
    found = (least - way.stay[move != 0]) / move[move != 0]
    return sorted({float(f) for f in found if 0 < f < 1}) if least > 0 else []


def _name_by_name(stay: Floats, target: Floats, left: float, limits: Limits) -> Iterator[Floats]:
    """In whole names: the largest purchase first, each after the sales that make room for it, and
    the last one as far as the turnover that is `left` goes."""
    now = stay.copy()
    buys = [i for i in np.argsort(stay - target, kind="stable") if target[i] > stay[i]]
    order = np.lexsort((stay, target > 0))  # those that leave first, the smallest of them first
    sales = deque(i for i in order if target[i] < stay[i])
    for i in buys:
        while sales and (
            int((now > 0).sum()) + int(now[i] == 0) > limits.k
            or float(now.sum() + target[i] - now[i]) > limits.investable
        ):
            j = sales.popleft()
            now[j] = target[j]
            yield now.copy()
        part = now.copy()
        part[i] = min(target[i], now[i] + max(0.0, left - float(np.abs(now - stay).sum())))
        yield part
        now[i] = target[i]
    for j in sales:
        now[j] = target[j]
        yield now.copy()


def _bp(value: float) -> str:
    return f"{value:.1f} bp" if abs(value) >= 1 else f"{value:.2f} bp"

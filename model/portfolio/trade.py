"""Trade or hold: how far to move from today's weights to the target, costs counted.

The whole way is seldom worth its cost, and a forecast that fades in hours cannot pay for a turnover
that costs days of premium. Between two portfolios expected utility less cost is a concave parabola
in the fraction moved, so the best fraction has a closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.limits import Indices, Limits, trim

BP = 1e4
FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # tried if part of the way holds more than k names
LEAST = 1e-3  # of the way: less is not worth an order
NOTHING = 1e-9  # of equity: a smaller difference between two portfolios is none


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
class Trade:
    """The move that was decided.

    Attributes:
        weights: to hold now, shape (n,), within the limits.
        tau: fraction of the way to the target, in [0, 1].
        gain_bp: utility the move adds over the holding horizon, bp of equity, before cost; when
            held, what the whole way would add at most.
        cost_bp: spread and fees of the move; when held, of the whole way.
        reason: one sentence.
    """

    weights: Floats
    tau: float
    gain_bp: float
    cost_bp: float
    reason: str


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
    """
    pull = covariance @ target
    variance = float(target @ pull)
    if variance <= 0:
        return np.full(len(target), premium)
    scaled: Floats = pull * (premium * float(target.sum()) / variance)
    return scaled


def decide_tau(
    current: Floats, target: Floats, outlook: Outlook, codes: Indices, limits: Limits
) -> Trade:
    """Move the fraction of the way that maximises mean'w - lambda/2 w'Sw - cost |w - current|.

    Today's weights are first trimmed to the limits, which needs no permission. A part of the way
    may hold more than k names: then the k largest are kept at the same total, which is no parabola,
    and a few fractions, the whole way and staying are compared by what they are truly worth.

    Args:
        current: today's weights of the same n names, shape (n,); what else is held counts as cash.
        target: within the limits, shape (n,).
    """
    stay = trim(current, codes, limits)
    aversion = risk_aversion(target, outlook)
    move = target - stay
    turnover = float(np.abs(move).sum())
    if turnover <= NOTHING:
        return Trade(stay, 0.0, 0.0, 0.0, "hold: the target is held already")
    pull = outlook.covariance @ move
    slope = float(outlook.mean @ move) - aversion * float(stay @ pull)
    price = outlook.cost * turnover
    tau = _best_fraction(slope - price, aversion * float(move @ pull))
    if tau < LEAST:
        gain, cost = slope * BP, price * BP
        return Trade(stay, 0.0, gain, cost, f"hold: gain {_bp(gain)} <= cost {_bp(cost)}")
    fractions = (tau,) if _names(stay, target, tau) <= limits.k else (tau, *FRACTIONS)
    ways = [
        _move(stay, _at_most_k(stay, target, t, codes, limits), t, outlook, aversion)
        for t in fractions
    ]
    best = max(ways, key=lambda way: way.gain_bp - way.cost_bp)
    if best.gain_bp <= best.cost_bp:
        reason = f"hold: no move within {limits.k} names is worth its cost of {_bp(best.cost_bp)}"
        return Trade(stay, 0.0, best.gain_bp, best.cost_bp, reason)
    return best


def trade_fully(current: Floats, target: Floats, outlook: Outlook) -> Trade:
    """The whole way whatever it costs, as a policy may ask for; gain and cost are still told."""
    return _move(current, target, 1.0, outlook, risk_aversion(target, outlook))


def _best_fraction(slope: float, bend: float) -> float:
    """Of slope tau - bend tau^2 / 2 over [0, 1]."""
    if slope <= 0:
        return 0.0
    return min(1.0, slope / bend) if bend > 0 else 1.0


def _names(stay: Floats, target: Floats, tau: float) -> int:
    return int(((1.0 - tau) * stay + tau * target > 0).sum())


def _at_most_k(stay: Floats, target: Floats, tau: float, codes: Indices, limits: Limits) -> Floats:
    mixed = (1.0 - tau) * stay + tau * target
    if int((mixed > 0).sum()) <= limits.k:
        return mixed
    kept = mixed.copy()
    kept[np.argsort(-mixed, kind="stable")[limits.k :]] = 0.0
    return trim(kept * (float(mixed.sum()) / float(kept.sum())), codes, limits)


def _utility(weights: Floats, outlook: Outlook, aversion: float) -> float:
    risk = float(weights @ outlook.covariance @ weights)
    return float(outlook.mean @ weights) - 0.5 * aversion * risk


def _move(start: Floats, end: Floats, tau: float, outlook: Outlook, aversion: float) -> Trade:
    gain = BP * (_utility(end, outlook, aversion) - _utility(start, outlook, aversion))
    cost = BP * outlook.cost * float(np.abs(end - start).sum())
    how = "trade" if tau == 1.0 else f"trade {tau:.0%} of the way"
    return Trade(end, tau, gain, cost, f"{how}: gain {_bp(gain)}, cost {_bp(cost)}")


def _bp(value: float) -> str:
    return f"{value:.1f} bp" if abs(value) >= 1 else f"{value:.2f} bp"

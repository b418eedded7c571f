"""How far luck among many trials explains a Sharpe ratio. Pure.

A Sharpe ratio is of a step, not a year's. What cannot be known is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri


@dataclass(frozen=True, slots=True)
class Deflated:
    """A Sharpe ratio beside the best of as many trials without any skill.

    Attributes:
        probability: that the true ratio is above `expected_maximum`; NaN if it cannot be known.
        expected_maximum: of the Sharpe ratios of `trials` trials whose true ratio is 0, of a step.
        trials: how many were counted.
    """

    probability: float
    expected_maximum: float
    trials: int


def probabilistic_sharpe(
    step_sharpe: float, steps: int, skew: float, kurtosis: float, above: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio of a step is greater than `above`.

    Phi((SR - above) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)), Bailey and Lopez de
    Prado (2012), "The Sharpe Ratio Efficient Frontier"; kurtosis is 3 for normal returns. Steps
    count as independent.
    """
    variance = 1 - skew * step_sharpe + (kurtosis - 1) / 4 * step_sharpe**2
    if steps < 2 or not variance > 0:
        return math.nan
    return float(ndtr((step_sharpe - above) * math.sqrt((steps - 1) / variance)))


def deflated_sharpe(
    step_sharpe: float, steps: int, skew: float, kurtosis: float, trials: Sequence[float]
) -> Deflated:
    """The probabilistic Sharpe ratio above what the best of all trials would show by luck.

    SR0 = sd(trials) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g = 0.5772 (Euler), Bailey
    and Lopez de Prado (2014), "The Deflated Sharpe Ratio". N trials count as independent. Those
    that nearly copy each other make sd(trials) small and then deflate too little: leave copies
    out. With one trial SR0 is 0.

    Args:
        trials: Sharpe ratios of a step of all different trials over the same steps, this one among
            them: over others their spread would be that of the lengths. Those that are NaN (a curve
            that never moved) are not counted.
    """
    known = np.array([ratio for ratio in trials if math.isfinite(ratio)])
    n = len(known)
    best = float(known.std(ddof=1)) * _expected_maximum(n) if n > 1 else 0.0
    found = probabilistic_sharpe(step_sharpe, steps, skew, kurtosis, best)
    return Deflated(found, best, n)


def _expected_maximum(n: int) -> float:
    """Of n > 1 independent standard normal numbers, approximately."""
    g = float(np.euler_gamma)
    return float((1 - g) * ndtri(1 - 1 / n) + g * ndtri(1 - 1 / (n * math.e)))

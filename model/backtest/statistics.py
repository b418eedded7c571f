"""What backtests are worth as evidence: how far choosing among many explains them. Pure.

Returns are simple returns of a curve's steps; a Sharpe ratio is of a step unless it says annual.
What cannot be known is NaN. What luck among many trials explains is `astra.deflated`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from astra.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overfitting:
    """What became of the best strategy of one half of the time in the other half.

    Attributes:
        probability: share of the splits in which it fell below the median of all there; exactly
            at the median counts half, so that it is near 0.5 for noise and near 0 for skill.
        loss: share of the splits in which it lost there.
        chosen_sharpe, later_sharpe: its median Sharpe ratio of a step where it was chosen, and in
            the other half.
        logits: ln(w / (1 - w)) of its relative rank w there, of each split, shape (splits,).
    """

    probability: float
    loss: float
    chosen_sharpe: float
    later_sharpe: float
    logits: Floats


def overfitting(step_returns: Floats, blocks: int = 10) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    The steps are cut into `blocks` of equal length (the oldest that are left over are not used).
    Each choice of half of them is one split: the strategy with the highest Sharpe ratio there is
    ranked among all by the ratio in the other half, w = rank / (N + 1). Bailey, Borwein, Lopez de
    Prado and Zhu (2017), "The Probability of Backtest Overfitting". A strategy that never moves
    has a Sharpe ratio of 0; of equally good ones the first is chosen.

    Args:
        step_returns: of N strategies on the same steps, oldest first, shape (T, N).
        blocks: even; 10 make 252 splits.

    Raises:
        DataError: fewer than two strategies or two steps a block, an odd number of blocks, or
            returns that are not finite.
    """
    size, names = step_returns.shape if step_returns.ndim == 2 else (0, 0)
    if blocks < 2 or blocks % 2 or names < 2 or size < 2 * blocks:
        raise DataError(
            "a cross-validation needs an even number of blocks, two steps a block and two "
            f"strategies, found {blocks} blocks, {size} steps and {names} strategies"
        )
    if not np.isfinite(step_returns).all():
        raise DataError("a cross-validation needs finite returns, found NaN or infinite ones")
    length = size // blocks
    blocked = step_returns[-length * blocks :].reshape(blocks, length, names)
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, half in zip(halves, combinations(range(blocks), blocks // 2), strict=True):
        row[list(half)] = 1.0
    chosen_on, judged_on = _sharpes(blocked, halves), _sharpes(blocked, 1 - halves)
    splits, best = np.arange(len(halves)), chosen_on.argmax(axis=1)
    rank = rankdata(judged_on, axis=1)[splits, best] / (names + 1)
    later = judged_on[splits, best]
    logits = np.log(rank / (1 - rank))
    return Overfitting(
        probability=float(((rank < 0.5) + 0.5 * (rank == 0.5)).mean()),
        loss=float((later < 0).mean()),
        chosen_sharpe=float(np.median(chosen_on[splits, best])),
        later_sharpe=float(np.median(later)),
        logits=logits,
    )


def _sharpes(blocked: Floats, halves: Floats) -> Floats:
    """Of each strategy over the blocks marked 1, shape (splits, N)."""
    center = blocked.mean(axis=(0, 1))
    off = blocked - center  # squares of small differences keep their digits
    count = halves[:1].sum() * blocked.shape[1]
    mean = halves @ off.sum(axis=1) / count
    variance = (halves @ (off**2).sum(axis=1) / count - mean**2) * count / (count - 1)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    flat = deviation <= 1e-12
    ratio: Floats = np.where(flat, 0.0, (center + mean) / np.where(flat, 1.0, deviation))
    return ratio

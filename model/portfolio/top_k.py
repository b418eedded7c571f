"""The best portfolio of at most k names, found and certified.

The full problem without a limit on the number of names is solved first: its largest weights are the
names to keep, its multipliers give the bound. What a few exchanges can still improve is taken.
Minimum variance is max-Sharpe with one mean for all names, so both take the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.certificate import tighter_bound
from model.portfolio.limits import (
    ROUNDING,
    Indices,
    Limits,
    best_capacity,
    capacity,
    pick,
    sector_codes,
)
from model.portfolio.problem import Point, Problem, bound, gain_per_weight, prepare, residual
from model.portfolio.sharpe import SOLVERS, TOLERANCE, ConeSolver, Solution, Status, solve

WIDE = 1e-3  # a gap above this is worth a closer look at the bound
GOOD_ENOUGH = 1e-5  # a gap below this is not worth an exchange
ROUNDS, LEAVERS, JOINERS = 6, 3, 4


def max_sharpe(
    mean: Floats,
    covariance: Floats,
    sectors: Sequence[str],
    limits: Limits,
    diagonal: Floats | None = None,
    solvers: Sequence[tuple[str, ConeSolver]] = SOLVERS,
) -> Solution:
    """At most k names with the highest Sharpe ratio among those that invest all the caps allow.

    If no such portfolio earns more than cash, it is the one of least variance, with that reason.

    Args:
        mean: excess of cash over the horizon, shape (n,).
        covariance: over the same horizon, shape (n, n).
        sectors: n names; "" belongs to none.
        diagonal: see `problem.prepare`.

    Raises:
        DataError: what was passed cannot be used; see `problem.prepare`.
    """
    codes = sector_codes(sectors)
    if not len(codes):
        raise DataError("an optimisation needs at least one name, found none")
    invested = best_capacity(codes, limits)
    problem = prepare(mean, covariance, codes, limits, invested, diagonal)
    point = solve(problem, solvers)
    proof = _certified(problem, point, solvers) if point else None
    if proof is None:
        floor = minimum_variance(covariance, sectors, limits, diagonal, solvers)
        proof = replace(floor, reason=f"no portfolio earns more than cash, so {floor.reason}")
    return _with_sharpe(proof, np.asarray(mean), np.asarray(covariance))


def minimum_variance(
    covariance: Floats,
    sectors: Sequence[str],
    limits: Limits,
    diagonal: Floats | None = None,
    solvers: Sequence[tuple[str, ConeSolver]] = SOLVERS,
) -> Solution:
    """The same with one mean for all: the least variance among those that invest all they may.

    Its `sharpe` is 0: no return was claimed.
    """
    found = max_sharpe(np.ones(len(sectors)), covariance, sectors, limits, diagonal, solvers)
    return replace(found, sharpe=0.0, reason=f"least variance: {found.reason}")


def _with_sharpe(proof: Solution, mean: Floats, covariance: Floats) -> Solution:
    weights = proof.weights
    return replace(
        proof, sharpe=float(mean @ weights) / float(weights @ covariance @ weights) ** 0.5
    )


def _certified(
    problem: Problem, point: Point, solvers: Sequence[tuple[str, ConeSolver]]
) -> Solution | None:
    """From the solution without a limit on the names to k of them; None if those earn nothing."""
    k = min(problem.limits.k, len(problem.mean))
    ceiling = bound(problem, point, k)
    names = _keep(problem, point, k)
    best = _exchange(problem, _on(problem, names, solvers), names, ceiling, solvers)
    achieved = problem.ratio(best.y)
    if achieved <= 0:
        return None
    if len(best.y) > k and ceiling > achieved * (1 + WIDE):
        ceiling = min(ceiling, tighter_bound(problem, point, k))
    left, gap = residual(problem, point), max(0.0, ceiling / achieved - 1.0)
    status: Status = "optimal" if left <= TOLERANCE else "fallback"
    weights, reason = problem.weights(best.y), _reason(problem, best, gap)
    return Solution(weights, status, best.method, reason, 0.0, left, gap)


def _keep(problem: Problem, point: Point, k: int) -> Indices:
    """The k names with the largest weights, as far as the caps let these hold what is invested."""
    order = np.lexsort((-gain_per_weight(problem, point), -point.y))
    return pick(order, problem.cone.codes, problem.limits, k, problem.invested)


def _on(problem: Problem, names: Indices, solvers: Sequence[tuple[str, ConeSolver]]) -> Point:
    """The best portfolio of these names alone, as a point of the whole problem.

    If these names can't earn more than cash it is the one of least variance, of ratio <= 0.
    """
    part = problem.only(names)
    point = solve(part, solvers) or solve(_level(part), solvers)
    if point is None:
        raise DataError("no portfolio within the caps was found: check the limits")
    return point.inside(problem, names)


def _level(problem: Problem) -> Problem:
    return replace(problem, mean=np.ones(len(problem.mean)))


def _exchange(
    problem: Problem,
    best: Point,
    names: Indices,
    ceiling: float,
    solvers: Sequence[tuple[str, ConeSolver]],
) -> Point:
    """Swap one of the smallest holdings for one of the best names outside while that pays."""
    for _ in range(ROUNDS):
        if problem.ratio(best.y) * (1 + GOOD_ENOUGH) >= ceiling:
            break
        slope = gain_per_weight(problem, best)
        slope[names] = -np.inf
        joiners = [j for j in np.argsort(-slope, kind="stable")[:JOINERS] if slope[j] > 0]
        leavers = names[np.argsort(best.y[names], kind="stable")[:LEAVERS]]
        trials = [np.sort(np.append(names[names != i], j)) for i in leavers for j in joiners]
        codes, limits = problem.cone.codes, problem.limits
        able = [t for t in trials if capacity(codes[t], limits) >= problem.invested - ROUNDING]
        found = [(_on(problem, trial, solvers), trial) for trial in able]
        if not found:
            break
        point, trial = max(found, key=lambda f: problem.ratio(f[0].y))
        if problem.ratio(point.y) <= problem.ratio(best.y) * (1 + 1e-9):
            break
        best, names = point, trial
    return best


def _reason(problem: Problem, best: Point, gap: float) -> str:
    held = int((best.y > 0).sum())
    parts = [f"{held} of {len(best.y)} names, at most {gap:.2%} below the best possible"]
    if problem.invested < problem.limits.investable - ROUNDING:
        parts.append(f"the caps let only {problem.invested:.0%} be invested, the rest is cash")
    if problem.repair:
        parts.append(problem.repair)
    return "; ".join(parts)

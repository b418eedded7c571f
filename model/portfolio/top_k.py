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
from model.portfolio.factored import Factored, SolverError
from model.portfolio.limits import (
    ROUNDING,
    Indices,
    Limits,
    best_capacity,
    capacity,
    has_room,
    most_in_sector,
    pick,
    sector_codes,
)
from model.portfolio.problem import (
    Point,
    Problem,
    bound,
    gain_per_weight,
    prepare,
    residual,
    shortfall,
    usable,
)
from model.portfolio.sharpe import (
    BEYOND,
    SOLVERS,
    TOLERANCE,
    ConeSolver,
    Solution,
    Status,
    solve,
    solve_with,
)

WIDE = 1e-3  # a gap above this is worth a closer look at the bound
GOOD_ENOUGH = 1e-5  # a gap below this is not worth an exchange
PAYS = 1e-9  # of the ratio: a smaller gain is rounding
ROUNDS, JOINERS, TRIALS = 12, 20, 6
DROPS = 3  # of the names held only at their least weight, tried without at a time
Solvers = Sequence[tuple[str, ConeSolver]]


def max_sharpe(
    mean: Floats,
    covariance: Floats | Factored,
    sectors: Sequence[str],
    limits: Limits,
    diagonal: Floats | None = None,
    solvers: Solvers = SOLVERS,
) -> Solution:
    """At most k names with the highest Sharpe ratio among those that invest all the caps allow.

    If no such portfolio earns more than cash, it is the one of least variance, with that reason.
    Names whose numbers can't be used have weight 0, and the reason says so.

    Args:
        mean: excess of cash over the horizon, shape (n,).
        covariance: over the same horizon, shape (n, n), or of few factors.
        sectors: n names; "" belongs to none.
        diagonal: shape (n,), see `problem.prepare`.

    Raises:
        DataError: the shapes do not fit each other. Numbers never raise.
    """
    return _solution(np.asarray(mean, np.float64), covariance, sectors, limits, diagonal, solvers)


def minimum_variance(
    covariance: Floats | Factored,
    sectors: Sequence[str],
    limits: Limits,
    diagonal: Floats | None = None,
    solvers: Solvers = SOLVERS,
) -> Solution:
    """The same with one mean for all: the least variance among those that invest all they may.

    Its `sharpe` is 0: no return was claimed.
    """
    found = _solution(np.ones(len(sectors)), covariance, sectors, limits, diagonal, solvers)
    return replace(found, sharpe=0.0, reason=f"least variance: {found.reason}")


def _solution(
    mean: Floats,
    covariance: Floats | Factored,
    sectors: Sequence[str],
    limits: Limits,
    diagonal: Floats | None,
    solvers: Solvers,
) -> Solution:
    if not isinstance(covariance, Factored):
        covariance = np.asarray(covariance, np.float64)
    n, codes = len(sectors), sector_codes(sectors, limits)
    names, left_out = usable(mean, covariance, n)
    if diagonal is not None and np.shape(diagonal) != (n,):
        raise DataError(f"a diagonal of {n} variances is required, found {np.shape(diagonal)}")
    if not len(names):
        return _unsolved(n, f"no name can be used; {left_out}")
    names = names[has_room(codes[names], limits)]
    invested = best_capacity(codes[names], limits)
    if invested <= ROUNDING:
        return _unsolved(n, "; ".join(filter(None, ("the limits let nothing be held", left_out))))
    if len(names) < n:
        mean, codes = mean[names], codes[names]
        diagonal = None if diagonal is None else diagonal[names]
        if isinstance(covariance, Factored):
            covariance = covariance.only(names)
        else:
            covariance = covariance[np.ix_(names, names)]
    try:
        with np.errstate(all="ignore"):
            problem = prepare(mean, covariance, codes, limits, invested, diagonal)
            found = _best(problem, solvers)
    except (SolverError, np.linalg.LinAlgError) as error:
        return _unsolved(n, "; ".join(filter(None, (str(error), left_out))))
    weights = np.zeros(n)
    weights[names] = found.weights
    return replace(found, weights=weights, reason="; ".join(filter(None, (found.reason, left_out))))


def _unsolved(n: int, reason: str) -> Solution:
    return Solution(np.zeros(n), "unsolved", "none", reason, 0.0, float("nan"), float("nan"))


def _best(problem: Problem, solvers: Solvers) -> Solution:
    """The certified portfolio, or the one of least variance if none earns more than cash."""
    point = solve(problem, solvers)
    found = _certified(problem, point, solvers) if point else None
    if found is None:
        why = "no portfolio was found that earns" if point else "no portfolio earns"
        level = problem.level()
        point = solve(level, solvers)
        found = _certified(level, point, solvers) if point else None
        if found is None:
            raise SolverError("no portfolio within the caps was found: check the limits")
        reason = f"{why} more than cash, so least variance: {found.reason}"
        found = replace(found, reason=reason)
    return replace(found, sharpe=problem.unit * problem.ratio(found.weights))


def _certified(problem: Problem, point: Point, solvers: Solvers) -> Solution | None:
    """From the solution without a limit on the names to k of them; None if those earn nothing."""
    n = len(problem.mean)
    k = min(problem.limits.most_names, n)
    best, held = point, int((point.y > 0).sum())
    if held > k:
        problem = problem.with_claim()
    ceiling = bound(problem, point, k)
    if held > k:
        names = _keep(problem, point, k)
        best, names = _exchange(problem, names, ceiling, solvers)
    if problem.limits.min_weight:
        best = _with_least_weights(problem, best, k, solvers)
    weights = problem.weights(best.y)
    achieved = problem.ratio(weights)
    if achieved <= 0:
        return None
    if n > k and ceiling > achieved * (1 + WIDE):
        ceiling = min(ceiling, tighter_bound(problem, point, k, achieved * (1 + WIDE)))
    left, gap = residual(problem, point), shortfall(ceiling, achieved)
    if not np.isfinite(gap):
        raise SolverError("the portfolio that was found is better than any can be: rounding")
    failed = best.fallback or point.fallback
    exact = left <= TOLERANCE and not failed and not problem.distorted
    status: Status = "optimal" if exact else "fallback"
    reason = _reason(problem, best, gap, failed)
    return Solution(weights, status, best.method, reason, 0.0, left, gap)


def _keep(problem: Problem, point: Point, k: int) -> Indices:
    """The k names with the largest weights, as far as the caps let these hold what is invested."""
    order = np.lexsort((-gain_per_weight(problem, point), -point.y))
    return pick(order, problem.cone.codes, problem.limits, k, problem.invested)


def _on(problem: Problem, names: Indices, solvers: Solvers) -> Point:
    """The best portfolio of these names alone, as a point of the whole problem.

    If these names can't earn more than cash it is the one of least variance, of ratio <= 0.
    """
    part = problem.only(names)
    point = solve(part, solvers) or solve(part.level(), solvers)
    if point is None:
        raise SolverError("no portfolio within the caps was found: check the limits")
    return point.inside(problem, names)


def _exchange(
    problem: Problem, names: Indices, ceiling: float, solvers: Solvers
) -> tuple[Point, Indices]:
    """Swap a holding for a name outside as long as one of the most promising swaps pays."""
    best = _on(problem, names, solvers)
    for _ in range(ROUNDS):
        achieved = problem.ratio(best.y)
        if achieved * (1 + GOOD_ENOUGH) >= ceiling:
            break
        for trial in _swaps(problem, best, names):
            if _worth(problem, trial, solvers) > achieved * (1 + PAYS):
                names = trial
                best = _on(problem, names, solvers)
                break
        else:
            break
    return best, names


def _swaps(problem: Problem, best: Point, names: Indices) -> list[Indices]:
    """The names after each of the swaps that promise most, the best first.

    With M the inverse of the holdings' covariance, dropping name i alone costs y_i^2 / M_ii of the
    squared ratio and adding name j alone brings slope_j^2 / (variance of j given the holdings).
    """
    slope = gain_per_weight(problem, best)
    slope[names] = -np.inf
    ranked = np.argsort(-slope / np.sqrt(problem.matrix.variances), kind="stable")[:JOINERS]
    joiners = ranked[slope[ranked] > 0]
    block = problem.matrix.only(np.concatenate([names, joiners]))
    square = block.dense() if isinstance(block, Factored) else block.values
    held = len(names)
    inverse = np.linalg.inv(square[:held, :held])
    across = square[held:, :held]
    left = square.diagonal()[held:] - np.einsum("ij,jk,ik->i", across, inverse, across)
    gain = slope[joiners] ** 2 / np.maximum(left, 1e-300)
    loss = best.y[names] ** 2 / inverse.diagonal()
    promise = gain[:, None] - loss
    order = np.argsort(-promise, axis=None, kind="stable")[:TRIALS]
    pairs = zip(*np.unravel_index(order, promise.shape), strict=True)
    return [np.sort(np.append(np.delete(names, i), joiners[j])) for j, i in pairs]


def _worth(problem: Problem, names: Indices, solvers: Solvers) -> float:
    """The ratio of the best portfolio of these names, not verified; -inf if none can be held."""
    if capacity(problem.cone.codes[names], problem.limits) < problem.invested - ROUNDING:
        return -np.inf
    part = problem.only(names)
    try:
        y = solve_with(part, *solvers[0]).y
        return part.ratio(y) if part.cone.contains(y, BEYOND) else -np.inf
    except SolverError:
        return -np.inf


def _with_least_weights(problem: Problem, best: Point, k: int, solvers: Solvers) -> Point:
    """Each name held with its least weight or not at all.

    Names go, the smallest first, until all of them fit and each can have its least weight; then
    those that are held at it only because they must, as long as that pays.
    """
    least = problem.limits.min_weight / problem.invested
    names = _fitting(problem, best, k)
    floored = replace(problem, cone=replace(problem.cone, floor=least))
    found = _on(floored, names, solvers)
    while len(names) > 1:
        free = replace(found.multipliers, floor=np.zeros(len(found.y)))
        slope = gain_per_weight(floored, replace(found, multipliers=free))
        held_down = names[np.argsort(slope[names], kind="stable")[:DROPS]]
        trials = [names[names != i] for i in held_down if slope[i] < 0]
        worths = [(_worth(floored, trial, solvers), place) for place, trial in enumerate(trials)]
        worth, place = max(worths, default=(-np.inf, 0))
        ratio = problem.ratio(found.y)
        if worth <= ratio + PAYS * abs(ratio):
            break
        names = trials[place]
        found = _on(floored, names, solvers)
    return found


def _fitting(problem: Problem, best: Point, k: int) -> Indices:
    """The k names most held, without those for whose least weight a sector has no room."""
    codes, limits = problem.cone.codes, problem.limits
    order = np.lexsort((-gain_per_weight(problem, best), -best.y))
    count = min(k, max(1, int((best.y > 0).sum())))
    names = pick(order, codes, limits, count, problem.invested)
    most = most_in_sector(codes[names], limits)
    place = np.array([int((codes[names[:i]] == codes[name]).sum()) for i, name in enumerate(names)])
    return np.sort(names[place < most])


def _reason(problem: Problem, best: Point, gap: float, failed: str) -> str:
    """What was found; "the best possible" is that of those that invest all the caps allow."""
    held = int((best.y > 0).sum())
    parts = [f"{held} of {len(best.y)} names, at most {gap:.2%} below the best possible"]
    if problem.invested < problem.limits.investable - ROUNDING:
        parts.append(f"the caps let only {problem.invested:.0%} be invested, the rest is cash")
    return "; ".join(filter(None, (*parts, problem.repair, failed)))

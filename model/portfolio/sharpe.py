"""The best direction under caps, verified after each solve, whatever the number of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.kernel import (
    Cone,
    Multipliers,
    SolverError,
    least_distance,
    no_multipliers,
    nonnegative,
    sequential,
)
from model.portfolio.limits import capacity, pick
from model.portfolio.problem import Point, Problem, bound, gain_per_weight, residual

Status = Literal["optimal", "fallback"]
ConeSolver = Callable[[Floats, Floats, Cone], tuple[Floats, Multipliers]]
SOLVERS: tuple[tuple[str, ConeSolver], ...] = (
    ("dual active set", least_distance),
    ("SLSQP", sequential),
)
TOLERANCE = 1e-6  # of the Sharpe ratio: a larger gap to the bound is not called optimal
NOTHING = 1e-6  # of the best single name's ratio: a bound below this proves there is no gain
WORKING_SET = 60


@dataclass(frozen=True, slots=True)
class Solution:
    """Weights with the proof of what they are worth.

    Attributes:
        weights: shape (n,), fractions of equity, >= 0; the rest is cash.
        status: "optimal" if the bound is met to `TOLERANCE`, else "fallback".
        method, reason: which solver, and in one sentence what was asked and why not more.
        sharpe: ex-ante, over the horizon of mean and covariance, in excess of cash.
        residual: bound without a limit on the number of names / achieved - 1, >= 0.
        bound_gap: bound under all limits / achieved - 1, >= 0. For minimum variance both are ratios
            of volatilities.
    """

    weights: Floats
    status: Status
    method: str
    reason: str
    sharpe: float
    residual: float
    bound_gap: float


def solve(problem: Problem, solvers: Sequence[tuple[str, ConeSolver]] = SOLVERS) -> Point | None:
    """The best direction without a limit on the number of names; None if none earns above cash.

    The first of `solvers` whose answer is verified, else the one with the closest proof.

    Raises:
        DataError: every solver gave up.
    """
    if problem.mean.max() <= 0:
        return None
    alone = float((problem.mean / np.sqrt(problem.covariance.diagonal())).max())
    points, failures = [], []
    for name, solver in solvers:
        try:
            point = solve_with(problem, name, solver)
        except SolverError as error:
            failures.append(f"{name}: {error}")
            continue
        if bound(problem, point, len(point.y)) <= NOTHING * alone or not point.y.any():
            return None
        points.append(point)
        if residual(problem, point) <= TOLERANCE:
            return point
    if not points:
        raise DataError(f"no solver could handle this covariance ({'; '.join(failures)})")
    return min(points, key=lambda p: residual(problem, p))


def solve_with(problem: Problem, name: str, solver: ConeSolver) -> Point:
    """Exact over all names, solving over a working set that grows until nothing outside pays."""
    plain = nonnegative(problem.covariance, problem.mean)
    start = Point(plain, no_multipliers(problem.cone), "active set")
    if problem.cone.contains(plain) and plain.any():
        return start
    order = np.lexsort((-gain_per_weight(problem, start), -plain))
    size = max(int((plain > 0).sum()), min(WORKING_SET, len(plain)))
    codes = problem.cone.codes
    names = np.sort(pick(order, codes, problem.limits, size, capacity(codes, problem.limits)))
    while True:
        part = problem.only(names)
        point = Point(*solver(part.covariance, part.mean, part.cone), name).inside(problem, names)
        slope = gain_per_weight(problem, point)
        slope[names] = -np.inf
        joining = np.argsort(-slope, kind="stable")[:WORKING_SET]
        joining = joining[slope[joining] > 1e-9]
        if not len(joining):
            return point
        names = np.sort(np.concatenate([names, joining]))

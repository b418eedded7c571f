"""The best direction under caps, verified after each solve, whatever the number of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from model.panel import Floats
from model.portfolio.factored import Matrix, SolverError
from model.portfolio.interior_point import interior_point
from model.portfolio.kernel import Cone, Multipliers, active_set, highest
from model.portfolio.problem import Point, Problem, residual

Status = Literal["optimal", "fallback", "unsolved"]
ConeSolver = Callable[[Matrix, Floats, Cone], tuple[Floats, Multipliers]]
SOLVERS: tuple[tuple[str, ConeSolver], ...] = (
    ("active set", active_set),
    ("Clarabel", interior_point),
)
TOLERANCE = 1e-6  # of the Sharpe ratio: a larger gap to the bound is not called optimal
BEYOND = 1e-7  # of the sum: a point that breaks a limit by more is no answer
NOTHING = 1e-9  # of the highest mean: a portfolio that earns no more earns nothing


@dataclass(frozen=True, slots=True)
class Solution:
    """Weights with the proof of what they are worth.

    Attributes:
        weights: shape (n,), fractions of equity, >= 0; the rest is cash. All 0 if unsolved.
        status: "optimal" if the first solver met the bound to `TOLERANCE` on the covariance as it
            was given, "fallback" if the reason says what had to be done instead, "unsolved" if
            there is no portfolio: then residual and bound_gap are NaN and method is "none".
        method, reason: which solver, and in one sentence what was asked and why not more.
        sharpe: ex-ante, over the horizon of mean and covariance, in excess of cash.
        residual: bound without a limit on the number of names / achieved - 1, >= 0.
        bound_gap: bound under all limits / achieved - 1, >= 0, among the portfolios that invest all
            the caps allow: one that keeps more cash is not compared. For minimum variance both are
            ratios of volatilities.
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
        SolverError: every solver gave up.
    """
    if highest(problem.cone, problem.mean) <= NOTHING:
        return None
    points: list[Point] = []
    failures: list[str] = []
    for name, solver in solvers:
        try:
            point = replace(solve_with(problem, name, solver), fallback="; ".join(failures))
        except SolverError as error:
            failures.append(f"{name} gave up: {error}")
            continue
        if not problem.cone.contains(point.y, BEYOND):
            failures.append(f"{name} broke a limit")
            continue
        points.append(point)
        left = residual(problem, point)
        if left <= TOLERANCE:
            return point
        failures.append(f"{name} came within {left:.1g} of the bound only")
    if not points:
        raise SolverError(f"no solver could handle this covariance ({'; '.join(failures)})")
    best = min(points, key=lambda p: residual(problem, p))
    return replace(best, fallback="; ".join(failures))


def solve_with(problem: Problem, name: str, solver: ConeSolver) -> Point:
    """What one solver says, not verified.

    Raises:
        SolverError: it gave up.
    """
    return Point(*solver(problem.matrix, problem.mean, problem.cone), name)

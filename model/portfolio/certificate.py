"""A tighter proof of how good k names can be, for when the first bound leaves room.

Every point and every diagonal gives a valid bound (`problem.bound`); here better ones of both are
looked for in turn. The point: the optimum of the perspective relaxation (Gunluk and Linderoth
2010), in which a name held to a share z of one costs d y^2 / z and the shares sum to k. The
diagonal: as much as can be taken off the covariance where the shares are fractions, since that is
where the relaxation is loose (Zheng, Sun and Li 2014).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.panel import Floats
from model.portfolio.factored import Dense, SolverError, solver
from model.portfolio.limits import Indices
from model.portfolio.problem import Point, Problem, bound, gain_per_weight, spares
from model.portfolio.sharpe import SOLVERS, solve_with

FIRST, LATER, TURNS = 4, 3, 2  # steps with the first diagonal and with each later one
NEAR, MORE = 1.5, 10  # names looked at: so many times those held, at least k and some more
OUTSIDE = 0.5  # of the known diagonal, kept by the names that are not looked at
KEPT = 0.8  # of the first diagonal, kept by every later one
SWEEPS, SHRINK, LEVEL = 4, 0.2, 0.05
NO_SHARE = 1e-3
SURE = 0.999


def tighter_bound(problem: Problem, point: Point, k: int, enough: float) -> float:
    """An upper bound on the Sharpe ratio of k names, from the solution without that limit.

    The search ends as soon as the bound is not above `enough`.
    """
    best, near = bound(problem, point, k), _near(problem, point, k)
    try:
        if not isinstance(problem.matrix, Dense):  # its diagonal is all that can be taken off
            return _lowered(problem, near, point, k, FIRST, best, enough)[0]
        conditional = _conditional(problem.matrix, near, OUTSIDE * problem.diagonal)
        first = own = _even(conditional)
        for turn in range(1 + TURNS):
            if turn:
                own = _pushed(conditional, KEPT * first, point.y[near], own, k)
            diagonal = OUTSIDE * problem.diagonal
            diagonal[near] = own
            if best <= enough or not spares(problem.matrix, diagonal):
                break
            wider, steps = replace(problem, diagonal=diagonal), LATER if turn else FIRST
            best, point = _lowered(wider, near, point, k, steps, best, enough)
    except (SolverError, np.linalg.LinAlgError):
        pass  # every bound so far holds
    return best


def _lowered(
    problem: Problem, near: Indices, point: Point, k: int, steps: int, best: float, enough: float
) -> tuple[float, Point]:
    """The least bound with this diagonal on the way to the relaxation's optimum; the last point."""
    best = min(best, bound(problem, point, k))
    for _ in range(steps):
        if best <= enough:
            break
        point = _relaxed(problem, near, point, k)
        best = min(best, bound(problem, point, k))
    return best, point


def _near(problem: Problem, point: Point, k: int) -> Indices:
    """The names that are held and those that come next."""
    slope = gain_per_weight(problem, point) / np.sqrt(problem.matrix.variances)
    count = max(int(NEAR * (point.y > 0).sum()), k + MORE)
    return np.sort(np.lexsort((-slope, -point.y))[:count])


def _conditional(matrix: Dense, near: Indices, spared: Floats) -> Floats:
    """Of the near names given the others, from whose variances `spared` was taken: Q.

    S - diag(d) is PSD whenever Q - diag(d of the near names) is and d = `spared` for the others.
    """
    inside: Floats = matrix.only(near).values
    others = np.setdiff1d(np.arange(len(spared)), near)
    if not len(others):
        return inside
    across = matrix.values[others[:, None], near]
    rest = matrix.only(others).plus(-spared[others])
    return inside - across.T @ solver(rest.values)(across)


def _even(conditional: Floats) -> Floats:
    """Each name's variance given all others, scaled down by one factor until it can be spared."""
    own = _given_others(conditional)
    low = float(np.linalg.eigvalsh(conditional / np.sqrt(np.outer(own, own)))[0])
    return np.asarray(SURE * low * own, np.float64)


def _given_others(covariance: Floats) -> Floats:
    return np.asarray(1.0 / np.linalg.inv(covariance).diagonal(), np.float64)


def _pushed(conditional: Floats, least: Floats, y: Floats, diagonal: Floats, k: int) -> Floats:
    """d >= `least` with Q - diag(d) PSD and much of it where a share of a name is held.

    Coordinate ascent on sum w_i d_i + mu log det(Q - diag(d)) with falling mu: each step has a
    closed form, and w_i = y_i^2 (1 / z_i - 1) is what a unit of d_i adds to the relaxed objective.
    """
    own = _given_others(conditional)
    worth = own * y**2 * (1.0 / _shares(np.sqrt(diagonal) * y, k) - 1.0)
    weight = (worth / max(float(worth.max()), 1e-300) + LEVEL) / own
    inverse = np.linalg.inv(conditional - np.diag(least))
    found, mu = least.copy(), float(np.median(weight / inverse.diagonal()))
    for _ in range(SWEEPS):
        for i in range(len(found)):
            pivot = float(inverse[i, i])
            step = max(1.0 / pivot - mu / float(weight[i]), float(least[i] - found[i]))
            column = inverse[i].copy()
            inverse += (step / (1.0 - step * pivot)) * (column[:, None] * column)
            found[i] += step
        mu *= SHRINK
    return np.asarray(SURE * found, np.float64)


def _relaxed(problem: Problem, near: Indices, point: Point, k: int) -> Point:
    """The best y for the shares that are best for the last one."""
    part = problem.only(near)
    shares = _shares(np.sqrt(part.diagonal) * point.y[near], k)
    penalty = part.diagonal * (1.0 / shares - 1.0)
    relaxed = replace(part, matrix=part.matrix.plus(penalty))
    return solve_with(relaxed, *SOLVERS[0]).inside(problem, near)


def _shares(size: Floats, k: int) -> Floats:
    """z in [`NO_SHARE`, 1] of sum k that minimises sum size^2 / z, shape (n,)."""
    size = np.maximum(size, 1e-12 * float(size.max()))
    whole = np.zeros(len(size), np.bool_)
    if len(size) <= k:
        return np.ones(len(size))
    while True:
        level = float(size[~whole].sum()) / (k - int(whole.sum()))
        more = ~whole & (size >= level)
        if not more.any():
            return np.maximum(np.where(whole, 1.0, size / level), NO_SHARE)
        whole |= more
        if whole.sum() >= k:
            return np.maximum(whole.astype(np.float64), NO_SHARE)

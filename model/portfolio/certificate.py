"""A tighter proof of how good k names can be, for when the first bound leaves room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.panel import Floats
from model.portfolio.factored import Dense, SolverError
from model.portfolio.problem import Point, Problem, bound, spares
from model.portfolio.sharpe import SOLVERS, solve_with

ROUNDS = 4
NEGLIGIBLE = 1e-9  # of the largest weight


def tighter_bound(problem: Problem, point: Point, k: int) -> float:
    """An upper bound on the Sharpe ratio of k names, from the solution without that limit.

    The diagonal is first made larger than shrinkage left it, then the point is moved towards the
    optimum of the perspective relaxation (Gunluk and Linderoth 2010), in which a name held to a
    share z of one costs d y^2 / z and the shares sum to k: y for given z is a problem as before,
    z for given y has a closed form. Each point visited gives a valid bound; the least is returned.
    """
    best = bound(problem, point, k)
    diagonal = _idiosyncratic(problem)
    wider = replace(problem, diagonal=diagonal)
    best = min(best, bound(wider, point, k))
    for _ in range(ROUNDS):
        names = np.flatnonzero(point.y > NEGLIGIBLE * point.y.max())
        part = wider.only(names)
        shares = _shares(np.sqrt(part.diagonal) * point.y[names], k)
        penalty = part.diagonal * (1.0 / shares - 1.0)
        relaxed = replace(part, matrix=part.matrix.plus(penalty))
        try:
            point = solve_with(relaxed, *SOLVERS[0]).inside(wider, names)
        except SolverError:
            return best  # every bound so far holds
        best = min(best, bound(wider, point, k))
    return best


def _idiosyncratic(problem: Problem) -> Floats:
    """d with S - diag(d) PSD: each name's variance given all others, scaled down until it is so."""
    if not isinstance(problem.matrix, Dense):
        return problem.diagonal
    covariance = problem.matrix.values
    own = 1.0 / np.linalg.inv(covariance).diagonal()
    scaled = covariance / np.sqrt(np.outer(own, own))
    d = np.asarray(own * (0.999 * float(np.linalg.eigvalsh(scaled)[0])), np.float64)
    return d if (d > 0).all() and spares(problem.matrix, d) else problem.diagonal


def _shares(size: Floats, k: int) -> Floats:
    """z in (0, 1] with sum min(n, k) that minimises sum size^2 / z, shape (n,)."""
    whole = np.zeros(len(size), np.bool_)
    if len(size) <= k:
        return np.ones(len(size))
    while True:
        level = float(size[~whole].sum()) / (k - int(whole.sum()))
        more = ~whole & (size >= level)
        if not more.any():
            return np.where(whole, 1.0, size / level)
        whole |= more

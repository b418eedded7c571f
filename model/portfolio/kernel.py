"""Quadratic programs behind max-Sharpe: `min 1/2 y'Sy - m'y` over a cone, solved exactly.

Maximising m'w / sqrt(w'Sw) does not depend on the length of w, so with a fixed invested sum every
cap becomes homogeneous, `y_i <= cap 1'y`, and the best direction is the solution of this program
(Schaible 1974; Cornuejols and Tutuncu 2007, 8.2). Two solvers that share no code, each finite:

- `nonnegative`: y >= 0 alone, a primal active set (Lawson and Hanson 1974, ch. 23, on S itself).
- `least_distance`: any homogeneous inequalities, by NNLS on the dual (ch. 23.4, problem LDP).

`sequential` (SLSQP) is slower and less exact: the second opinion if the others fail.
S must be positive definite; in units where the largest m and the mean variance are 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize, nnls

from model.panel import Floats
from model.portfolio.limits import Indices

GRADIENT = 1e-11  # of the largest m: a smaller slope is rounding


class SolverError(ArithmeticError):
    """A solver gave up; the caller has another one."""


@dataclass(frozen=True, slots=True)
class Cone:
    """y >= 0, y_i <= name_cap 1'y, sum of y over a sector <= sector_cap 1'y; 1 = no cap."""

    codes: Indices
    name_cap: float
    sector_cap: float

    def only(self, names: Indices) -> Cone:
        return Cone(self.codes[names], self.name_cap, self.sector_cap)

    def capped_sectors(self) -> Indices:
        """The sectors whose cap can bind: with few names the name caps are the tighter ones."""
        if self.sector_cap >= 1.0:
            return np.empty(0, np.int64)
        counts = np.bincount(self.codes)
        return np.flatnonzero(counts * min(1.0, self.name_cap) > self.sector_cap)

    def contains(self, y: Floats, tolerance: float = 1e-12) -> bool:
        total = float(y.sum())
        by_sector = np.bincount(self.codes, weights=y)
        room = tolerance * max(1.0, total)
        return bool(
            y.min() >= -room
            and y.max() <= self.name_cap * total + room
            and by_sector.max() <= self.sector_cap * total + room
        )


@dataclass(frozen=True, slots=True)
class Multipliers:
    """Prices of the caps: `name` (n,) and `sector` by code, all >= 0."""

    name: Floats
    sector: Floats

    def tilt(self, mean: Floats, cone: Cone) -> Floats:
        """m + A'lambda: what the names are worth once the caps are paid for, shape (n,)."""
        shared = cone.name_cap * self.name.sum() + cone.sector_cap * self.sector.sum()
        tilted: Floats = mean + shared - self.name - self.sector[cone.codes]
        return tilted


def no_multipliers(cone: Cone) -> Multipliers:
    return Multipliers(np.zeros(len(cone.codes)), np.zeros(int(cone.codes.max()) + 1))


def nonnegative(covariance: Floats, mean: Floats) -> Floats:
    """min 1/2 y'Sy - m'y over y >= 0, shape (n,).

    Names join many at a time while that lowers the objective, then one at a time, which always
    does: so the loop ends.

    Raises:
        SolverError: rounding kept it from ending.
    """
    n = len(mean)
    y, free = np.zeros(n), np.zeros(n, np.bool_)
    batch, value = max(1, n // 8), 0.0
    for _ in range(10 * n + 10):
        slope = np.where(free, -np.inf, mean - covariance @ y)
        joining = np.argsort(-slope, kind="stable")[:batch]
        joining = joining[slope[joining] > GRADIENT]
        if not len(joining):
            return y
        trial_free = free.copy()
        trial_free[joining] = True
        trial = _descend(covariance, mean, y, trial_free)
        lower = 0.5 * float(trial @ covariance @ trial) - float(mean @ trial)
        if lower < value - 1e-15 * abs(value):
            y, free, value = trial, trial > 0, lower
        elif batch == 1:
            return y
        else:
            batch = 1
    raise SolverError(f"the active set of {n} names did not settle")


def least_distance(covariance: Floats, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    """min 1/2 y'Sy - m'y over a cone: y (n,) and the multipliers of its caps.

    With S = LL' the dual is min |L^-1 (m + A'lambda)|, lambda >= 0, and y = S^-1 (m + A'lambda).

    Raises:
        SolverError: NNLS did not settle, or S is not positive definite.
    """
    n = len(mean)
    sectors = cone.capped_sectors()
    rows = _rows(cone, sectors)
    try:
        lower = np.linalg.cholesky(covariance)
        normals = solve_triangular(lower, rows.T, lower=True)
        start = solve_triangular(lower, mean, lower=True)
        prices, _ = nnls(normals, -start)
    except (np.linalg.LinAlgError, RuntimeError) as error:
        raise SolverError(f"the dual of {n} names did not settle: {error}") from error
    y = solve_triangular(lower, start + normals @ prices, lower=True, trans="T")
    y = np.where(prices[:n] > 0, 0.0, np.maximum(y, 0.0))
    name = prices[n : 2 * n] if cone.name_cap < 1.0 else np.zeros(n)
    sector = np.zeros(int(cone.codes.max()) + 1)
    sector[sectors] = prices[len(prices) - len(sectors) :]
    return y, Multipliers(name, sector)


def sequential(covariance: Floats, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    """As `least_distance` by SLSQP, to about six digits; its multipliers stay unknown (zero).

    Raises:
        SolverError: SLSQP did not settle.
    """
    rows = _rows(cone, cone.capped_sectors())
    found = minimize(
        lambda y: 0.5 * y @ covariance @ y - mean @ y,
        np.full(len(mean), max(float(mean.mean()), 1e-3) / len(mean)),
        jac=lambda y: covariance @ y - mean,
        bounds=[(0.0, None)] * len(mean),
        constraints={"type": "ineq", "fun": lambda y: rows @ y, "jac": lambda _: rows},
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-14},
    )
    if not (found.success or found.status == 8):  # 8: no descent left at this precision
        raise SolverError(f"SLSQP did not settle: {found.message}")
    return np.maximum(found.x, 0.0), no_multipliers(cone)


def _descend(covariance: Floats, mean: Floats, y: Floats, free: NDArray[np.bool_]) -> Floats:
    """From a feasible y towards the minimum over the free names, stopping where one reaches 0."""
    free, y = free.copy(), y.copy()
    while free.any():
        names = np.flatnonzero(free)
        block = covariance[np.ix_(names, names)]
        try:
            goal = cho_solve(cho_factor(block, check_finite=False), mean[names], check_finite=False)
        except np.linalg.LinAlgError as error:
            raise SolverError(f"{len(names)} names are collinear") from error
        if goal.min() > 0:
            y[:] = 0.0
            y[names] = goal
            return y
        here = y[names]
        falling = goal <= 0
        step = float((here[falling] / (here[falling] - goal[falling] + 1e-300)).min())
        moved = here + step * (goal - here)
        stopped = falling & (moved <= 1e-15)
        y[names] = np.where(stopped, 0.0, moved)
        free[names[stopped]] = False
    return y


def _rows(cone: Cone, sectors: Indices) -> Floats:
    """The cone as A y >= 0: y itself, then the name caps if any, then the sectors' caps."""
    n = len(cone.codes)
    blocks = [np.eye(n)]
    if cone.name_cap < 1.0:
        blocks.append(cone.name_cap - np.eye(n))
    if len(sectors):
        blocks.append(cone.sector_cap - (cone.codes == sectors[:, None]).astype(np.float64))
    return np.vstack(blocks)

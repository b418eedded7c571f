"""Clarabel, an interior point method that shares no code with our own kernel: the second opinion.

Its status is checked: on an indefinite matrix it returns numbers that mean nothing.
"""

from __future__ import annotations

import clarabel  # type: ignore[import-untyped]
import numpy as np
from scipy import sparse

from model.panel import Floats
from model.portfolio.factored import Dense, Matrix, SolverError
from model.portfolio.kernel import Cone, Multipliers
from model.portfolio.limits import Indices

SOLVED = ("Solved", "AlmostSolved")


def interior_point(matrix: Matrix, mean: Floats, cone: Cone) -> tuple[Floats, Multipliers]:
    """min 1/2 y'Sy - m'y over a cone: y (n,) and the multipliers of its limits.

    In units where the mean variance is 1. The variables are y, the sum e = 1'y and, if
    S = diag(d) + LL', the factors' L'y.

    Raises:
        SolverError: Clarabel says that it did not solve it, or the cone is empty.
    """
    cone.pinned()
    n, unit = len(mean), float(matrix.variances.mean())
    if isinstance(matrix, Dense):
        upper = sparse.triu(sparse.csc_matrix(matrix.values / unit))
        quadratic, factors = upper, np.empty((n, 0))
        squares = np.zeros(1)
    else:
        quadratic, factors = sparse.diags(matrix.diagonal / unit), matrix.loadings / unit**0.5
        squares = np.r_[0.0, np.ones(factors.shape[1])]
    sums = sparse.csc_matrix(np.vstack([np.ones(n), factors.T]))
    equal = sparse.hstack([sums, -sparse.eye(len(squares))])
    limits, sectors = _rows(cone, len(squares))
    whole = clarabel.DefaultSettings()
    whole.verbose = False
    whole.tol_gap_abs = whole.tol_gap_rel = whole.tol_feas = 1e-12
    answer = clarabel.DefaultSolver(
        sparse.csc_matrix(sparse.block_diag([quadratic, sparse.diags(squares)])),
        np.r_[-mean, np.zeros(len(squares))],
        sparse.csc_matrix(sparse.vstack([equal, -limits])),
        np.zeros(len(squares) + limits.shape[0]),
        [clarabel.ZeroConeT(len(squares)), clarabel.NonnegativeConeT(limits.shape[0])],
        whole,
    ).solve()
    if str(answer.status) not in SOLVED:
        raise SolverError(f"Clarabel ended with {answer.status} on {n} names")
    prices = np.maximum(np.array(answer.z)[len(squares) :], 0.0)
    sector = np.zeros(cone.sectors)
    sector[sectors] = prices[len(prices) - len(sectors) :]
    name = prices[n : 2 * n] if cone.name_cap < 1.0 else np.zeros(n)
    y = np.array(answer.x)[:n] / unit
    y[y < 1e-10 * max(float(y.max()), 0.0)] = 0.0
    return np.maximum(y, 0.0), Multipliers(name, sector, prices[:n] * (cone.floor > 0))


def _rows(cone: Cone, others: int) -> tuple[sparse.spmatrix, Indices]:
    """The cone as A (y, e, ...) >= 0: floors, name caps if any, then caps of the sectors listed."""
    n = len(cone.codes)
    eye, nothing = sparse.eye(n), sparse.csc_matrix((n, others - 1))
    blocks = [sparse.hstack([eye, np.full((n, 1), -cone.floor), nothing])]
    if cone.name_cap < 1.0:
        blocks.append(sparse.hstack([-eye, np.full((n, 1), cone.name_cap), nothing]))
    sectors = np.flatnonzero(cone.sector_caps < 1.0)
    if len(sectors):
        members = sparse.csc_matrix((cone.codes == sectors[:, None]).astype(np.float64))
        cap = cone.sector_caps[sectors][:, None]
        empty = sparse.csc_matrix((len(sectors), others - 1))
        blocks.append(sparse.hstack([-members, cap, empty]))
    return sparse.vstack(blocks), sectors

"""A covariance matrix as the solvers see it: written out, or of few factors and never written out.

Both forms answer the same questions. With k factors each answer costs O(n k) or O(n k^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotrs

from model.panel import Floats

FEW = 0.25  # of the names: reading the rows of fewer is faster than reading them all

Solve = Callable[[Floats], Floats]


class SolverError(ArithmeticError):
    """A solver gave up; the caller has another one."""


@dataclass(frozen=True, slots=True)
class Dense:
    """S = `values`, shape (n, n), symmetric."""

    values: Floats

    @property
    def variances(self) -> Floats:
        own: Floats = self.values.diagonal()
        return own

    def times(self, y: Floats) -> Floats:
        """S y, shape (n,); of a y that is mostly 0 only the rows that count are read."""
        held = np.flatnonzero(y)
        rows = self.values if len(held) > FEW * len(y) else self.values[held]
        product: Floats = (y if rows is self.values else y[held]) @ rows
        return product

    def only(self, names: NDArray[np.int64]) -> Dense:
        """Of these names, in this order."""
        return Dense(self.values[names[:, None], names])

    def plus(self, diagonal: Floats) -> Dense:
        """S + diag(`diagonal`)."""
        matrix = self.values.copy()
        matrix[np.diag_indices_from(matrix)] += diagonal
        return Dense(matrix)

    def solver(self, names: NDArray[np.int64]) -> Solve:
        """x -> S_names^-1 x for x of shape (names,) or (names, columns).

        Raises:
            SolverError: these names are collinear.
        """
        return solver(self.values[names[:, None], names])


@dataclass(frozen=True, slots=True)
class Factored:
    """S = diag(`diagonal`) + `loadings` @ `loadings`.T of n names and k factors.

    Attributes:
        diagonal: what is a name's own, shape (n,), above 0.
        loadings: shape (n, k).
    """

    diagonal: Floats
    loadings: Floats

    @property
    def variances(self) -> Floats:
        own: Floats = self.diagonal + np.einsum("ij,ij->i", self.loadings, self.loadings)
        return own

    def dense(self) -> Floats:
        """The matrix, shape (n, n)."""
        matrix: Floats = self.loadings @ self.loadings.T
        matrix[np.diag_indices_from(matrix)] += self.diagonal
        return matrix

    def times(self, y: Floats) -> Floats:
        """S y, shape (n,)."""
        product: Floats = self.diagonal * y + self.loadings @ (y @ self.loadings)
        return product

    def only(self, names: NDArray[np.int64]) -> Factored:
        """Of these names, in this order."""
        return Factored(self.diagonal[names], self.loadings[names])

    def plus(self, diagonal: Floats) -> Factored:
        """S + diag(`diagonal`)."""
        return Factored(self.diagonal + diagonal, self.loadings)

    def scaled(self, scale: Floats) -> Factored:
        """Of the same names with each deviation times `scale`, shape (n,)."""
        return Factored(self.diagonal * scale**2, self.loadings * scale[:, None])

    def solver(self, names: NDArray[np.int64]) -> Solve:
        """x -> S_names^-1 x for x of shape (names,) or (names, columns), by Woodbury's identity.

        Raises:
            SolverError: rounding left nothing to invert.
        """
        inverse = 1.0 / self.diagonal[names]
        loadings = self.loadings[names]
        weighted = loadings * inverse[:, None]
        core = loadings.T @ weighted
        core[np.diag_indices_from(core)] += 1.0
        inner = solver(core)

        def solve(x: Floats) -> Floats:
            own = inverse * x if x.ndim == 1 else inverse[:, None] * x
            solved: Floats = own - weighted @ inner(weighted.T @ x)
            return solved

        return solve


Matrix = Dense | Factored


def solver(matrix: Floats) -> Solve:
    """x -> matrix^-1 x by Cholesky; the matrix is overwritten.

    Raises:
        SolverError: it is not positive definite.
    """
    factor, failed = dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise SolverError(f"{len(matrix)} names are collinear")

    def solve(x: Floats) -> Floats:
        solved: Floats = dpotrs(factor, x, lower=1)[0]
        return solved

    return solve

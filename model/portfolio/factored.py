"""A covariance of few factors: diag(d) + L L', never written out as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.panel import Floats


@dataclass(frozen=True, slots=True)
class Factored:
    """S = diag(`diagonal`) + `loadings` @ `loadings`.T of n names and k factors.

    Attributes:
        diagonal: what is a name's own, shape (n,), above 0.
        loadings: shape (n, k).
    """

    diagonal: Floats
    loadings: Floats

    def dense(self) -> Floats:
        """The matrix, shape (n, n)."""
        matrix: Floats = self.loadings @ self.loadings.T
        matrix[np.diag_indices_from(matrix)] += self.diagonal
        return matrix

    def only(self, names: np.ndarray) -> Factored:
        """Of these names, in this order."""
        return Factored(self.diagonal[names], self.loadings[names])

    def scaled(self, scale: Floats) -> Factored:
        """Of the same names with each deviation times `scale`, shape (n,)."""
        return Factored(self.diagonal * scale**2, self.loadings * scale[:, None])

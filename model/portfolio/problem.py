"""A max-Sharpe problem, checked and rescaled, and what is proven about a point of it.

The bound comes from weak duality and holds whatever a solver did: it is the judge of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.kernel import Cone, Multipliers, no_multipliers
from model.portfolio.limits import Indices, Limits, trim

SLACK = 1e-10  # keeps a cone whose caps add up to exactly the invested sum from being empty
JITTER = 1e-7  # of each name's variance, added to a singular matrix
INDEFINITE = 1e-6  # of the largest eigenvalue: a more negative one is an error, not rounding


@dataclass(frozen=True, slots=True)
class Problem:
    """A checked problem in units where the largest mean and the mean variance are 1.

    `covariance` - diag(`diagonal`) is positive semidefinite; `invested` is the sum of weights.
    """

    mean: Floats
    covariance: Floats
    diagonal: Floats
    cone: Cone
    limits: Limits
    invested: float
    repair: str = ""

    def only(self, names: Indices) -> Problem:
        return replace(
            self,
            mean=self.mean[names],
            covariance=self.covariance[np.ix_(names, names)],
            diagonal=self.diagonal[names],
            cone=self.cone.only(names),
        )

    def ratio(self, y: Floats) -> float:
        """m'y / sqrt(y'Sy), 0 for y = 0."""
        variance = float(y @ self.covariance @ y)
        return float(self.mean @ y) / variance**0.5 if variance > 0 else 0.0

    def weights(self, y: Floats) -> Floats:
        """y scaled to the invested sum, rounding beyond a cap cut off."""
        return trim(y * (self.invested / float(y.sum())), self.cone.codes, self.limits)


@dataclass(frozen=True, slots=True)
class Point:
    """A direction y, the caps' multipliers and the solver it is from."""

    y: Floats
    multipliers: Multipliers
    method: str

    def inside(self, problem: Problem, names: Indices) -> Point:
        """This point of `problem.only(names)` as a point of `problem`."""
        y, caps = np.zeros(len(problem.mean)), no_multipliers(problem.cone)
        y[names], caps.name[names] = self.y, self.multipliers.name
        caps.sector[: len(self.multipliers.sector)] = self.multipliers.sector
        return Point(y, caps, self.method)


def prepare(
    mean: Floats,
    covariance: Floats,
    codes: Indices,
    limits: Limits,
    invested: float,
    diagonal: Floats | None = None,
) -> Problem:
    """Check and rescale.

    Args:
        mean: excess return over the horizon, shape (n,).
        covariance: over the same horizon, shape (n, n).
        diagonal: known idiosyncratic variances d with S - diag(d) PSD, such as a shrinkage
            estimator leaves; found from the smallest eigenvalue if absent or not so.

    Raises:
        DataError: NaN, wrong shapes, an asymmetric or indefinite matrix, a variance of 0.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    _check(mean, covariance, len(codes))
    unit = float(covariance.trace()) / len(codes)
    scale = float(mean.max()) if mean.max() > 0 else 1.0
    scaled = 0.5 * (covariance + covariance.T) / unit
    safe, found, repair = _positive_definite(scaled, None if diagonal is None else diagonal / unit)
    cone = Cone(
        codes,
        min(1.0, limits.max_weight / invested * (1 + SLACK)),
        min(1.0, limits.max_sector_weight / invested * (1 + SLACK)),
    )
    return Problem(mean / scale, safe, found, cone, limits, invested, repair)


def gain_per_weight(problem: Problem, point: Point) -> Floats:
    """Slope of the Lagrangian in each name, shape (n,): at the optimum 0 if held, else <= 0."""
    slope: Floats = point.multipliers.tilt(problem.mean, problem.cone)
    return slope - problem.covariance @ point.y


def bound(problem: Problem, point: Point, k: int) -> float:
    """No portfolio of k names within the caps has a higher Sharpe ratio than this.

    Lagrangian bound: for S = R + diag(d), R PSD, any x and any multipliers >= 0 of the caps,
    SR_k^2 <= x'Rx + sum of the k largest max(0, (m + A'lambda - Rx)_i)^2 / d_i.
    """
    tilted = point.multipliers.tilt(problem.mean, problem.cone)
    pull = problem.covariance @ point.y - problem.diagonal * point.y
    worth = np.maximum(tilted - pull, 0.0) ** 2 / problem.diagonal
    best = np.partition(worth, len(worth) - k)[-k:] if k < len(worth) else worth
    return float(np.sqrt(max(0.0, float(point.y @ pull)) + best.sum()))


def residual(problem: Problem, point: Point) -> float:
    """How far the bound without a limit on the number of names is above this point, relatively."""
    achieved = problem.ratio(point.y)
    if achieved <= 0:
        return float("inf")
    return max(0.0, bound(problem, point, len(point.y)) / achieved - 1.0)


def _check(mean: Floats, covariance: Floats, n: int) -> None:
    shaped = mean.shape == (n,) and covariance.shape == (n, n) and n > 0
    finite = shaped and bool(np.isfinite(covariance).all())
    checks = (
        (shaped, f"{n} means and an {n} x {n} covariance, found {mean.shape}, {covariance.shape}"),
        (bool(np.isfinite(mean).all()), f"finite means, {int((~np.isfinite(mean)).sum())} are not"),
        (finite, "a finite covariance, found NaN or infinity in it"),
        (finite and bool((covariance.diagonal() > 0).all()), "variances above 0, found others"),
        (finite and bool(np.allclose(covariance, covariance.T, 1e-8, 1e-8 * covariance.max())),
         "a symmetric covariance, found one that is not"),
    )  # fmt: skip
    for holds, wanted in checks:
        if not holds:
            raise DataError(f"an optimisation needs {wanted}")


def _positive_definite(covariance: Floats, diagonal: Floats | None) -> tuple[Floats, Floats, str]:
    """The matrix, a diagonal d > 0 with S - diag(d) PSD, and what had to be repaired."""
    n = len(covariance)
    if diagonal is not None and diagonal.shape == (n,) and bool((diagonal > 0).all()):
        part = 0.999 * diagonal
        try:
            np.linalg.cholesky(covariance - np.diag(part))
        except np.linalg.LinAlgError:
            pass  # not such a diagonal: find one
        else:
            return covariance, part, ""
    own = covariance.diagonal()
    values = np.linalg.eigvalsh(covariance / np.sqrt(np.outer(own, own)))
    low, high = float(values[0]), float(values[-1])
    if low < -INDEFINITE * high:
        raise DataError(
            f"a positive semidefinite covariance is required, found an eigenvalue of {low:.3g} "
            f"beside {high:.3g} in its correlations: estimate it from aligned returns"
        )
    if low > 0.01 * JITTER:
        return covariance, 0.99 * low * own, ""
    jitter = max(0.0, -low) + JITTER
    repair = f"covariance was singular: {jitter:.1e} of each variance added to it"
    return covariance + np.diag(jitter * own), 0.9 * (jitter + min(low, 0.0)) * own, repair

"""A max-Sharpe problem, checked and rescaled, and what is proven about a point of it.

Numbers that cannot be used never raise: their names are left out, and said to be. The bound comes
from weak duality and holds whatever a solver did: it is the judge of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import spotrf

from astra.errors import DataError
from model.panel import Floats
from model.portfolio.factored import Dense, Factored, Matrix, SolverError, solver
from model.portfolio.kernel import Cone, Multipliers, no_multipliers
from model.portfolio.limits import Indices, Limits, lift, trim, validate_weights

JITTER = 1e-7  # of each name's variance, added to a singular matrix
INDEFINITE = 1e-6  # of the largest eigenvalue: a more negative one is an error, not rounding
NO_VARIANCE = 1e-16  # of the largest variance: less is none
SPARE = 1e-6  # of each name's variance: what a matrix can nearly always spare
EXTREME = 1e-50  # a mean variance below it, or above its inverse, is scaled to 1
SURE = 0.999
LARGE = 2000  # names: beyond it single precision proves little
DUST = 1e-8  # of the sum: less is not held
IMPOSSIBLE = 1e-6  # of a ratio: what is further above its bound is no portfolio
CUT = 1e-6  # of equity: a portfolio from which more is cut was none


@dataclass(frozen=True, slots=True)
class Problem:
    """A checked problem in units where the largest mean is 1.

    `matrix` - diag(`diagonal`) is positive semidefinite; `claimed` is a larger such diagonal, not
    yet proven; `invested` is the sum of weights; `unit` times a ratio here is a Sharpe ratio.
    `distorted`: the matrix had to be changed by more than rounding.
    """

    mean: Floats
    matrix: Matrix
    diagonal: Floats
    cone: Cone
    limits: Limits
    invested: float
    unit: float = 1.0
    repair: str = ""
    distorted: bool = False
    claimed: Floats | None = None

    def only(self, names: Indices) -> Problem:
        return replace(
            self,
            mean=self.mean[names],
            matrix=self.matrix.only(names),
            diagonal=self.diagonal[names],
            claimed=None,
            cone=self.cone.only(names),
        )

    def with_claim(self) -> Problem:
        """With the claimed diagonal, if it turns out to be one."""
        part = None if self.claimed is None else SURE * self.claimed
        if part is None or not (part > 0).all() or not spares(self.matrix, part):
            return replace(self, claimed=None)
        return replace(self, diagonal=part, claimed=None)

    def level(self) -> Problem:
        """One mean for all names: its best ratio is the least variance."""
        return replace(self, mean=np.ones(len(self.mean)))

    def ratio(self, y: Floats) -> float:
        """m'y / sqrt(y'Sy), 0 for y = 0."""
        variance = float(y @ self.matrix.times(y))
        return float(self.mean @ y) / variance**0.5 if variance > 0 else 0.0

    def weights(self, y: Floats) -> Floats:
        """y scaled to the invested sum, dust and rounding beyond a limit cut off.

        Raises:
            SolverError: y breaks a limit by more than rounding.
        """
        kept = np.where(y > DUST * float(y.sum()), y, 0.0)
        kept *= self.invested / float(kept.sum())
        codes, limits = self.cone.codes, self.limits
        try:
            found = validate_weights(lift(trim(kept, codes, limits), codes, limits), codes, limits)
        except DataError as error:
            raise SolverError(f"no portfolio within the limits was found: {error}") from error
        if float(found.sum()) < self.invested - CUT:
            raise SolverError(
                f"no portfolio of {self.invested:.2%} within the caps was found, {found.sum():.2%} "
                f"only"
            )
        return found


@dataclass(frozen=True, slots=True)
class Point:
    """A direction y, the multipliers of the limits, the solver it is from and why not the first."""

    y: Floats
    multipliers: Multipliers
    method: str
    fallback: str = ""

    def inside(self, problem: Problem, names: Indices) -> Point:
        """This point of `problem.only(names)` as a point of `problem`."""
        y, prices = np.zeros(len(problem.mean)), no_multipliers(problem.cone)
        y[names], prices.name[names] = self.y, self.multipliers.name
        prices.floor[names] = self.multipliers.floor
        prices.sector[: len(self.multipliers.sector)] = self.multipliers.sector
        return Point(y, prices, self.method, self.fallback)


def usable(mean: Floats, covariance: Floats | Factored, n: int) -> tuple[Indices, str]:
    """Names whose numbers can be used, and what is to be said about the others.

    Of a covariance with a NaN between two names the one with more of them goes first.

    Raises:
        DataError: the shapes are not those of n names.
    """
    known = np.isfinite(mean)
    if isinstance(covariance, Factored):
        shaped = covariance.diagonal.shape == (n,) and covariance.loadings.shape[:1] == (n,)
        found: object = (covariance.diagonal.shape, covariance.loadings.shape)
    else:
        shaped, found = covariance.shape == (n, n), covariance.shape
    if mean.shape != (n,) or not shaped or not n:
        raise DataError(
            f"an optimisation needs at least one name, and as many means and rows of a covariance "
            f"as sectors, here {n}, found {mean.shape} and {found}"
        )
    with np.errstate(all="ignore"):
        if isinstance(covariance, Factored):
            finite = np.isfinite(covariance.loadings).all(axis=1)
            variances = covariance.variances
        else:
            finite = _finite_rows(covariance, known)
            variances = covariance.diagonal()
    finite &= np.isfinite(variances)
    good = known & finite
    largest = float(variances[good].max(initial=0.0))
    moving = np.where(finite, variances, 0.0) > NO_VARIANCE * largest
    parts = [
        f"{count} without {what}"
        for count, what in (
            (int((~known).sum()), "a finite mean"),
            (int((known & ~finite).sum()), "a finite covariance"),
            (int((good & ~moving).sum()), "a variance above 0"),
        )
        if count
    ]
    said = f"names left out: {', '.join(parts)}" if parts else ""
    return np.flatnonzero(good & moving), said


def prepare(
    mean: Floats,
    covariance: Floats | Factored,
    codes: Indices,
    limits: Limits,
    invested: float,
    diagonal: Floats | None = None,
) -> Problem:
    """Rescale, and make positive definite what is not.

    Args:
        mean: excess return over the horizon, shape (n,), finite.
        covariance: over the same horizon, shape (n, n) or factored; finite, variances above 0.
        diagonal: known idiosyncratic variances d with S - diag(d) PSD, such as a shrinkage
            estimator leaves; found if absent or not so.

    Raises:
        SolverError: nothing makes this matrix usable.
    """
    above = float(mean.max())
    scale = above if above > 0 else float(np.abs(mean).max()) or 1.0
    variances = (
        covariance.variances if isinstance(covariance, Factored) else np.diagonal(covariance)
    )
    unit = float((variances / len(codes)).sum())
    if EXTREME < unit < 1.0 / EXTREME:
        unit = 1.0  # nothing is gained by another scale, and a copy is saved
    claimed = None
    if isinstance(covariance, Factored):
        matrix, found, repair, distorted = _definite_factors(covariance, unit)
    else:
        inside = covariance if unit == 1.0 else covariance / unit
        matrix, found, repair, distorted = _definite(inside)
        claimed = None if diagonal is None else np.asarray(diagonal, np.float64) / unit
    cone = Cone(
        codes,
        min(1.0, limits.max_weight / invested),
        np.minimum(1.0, limits.rooms(int(codes.max()) + 1) / invested),
    )
    ratio = scale / unit**0.5
    return Problem(
        mean / scale, matrix, found, cone, limits, invested, ratio, repair, distorted, claimed
    )


def gain_per_weight(problem: Problem, point: Point) -> Floats:
    """Slope of the Lagrangian in each name, shape (n,): at the optimum 0 if held, else <= 0."""
    slope: Floats = point.multipliers.tilt(problem.mean, problem.cone)
    return slope - problem.matrix.times(point.y)


def bound(problem: Problem, point: Point, k: int) -> float:
    """No portfolio of k names within the caps has a higher Sharpe ratio than this.

    Lagrangian bound: for S = R + diag(d), R PSD, any x and any multipliers >= 0 of the caps,
    SR_k^2 <= x'Rx + sum of the k largest max(0, (m + A'lambda - Rx)_i)^2 / d_i.
    """
    tilted = point.multipliers.tilt(problem.mean, problem.cone)
    pull = problem.matrix.times(point.y) - problem.diagonal * point.y
    worth = np.maximum(tilted - pull, 0.0) ** 2 / problem.diagonal
    best = np.partition(worth, len(worth) - k)[-k:] if k < len(worth) else worth
    return float(np.sqrt(max(0.0, float(point.y @ pull)) + best.sum()))


def residual(problem: Problem, point: Point) -> float:
    """How far the bound without a limit on the number of names is above this point, relatively."""
    return shortfall(bound(problem, point, len(point.y)), problem.ratio(point.y))


def shortfall(ceiling: float, achieved: float) -> float:
    """ceiling / achieved - 1; inf if nothing is earned, or more than can be: a limit is broken."""
    if achieved <= 0 or achieved > ceiling * (1 + IMPOSSIBLE):
        return float("inf")
    return max(0.0, ceiling / achieved - 1.0)


def spares(matrix: Matrix, diagonal: Floats) -> bool:
    """Whether S - diag(`diagonal`) is positive definite."""
    if isinstance(matrix, Factored):
        return bool((matrix.diagonal >= diagonal).all())
    try:
        solver(matrix.plus(-diagonal).values)
    except SolverError:
        return False
    return True


def _finite_rows(covariance: Floats, known: np.ndarray) -> np.ndarray:
    """Names left when those with the most unknown covariances have gone, one after the other."""
    left = np.ones(len(covariance), np.bool_)
    if np.isfinite(covariance @ np.ones(len(covariance))).all():
        return left  # what is not finite makes its row's sum so too
    bad = ~np.isfinite(covariance)
    if not bad.any():
        return left
    left &= ~bad.diagonal()
    bad |= bad.T
    while True:
        inside = left & known
        counts = np.where(inside, bad[:, inside].sum(axis=1), 0)
        worst = int(np.argmax(counts))
        if not counts[worst]:
            return left
        left[worst] = False


def _definite(covariance: Floats) -> tuple[Matrix, Floats, str, bool]:
    """The matrix, a diagonal d > 0 with S - diag(d) PSD, what was repaired, whether that changed
    more than rounding."""
    repair, distorted = "", False
    if not _is_symmetric(covariance):
        covariance = 0.5 * (covariance + covariance.T)
        repair, distorted = "covariance was not symmetric: the mean of both halves taken", True
    matrix, own = Dense(covariance), covariance.diagonal()
    if _spares_in_single(matrix, SPARE * own) or spares(matrix, SPARE * own):
        return matrix, SURE * SPARE * own, repair, distorted
    try:
        return _repaired(covariance, own, repair, distorted)
    except np.linalg.LinAlgError as error:
        raise SolverError(f"the eigenvalues of the covariance were not found: {error}") from error


def _spares_in_single(matrix: Dense, diagonal: Floats) -> bool:
    """As `spares` in half the time, proven in single precision; False says nothing.

    If Cholesky succeeds on a matrix from whose variances n + 4 unit roundoffs of their sum were
    taken first, the matrix itself is positive definite (Rump 2006, BIT 46, 433-452).
    """
    n, own = len(diagonal), matrix.variances
    margin = (n + 4) * 2.0**-24 * float(own.sum())
    if (
        n > LARGE
        or not 1e-30 < float(own.min()) <= float(own.max()) < 1e30
        or margin > float(own.min())
    ):
        return False
    single = matrix.values.astype(np.float32)
    single[np.diag_indices(n)] = np.nextafter((own - diagonal - margin).astype(np.float32), -1)
    return int(spotrf(single.T, lower=1, clean=0, overwrite_a=1)[1]) == 0


def _is_symmetric(covariance: Floats) -> bool:
    """Whether rows and columns pull alike, up to rounding, on a vector without a pattern.

    Two products instead of a comparison of all pairs (Freivalds 1977).
    """
    v = 1.0 + (np.arange(1.0, len(covariance) + 1.0) * 0.6180339887498949) % 1.0
    gap = np.abs(covariance @ v - v @ covariance)
    return bool((gap <= 1e-8 * covariance.diagonal().max()).all())


def _repaired(
    covariance: Floats, own: Floats, repair: str, distorted: bool
) -> tuple[Matrix, Floats, str, bool]:
    deviation = np.sqrt(own)
    values, vectors = np.linalg.eigh(covariance / deviation / deviation[:, None])
    low, high = float(values[0]), float(values[-1])
    if low > 0.01 * JITTER:
        return Dense(covariance), 0.99 * low * own, repair, distorted
    if low < -INDEFINITE * high:
        clipped = (vectors * np.maximum(values, JITTER)) @ vectors.T
        length = np.sqrt(clipped.diagonal()) / deviation
        fixed = 0.5 * (clipped + clipped.T) / np.outer(length, length)
        said = f"covariance was indefinite (an eigenvalue of {low:.2g} beside {high:.2g}): clipped"
        spare = 0.9 * JITTER / clipped.diagonal() * own
        return Dense(fixed), spare, "; ".join(filter(None, (repair, said))), True
    jitter = max(0.0, -low) + JITTER
    said = f"covariance was singular: {jitter:.1e} of each variance added to it"
    spare = 0.9 * (jitter + min(low, 0.0)) * own
    fixed = Dense(covariance).plus(jitter * own)
    return fixed, spare, "; ".join(filter(None, (repair, said))), distorted


def _definite_factors(covariance: Factored, unit: float) -> tuple[Matrix, Floats, str, bool]:
    diagonal, loadings = covariance.diagonal / unit, covariance.loadings / unit**0.5
    variances = diagonal + np.einsum("ij,ij->i", loadings, loadings)
    least = JITTER * variances
    if (diagonal >= least).all():
        return Factored(diagonal, loadings), diagonal, "", False
    distorted = bool((diagonal < -INDEFINITE * variances).any())
    raised = np.maximum(diagonal, least)
    said = f"covariance was singular: {int((diagonal < least).sum())} own variances raised"
    return Factored(raised, loadings), raised, said, distorted

"""The same problem stated to SLSQP, Clarabel and skfolio: the portfolio benchmarks' rivals."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import clarabel  # type: ignore[import-untyped]
import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from astra.settings import HOUSE
from benchmarks.inputs import Floats, Market
from benchmarks.rivals import answer_of
from benchmarks.timing import DifferentAnswersError
from model.portfolio.limits import Limits

SKFOLIO = HOUSE / ".venv-rivals-portfolio" / "bin" / "python"
SCRIPT = "skfolio_max_sharpe.py"
LIMIT_SECONDS = 500
FTOL = 1e-12  # of the ratio: what ours is proven to


def unit(market: Market) -> tuple[Floats, Floats]:
    """Mean and covariance where the largest mean and the mean variance are 1: kinder to rivals."""
    covariance: Floats = market.covariance * (len(market.mean) / market.covariance.trace())
    return market.mean / np.abs(market.mean).max(), covariance


def ratio(market: Market, weights: Floats) -> float:
    """Ex-ante Sharpe ratio in `unit`s."""
    mean, covariance = unit(market)
    return float(mean @ weights / (weights @ covariance @ weights) ** 0.5)


def slsqp(market: Market, limits: Limits) -> Floats:
    """The highest ratio without a limit on the number of names, stated in weights.

    Raises:
        DifferentAnswersError: SLSQP did not settle.
    """
    m, S = unit(market)
    n = len(m)

    def value(w: Floats) -> float:
        return float(-(m @ w) / (w @ S @ w) ** 0.5)

    def slope(w: Floats) -> Floats:
        Sw = S @ w
        variance = w @ Sw
        answer: Floats = -m / variance**0.5 + (m @ w) * Sw / variance**1.5
        return answer

    constraints: list[dict[str, Any]] = [
        {"type": "eq", "fun": lambda w: w.sum() - limits.investable, "jac": lambda _: np.ones(n)}
    ]
    if limits.max_sector_weight < 1:
        codes = np.unique(np.array(market.sectors), return_inverse=True)[1]
        inside = (codes == np.arange(codes.max() + 1)[:, None]).astype(np.float64)
        constraints.append(
            {
                "type": "ineq",
                "fun": lambda w: limits.max_sector_weight - inside @ w,
                "jac": lambda _: -inside,
            }
        )
    found = minimize(
        value, np.full(n, limits.investable / n), jac=slope, method="SLSQP",
        bounds=[(0.0, limits.max_weight)] * n, constraints=constraints,
        options={"maxiter": 500, "ftol": FTOL},
    )  # fmt: skip
    if not (found.success or found.status == 8):  # 8: no descent left at this precision
        raise DifferentAnswersError(f"SLSQP must settle, found: {found.message}")
    weights: Floats = np.maximum(found.x, 0.0)
    return weights


def clarabel_direct(market: Market) -> Floats:
    """min 1/2 y'Sy - m'y over y >= 0, which has the direction of the highest ratio.

    Raises:
        DifferentAnswersError: Clarabel did not solve it.
    """
    m, S = unit(market)
    n = len(m)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    answer = clarabel.DefaultSolver(
        sparse.triu(sparse.csc_matrix(S), format="csc"), -m, -sparse.eye(n, format="csc"),
        np.zeros(n), [clarabel.NonnegativeConeT(n)], settings,
    ).solve()  # fmt: skip
    if str(answer.status) != "Solved":
        raise DifferentAnswersError(f"Clarabel must solve it, it ended with {answer.status}")
    return np.array(answer.x)


def objective(market: Market, direction: Floats) -> float:
    """min over t of 1/2 y'Sy - m'y for y = t `direction`."""
    return -0.5 * ratio(market, direction) ** 2


def skfolio(market: Market, rounds: int) -> dict[str, Any] | None:
    """`seconds` of CPU, `weights` and `version`; None if its environment is not there.

    Raises:
        AstraError: it failed; its last line says why.
    """
    if not SKFOLIO.exists():
        return None
    mean, covariance = unit(market)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "market.npz"
        np.savez(path, mean=mean, covariance=covariance)
        return answer_of(SKFOLIO, SCRIPT, path, rounds, seconds=LIMIT_SECONDS)

"""The estimators of a covariance, by the name that the setting `risk_model` gives them. Pure.

Each sees a panel of closed bars and its normalised returns, uses the last 20 sessions of
within-session 5-minute returns, means taken as 0, and answers for one bar of average variance.
`astra evaluate --risk` scores them out of sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from model.forecast.target import Normalised
from model.panel import Floats, Panel
from model.portfolio import covariance
from model.portfolio.covariance import Covariance, level, recent

Estimator = Callable[[Panel, Normalised], Covariance]
LEAST_OWN = 0.01  # of a name's variance: at least so much is its own and no factor's
REPAIR = 1e-6  # of each variance, added to a singular sample


def ledoit_wolf(panel: Panel, normalised: Normalised) -> Covariance:
    """The sample drawn towards equal variances without correlation, see `covariance.ledoit_wolf`.

    Raises:
        InsufficientDataError: as `recent`; so do the others.
    """
    return covariance.ledoit_wolf(panel)


def ewma(panel: Panel, normalised: Normalised) -> Covariance:
    """Ledoit-Wolf's correlations, EWMA volatilities and the time of day of the bars to come.

    Its variance over a horizon is that of `covariance.sigma`. A ticker whose EWMA is not known yet
    keeps its variance of 20 sessions.
    """
    risk = covariance.ledoit_wolf(panel)
    long = np.sqrt(risk.per_bar.diagonal())
    now = level(normalised)
    scale = np.where(now > 0, now, long) / long
    return replace(
        risk,
        per_bar=risk.per_bar * np.outer(scale, scale),
        diagonal=risk.diagonal * scale**2,
        profile=normalised.profile[int(panel.session[-1])],
    )


def single_factor(panel: Panel, normalised: Normalised) -> Covariance:
    """One market factor: betas and what is each name's own, after Sharpe (1963), in factor form.

    The market is the equal-weight index of the names in units of their volatility, less the name
    itself, so that its own noise does not pass for a beta. Its variance is that of all pairs; exact
    for equal betas, else to the order of 1 / N.
    """
    seen = recent(panel)
    t, n = seen.returns.shape
    deviation = np.sqrt(np.mean(seen.returns**2, axis=0))
    scaled = seen.returns / deviation
    with_others = scaled.T @ scaled.sum(axis=1) / t - 1.0
    pairs = float(with_others.sum())
    beta = with_others * math.sqrt(n / (n - 1) / pairs) if n > 1 and pairs > 0 else np.zeros(n)
    beta = np.clip(beta, -math.sqrt(1.0 - LEAST_OWN), math.sqrt(1.0 - LEAST_OWN))
    own: Floats = deviation**2 * (1.0 - beta**2)
    loadings = (deviation * beta)[:, None]
    matrix = loadings @ loadings.T
    matrix[np.diag_indices(n)] += own
    return Covariance(
        panel.tickers, matrix, own, seen.night_bars, 0.0, t, seen.missing, loadings=loadings
    )


def sample(panel: Panel, normalised: Normalised) -> Covariance:
    """The sample covariance as it is; if it is singular, `REPAIR` of each variance is added."""
    seen = recent(panel)
    t, n = seen.returns.shape
    matrix = seen.returns.T @ seen.returns / t
    own = matrix.diagonal().copy()
    deviation = np.sqrt(own)
    least = float(np.linalg.eigvalsh(matrix / np.outer(deviation, deviation))[0])
    repair = ""
    if least < REPAIR:
        matrix[np.diag_indices(n)] += REPAIR * own
        least = max(least, 0.0) + REPAIR
        repair = f"the sample of {t} bars is singular: {REPAIR:.0e} of each variance added"
    return Covariance(
        panel.tickers, matrix, 0.99 * least * own, seen.night_bars, 0.0, t, seen.missing,
        repair=repair,
    )  # fmt: skip


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {each.__name__: each for each in (ledoit_wolf, ewma, single_factor, sample)}
)

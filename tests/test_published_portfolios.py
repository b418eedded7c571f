"""Answers from papers and textbooks, and closed forms that hold exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.portfolio.factored import Factored
from model.portfolio.limits import Limits
from model.portfolio.top_k import max_sharpe, minimum_variance

Floats = NDArray[np.float64]


def free(n: int) -> Limits:
    return Limits(k=n, max_weight=1.0, max_sector_weight=1.0, cash_floor=0.0)


def tangency(mean: Floats, covariance: Floats | Factored) -> Floats:
    n = len(mean)
    found = max_sharpe(mean, covariance, [""] * n, free(n))
    assert found.status == "optimal"
    assert found.residual < 1e-9
    return found.weights


def test_luenbergers_three_uncorrelated_assets() -> None:
    """Luenberger, Investment Science (1998), ch. 6: means 1, 2, 3, unit variances, cash 0.5."""
    weights = tangency(np.array([1.0, 2.0, 3.0]) - 0.5, np.eye(3))
    assert weights == pytest.approx([1 / 9, 3 / 9, 5 / 9], abs=1e-12)


def test_elton_and_grubers_single_index_portfolio() -> None:
    """Elton, Gruber and Padberg (1976), Journal of Finance 31; the ten securities of Elton and
    Gruber, Modern Portfolio Theory and Investment Analysis, "Simple techniques for determining the
    efficient frontier": cash 5, market variance 10, cut-off 5.45, five held."""
    excess = np.array([10, 12, 7, 12, 6, 6, 6, 2, 2, 0.6])
    beta = np.array([1, 1.5, 1, 2, 1, 1.5, 2, 0.8, 1, 0.6])
    own = np.array([50, 40, 20, 10, 40, 30, 40, 16, 20, 6.0])
    printed = [0.235, 0.246, 0.200, 0.284, 0.035, 0, 0, 0, 0, 0]
    factored = Factored(own, np.sqrt(10.0) * beta[:, None])
    for covariance in (factored, factored.dense()):
        weights = tangency(excess, covariance)
        assert weights == pytest.approx(printed, abs=1e-3)  # printed from rounded z
        assert (weights[5:] == 0).all()
        cut_off = 10 * (excess * beta / own)[:5].sum() / (1 + 10 * (beta**2 / own)[:5].sum())
        z = (beta / own * (excess / beta - cut_off))[:5]
        assert cut_off == pytest.approx(5.45, abs=5e-3)
        assert weights[:5] == pytest.approx(z / z.sum(), abs=1e-10)


FRONTIER = {
    0.070: (0.13, 0.12, 0.75),
    0.075: (0.24, 0.14, 0.62),
    0.080: (0.35, 0.16, 0.49),
    0.085: (0.45, 0.18, 0.37),
    0.090: (0.56, 0.20, 0.24),
    0.095: (0.67, 0.22, 0.11),
    0.105: (0.93, 0.07, 0.00),
}


@pytest.mark.parametrize("target", FRONTIER)
def test_cornuejols_and_tutuncus_frontier_of_stocks_bonds_and_money(target: float) -> None:
    """Cornuejols and Tutuncu, Optimization Methods in Finance (2007), ex. 8.1, table 8.2.

    Each portfolio of the frontier is the one of the highest ratio over some rate of cash.
    """
    mean = np.array([0.1073, 0.0737, 0.0627])
    covariance = np.array(
        [[0.02778, 0.00387, 0.00021], [0.00387, 0.01112, -0.00020], [0.00021, -0.00020, 0.00115]]
    )
    low, high = -1.0, 0.1072
    for _ in range(60):
        cash = (low + high) / 2
        weights = tangency(mean - cash, covariance)
        low, high = (cash, high) if weights @ mean < target else (low, cash)
    assert weights @ mean == pytest.approx(target, abs=1e-6)
    assert weights == pytest.approx(FRONTIER[target], abs=0.0075)


@pytest.mark.parametrize("seed", range(5))
def test_the_cut_off_rule_for_one_correlation_between_all(seed: int) -> None:
    """Elton, Gruber and Padberg (1976): in order of excess / deviation those names are held that
    are above C_i = rho / (1 - rho + i rho) * sum of the first i ratios; z = (ratio - C) / dev.
    """
    rng = np.random.default_rng(seed)
    n, rho = 40, 0.4
    deviation, excess = rng.uniform(0.1, 0.5, n), rng.normal(0.05, 0.08, n)
    ratio = excess / deviation
    order = np.argsort(-ratio)
    cut = rho / (1 - rho + rho * np.arange(1, n + 1)) * np.cumsum(ratio[order])
    held = int(np.flatnonzero(ratio[order] > cut).max()) + 1
    z = np.zeros(n)
    z[order[:held]] = (ratio[order[:held]] - cut[held - 1]) / deviation[order[:held]]
    correlation = np.full((n, n), rho) + (1 - rho) * np.eye(n)
    weights = tangency(excess, correlation * np.outer(deviation, deviation))
    assert 1 < held < n
    assert weights == pytest.approx(z / z.sum(), abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_least_variance_of_one_factor_holds_the_low_betas(seed: int) -> None:
    """Clarke, de Silva and Thorley (2011), Journal of Portfolio Management 37(2): with one factor,
    w_i ~ (1 - beta_i / L) / own_i for beta_i < L, and the threshold L is
    (1 / v + sum beta^2 / own) / sum beta / own over the names held."""
    rng = np.random.default_rng(seed)
    n, variance = 60, 0.03
    beta, own = rng.uniform(0.3, 1.8, n), rng.uniform(0.02, 0.2, n)
    order = np.argsort(beta)
    tops = 1 / variance + np.cumsum(beta[order] ** 2 / own[order])
    threshold = tops / np.cumsum(beta[order] / own[order])
    held = int(np.flatnonzero(beta[order] < threshold).max()) + 1
    level = threshold[held - 1]
    expected = np.maximum(1 - beta / level, 0) / own
    found = minimum_variance(Factored(own, np.sqrt(variance) * beta[:, None]), [""] * n, free(n))
    assert 1 < held < n
    assert found.weights == pytest.approx(expected / expected.sum(), abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_no_short_sales_are_the_same_as_a_shrunk_covariance(seed: int) -> None:
    """Jagannathan and Ma (2003), Journal of Finance 58: the least variance without short sales is
    the unconstrained one of S - (l1' + 1l'), l the multipliers, which is positive semidefinite."""
    rng = np.random.default_rng(seed)
    n = 25
    loadings = np.column_stack([rng.uniform(0.5, 1.5, n), rng.normal(0, 0.4, (n, 3))])
    covariance = loadings @ loadings.T + np.diag(rng.uniform(0.3, 2.0, n))
    weights = minimum_variance(covariance, [""] * n, free(n)).weights
    pull = covariance @ weights
    price = pull - weights @ pull
    assert price.min() > -1e-10
    assert (weights == 0).any()
    shrunk = covariance - price[:, None] - price
    assert np.linalg.eigvalsh(shrunk)[0] > -1e-9
    unbound = np.linalg.solve(shrunk, np.ones(n))
    assert weights == pytest.approx(unbound / unbound.sum(), abs=1e-8)


def test_the_tangency_portfolio_is_the_regression_of_one_on_excess_returns() -> None:
    """Britten-Jones (1999), Journal of Finance 54: the coefficients of a regression of a constant 1
    on excess returns, without an intercept, scaled to sum to 1.
    """
    rng = np.random.default_rng(7)
    returns = 0.02 + 0.04 * rng.standard_normal((240, 4)) + 0.02 * rng.standard_normal((240, 1))
    coefficients = np.linalg.lstsq(returns, np.ones(240))[0]
    assert (coefficients > 0).all()
    weights = tangency(returns.mean(axis=0), np.cov(returns.T, bias=True))
    assert weights == pytest.approx(coefficients / coefficients.sum(), abs=1e-10)


def test_the_squared_ratio_of_independent_bets_is_the_sum_of_theirs() -> None:
    """Treynor and Black (1973), Journal of Business 46: appraisal ratios add up in squares."""
    mean, deviation = np.array([0.02, 0.05, 0.01, 0.03]), np.array([0.1, 0.4, 0.2, 0.15])
    found = max_sharpe(mean, np.diag(deviation**2), [""] * 4, free(4))
    assert found.sharpe**2 == pytest.approx(float(((mean / deviation) ** 2).sum()), rel=1e-12)
    assert found.weights == pytest.approx(
        (mean / deviation**2) / (mean / deviation**2).sum(), abs=1e-12
    )

"""Covariance estimators: what is planted is found, never ahead, definite whatever is missing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.errors import InsufficientDataError
from astra.sessions import last_sessions
from astra.settings import Settings
from model.forecast.target import Scaler, normalise
from model.panel import Floats, Panel
from model.portfolio.covariance import Covariance, sigma, until_next_decision
from model.portfolio.estimators import ESTIMATORS
from tests.test_covariance import PER_BAR, panel

NOW = dt.datetime(2026, 10, 30, 21, 0, tzinfo=dt.UTC)
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def walked(moves: Floats, days: int) -> Panel:
    """Prices of 100 USD that move by the log returns (78 days, N), each session from its open."""
    sessions = last_sessions(days, NOW)
    log = np.cumsum(moves, axis=0)
    before = np.vstack([np.zeros(moves.shape[1]), log[:-1]])
    return Panel(
        tickers=tuple(f"T{i:03d}" for i in range(moves.shape[1])),
        ts=np.concatenate([s.grid() for s in sessions]),
        session=np.repeat(np.arange(days), 78),
        slot=np.tile(np.arange(78), days),
        open=100 * np.exp(before),
        close=100 * np.exp(log),
        sessions=sessions,
    )


def one_factor(
    n: int = 40, days: int = 20, seed: int = 0, growth: Floats | None = None
) -> tuple[Panel, Floats]:
    """A panel of one planted factor and its covariance per bar; `growth` (78 days,) scales bars."""
    rng = np.random.default_rng(seed)
    beta, own = 1e-3 * rng.uniform(0.3, 1.5, n), 1e-3 * rng.uniform(0.5, 2.0, n)
    bars = 78 * days
    moves = rng.standard_normal((bars, 1)) * beta + rng.standard_normal((bars, n)) * own
    if growth is not None:
        moves *= growth[:, None]
    return walked(moves, days), np.outer(beta, beta) + np.diag(own**2)


def estimate(name: str, bars: Panel) -> Covariance:
    return ESTIMATORS[name](bars, normalise(bars, Scaler()))


def off(found: Floats, expected: Floats) -> float:
    """Distance of two covariances, relative to the expected one's off-diagonal part."""
    scale = expected - np.diag(expected.diagonal())
    return float(np.linalg.norm(found - expected) / np.linalg.norm(scale))


def correlation(matrix: Floats) -> Floats:
    deviation = np.sqrt(matrix.diagonal())
    return matrix / np.outer(deviation, deviation)


def test_the_setting_names_the_estimators_there_are() -> None:
    assert set(get_args(Settings.model_fields["risk_model"].annotation)) == set(ESTIMATORS)


@every_estimator
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.9]), st.integers(1, 9))
def test_it_is_symmetric_and_definite_whatever_is_missing(
    name: str, seed: int, gaps: float, tickers: int
) -> None:
    found = estimate(name, panel(tickers, 4, seed, gaps=gaps))
    for matrix, diagonal in ((found.per_bar, found.diagonal), found.over(30, 1)):
        assert np.array_equal(matrix, matrix.T)
        assert (diagonal > 0).all()
        np.linalg.cholesky(matrix - 0.999 * np.diag(diagonal))


@every_estimator
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.1, 3.0]))
def test_returns_c_times_as_large_have_c_squared_the_variance(
    name: str, seed: int, c: float
) -> None:
    bars = panel(5, 12, seed, gaps=0.05)
    larger = replace(bars, open=bars.open**c, close=bars.close**c)
    one, other = estimate(name, bars), estimate(name, larger)
    assert other.per_bar == pytest.approx(c**2 * one.per_bar, rel=1e-8)
    assert other.night_bars == pytest.approx(one.night_bars, rel=1e-8)


@every_estimator
def test_a_planted_factor_is_found(name: str) -> None:
    bars, planted = one_factor()
    assert off(estimate(name, bars).per_bar, planted) < 0.25


def test_the_single_factor_finds_a_planted_one_best() -> None:
    bars, planted = one_factor()
    errors = {name: off(estimate(name, bars).per_bar, planted) for name in ESTIMATORS}
    assert min(errors, key=errors.__getitem__) == "single_factor"


@pytest.mark.parametrize("n", [2, 5, 40])
def test_independent_names_share_no_factor_however_few_they_are(n: int) -> None:
    moves = 1e-3 * np.random.default_rng(n).standard_normal((78 * 20, n))
    found = correlation(estimate("single_factor", walked(moves, 20)).per_bar)
    assert np.abs(found - np.eye(n)).max() < 0.06


def test_two_names_get_their_own_correlation_and_one_name_its_own_variance() -> None:
    bars = panel(tickers=2)
    found, sample = estimate("single_factor", bars), estimate("sample", bars)
    assert found.per_bar == pytest.approx(sample.per_bar, rel=1e-9)
    alone = bars.only(("T1",))
    assert estimate("single_factor", alone).per_bar[0, 0] == pytest.approx(sample.per_bar[1, 1])


def test_the_factor_form_is_the_matrix_itself() -> None:
    found = estimate("single_factor", panel(tickers=12, gaps=0.1))
    factored = found.factored(18, 1)
    assert factored is not None
    matrix, diagonal = found.over(18, 1)
    assert factored.dense() == pytest.approx(matrix, rel=1e-12)
    assert np.array_equal(factored.diagonal, diagonal)
    others = (estimate(name, panel()) for name in ESTIMATORS if name != "single_factor")
    assert all(each.factored(18, 1) is None for each in others)


def test_ewma_has_the_variance_of_sigma_and_the_correlations_of_ledoit_wolf() -> None:
    bars = panel(tickers=8, days=30)
    normalised = normalise(bars, Scaler())
    risk, base = estimate("ewma", bars), estimate("ledoit_wolf", bars)
    day = bars.sessions[-1]
    for t in (*day.decision_times(), day.closes_at):
        horizon = until_next_decision(t)
        matrix, _ = risk.over(risk.bars_in(horizon), horizon.nights)
        expected = sigma(bars, normalised, risk, horizon) ** 2
        assert matrix.diagonal() == pytest.approx(expected, rel=1e-12)
    assert correlation(risk.per_bar) == pytest.approx(correlation(base.per_bar), rel=1e-12)


def test_only_ewma_follows_a_volatility_that_doubled_three_sessions_ago() -> None:
    growth = np.ones(78 * 30)
    growth[-78 * 3 :] = 2.0
    bars, planted = one_factor(days=30, growth=growth)
    ratio = {
        name: float(np.median(estimate(name, bars).per_bar.diagonal() / planted.diagonal()))
        for name in ESTIMATORS
    }
    assert ratio["ewma"] == pytest.approx(4 - 3 / 2**3, rel=0.1)
    assert ratio["ledoit_wolf"] == pytest.approx(1 + 3 * 3 / 20, rel=0.1)


def test_an_hour_at_the_open_counts_more_than_one_at_noon_for_ewma_alone() -> None:
    growth = np.tile(np.where(np.arange(78) < 18, 2.0, 1.0), 30)
    bars, _ = one_factor(days=30, growth=growth)
    times = bars.sessions[-1].decision_times()
    opening, noon = until_next_decision(times[0]), until_next_decision(times[2])
    risk, base = estimate("ewma", bars), estimate("ledoit_wolf", bars)
    assert risk.bars_in(opening) / risk.bars_in(noon) == pytest.approx(4, rel=0.15)
    assert base.bars_in(opening) == base.bars_in(noon) == 12


@every_estimator
def test_later_bars_change_no_bit(name: str) -> None:
    bars = panel(days=12, gaps=0.1)
    as_of = bars.sessions[8].decision_times()[2]
    after = (bars.ends > as_of.timestamp())[:, None]
    changed = replace(
        bars,
        open=np.where(after, bars.open * 3, bars.open),
        close=np.where(after, np.nan, bars.close),
    )
    one, other = (estimate(name, each.known_at(as_of)) for each in (bars, changed))
    assert np.array_equal(one.per_bar, other.per_bar)
    assert np.array_equal(one.diagonal, other.diagonal)
    assert np.array_equal(one.night_bars, other.night_bars)


def test_a_singular_sample_is_repaired_and_says_so() -> None:
    found = estimate("sample", panel(tickers=90, days=1))
    assert found.repair == "the sample of 78 bars is singular: 1e-06 of each variance added"
    assert np.linalg.eigvalsh(correlation(found.per_bar))[0] == pytest.approx(1e-6, rel=0.01)
    assert estimate("sample", panel(tickers=9, days=4)).repair == ""


def test_identical_names_stay_usable() -> None:
    moves = 1e-3 * np.random.default_rng(0).standard_normal((78 * 20, 1))
    for name in ESTIMATORS:
        found = estimate(name, walked(np.repeat(moves, 3, axis=1), 20))
        np.linalg.cholesky(found.per_bar)
        assert correlation(found.per_bar)[0, 1] > 0.98


@every_estimator
def test_a_ticker_that_seldom_trades_keeps_a_variance(name: str) -> None:
    bars = panel(tickers=6, days=25)
    silent = (bars.slot % 3 != 0) | (bars.session == 24)
    close, opens = bars.close.copy(), bars.open.copy()
    close[silent, 0] = opens[silent, 0] = np.nan
    found = estimate(name, replace(bars, close=close, open=opens))
    assert np.isfinite(found.per_bar).all()
    assert found.missing == pytest.approx((19 * 52 + 78) / (20 * 78 * 6))
    assert found.per_bar[0, 0] == pytest.approx(PER_BAR**2, rel=0.15)


def test_a_volatility_that_is_not_known_yet_is_that_of_twenty_days() -> None:
    bars = panel(tickers=6, days=25)
    close, opens = bars.close.copy(), bars.open.copy()
    close[:-30, 0] = opens[:-30, 0] = np.nan  # fewer bars than the EWMA needs
    young = replace(bars, close=close, open=opens)
    found, base = estimate("ewma", young), estimate("ledoit_wolf", young)
    assert found.per_bar[0, 0] == pytest.approx(base.per_bar[0, 0], rel=1e-12)
    assert found.per_bar[1, 1] != base.per_bar[1, 1]


@every_estimator
def test_too_little_history_is_refused(name: str) -> None:
    bars = panel(tickers=2, days=2)
    with pytest.raises(InsufficientDataError, match="at least 78 bars"):
        estimate(name, bars.known_at(bars.sessions[0].decision_times()[1]))

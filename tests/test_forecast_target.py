"""Normalised returns: closed forms, gaps, and that no number knows a later bar."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

from model.forecast.target import (
    Normalised,
    Scaler,
    horizon_scale,
    look_backs,
    normalise,
    outcomes,
    path,
)
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars

TICKERS = ("AAPL", "MSFT", "NVDA", "AMZN", "META", "JPM", "XOM", "OXY")


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Eight stocks on eight sessions, a half day among them."""
    first, last = dt.date(2025, 11, 24), dt.date(2025, 12, 4)
    return build(simulated_bars(TICKERS, seed=3, edge=0.1, first=first, last=last))


def with_closes(panel: Panel, close: np.ndarray, opening: np.ndarray | None = None) -> Panel:
    return dataclasses.replace(panel, close=close, open=panel.open if opening is None else opening)


def rows_of(normalised: Normalised, count: int) -> list[np.ndarray]:
    return [
        getattr(normalised, name)[:count]
        for name in ("feature", "residual", "sigma", "total_sigma")
    ]


def test_the_path_is_measured_from_its_last_value() -> None:
    assert path(np.array([[1.0, 2.0, 3.0, 0.0]])) == pytest.approx(
        np.array([[-6.0, -5.0, -3.0, 0.0]]) / 2
    )


@pytest.mark.parametrize("rows", [100, 234, 275, 276, 300, 400])
def test_what_is_known_at_a_bar_does_not_depend_on_later_bars(panel: Panel, rows: int) -> None:
    whole = normalise(panel, Scaler())
    cut = panel.known_at(dt.datetime.fromtimestamp(int(panel.ts[rows - 1]) + 300, dt.UTC))
    assert len(cut.ts) == rows
    for ours, theirs in zip(
        rows_of(whole, rows), rows_of(normalise(cut, Scaler()), rows), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    wild = panel.close.copy()
    wild[rows:] *= np.exp(np.random.default_rng(0).normal(0, 0.2, wild[rows:].shape))
    wild[rows + 3 :: 5] = np.nan
    changed = normalise(with_closes(panel, wild), Scaler())
    for ours, theirs in zip(rows_of(whole, rows), rows_of(changed, rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    sessions = int(panel.session[rows - 1]) + 1
    np.testing.assert_array_equal(whole.profile[:sessions], changed.profile[:sessions])


def test_features_have_unit_variance_and_no_market_in_them(panel: Panel) -> None:
    normalised = normalise(panel, Scaler())
    feature = normalised.feature[200:]
    assert np.nanstd(feature) == pytest.approx(1.0, abs=0.06)
    market = np.nanmean(panel.log_returns()[200:], axis=1)
    idle = np.isnan(market)
    pairs = [np.corrcoef(market[~idle], np.nan_to_num(f[~idle]))[0, 1] for f in feature.T]
    raw = [
        np.corrcoef(market[~idle], np.nan_to_num(r[~idle]))[0, 1]
        for r in panel.log_returns()[200:].T
    ]
    assert abs(float(np.mean(pairs))) < 0.05 < 0.4 < float(np.mean(raw))


def test_a_missing_bar_makes_two_returns_unknown_and_fills_none(panel: Panel) -> None:
    close = panel.close.copy()
    close[300, 2] = np.nan
    feature = normalise(with_closes(panel, close), Scaler()).feature
    assert np.isnan(feature[[300, 301], 2]).all()
    row = np.array([320])
    paths, gaps = look_backs(feature, row, 60)
    tolerant, _ = look_backs(feature, row, 60, allowed_gaps=int(gaps[0, 2]))
    assert gaps[0, 2] >= 2
    assert np.isnan(paths[0, 2]).all()
    steps = np.diff(tolerant[0, 2]) * np.sqrt(60)  # what each bar adds to the path
    assert steps[300 - 261] == steps[301 - 261] == 0
    np.testing.assert_allclose(steps[:39], feature[261:300, 2])


def test_a_look_back_never_starts_before_the_panel() -> None:
    feature = np.ones((100, 3))
    paths, gaps = look_backs(feature, np.array([58, 59]), 60, allowed_gaps=59)
    assert np.isnan(paths[0]).all() and (gaps[0] == 60).all()
    assert np.isfinite(paths[1]).all() and (gaps[1] == 0).all()


def test_below_five_names_there_is_no_market_to_take_out(panel: Panel) -> None:
    few = normalise(panel.only(("AAPL", "MSFT", "NVDA", "XOM")), Scaler())
    assert np.isnan(few.feature).all()
    assert np.isfinite(few.total_sigma[-1]).all()


def test_a_frozen_price_has_no_volatility(panel: Panel) -> None:
    close, opening = panel.close.copy(), panel.open.copy()
    close[:, 0] = opening[:, 0] = 10.0
    normalised = normalise(with_closes(panel, close, opening), Scaler())
    assert np.isnan(normalised.total_sigma[:, 0]).all()
    assert np.isfinite(normalised.total_sigma[-1, 1:]).all()


def test_the_profile_is_flat_at_first_and_learns_the_u_shape_of_full_days(panel: Panel) -> None:
    profile = normalise(panel, Scaler()).profile
    assert (profile[0] == 1).all()
    assert (profile**2).mean(axis=1) == pytest.approx(np.ones(len(profile)))
    assert profile[-1][:3].mean() > 1.4 > 0.9 > profile[-1][30:45].mean()
    half = [s.bars for s in panel.sessions].index(42)
    np.testing.assert_array_equal(profile[half], profile[half + 1])


def test_the_scale_of_a_horizon_adds_variances(panel: Panel) -> None:
    profile = np.ones((len(panel.sessions), 78))
    scale = horizon_scale(profile, panel, np.array([5]), 4)
    assert scale == pytest.approx(np.sqrt([[1.0, 2.0, 3.0, 4.0]]))


def test_an_outcome_is_the_summed_residual_in_units_of_known_volatility(panel: Panel) -> None:
    bars, names = panel.close.shape
    flat = Normalised(
        feature=np.zeros((bars, names)),
        residual=np.full((bars, names), 0.002),
        sigma=np.full((bars, names), 0.001),
        total_sigma=np.full((bars, names), 0.001),
        profile=np.ones((len(panel.sessions), 78)),
    )
    flat.residual[9, 1] = np.nan
    found = outcomes(flat, panel, np.array([5, 5]), np.array([0, 1]), 6)
    assert found[0] == pytest.approx(2 * np.sqrt(np.arange(1, 7)))
    assert np.isfinite(found[1, :3]).all() and np.isnan(found[1, 3:]).all()


@pytest.fixture(scope="module")
def daily() -> Panel:
    """Eight stocks on 124 sessions, one bar each."""
    first, last = dt.date(2025, 7, 1), dt.date(2025, 12, 24)
    return daily_of(build(simulated_bars(TICKERS, seed=3, edge=0.1, first=first, last=last)))


DAILY = Scaler(sigma_half_life=20, beta_half_life=60, warm_up=20)


def test_daily_returns_have_no_time_of_day_and_no_market_in_them(daily: Panel) -> None:
    normalised = normalise(daily, DAILY)
    assert (normalised.profile == 1).all() and normalised.profile.shape == (len(daily.ts), 1)
    assert np.isnan(normalised.feature[:40]).all() and np.isfinite(normalised.feature[42:]).all()
    assert np.nanstd(normalised.feature[60:]) == pytest.approx(1.0, abs=0.12)
    assert np.abs(np.nanmean(normalised.feature[60:], axis=1)).mean() < 0.1


def test_the_volatility_of_days_grows_with_the_root_of_their_number(daily: Panel) -> None:
    normalised, rows = normalise(daily, DAILY), np.array([60, 70])
    scale = horizon_scale(normalised.profile, daily, rows, 5)
    np.testing.assert_allclose(scale, np.sqrt([[1, 2, 3, 4, 5]] * 2))
    columns = np.array([0, 3])
    found = outcomes(normalised, daily, rows, columns, 5)
    summed = np.array([normalised.residual[61:66, 0].sum(), normalised.residual[71:76, 3].sum()])
    np.testing.assert_allclose(
        found[:, -1], summed / (normalised.sigma[rows, columns] * np.sqrt(5))
    )


@pytest.mark.parametrize("rows", [45, 60, 100])
def test_what_is_known_at_a_close_does_not_depend_on_later_days(daily: Panel, rows: int) -> None:
    cut = daily.known_at(daily.sessions[rows - 1].closes_at)
    wild = daily.close.copy()
    wild[rows:] *= np.exp(np.random.default_rng(0).normal(0, 0.2, wild[rows:].shape))
    wild[rows + 3 :: 5] = np.nan
    whole = rows_of(normalise(daily, DAILY), rows)
    for other in (cut, with_closes(daily, wild)):
        for ours, theirs in zip(whole, rows_of(normalise(other, DAILY), rows), strict=True):
            np.testing.assert_array_equal(ours, theirs)

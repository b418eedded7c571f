"""The simple forecasts: darts' own where it has them, and none of them sees the future."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from model.evaluation import baselines as simple
from model.forecast.spec import Spec
from model.forecast.target import Normalised, Scaler, normalise
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars
from tests.bundles import a_spec

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
SPEC = a_spec()
DAILY = a_spec(
    frequency="1d", window=10, horizon=5,
    scaler=Scaler(sigma_half_life=5, beta_half_life=10, warm_up=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    first, last = dt.date(2026, 4, 1), dt.date(2026, 5, 21)
    return build(simulated_bars(TICKERS, seed=3, edge=0.04, first=first, last=last))


@pytest.fixture(scope="module")
def rows(panel: Panel) -> np.ndarray:
    """Decision times of the last five sessions."""
    last = panel.session >= len(panel.sessions) - 5
    return np.flatnonzero(last & panel.room(12))[5::12]


def darts_series(values: np.ndarray):
    from darts import TimeSeries

    return TimeSeries(pd.RangeIndex(len(values)), values[:, None, None])


def test_drift_is_darts_drift_of_the_look_back(panel: Panel, rows: np.ndarray) -> None:
    from darts.models import NaiveDrift

    found = simple.drift(panel, rows, window=60, horizon=12)
    row, returns = rows[3], np.nan_to_num(panel.log_returns()[:, 2])
    walked = np.concatenate([[0.0], np.cumsum(returns[row - 59 : row + 1])])
    theirs = NaiveDrift()
    theirs.fit(darts_series(walked))
    expected = theirs.predict(12).values()[:, 0] - walked[-1]
    np.testing.assert_allclose(found[3, 2], expected, atol=1e-9)


def test_the_seasonal_of_one_session_is_darts_seasonal(panel: Panel, rows: np.ndarray) -> None:
    from darts.models import NaiveSeasonal

    found = simple.seasonal(panel, rows, horizon=12, sessions=1)
    row, returns = rows[3], np.nan_to_num(panel.log_returns()[:, 2])
    theirs = NaiveSeasonal(K=78)
    theirs.fit(darts_series(returns[: row + 1]))
    np.testing.assert_allclose(
        found[3, 2], np.cumsum(theirs.predict(12).values()[:, 0]), atol=1e-12
    )


def test_the_seasonal_is_the_mean_of_the_same_bars(panel: Panel, rows: np.ndarray) -> None:
    found = simple.seasonal(panel, rows, horizon=12)
    session, slot = panel.session[rows[0]], panel.slot[rows[0]]
    returns = panel.log_returns()[:, 1]
    before = (panel.session < session) & (panel.session >= session - 20)
    first = [np.nanmean(returns[before & (panel.slot == slot + k)]) for k in (1, 2)]
    assert found[0, 1, 0] == pytest.approx(first[0])
    assert found[0, 1, 1] == pytest.approx(first[0] + first[1])


def test_of_daily_bars_the_season_is_the_week(panel: Panel) -> None:
    daily = daily_of(panel)
    row = len(daily.ts) - 6
    found = simple.seasonal(daily, np.array([row]), horizon=5)
    returns = daily.log_returns()[:, 0]
    expected = [np.nanmean(returns[row + k - np.array([5, 10, 15, 20])]) for k in range(1, 6)]
    np.testing.assert_allclose(found[0, 0], np.cumsum(expected))


def test_without_earlier_sessions_the_seasonal_is_the_last_value(panel: Panel) -> None:
    assert (simple.seasonal(panel, np.array([5]), horizon=12) == 0).all()


def test_the_ridge_is_scikit_learns(panel: Panel, rows: np.ndarray) -> None:
    normalised = normalise(panel, SPEC.scaler)
    lags, outcome = simple.examples(panel, normalised, SPEC, before=int(rows[0]))
    penalty = SPEC.window / simple.EXPECTED_R2
    theirs = Ridge(alpha=penalty, fit_intercept=False).fit(lags, outcome)
    seen = np.nan_to_num(normalised.feature[rows[0] - 59 : rows[0] + 1, 4])
    season = normalised.profile[panel.session[rows[0]], panel.slot[rows[0]] + 1 :][:12]
    expected = theirs.predict(seen[None])[0] * np.sqrt(np.cumsum(season**2))
    found = simple.ridge((lags, outcome), panel, normalised, rows)
    np.testing.assert_allclose(found[0, 4], expected * normalised.sigma[rows[0], 4], rtol=1e-6)


def test_examples_are_at_most_as_many_as_asked_for_and_end_before_the_row(
    panel: Panel, rows: np.ndarray
) -> None:
    normalised = normalise(panel, SPEC.scaler)
    every = simple.examples(panel, normalised, SPEC, before=int(rows[0]), most=10**9)
    some = simple.examples(panel, normalised, SPEC, before=int(rows[0]), most=1000)
    assert 500 < len(some[0]) <= 1000 < len(every[0])
    assert len(np.unique(simple.examples(panel, normalised, SPEC, 400)[0][:, 0])) > 100
    none = simple.examples(panel, normalised, SPEC, before=40)
    assert none[0].shape == (0, 60) and none[1].shape == (0, 12)


def test_where_nothing_came_before_nothing_is_fitted(panel: Panel) -> None:
    normalised, first = normalise(panel, SPEC.scaler), np.array([5])
    none = simple.examples(panel, normalised, SPEC, before=5)
    assert simple.ridge(none, panel, normalised, first) is None
    assert simple.lightgbm(none, panel, normalised, first) is None


def all_of(panel: Panel, normalised: Normalised, rows: np.ndarray, spec: Spec) -> list[np.ndarray]:
    seen = simple.examples(panel, normalised, spec, before=int(rows[0]))
    return [
        simple.drift(panel, rows, spec.window, spec.horizon),
        simple.seasonal(panel, rows, spec.horizon),
        simple.ridge(seen, panel, normalised, rows),
        simple.lightgbm(seen, panel, normalised, rows),
        simple.normal_band(panel, normalised, rows, spec.horizon, np.array(spec.quantiles)),
        simple.look_back_move(panel, rows, spec.window),
    ]


@pytest.mark.parametrize("spec", [SPEC, DAILY], ids=["5m", "1d"])
def test_the_future_changes_no_baseline(panel: Panel, rows: np.ndarray, spec: Spec) -> None:
    seen = panel if spec.frequency == "5m" else daily_of(panel)
    asked = rows[:4] if spec.frequency == "5m" else np.arange(24, 28)
    wild = dataclasses.replace(seen, open=seen.open.copy(), close=seen.close.copy())
    wild.close[asked[-1] + 1 :] *= 1.7
    wild.open[asked[-1] + 1 :] *= 0.6
    told, untold = (all_of(p, normalise(p, spec.scaler), asked, spec) for p in (seen, wild))
    for before, after in zip(told, untold, strict=True):
        assert np.isfinite(before).any()
        np.testing.assert_array_equal(before, after)


def test_a_price_that_never_moved_has_no_scale(panel: Panel, rows: np.ndarray) -> None:
    still = dataclasses.replace(
        panel, open=np.ones_like(panel.open), close=np.ones_like(panel.close)
    )
    assert np.isnan(simple.look_back_move(still, rows, 60)).all()
    assert (simple.drift(still, rows, 60, 12) == 0).all()

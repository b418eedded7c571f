"""Covariance and volatility: against scikit-learn, on gaps, over nights, and never ahead."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astra.errors import InsufficientDataError
from astra.sessions import HORIZON_BARS, decision_times_between, last_sessions, next_decision_time
from model.forecast.target import Scaler, normalise
from model.panel import Panel, build
from model.portfolio.covariance import (
    Covariance,
    annualise,
    ledoit_wolf,
    previous_tick_returns,
    shrink,
    sigma,
    until_next_decision,
)

Floats = NDArray[np.float64]
NOW = dt.datetime(2026, 10, 30, 21, 0, tzinfo=dt.UTC)
PER_BAR = 0.001


def panel(
    tickers: int = 6, days: int = 25, seed: int = 0, night_bars: float = 34.8, gaps: float = 0.0
) -> Panel:
    """Correlated random walks: 0.1 % a bar, a night worth the variance of `night_bars` bars."""
    rng = np.random.default_rng(seed)
    rows, level = [], np.zeros(tickers)
    for session in last_sessions(days, NOW):
        level = level + PER_BAR * math.sqrt(night_bars) * rng.standard_normal(tickers)
        common = rng.standard_normal((session.bars, 1))
        own = rng.standard_normal((session.bars, tickers))
        moves = PER_BAR * (math.sqrt(0.5) * common + math.sqrt(0.5) * own)
        opens = np.exp(level + np.vstack([np.zeros(tickers), np.cumsum(moves[:-1], axis=0)]))
        closes = np.exp(level + np.cumsum(moves, axis=0))
        level = level + moves.sum(axis=0)
        for j in range(tickers):
            kept = rng.random(session.bars) >= gaps
            frame = pd.DataFrame({
                "ticker": f"T{j}", "ts": session.grid(),
                "open": 100 * opens[:, j], "close": 100 * closes[:, j],
            })  # fmt: skip
            rows.append(frame[kept])
    return build(pd.concat(rows).reset_index(drop=True))


def test_shrinkage_equals_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf as reference

    rng = np.random.default_rng(3)
    for t, n in ((60, 40), (500, 10), (30, 80)):
        returns = rng.standard_normal((t, n)) * rng.uniform(0.5, 2.0, n) * 1e-3
        expected, weight = reference(returns, assume_centered=True)
        matrix, diagonal, found = shrink(returns)
        assert found == pytest.approx(weight, rel=1e-10)
        assert matrix == pytest.approx(expected, rel=1e-10, abs=1e-18)
        np.linalg.cholesky(matrix - 0.999 * np.diag(diagonal))


def test_a_known_covariance_is_found() -> None:
    found = ledoit_wolf(panel(days=40), sessions=40)
    assert np.diag(found.per_bar) == pytest.approx(PER_BAR**2, rel=0.1)
    correlation = found.per_bar[0, 1] / PER_BAR**2
    assert correlation == pytest.approx(0.5, abs=0.06)
    assert found.rows == 40 * 78
    assert found.missing == 0.0


def test_only_the_last_sessions_are_used() -> None:
    long = panel(days=25)
    recent = long.known_at(NOW)
    cut = recent.session >= 5
    short = Panel(
        long.tickers, long.ts[cut], long.session[cut] - 5, long.slot[cut],
        long.open[cut], long.close[cut], long.sessions[5:],
    )  # fmt: skip
    assert np.array_equal(ledoit_wolf(long, 20).per_bar, ledoit_wolf(short, 20).per_bar)


def test_a_missing_bar_moves_its_change_to_the_next_bar_and_keeps_the_session() -> None:
    whole = panel(tickers=2, days=3)
    close, opens = whole.close.copy(), whole.open.copy()
    close[[80, 81, 156], 0] = np.nan
    opens[[80, 81, 156], 0] = np.nan
    gappy = Panel(whole.tickers, whole.ts, whole.session, whole.slot, opens, close, whole.sessions)
    full, found = previous_tick_returns(whole), previous_tick_returns(gappy)
    assert found[80, 0] == found[81, 0] == found[156, 0] == 0.0
    assert found[82, 0] == pytest.approx(full[80:83, 0].sum())
    assert found[78:156, 0].sum() == pytest.approx(full[78:156, 0].sum())
    assert found[157, 0] == pytest.approx(np.log(close[157, 0] / opens[157, 0]))
    assert np.array_equal(found[:, 1], full[:, 1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.5]), st.integers(2, 9))
def test_the_covariance_is_positive_definite_whatever_is_missing(
    seed: int, gaps: float, tickers: int
) -> None:
    found = ledoit_wolf(panel(tickers, 4, seed, gaps=gaps))
    for matrix, diagonal in ((found.per_bar, found.diagonal), found.over(30, 1)):
        np.linalg.cholesky(matrix - 0.999 * np.diag(diagonal))
    assert found.missing == pytest.approx(gaps, abs=0.12)


def test_gaps_hardly_change_a_variance() -> None:
    assert np.diag(ledoit_wolf(panel(gaps=0.3)).per_bar) == pytest.approx(PER_BAR**2, rel=0.15)


def test_a_night_is_worth_what_it_moved() -> None:
    for worth in (12.0, 60.0):
        found = ledoit_wolf(panel(tickers=24, days=40, night_bars=worth))
        assert np.median(found.night_bars) == pytest.approx(worth, rel=0.25)
        assert found.night_bars.std() / worth < 0.3


def test_with_few_nights_the_measured_constant_stands() -> None:
    found = ledoit_wolf(panel(days=4))
    assert found.night_bars == pytest.approx(np.full(6, 2.9 * 12))


def test_a_horizon_adds_bars_and_nights() -> None:
    found = Covariance(
        ("A", "B"), np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([0.5, 0.5]),
        np.array([10.0, 40.0]), 0.1, 100, 0.0,
    )  # fmt: skip
    matrix, diagonal = found.over(bars=6, nights=1)
    assert matrix[0, 0] == pytest.approx(4.0 * 16)
    assert matrix[1, 1] == pytest.approx(46.0)
    assert matrix[0, 1] == pytest.approx(math.sqrt(16 * 46))
    assert diagonal == pytest.approx([8.0, 23.0])
    assert found.year_share(252 * 78, 252) == pytest.approx(1.0)


def test_an_hourly_ratio_is_annualised_by_the_root_of_its_share() -> None:
    assert annualise(0.02, 0.0004) == pytest.approx(1.0)


def test_between_decisions_of_one_day_there_are_twelve_bars_and_no_night() -> None:
    day = last_sessions(1, NOW)[0]
    horizon = until_next_decision(day.decision_times()[0])
    assert (horizon.bars, horizon.nights) == (HORIZON_BARS, 0)
    assert list(horizon.slots) == list(range(6, 18))


def test_the_last_decision_of_a_day_bears_the_night_and_the_first_half_hour() -> None:
    day = last_sessions(2, NOW)[0]
    horizon = until_next_decision(day.decision_times()[-1])
    assert horizon.nights == 1
    assert list(horizon.slots) == [*range(66, 78), *range(6)]
    after = until_next_decision(day.closes_at)
    assert (after.bars, after.nights) == (6, 1)


def test_the_horizons_of_a_week_cover_each_bar_and_night_once() -> None:
    times = decision_times_between(NOW - dt.timedelta(days=7), NOW)
    horizons = [until_next_decision(t) for t in times]
    days = len({t.date() for t in times})
    assert next_decision_time(times[0]) == times[1]
    assert sum(h.bars for h in horizons) == days * 78
    assert sum(h.nights for h in horizons) == days


def test_sigma_finds_the_volatility_of_the_hour_and_of_the_night() -> None:
    bars = panel(tickers=30, days=30)
    normalised, risk = normalise(bars, Scaler()), ledoit_wolf(bars)
    day = last_sessions(1, NOW)[0]
    hour = sigma(bars, normalised, risk, until_next_decision(day.decision_times()[2]))
    assert np.mean(hour) == pytest.approx(PER_BAR * math.sqrt(12), rel=0.15)
    night = sigma(bars, normalised, risk, until_next_decision(day.decision_times()[-1]))
    assert np.mean(night) == pytest.approx(PER_BAR * math.sqrt(18 + 34.8), rel=0.2)


def test_later_bars_change_neither_covariance_nor_sigma() -> None:
    bars = panel(days=12)
    as_of = bars.sessions[8].decision_times()[2]
    after = bars.ts + 300 > int(as_of.timestamp())
    changed = Panel(
        bars.tickers, bars.ts, bars.session, bars.slot,
        np.where(after[:, None], bars.open * 3, bars.open),
        np.where(after[:, None], np.nan, bars.close), bars.sessions,
    )  # fmt: skip
    horizon = until_next_decision(as_of)
    found = []
    for each in (bars.known_at(as_of), changed.known_at(as_of)):
        risk = ledoit_wolf(each)
        found.append(
            (risk.per_bar, risk.night_bars, sigma(each, normalise(each, Scaler()), risk, horizon))
        )
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def test_too_few_bars_or_a_price_that_never_moves_is_refused() -> None:
    bars = panel(tickers=2, days=2)
    with pytest.raises(InsufficientDataError, match="at least 78 bars"):
        ledoit_wolf(bars.known_at(bars.sessions[0].decision_times()[1]))
    still = Panel(
        bars.tickers, bars.ts, bars.session, bars.slot,
        np.full_like(bars.open, 7.0), np.full_like(bars.close, 7.0), bars.sessions,
    )  # fmt: skip
    with pytest.raises(InsufficientDataError, match="T0, T1"):
        ledoit_wolf(still)

"""Paired intervals and leagues against closed forms and simulated markets."""

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from astra.errors import DataError
from astra.league import Floats, block_length, league, paired, resample
from astra.performance import returns, steps_a_year, summarize
from astra.sessions import decision_times_between


def autoregression(rng: np.random.Generator, size: int, rho: float) -> Floats:
    noise = rng.standard_normal(size + 100)
    drawn: Floats = lfilter([1], [1, -rho], noise)[100:]
    return drawn


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_the_paired_interval_holds_the_true_difference_in_95_of_100_samples(rho: float) -> None:
    rng = np.random.default_rng(6)
    hits, samples, size = 0, 300, 120
    for _ in range(samples):
        market = autoregression(rng, size, 0.2) * 0.05  # moves both, and five times as much
        a = market + 0.01 * autoregression(rng, size, rho) + 0.002
        found = paired(a, market, per_year=252, draws=150)
        hits += found.low <= 0.002 * 252 <= found.high
    assert 0.92 <= hits / samples <= 0.985


def test_what_moves_both_cancels_out() -> None:
    rng = np.random.default_rng(0)
    market = rng.normal(0, 0.02, 400)
    found = paired(market + 0.001 + rng.normal(0, 1e-4, 400), market, 252)
    assert found.difference == pytest.approx(0.252, abs=0.01)
    assert found.excludes_zero
    assert found.high - found.low < 0.01


def test_the_interval_of_independent_returns_is_the_t_interval() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(0.001, 0.01, 5000)
    found = paired(a, np.zeros(5000), 1, block=1.0)
    half = 1.96 * a.std(ddof=1) / math.sqrt(5000)
    assert found.low == pytest.approx(a.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(a.mean() + half, abs=0.05 * half)


@given(st.integers(0, 2**32 - 1), st.floats(1, 12))
def test_the_comparison_is_symmetric_and_seeded(seed: int, block: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.001, 0.01, (2, 60))
    there = paired(a, b, 252, block, draws=50, seed=seed)
    back = paired(b, a, 252, block, draws=50, seed=seed)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low)
    )
    assert there == paired(a, b, 252, block, draws=50, seed=seed)
    assert there.low <= there.difference <= there.high
    assert there.excludes_zero == back.excludes_zero


def test_a_series_beside_itself_shows_no_difference() -> None:
    a = np.random.default_rng(0).normal(0, 0.01, 100)
    found = paired(a, a, 252)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_too_few_steps_give_no_interval() -> None:
    found = paired(np.array([0.01, 0.03]), np.zeros(2), 100)
    assert found.difference == pytest.approx(2)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.excludes_zero
    assert math.isnan(paired(np.zeros(0), np.zeros(0), 100).difference)


def test_series_that_are_no_pair_are_refused() -> None:
    for a, b in ((np.zeros(3), np.zeros(4)), (np.array([math.nan]), np.zeros(1))):
        with pytest.raises(DataError, match="same steps"):
            paired(a, b, 252)


def test_drawn_blocks_have_the_mean_length_asked_and_every_step_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([resample(rng, 50, 5.0) for _ in range(4000)])
    goes_on = (drawn[:, 1:] == (drawn[:, :-1] + 1) % 50).mean()
    assert goes_on == pytest.approx(1 - 1 / 5 + 1 / 5 / 50, abs=0.005)
    assert np.bincount(drawn.ravel()) == pytest.approx(4000, rel=0.1)


def test_a_block_is_at_least_a_session() -> None:
    assert block_length(1000) == pytest.approx(20)
    assert block_length(1000, session=78) == 78


def times_of(sessions: int, steps: int = 6) -> list[dt.datetime]:
    start = dt.datetime(2025, 6, 2, 14, tzinfo=dt.UTC)
    minutes = [i * 360 // steps for i in range(steps)]
    return [start + dt.timedelta(days=d, minutes=m) for d in range(sessions) for m in minutes]


def test_a_league_of_three() -> None:
    rng = np.random.default_rng(0)
    times = times_of(60)
    market = rng.normal(0.0, 0.002, 359)
    curves = {
        "market": np.cumprod(np.append(1e5, 1 + market)),
        "better": np.cumprod(np.append(1e5, 1 + market + 0.0005 + rng.normal(0, 1e-4, 359))),
        "cash": np.full(360, 1e5),
    }
    rows = {row.name: row for row in league(curves, times, "market")}
    found = [row.total_return for row in league(curves, times, "market")]
    assert found == sorted(found, reverse=True)
    for name, row in rows.items():
        alone = summarize(times, curves[name])
        assert row.total_return == alone.total_return
        assert row.max_drawdown == alone.max_drawdown
        assert (row.sharpe, row.sharpe_error) == pytest.approx(
            (alone.sharpe, alone.sharpe_error), nan_ok=True
        )
    assert rows["market"].against is None
    better, cash = rows["better"].against, rows["cash"].against
    assert better is not None and cash is not None
    assert (better.over, cash.over) == ("a year", "a year")
    per_year = steps_a_year(times)
    assert better.difference == pytest.approx(0.0005 * per_year, rel=0.05)
    assert better.excludes_zero and not cash.excludes_zero
    assert better.block == pytest.approx(2 * 359 ** (1 / 3))
    assert cash == paired(returns(curves["cash"]), returns(curves["market"]), per_year, cash.block)


@pytest.mark.parametrize(
    ("last", "over", "scale"),
    [
        ("2025-07-16", "these 30 sessions", None),
        ("2025-09-16", "a year", 252 * 6),
    ],
)
def test_a_league_of_few_sessions_is_not_stretched_to_a_year(
    last: str, over: str, scale: float | None
) -> None:
    end = dt.datetime.fromisoformat(f"{last}T00:00+00:00")
    made = decision_times_between(dt.datetime(2025, 6, 2, tzinfo=dt.UTC), end)
    times = [made[0], *(t + dt.timedelta(hours=1) for t in made)]
    rng = np.random.default_rng(0)
    a, b = 1 + rng.normal(0, 0.002, (2, len(made)))
    curves = {"a": np.cumprod(np.append(1e5, a)), "b": np.cumprod(np.append(1e5, b))}
    (found,) = (row.against for row in league(curves, times, "b") if row.against)
    assert found.over == over
    # The two half days of July have three decisions fewer.
    wanted = (a - b).sum() if scale is None else (a - b).mean() * scale
    assert found.difference == pytest.approx(wanted, rel=0.02)
    assert found.low < found.difference < found.high


def test_blocks_of_a_league_are_at_least_a_session() -> None:
    times = times_of(5, steps=24)
    against = league({"a": np.linspace(1, 2, 120), "b": np.linspace(1, 3, 120)}, times, "b")[1]
    assert against.against is not None
    assert against.against.block == 24


def test_a_league_of_one_moment_knows_no_risk() -> None:
    rows = league({"a": np.ones(1), "b": np.ones(1)}, times_of(1)[:1], "b")
    assert all(row.total_return == 0 and math.isnan(row.sharpe) for row in rows)


def test_a_league_without_its_measure_or_of_unlike_curves_is_refused() -> None:
    with pytest.raises(DataError, match="the curve 'SPY'"):
        league({"a": np.ones(6)}, times_of(1), "SPY")
    with pytest.raises(DataError, match="a value of each curve"):
        league({"a": np.ones(6), "b": np.ones(5)}, times_of(1), "a")

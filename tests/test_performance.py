"""Performance figures against closed forms."""

import datetime as dt
import math

import numpy as np
import pytest

from astra.errors import DataError
from astra.performance import drawdowns, moments, steps_a_year, summarize
from astra.sessions import decision_times_between, sessions_between

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def days(n: int) -> list[dt.datetime]:
    return [START + dt.timedelta(days=i) for i in range(n)]


def test_figures_by_hand() -> None:
    equity = np.array([100.0, 110.0, 99.0, 118.8])
    found = summarize(days(4), equity, np.array([50.0, 50.0, 50.0, 55.0]))
    assert found.total_return == pytest.approx(0.188)
    assert found.benchmark_return == pytest.approx(0.1)
    assert found.max_drawdown == pytest.approx(-0.1)
    steps = np.array([0.1, -0.1, 0.2])
    assert found.sharpe == pytest.approx(steps.mean() / steps.std(ddof=1) * math.sqrt(365.25))


def test_the_standard_error_of_sharpe_is_los() -> None:
    rng = np.random.default_rng(0)
    equity = 100 * np.cumprod(1 + rng.normal(0.001, 0.01, 500))
    found = summarize(days(500), equity)
    ratio = found.sharpe / math.sqrt(499 / (499 / 365.25))
    expected = math.sqrt((1 + ratio**2 / 2) / 499) * math.sqrt(365.25)
    assert found.sharpe_error == pytest.approx(expected)


def test_cash_lowers_the_sharpe_ratio() -> None:
    equity = np.array([100.0, 101.0, 100.5, 102.0, 103.0])
    assert summarize(days(5), equity, cash_rate=0.05).sharpe < summarize(days(5), equity).sharpe


def test_what_cannot_be_known_is_nan() -> None:
    found = summarize(days(1), np.array([100.0]))
    assert found.total_return == 0
    assert math.isnan(found.sharpe)
    assert math.isnan(found.benchmark_return)
    assert math.isnan(summarize(days(3), np.array([1.0, 1.0, 1.0])).sharpe)


def test_drawdowns_are_measured_from_the_highest_value_so_far() -> None:
    assert drawdowns(np.array([1.0, 2.0, 1.0, 3.0])).tolist() == [0, 0, -0.5, 0]


@pytest.mark.parametrize("equity", [[], [1.0, float("nan")], [1.0, 0.0]])
def test_an_impossible_curve_is_refused(equity: list[float]) -> None:
    with pytest.raises(DataError, match="positive values"):
        summarize(days(len(equity)), np.array(equity))


def test_moments_by_hand() -> None:
    found = moments(np.array([100.0, 110.0, 99.0, 118.8]))
    assert found.steps == 3
    assert found.step_sharpe == pytest.approx((0.2 / 3) / math.sqrt(0.14 / 6))
    # Steps .1, -.1, .2 are .1 / 3, -.5 / 3, .4 / 3 off their mean.
    assert found.skew == pytest.approx((1 - 125 + 64) / 3 / (42 / 3) ** 1.5)
    assert found.kurtosis == pytest.approx((1 + 625 + 256) / 3 / (42 / 3) ** 2)


def test_the_moments_of_many_normal_steps_are_the_normal_ones() -> None:
    rng = np.random.default_rng(0)
    found = moments(100 * np.cumprod(1 + rng.normal(0.0005, 0.01, 100_000)))
    assert found.skew == pytest.approx(0, abs=0.03)
    assert found.kurtosis == pytest.approx(3, abs=0.06)
    assert found.step_sharpe == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("equity", [[100.0], [100.0, 101.0], [7.0] * 9, [1.1**i for i in range(9)]])
def test_moments_that_have_no_meaning_are_nan(equity: list[float]) -> None:
    found = moments(np.array(equity))
    assert found.steps == len(equity) - 1
    assert all(math.isnan(x) for x in (found.step_sharpe, found.skew, found.kurtosis))


def test_moments_of_an_impossible_curve_are_refused() -> None:
    with pytest.raises(DataError, match="positive values"):
        moments(np.array([1.0, -1.0]))


def hours(*dates: str) -> list[dt.datetime]:
    """The first decision, then the ends of the hours of all decisions of those days."""
    starts = [dt.datetime.fromisoformat(f"{date}T00:00+00:00") for date in dates]
    found = [t for s in starts for t in decision_times_between(s, s + dt.timedelta(days=1))]
    return [found[0], *(t + dt.timedelta(hours=1) for t in found)]


@pytest.mark.parametrize(
    "dates",
    [("2026-05-14",), ("2026-05-15", "2026-05-18"), tuple(f"2026-05-{d}" for d in range(11, 16))],
)
def test_a_year_has_252_sessions_of_six_hours_however_short_the_curve(
    dates: tuple[str, ...],
) -> None:
    assert steps_a_year(hours(*dates)) == pytest.approx(6 * 252)


def test_closes_in_a_row_are_252_steps_a_year_and_weekly_ones_are_fewer() -> None:
    closes = [s.closes_at for s in sessions_between(START, START + dt.timedelta(days=120))]
    assert steps_a_year(closes[:4]) == steps_a_year(closes) == 252
    assert steps_a_year([t - dt.timedelta(hours=1) for t in closes[:3]]) == 252
    assert steps_a_year(closes[::5]) == pytest.approx(252 / 5)


def test_curves_beyond_sessions_are_annualised_by_the_calendar() -> None:
    assert steps_a_year(days(30)) == pytest.approx(365.25)
    assert math.isnan(steps_a_year(days(1)))

"""Performance figures against closed forms."""

import datetime as dt
import math
from statistics import NormalDist

import numpy as np
import pytest

from astra.errors import DataError
from astra.performance import (
    HitRate,
    annual_return,
    by_month,
    by_year,
    calmar,
    drawdowns,
    exposure,
    hit_rate,
    moments,
    sortino,
    steps_a_year,
    summarize,
    trading,
)
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


@pytest.mark.parametrize("growth", [1.0001, 1.1, 0.99])
def test_a_curve_of_equal_steps_has_no_sharpe_ratio(growth: float) -> None:
    found = summarize(days(61), 1e5 * growth ** np.arange(61))
    assert math.isnan(found.sharpe) and math.isnan(found.sharpe_error)
    assert found.annual_volatility == pytest.approx(0, abs=1e-12)


def test_drawdowns_are_measured_from_the_highest_value_so_far() -> None:
    assert drawdowns(np.array([1.0, 2.0, 1.0, 3.0])).tolist() == [0, 0, -0.5, 0]


@pytest.mark.parametrize("equity", [[], [0.0], [1.0, float("nan")], [1.0, 0.0, 1.0], [1.0, -1.0]])
def test_an_impossible_curve_is_refused(equity: list[float]) -> None:
    with pytest.raises(DataError, match="positive values"):
        summarize(days(len(equity)), np.array(equity))


def test_a_total_loss_is_a_curve_that_ends_with_0() -> None:
    equity = np.array([100.0, 110.0, 0.0])
    found = summarize(days(3), equity)
    assert (found.total_return, found.max_drawdown) == (-1, -1)
    steps = np.array([0.1, -1.0])
    assert found.sharpe == pytest.approx(steps.mean() / steps.std(ddof=1) * math.sqrt(365.25))
    assert annual_return(days(3), equity) == -1


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


def test_sortino_by_hand() -> None:
    # Steps .1, -.1, .2: the only one below 0 counts 0.01 of three.
    equity = np.array([100.0, 110.0, 99.0, 118.8])
    expected = (0.2 / 3) / math.sqrt(0.01 / 3) * math.sqrt(365.25)
    assert sortino(days(4), equity) == pytest.approx(expected)


def test_what_cash_earns_is_the_target_of_sortino() -> None:
    # Of steps .01 and .03 over cash of .02 a step, -.01 and .01 are left: their mean is 0.
    equity = np.array([1.0, 1.01, 1.01 * 1.03])
    assert sortino(days(3), equity, cash_rate=0.02 * 365.25) == pytest.approx(0, abs=1e-12)
    assert math.isnan(sortino(days(3), equity))  # no step lost


def test_a_normal_curve_without_drift_has_a_downside_of_half_its_variance() -> None:
    steps = np.random.default_rng(1).normal(0, 0.01, 100_000)
    steps += 0.0005 - steps.mean()
    equity = 100 * np.cumprod(np.concatenate([[1.0], 1 + steps]))
    z = 0.05  # E[min(0, X)^2] of N(z, 1) = (1 + z^2) Phi(-z) - z phi(z)
    normal = NormalDist()
    downside = math.sqrt((1 + z * z) * normal.cdf(-z) - z * normal.pdf(z))
    found = sortino(days(100_001), equity) / math.sqrt(365.25)
    assert found == pytest.approx(z / downside, rel=0.01)


def test_calmar_is_a_years_compound_return_over_the_drawdown() -> None:
    closes = [s.closes_at for s in sessions_between(START, START + dt.timedelta(days=500))][:127]
    equity = np.concatenate([[100.0, 80.0], np.full(124, 90.0), [110.0]])  # half a year
    annual = annual_return(closes, equity)
    assert annual == pytest.approx(1.1**2 - 1)
    assert calmar(annual, float(drawdowns(equity).min())) == pytest.approx(0.21 / 0.2)
    assert math.isnan(calmar(annual, 0.0))
    assert math.isnan(annual_return(closes[:2], equity[:2]))


def test_months_and_years_end_with_their_last_value_in_new_york() -> None:
    times = [dt.datetime.fromisoformat(t) for t in (
        "2025-11-28T18:00Z", "2025-12-31T21:00Z", "2026-01-01T03:00Z",  # still December there
        "2026-01-30T21:00Z", "2026-02-02T15:00Z",
    )]  # fmt: skip
    equity = np.array([100.0, 104.0, 110.0, 99.0, 100.98])
    found = by_month(times, equity)
    assert list(found) == [dt.date(2025, 11, 1), dt.date(2025, 12, 1),
                           dt.date(2026, 1, 1), dt.date(2026, 2, 1)]  # fmt: skip
    assert list(found.values()) == pytest.approx([0.0, 0.10, -0.10, 0.02])
    years = by_year(times, equity)
    assert list(years.values()) == pytest.approx([0.10, 0.9 * 1.02 - 1])
    assert math.prod(1 + r for r in found.values()) == pytest.approx(equity[-1] / equity[0])


def test_the_hit_rate_counts_steps_ahead_with_its_binomial_error() -> None:
    account, market = np.array([1.0, 2.0, 2.0, 1.0]), np.array([4.0, 5.0, 6.0, 3.0])
    assert hit_rate(account, market) == HitRate(3, 1)  # ahead, behind, equal
    known = HitRate(100, 60)
    assert known.rate == 0.6 and known.error == pytest.approx(math.sqrt(0.6 * 0.4 / 100))
    assert math.isnan(HitRate(0, 0).rate) and math.isnan(HitRate(0, 0).error)


def test_exposure_is_the_mean_of_days_however_often_one_was_recorded() -> None:
    many = [(START + dt.timedelta(minutes=i), 1.0) for i in range(90)]
    one = [(START + dt.timedelta(days=1), 0.5)]
    assert exposure([*many, *one]) == pytest.approx(0.75)
    assert math.isnan(exposure([]))


def test_trading_is_told_for_a_year_of_252_sessions() -> None:
    closes = [s.closes_at for s in sessions_between(START, START + dt.timedelta(days=500))][:127]
    found = trading(300.0, 0.6, closes, np.full(127, 100.0))  # half a year
    assert found.turnover == pytest.approx(6.0)
    assert found.cost_share == pytest.approx(0.012)
    assert found.cost_bp == pytest.approx(20.0)
    emptied = trading(300.0, 0.6, closes, np.append(np.full(126, 127 / 126 * 100.0), -5.0))
    assert emptied.turnover == pytest.approx(6.0)
    with pytest.raises(DataError, match="above 0"):
        trading(300.0, 0.6, closes, np.zeros(127))
    single = trading(300.0, 0.0, closes[:1], np.array([100.0]))
    assert math.isnan(single.turnover) and math.isnan(trading(0, 0, closes, np.ones(127)).cost_bp)

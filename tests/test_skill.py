"""Skill: rank ICs by closed form, the gate's hysteresis, and what may count at all."""

import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from model.forecast import skill
from model.forecast.record import ForecastRecord
from model.panel import Panel, build
from sandbox.markets import simulated_bars

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def panel() -> Panel:
    first, last = dt.date(2026, 5, 1), dt.date(2026, 5, 21)
    return build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last))


def decisions(panel: Panel) -> np.ndarray:
    times = [t for s in panel.sessions for t in s.decision_times()]
    return np.array([int(t.timestamp()) for t in times], np.int64)


def clairvoyant(panel: Panel, noise: float = 0.0) -> ForecastRecord:
    """Scores that know the outcome, but for noise."""
    stamps = decisions(panel)
    score = skill.realised_returns(panel, stamps)
    score = score + noise * np.random.default_rng(1).standard_normal(score.shape)
    return ForecastRecord("test", stamps, panel.tickers, score, np.full_like(score, 0.01))


def end_of(panel: Panel) -> dt.datetime:
    return panel.sessions[-1].closes_at


def days(mean: float, count: int) -> np.ndarray:
    """`count` days of that mean whose standard deviation (ddof 1) is exactly 0.1 if even."""
    wave = np.tile([1.0, -1.0], count)[:count]
    return mean + 0.1 * wave * np.sqrt((count - 1) / count)


def test_t_is_mean_over_standard_error() -> None:
    assert skill.t_statistic(days(0.05, 16)) == pytest.approx(0.05 / 0.1 * 4)


@pytest.mark.parametrize("daily", [[], [0.1], [0.1, 0.1, 0.1]])
def test_days_that_do_not_vary_have_no_t(daily: list[float]) -> None:
    assert skill.t_statistic(np.array(daily)) == 0


def test_rank_ic_is_spearmans_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    score, outcome = rng.integers(0, 6, (4, 30)).astype(float), rng.standard_normal((4, 30))
    score[0, :7], outcome[1, 3:9] = np.nan, np.nan
    found = skill.rank_ic(score, outcome)
    for k in range(4):
        both = np.isfinite(score[k]) & np.isfinite(outcome[k])
        assert found[k] == pytest.approx(spearmanr(score[k][both], outcome[k][both]).statistic)


def test_fewer_than_five_names_or_nothing_but_ties_have_no_rank_ic() -> None:
    score = np.array([[1, 2, 3, 4, np.nan, np.nan], [1, 1, 1, 1, 1, 1]], float)
    assert np.isnan(skill.rank_ic(score, np.arange(12.0).reshape(2, 6))).all()


def test_skill_goes_on_at_two_and_stays_until_t_falls_below_one() -> None:
    good, dull = days(0.05, 30), days(0.0, 24)
    assert skill.t_statistic(good) > 2
    between = np.concatenate([good, dull])
    assert 1 < skill.t_statistic(between) < 2
    assert skill.judge(good, 180).on
    assert skill.judge(between, 324).on, "hysteresis: still above 1"
    lost = np.concatenate([between, days(-0.05, 20)])
    assert skill.t_statistic(lost) < 1
    assert not skill.judge(lost, 444).on
    back = np.concatenate([lost, days(0.02, 20)])
    assert 0 < skill.t_statistic(back) < 2
    assert not skill.judge(back, 564).on, "hysteresis: below 2 it does not come back"


def test_t_between_one_and_two_never_turns_skill_on() -> None:
    judged = skill.judge(days(0.025, 30), 180)
    assert 1 < judged.t < 2
    assert not judged.on and judged.used == 0
    assert "has not reached 2" in judged.reason


def test_twenty_nine_days_are_too_few_however_good() -> None:
    judged = skill.judge(days(0.5, 29), 174)
    assert judged.t > 10 and not judged.on
    assert judged.reason == "29 days measured after training, 30 needed"


def test_nothing_measured_is_off_and_finite() -> None:
    judged = skill.judge(np.empty(0), 0)
    assert (judged.ic, judged.t, judged.used, judged.on) == (0, 0, 0, False)


def test_an_ic_above_five_percent_is_suspect() -> None:
    assert skill.judge(days(0.06, 40), 240).suspect
    assert "look for a leak" in skill.judge(days(0.06, 40), 240).describe()
    assert not skill.judge(days(0.04, 40), 240).suspect


def test_the_sentence_carries_the_figures() -> None:
    assert skill.judge(days(0.04, 40), 240).describe() == (
        "Skill on: IC 0.040 (t 2.5) over 40 days and 240 decisions, 0.034 used; "
        "within the bars at hand t reached 2 and has not fallen below 1 since."
    )


@given(st.floats(0.001, 0.2), st.floats(0.01, 50))
def test_the_used_ic_lies_between_zero_and_the_measured(ic: float, t: float) -> None:
    used = skill.shrunk(ic, t)
    assert 0 <= used <= ic
    assert used <= skill.shrunk(ic, t * 1.1)
    assert t > 1 or used == 0


@given(st.integers(0, 2**32 - 1))
def test_rank_ic_does_not_change_under_a_monotone_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, outcome = rng.standard_normal((2, 3, 12))
    np.testing.assert_array_equal(
        skill.rank_ic(score, outcome), skill.rank_ic(np.exp(score), outcome)
    )


def test_returns_count_from_the_first_open_after_the_decision(panel: Panel) -> None:
    ten = panel.sessions[0].decision_times()[0]
    found = skill.realised_returns(panel, np.array([int(ten.timestamp())]))
    at = int(np.searchsorted(panel.ts, int(ten.timestamp())))
    wanted = np.log(panel.close[at + 11] / panel.open[at + 1])
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(wanted))
    assert found[0] == pytest.approx(wanted, nan_ok=True)


def test_a_clairvoyant_has_a_perfect_suspect_skill() -> None:
    first, last = dt.date(2026, 4, 1), dt.date(2026, 5, 21)
    long = build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last))
    found = skill.measure(clairvoyant(long, 1e-3), long, trained_until=LONG_AGO, as_of=end_of(long))
    assert found.on and found.suspect and found.ic > 0.5
    assert found.days == len(long.sessions) >= 30
    assert found.decisions == 6 * found.days


def test_returns_are_those_of_one_decision_after_the_other(panel: Panel) -> None:
    stamps = np.concatenate([decisions(panel), decisions(panel) + 301, [0, 2**40]])
    together = skill.realised_returns(panel, stamps)
    for k, t in enumerate(stamps):
        alone = skill.realised_returns(panel, np.array([t]))[0]
        np.testing.assert_array_equal(together[k], alone)
    assert np.isnan(together[-2:]).all()


def test_decisions_in_the_training_window_do_not_count(panel: Panel) -> None:
    trained_until = panel.sessions[9].decision_times()[2]
    found = skill.measure(
        clairvoyant(panel, 1e-3), panel, trained_until=trained_until, as_of=end_of(panel)
    )
    assert found.days == len(panel.sessions) - 9
    assert found.decisions == 6 * found.days - 3


def test_a_decision_counts_once_its_horizon_is_over(panel: Panel) -> None:
    record = clairvoyant(panel, 1e-3)
    times = panel.sessions[-1].decision_times()

    def counted(as_of: dt.datetime) -> int:
        return skill.measure(record, panel, trained_until=LONG_AGO, as_of=as_of).decisions

    assert counted(times[1]) == counted(times[0]) + 1
    assert counted(times[1] - dt.timedelta(seconds=1)) == counted(times[0])


def test_bars_after_the_as_of_time_have_no_say(panel: Panel) -> None:
    as_of = panel.sessions[-2].decision_times()[3]
    record = clairvoyant(panel, 1e-3)
    wanted = skill.measure(record, panel, trained_until=LONG_AGO, as_of=as_of)
    later = panel.ts + 300 > int(as_of.timestamp())
    wild = dataclasses.replace(panel, close=panel.close.copy(), open=panel.open.copy())
    wild.close[later] *= 3.0
    wild.open[later] = np.nan
    assert skill.measure(record, wild, trained_until=LONG_AGO, as_of=as_of) == wanted


def test_tickers_are_matched_by_name(panel: Panel) -> None:
    record = clairvoyant(panel, 1e-3)
    fewer = panel.only(("AMZN", "JPM", "META", "MSFT", "OXY", "XOM"))
    found = skill.measure(record, fewer, trained_until=LONG_AGO, as_of=end_of(panel))
    assert found.ic > 0.5

"""The account's curve by hand-worked cases: joins, flows, days, benchmark, both returns."""

from __future__ import annotations

import datetime as dt
import math
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.equity_curve import Curve, curve_of
from astra.flows import money_weighted
from astra.risk import Amount, growth, placed
from astra.sessions import BAR, NEW_YORK, sessions_between

MONDAY = dt.datetime(2026, 11, 16, 15, tzinfo=dt.UTC)  # ten in New York
HOUR = dt.timedelta(hours=1)


def hourly(*values: float, start: dt.datetime = MONDAY) -> list[Amount]:
    return [(start + i * HOUR, value) for i, value in enumerate(values)]


def closes(*values: float, first: dt.date = dt.date(2026, 9, 1)) -> list[Amount]:
    """A value at the close of each session."""
    start = dt.datetime.combine(first, dt.time(), NEW_YORK).astimezone(dt.UTC)
    sessions = sessions_between(start, start + dt.timedelta(days=2 * len(values) + 9))
    return [(s.closes_at, v) for s, v in zip(sessions, values, strict=False)]


def known(history: list[Amount], summaries: list[Amount], flows: list[Amount]) -> Curve:
    found = curve_of(history, summaries, flows)
    assert found is not None
    return found


def day(d: int) -> dt.datetime:
    """Midnight in New York, as a broker dates what it knows by the day alone."""
    return dt.datetime(2026, 11, d, tzinfo=NEW_YORK).astimezone(dt.UTC)


def test_a_deposit_is_no_profit() -> None:
    curve = known([], hourly(1000, 1100, 1655), [(MONDAY + 70 * HOUR / 60, 500.0)])
    assert curve.flows == ((MONDAY + 70 * HOUR / 60, 500.0),)
    # What came in had the chance to earn: 55 on 1600.
    np.testing.assert_allclose(curve.equity, [1000, 1100, 1100 * 1655 / 1600])
    assert curve.figures().gain == pytest.approx(155)


def test_a_withdrawal_is_no_loss() -> None:
    curve = known([], hourly(1000, 1100, 650), [(MONDAY + 70 * HOUR / 60, -500.0)])
    np.testing.assert_allclose(curve.equity, [1000, 1100, 1150])
    assert curve.figures().max_drawdown == 0


def test_what_came_before_the_first_value_or_after_the_last_changes_nothing() -> None:
    flows = [(MONDAY - HOUR, 1000.0), (MONDAY, 5.0), (MONDAY + 9 * HOUR, 700.0)]
    curve = known([], hourly(1000, 1100), flows)
    assert curve.flows == () and curve.equity.tolist() == [1000, 1100]


def test_a_deposit_dated_by_its_day_is_taken_out_where_the_value_jumps() -> None:
    curve = known([], hourly(1000, 1001, 1502, 1503), [(day(16), 500.0)])
    expected = [1000, 1001, 1001 * 1502 / 1501, 1001 * 1503 / 1501]
    assert curve.equity.tolist() == pytest.approx(expected)
    assert MONDAY + HOUR < curve.flows[0][0] <= MONDAY + 2 * HOUR


def test_a_deposit_dated_by_the_first_day_may_be_part_of_the_first_value() -> None:
    curve = known([], hourly(1000, 1001, 1002), [(day(16), 500.0)])
    assert curve.flows == () and curve.equity.tolist() == pytest.approx([1000, 1001, 1002])


def test_a_deposit_seen_only_the_next_morning_is_taken_out_then() -> None:
    values = [*hourly(1000, 1001), *hourly(1501, start=MONDAY + 24 * HOUR)]
    assert known([], values, [(day(16), 500.0)]).equity.tolist() == pytest.approx(
        [1000, 1001, 1001]
    )


@given(
    st.lists(st.floats(100, 1000), min_size=3, max_size=8),
    st.lists(st.tuples(st.integers(1, 9), st.floats(-90, 900), st.booleans()), max_size=1),
)
def test_days_have_the_flows_that_the_breakers_count(
    values: list[float], asked: list[tuple[int, float, bool]]
) -> None:
    days = closes(*values, first=dt.date(2026, 11, 2))
    flows = [(day(d + 1) if whole else day(d + 1) + 14 * HOUR, x) for d, x, whole in asked]
    found = known([], days, flows).equity
    counted = placed(days, [f for f in flows if f[0] > days[0][0] or f[0] == day(2)])
    for i, moved in enumerate(counted):
        step = growth(values[i], values[i + 1], moved)
        assert step is not None and found[i + 1] == pytest.approx(found[i] * (1 + step), rel=1e-6)


def test_the_brokers_history_is_followed_by_what_the_summary_knows_after_it() -> None:
    history = hourly(0, 1000, 1001)  # before its first deposit an account is worth 0
    summary = hourly(990, 1005, start=MONDAY + 1.5 * HOUR)
    assert known(history, summary, []).values.tolist() == [1000, 1001, 1005]


def test_what_the_summary_knew_before_the_brokers_first_window_ended_begins_the_curve() -> None:
    curve = known(hourly(1003, 1004, start=MONDAY + HOUR), hourly(1000, 1002), [])
    assert curve.values.tolist() == [1000, 1003, 1004]


def test_an_account_that_was_never_worth_anything_has_no_curve() -> None:
    assert curve_of([], hourly(0, 0), []) is None


@pytest.mark.parametrize("worth", [0.0, -7.0])
def test_a_total_loss_ends_the_curve_with_everything_lost(worth: float) -> None:
    days = closes(*seesaw(24), worth, worth)
    curve = known([], days, [])
    assert curve.times[-1] == days[24][0] and curve.equity[-1] == 0
    found = curve.figures()
    assert (found.time_weighted, found.max_drawdown, found.calmar) == (-1, -1, -1)
    assert (found.money_weighted, found.gain) == (-1, worth - 100)
    assert all(math.isfinite(x) for x in (found.sharpe, found.sortino, found.annual_volatility))
    for first in (days[24][0].date(), days[25][0].date()):
        assert curve.since(first).figures().time_weighted == -1


def test_a_deposit_after_a_total_loss_does_not_hide_it() -> None:
    days = closes(1000, 0, 500, 550, first=dt.date(2026, 11, 16))
    curve = known([], days, [(day(18), 500.0)])
    assert curve.values.tolist() == [1000, 0] and curve.flows == ()
    assert curve.figures().time_weighted == -1


def test_a_single_0_from_which_the_account_comes_back_by_itself_is_a_wrong_record() -> None:
    assert known([], hourly(1000, 0, 1010), []).values.tolist() == [1000, 1010]
    deposited = [(MONDAY + 1.5 * HOUR, 100.0)]  # that is not what it is worth after it
    assert known([], hourly(1000, 0, 1110), deposited).values.tolist() == [1000, 1110]
    history = hourly(1000, 0)
    assert known(history, hourly(1010, start=MONDAY + 2 * HOUR), []).values.tolist() == [1000, 1010]


def test_an_account_that_was_emptied_has_lost_nothing_and_goes_on_when_it_is_filled() -> None:
    days = closes(1000, 0, 0, 500, 550, first=dt.date(2026, 11, 16))
    flows = [(days[1][0] - HOUR, -1000.0), (days[3][0] - HOUR, 500.0)]
    curve = known([], days, flows)
    assert curve.equity.tolist() == pytest.approx([1000, 1000, 1000, 1000, 1100])
    found = curve.figures()
    assert (found.gain, found.max_drawdown) == (50, 0)
    assert found.money_weighted > 0
    window = curve.since(days[2][0].date())  # it was worth nothing then, so what came is its start
    assert window.values.tolist() == [500, 550] and window.flows == ()
    empty = known([], days[:3], flows)
    assert empty.since(days[2][0].date()).figures().time_weighted == 0


def test_what_is_lost_of_money_taken_out_before_is_not_all_of_it() -> None:
    # 100 x^2 - 50 x = 0 for the growth x of half of the time: x is 0.5.
    values, flows = hourly(100, 50, 0), [(MONDAY + HOUR, -50.0)]
    assert known([], values, flows).figures().money_weighted == pytest.approx(0.25 - 1)
    paid = [(MONDAY + HOUR, 50.0)]
    assert known([], values, paid).figures().money_weighted == -1


def test_today_begins_at_the_last_value_of_the_day_before_in_new_york() -> None:
    evening = dt.datetime(2026, 11, 17, 2, 30, tzinfo=dt.UTC)  # still Monday in New York
    values = [*hourly(100), (evening, 101.0), *hourly(102, 103, start=MONDAY + 24 * HOUR)]
    assert known([], values, []).today().values.tolist() == [101, 102, 103]


def test_a_window_begins_at_what_the_account_was_worth_then() -> None:
    values = [(t + (i == 1) * HOUR / 4, v) for i, (t, v) in enumerate(closes(100, 210, 231))]
    whole = known([], values, [(values[1][0], 100.0)])
    window = whole.since(values[2][0].date())
    assert window.equity.tolist() == pytest.approx([210, 231])
    assert window.flows == () and len(whole.flows) == 1
    assert window.figures().time_weighted == pytest.approx(0.1)
    assert whole.figures().time_weighted == pytest.approx(210 / 200 * 1.1 - 1)


def test_a_window_from_before_the_first_value_is_all_there_is() -> None:
    curve = known([], hourly(100, 101), [])
    for first in (None, dt.date(1999, 1, 4)):
        assert curve.since(first).times == curve.times


def test_ratios_are_of_days_and_no_weekend_is_one() -> None:
    friday, saturday = closes(101, first=dt.date(2026, 11, 20)), MONDAY + 5 * 24 * HOUR
    monday = closes(99, first=dt.date(2026, 11, 23))
    values = [*hourly(100, 104), *friday, (saturday, 102.0), *monday]
    daily = known([], values, [(saturday - HOUR, 1.0)]).daily()
    assert daily.values.tolist() == [100, 104, 102, 99]
    assert [t.astimezone(NEW_YORK).day for t in daily.times] == [16, 16, 20, 23]
    assert daily.paid_in == 1


def test_a_value_before_the_open_makes_no_day_until_the_session_has_opened() -> None:
    days = closes(*seesaw(24), first=dt.date(2026, 11, 2))  # to Friday, 4 December
    before_the_open = dt.datetime(2026, 12, 7, 9, 1, tzinfo=NEW_YORK).astimezone(dt.UTC)
    early = known([], [*days, (before_the_open, days[-1][1])], [])
    assert early.daily().times == known([], days, []).daily().times
    assert early.figures().sharpe == known([], days, []).figures().sharpe
    opened = known([], [*days, (before_the_open + HOUR, 100.0)], []).daily()
    assert len(opened.times) == 25 and opened.times[-1].day == 7


def test_a_single_value_is_a_day_without_return() -> None:
    found = known([], hourly(1000), []).figures()
    assert (found.days, found.gain, found.time_weighted, found.max_drawdown) == (0, 0, 0, 0)
    assert math.isnan(found.money_weighted) and found.hit is None


def seesaw(n: int) -> list[float]:
    return [100.0 * 1.01 ** (i % 2) * 1.001**i for i in range(n)]


def test_ratios_stand_on_twenty_days_or_are_not_told() -> None:
    few, enough = (known([], closes(*seesaw(n)), []).figures() for n in (20, 21))
    assert (few.days, enough.days) == (19, 20)
    ratios = ("annual_volatility", "sharpe", "sharpe_error", "sortino", "calmar")
    assert all(math.isnan(getattr(few, name)) for name in ratios)
    assert all(math.isfinite(getattr(enough, name)) for name in ratios)
    steps = [b / a - 1 for a, b in zip(seesaw(21), seesaw(21)[1:], strict=False)]
    assert enough.sharpe == pytest.approx(mean(steps) / stdev(steps) * math.sqrt(252))
    assert enough.annual_volatility == pytest.approx(stdev(steps) * math.sqrt(252))


def bars(*prices: float, start: dt.datetime) -> tuple[np.ndarray, np.ndarray]:
    """A benchmark's hourly bars."""
    starts = [int((start + i * HOUR).timestamp()) for i in range(len(prices))]
    return np.array(starts, np.int64), np.array(prices, np.float64)


def test_the_benchmark_starts_at_the_accounts_value_and_uses_only_bars_that_had_ended() -> None:
    # The bar that starts at 15:00 ends at 15:05: at 15:00 the one of 14:00 is the last.
    curve = known([], hourly(1000, 1010), []).beside(*bars(50, 60, 55, start=MONDAY - HOUR))
    rebased = curve.rebased()
    assert rebased is not None and rebased.tolist() == [1000.0, 1200.0]
    found = curve.figures()
    assert found.benchmark_return == pytest.approx(0.2)
    assert found.hit is not None and (found.hit.ahead, found.hit.steps) == (0, 1)


def test_a_benchmark_that_begins_after_the_curve_stands_beside_later_windows_only() -> None:
    values = closes(100, 101, 102)
    curve = known([], values, []).beside(*bars(5.0, 6.0, start=values[1][0] - HOUR))
    assert curve.rebased() is None and math.isnan(curve.figures().benchmark_return)
    later = curve.since(values[2][0].date())
    assert later.rebased() is not None
    assert known([], values, []).beside(*bars(start=MONDAY)).benchmark is None


def ended(*prices: float, days: list[Amount]) -> tuple[np.ndarray, np.ndarray]:
    """A benchmark's last bar of each of the first days."""
    starts = [int(at.timestamp()) - 300 for at, _ in days[: len(prices)]]
    return np.array(starts, np.int64), np.array(prices, np.float64)


def test_a_benchmark_whose_bars_ended_is_compared_up_to_then() -> None:
    days = closes(100, 101, 103, 90, 80)
    curve = known([], days, []).beside(*ended(50, 51, 50.5, days=days))
    rebased = curve.rebased()
    assert rebased is not None and np.isnan(rebased).tolist() == [False] * 3 + [True] * 2
    assert curve.beside_until == days[2][0]
    found = curve.figures()
    assert found.benchmark_return == pytest.approx(0.01)
    assert found.ahead == pytest.approx(0.03 - 0.01)
    assert found.hit is not None and (found.hit.ahead, found.hit.steps) == (1, 2)


def test_a_benchmark_that_ended_with_the_first_value_is_not_compared() -> None:
    days = closes(100, 101, 103)
    curve = known([], days, []).beside(*ended(50, days=days))
    found = curve.figures()
    assert curve.beside_until == days[0][0] and found.hit is None
    assert math.isnan(found.benchmark_return) and math.isnan(found.ahead)


def test_a_price_counts_for_twelve_bars_of_trading_and_through_the_night() -> None:
    last = dt.datetime(2026, 11, 20, 20, 25, tzinfo=dt.UTC)  # seven bars before the close
    opens_at = dt.datetime(2026, 11, 23, 14, 30, tzinfo=dt.UTC)
    times = [last + BAR, last + HOUR, opens_at, opens_at + 5 * BAR, opens_at + 6 * BAR]
    curve = known([], [(t, 100.0) for t in times], [])
    known_at = curve.beside(*bars(50, start=last)).benchmark
    assert known_at is not None and np.isfinite(known_at).tolist() == [True] * 4 + [False]


def test_without_flows_both_returns_are_the_same() -> None:
    found = known([], closes(100, 90, 130), []).figures()
    assert found.money_weighted == pytest.approx(0.3) == found.time_weighted


def test_money_that_came_halfway_earned_for_half_of_the_time() -> None:
    start = MONDAY
    values = [(start, 100.0), (start + HOUR, 250.0), (start + 2 * HOUR, 250.0)]
    curve = known([], values, [(start + HOUR, 100.0)])
    # 100 x^2 + 100 x = 250 for the growth x of one hour, of which there are two
    x = (-100 + math.sqrt(100**2 + 4 * 100 * 250)) / 200
    assert curve.figures().money_weighted == pytest.approx(x**2 - 1)


def test_buying_in_before_a_loss_shows_in_the_money_weighted_return_alone() -> None:
    values = closes(100, 200, 1200, 600)
    curve = known([], values, [(values[2][0], 1000.0)])
    found = curve.figures()
    assert found.time_weighted == pytest.approx(2 * 1 * 0.5 - 1)
    assert found.money_weighted < -0.4


def test_a_rate_that_has_no_single_answer_is_not_told() -> None:
    # 100 y^3 - 600 y^2 + 1100 y = 600 for the growth y of one hour of three: 1, 2 and 3 solve it.
    times = tuple(MONDAY + i * HOUR for i in range(4))
    flows = ((times[1], -600.0), (times[2], 1100.0))
    values = np.array([100.0, 1.0, 1.0, 600.0])
    assert math.isnan(money_weighted(times, values, flows))
    # More came at the end than there is.
    assert math.isnan(money_weighted(times[:2], np.array([100.0, 50.0]), [(times[1], 60.0)]))


def test_a_withdrawal_and_a_larger_deposit_of_one_day_are_one_flow() -> None:
    values = closes(5000, 5050, 6100, 6150, first=dt.date(2026, 11, 16))
    together = known([], values, [(day(18), 1000.0)]).figures().money_weighted
    apart = known([], values, [(day(18), -8000.0), (day(18), 9000.0)])
    assert len(apart.flows) == 2
    assert apart.figures().money_weighted == pytest.approx(together, rel=1e-12)

"""NYSE sessions and the 5-minute grid."""

import datetime as dt
import warnings

import numpy as np
import pytest
from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

from astra import sessions
from astra.errors import DataError

UTC = dt.UTC


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_full_day_has_78_bars_and_six_decisions() -> None:
    session = sessions.next_session(at("2026-06-15T12:00"))
    assert session.bars == len(session.grid()) == 78
    assert [t.astimezone(sessions.NEW_YORK).hour for t in session.decision_times()] == [
        10, 11, 12, 13, 14, 15,
    ]  # fmt: skip


def test_a_half_day_has_42_bars_and_three_decisions() -> None:
    session = sessions.next_session(at("2026-11-27T12:00"))
    assert session.bars == 42
    assert len(session.decision_times()) == 3
    assert session.closes_at - session.decision_times()[-1] >= 12 * sessions.BAR


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-06-15T13:00", "2026-06-15T13:30"),  # before the open: the opening bar
        ("2026-06-15T14:00", "2026-06-15T14:05"),  # a bar that begins right now can't be traded
        ("2026-06-15T14:01", "2026-06-15T14:05"),
        ("2026-06-15T19:55", "2026-06-16T13:30"),  # the last bar has begun
        ("2026-06-19T15:00", "2026-06-22T13:30"),  # Juneteenth, then a weekend
    ],
)
def test_the_next_bar_that_can_be_traded_starts_strictly_later(now: str, expected: str) -> None:
    assert sessions.next_bar_start(at(now)) == at(expected)


def test_the_last_closed_bars_cross_the_night() -> None:
    found = sessions.last_closed_bars(60, at("2026-06-16T14:00"))
    assert len(found) == 60
    today = int(at("2026-06-16T13:30").timestamp())
    assert (found >= today).sum() == 6
    assert found[-7] == int(at("2026-06-15T19:55").timestamp())


def test_a_bar_is_closed_only_when_its_five_minutes_are_over() -> None:
    before = sessions.last_closed_bars(1, at("2026-06-16T14:04:59"))
    after = sessions.last_closed_bars(1, at("2026-06-16T14:05:00"))
    assert after[0] - before[0] == 300
    assert after[0] == int(at("2026-06-16T14:00").timestamp())


def test_the_grid_knows_nights_holidays_and_odd_seconds() -> None:
    times = ["2026-06-16T13:30", "2026-06-16T13:31", "2026-06-16T20:00", "2026-06-19T14:00"]
    ts = np.array([int(at(t).timestamp()) for t in times])
    assert sessions.is_on_grid(ts).tolist() == [True, False, False, False]


def test_daylight_saving_moves_the_open_in_utc() -> None:
    winter = sessions.next_session(at("2026-01-15T10:00")).opens_at
    summer = sessions.next_session(at("2026-06-15T10:00")).opens_at
    assert (winter.hour, summer.hour) == (14, 13)


def test_decision_times_follow_each_other_over_the_weekend() -> None:
    friday = sessions.next_session(at("2026-06-12T10:00")).decision_times()[-1]
    assert sessions.next_decision_time(friday) == at("2026-06-15T14:00")


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(DataError, match="time with a zone"):
        sessions.next_session(dt.datetime(2026, 6, 15))  # noqa: DTZ001 - the point of the test


def test_every_session_is_the_librarys() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = XNYSExchangeCalendar(start="1998-01-01", end="2035-12-31").schedule
    opens, closes = ([t.to_pydatetime() for t in rows[name]] for name in ("open", "close"))
    found = sessions.sessions_between(at("1999-01-01T00:00"), at("2034-12-31T00:00"))
    expected = {day.date(): times for day, *times in zip(rows.index, opens, closes, strict=True)}
    assert {s.date: [s.opens_at, s.closes_at] for s in found} == {
        date: times for date, times in expected.items() if 1999 <= date.year <= 2034
    }
    assert all(s.opens_at.tzinfo is s.closes_at.tzinfo is UTC for s in found)

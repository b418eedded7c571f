"""Panels of both frequencies: what a row is, when it is known, and which days are no sessions."""

import dataclasses
import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.errors import DataError, InsufficientDataError
from astra.sessions import sessions_between
from model.panel import Panel, build, build_daily, daily_of
from sandbox.markets import simulated_bars

TICKERS = ("AAPL", "JPM", "MSFT")
FIRST, LAST = dt.date(2025, 11, 24), dt.date(2025, 12, 2)  # a holiday, a half day, a weekend
SESSIONS = sessions_between(
    dt.datetime.combine(FIRST, dt.time(), dt.UTC), dt.datetime.combine(LAST, dt.time(23), dt.UTC)
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return build(simulated_bars(TICKERS, seed=3, edge=0.0, first=FIRST, last=LAST))


def daily_frame(tickers: tuple[str, ...] = TICKERS, *, midnight: bool = False) -> pd.DataFrame:
    opens = [int(s.opens_at.timestamp()) for s in SESSIONS]
    starts = [t // 86400 * 86400 for t in opens] if midnight else opens
    rows = [
        (ticker, ts, 10.0 + i + k, 11.0 + i + k)
        for i, ticker in enumerate(tickers)
        for k, ts in enumerate(starts)
    ]
    frame = pd.DataFrame(rows, columns=["ticker", "ts", "open", "close"])
    return frame.assign(high=frame["close"], low=frame["open"], volume=1.0)


def test_a_five_minute_bar_ends_five_minutes_after_its_start(panel: Panel) -> None:
    np.testing.assert_array_equal(panel.ends, panel.ts + 300)
    assert panel.ends[-1] == panel.sessions[-1].closes_at.timestamp()


def test_a_session_ends_at_its_own_close(panel: Panel) -> None:
    daily = daily_of(panel)
    assert daily.frequency == "1d"
    assert daily.ends.tolist() == [int(s.closes_at.timestamp()) for s in SESSIONS]
    assert [daily.end(row) for row in range(len(daily.ts))] == daily.ends.tolist()
    assert [panel.end(row) for row in range(len(panel.ts))] == panel.ends.tolist()
    assert daily.ts.tolist() == [int(s.opens_at.timestamp()) for s in SESSIONS]
    lengths = (daily.ends - daily.ts) / 3600
    assert lengths.tolist() == [6.5, 6.5, 6.5, 3.5, 6.5, 6.5]


def test_there_is_room_only_before_the_close(panel: Panel) -> None:
    room = panel.room(12)
    for session, s in enumerate(panel.sessions):
        assert room[panel.session == session].sum() == s.bars - 12
        assert not room[(panel.session == session) & (panel.slot == s.bars - 12)].any()
    assert not panel.known_at(panel.sessions[-1].decision_times()[0]).room(12)[-12:].any()


def test_sessions_have_room_until_the_last_of_them(panel: Panel) -> None:
    assert daily_of(panel).room(2).tolist() == [True] * 4 + [False] * 2
    assert not daily_of(panel).room(6).any()


def test_daily_bars_are_first_open_and_last_close_of_what_was_printed(panel: Panel) -> None:
    close, opening = panel.close.copy(), panel.open.copy()
    start = int(np.flatnonzero(panel.session == 1)[0])
    close[start : start + 2, 0] = opening[start : start + 2, 0] = np.nan
    last = int(np.flatnonzero(panel.session == 1)[-1])
    close[last, 1] = opening[last, 1] = np.nan
    close[panel.session == 3, 2] = opening[panel.session == 3, 2] = np.nan
    daily = daily_of(dataclasses.replace(panel, close=close, open=opening))
    printed = np.flatnonzero(np.isfinite(opening[start:last, 0]))[0] + start
    assert daily.open[1, 0] == opening[printed, 0] and printed >= start + 2
    known = close[start : last + 1, 1]
    assert daily.close[1, 1] == known[np.isfinite(known)][-1]
    assert np.isnan(daily.close[3, 2]) and np.isnan(daily.open[3, 2])


def test_a_session_that_has_not_closed_is_no_daily_bar(panel: Panel) -> None:
    afternoon = panel.sessions[-1].decision_times()[4]
    daily = daily_of(panel.known_at(afternoon))
    assert daily.sessions == SESSIONS[:-1]
    np.testing.assert_array_equal(daily.close, daily_of(panel).close[:-1])
    with pytest.raises(InsufficientDataError, match="need a whole session"):
        daily_of(panel.known_at(panel.sessions[0].decision_times()[0]))


def test_a_session_in_progress_is_no_daily_bar_though_its_grid_is_laid_to_the_close(
    panel: Panel,
) -> None:
    frame = simulated_bars(TICKERS, seed=3, edge=0.0, first=FIRST, last=LAST)
    afternoon = int(panel.sessions[-1].decision_times()[4].timestamp())
    built = build(frame[frame["ts"] + 300 <= afternoon])
    assert len(built.ts) == len(panel.ts)
    assert daily_of(built).sessions == SESSIONS[:-1]
    np.testing.assert_array_equal(daily_of(built).close, daily_of(panel).close[:-1])
    one_known = panel.close.copy()
    one_known[-1, 1:] = np.nan
    assert daily_of(dataclasses.replace(panel, close=one_known)).sessions == SESSIONS


def test_a_daily_bar_is_known_when_its_session_closes(panel: Panel) -> None:
    daily = daily_of(panel)
    close = SESSIONS[2].closes_at
    assert len(daily.known_at(close).ts) == 3
    assert len(daily.known_at(close - dt.timedelta(seconds=1)).ts) == 2
    assert daily.known_at(close).sessions == SESSIONS[:3]
    assert daily.known_at(close).frequency == "1d" == daily.only(("JPM",)).frequency
    assert not len(daily.known_at(SESSIONS[0].opens_at).ts)


def test_a_daily_return_holds_the_night(panel: Panel) -> None:
    daily = daily_of(panel)
    returns = daily.log_returns()
    assert np.isnan(returns[0]).all()
    np.testing.assert_allclose(returns[1:], np.diff(np.log(daily.close), axis=0))
    inside = np.log(daily.close / daily.open)
    np.testing.assert_allclose(returns[1:], daily.overnight_log_returns()[1:] + inside[1:])


@pytest.mark.parametrize("midnight", [False, True])
def test_a_daily_frame_may_name_a_session_by_its_open_or_its_date(midnight: bool) -> None:
    panel = build_daily(daily_frame(midnight=midnight).sample(frac=1.0, random_state=0))
    assert panel.tickers == TICKERS and panel.sessions == SESSIONS
    assert panel.session.tolist() == list(range(6)) and not panel.slot.any()
    np.testing.assert_array_equal(panel.close[:, 1], 12.0 + np.arange(6))
    np.testing.assert_array_equal(panel.open[:, 2], 12.0 + np.arange(6))


def test_a_missing_day_stays_missing() -> None:
    frame = daily_frame()
    whole = sorted(frame["ts"].unique())
    panel = build_daily(frame[~((frame["ticker"] == "JPM") & (frame["ts"] == whole[2]))])
    assert np.isnan(panel.close[2, 1]) and np.isfinite(panel.close).sum() == 17
    nobody = build_daily(frame[frame["ts"] != whole[3]])
    assert len(nobody.ts) == 6 and np.isnan(nobody.close[3]).all()


def off_session(frame: pd.DataFrame) -> pd.DataFrame:
    thanksgiving = int(dt.datetime(2025, 11, 27, tzinfo=dt.UTC).timestamp())
    return pd.concat([frame, frame.tail(1).assign(ts=thanksgiving)])


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda f: f.drop(columns=["open", "ts"]), "ts, open are missing"),
        (off_session, "must lie on the day of a session, that of MSFT on 2025-11-27"),
        (lambda f: f.tail(1).assign(ts=1_764_201_600), "must lie on the day of a session"),
        (lambda f: pd.concat([f, f.tail(1)]), "must be the only one of its day"),
        (lambda f: f.assign(close=f["close"].where(f.index != 4, 0.0)), "AAPL on 2025-12-01"),
        (lambda f: f.assign(open=f["open"].where(f.index != 4, np.inf)), "prices above 0"),
    ],
)
def test_a_daily_frame_with_a_wrong_bar_is_refused(
    spoilt: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build_daily(spoilt(daily_frame()))


def test_a_daily_frame_without_rows_is_refused() -> None:
    with pytest.raises(InsufficientDataError, match="load some first"):
        build_daily(daily_frame().head(0))


@settings(max_examples=60, deadline=None)
@given(seconds=st.integers(-86400, 12 * 86400))
def test_a_cut_knows_exactly_the_bars_that_have_closed(seconds: int) -> None:
    daily = build_daily(daily_frame())
    as_of = SESSIONS[0].opens_at + dt.timedelta(seconds=seconds)
    cut = daily.known_at(as_of)
    assert (cut.ends <= as_of.timestamp()).all()
    assert len(cut.ts) == sum(s.closes_at <= as_of for s in SESSIONS)


def test_the_last_close_is_the_last_one_printed(panel: Panel) -> None:
    close = panel.close.copy()
    close[100:110, 0] = np.nan
    close[:200, 1] = np.nan
    gappy = dataclasses.replace(panel, close=close)
    assert gappy.last_close(109)[0] == gappy.last_close(99)[0] == close[99, 0]
    assert gappy.last_close(110)[0] == close[110, 0]
    assert np.isnan(gappy.last_close(199)[1]) and gappy.last_close(200)[1] == close[200, 1]
    filled = pd.DataFrame(close).ffill().to_numpy()
    for row in (0, 77, 105, 300, len(close) - 1):
        np.testing.assert_array_equal(gappy.last_close(row), filled[row])
    np.testing.assert_array_equal(gappy.last_close(), filled[-1])

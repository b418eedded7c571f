"""Coverage: which tickers can be decided on, at every hour and around half days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from astra.errors import InsufficientDataError
from astra.sessions import Session, last_sessions
from model.coverage import Coverage, judge
from model.panel import Panel, build

HALF_DAY = dt.date(2025, 11, 28)
AFTER_HALF_DAY = dt.date(2025, 12, 1)
FULL_DAY = dt.date(2025, 11, 19)
OTHERS = ("AAA", "BBB", "CCC")

# From a bar's session (0 = the decision's, 1 = the one before, ...) and slot to whether it printed.
Printed = Callable[[int, int], bool]


def session_of(date: dt.date) -> Session:
    return last_sessions(1, dt.datetime.combine(date, dt.time(20, 0), dt.UTC))[0]


def panel_at(as_of: dt.datetime, printed: Printed | None, names: tuple[str, ...] = OTHERS) -> Panel:
    """26 sessions of `names`, whole, and of X as `printed` says (None: no bar ever)."""
    sessions = last_sessions(26, as_of)
    rows = []
    for age, session in zip(range(len(sessions) - 1, -1, -1), sessions, strict=True):
        for slot, ts in enumerate(session.grid().tolist()):
            if ts + 300 > as_of.timestamp():
                break
            rows += [(name, ts) for name in names]
            if printed is not None and printed(age, slot):
                rows.append(("X", ts))
    frame = pd.DataFrame(rows, columns=["ticker", "ts"]).sort_values(["ticker", "ts"])
    frame[["open", "high", "low", "close", "volume"]] = 10.0
    return build(frame).known_at(as_of)


def reason(as_of: dt.datetime, printed: Printed | None) -> str | None:
    """Why X cannot be decided on; None if it can."""
    found = judge(panel_at(as_of, printed), (*OTHERS, "X"))
    assert set(OTHERS) <= set(found.usable)
    return found.left_out.get("X")


def thinly(every: int) -> Printed:
    return lambda _age, slot: slot % every == 0


@pytest.mark.parametrize("date", [FULL_DAY, HALF_DAY, AFTER_HALF_DAY])
def test_a_ticker_that_prints_as_usual_is_usable_at_every_decision(date: dt.date) -> None:
    for as_of in session_of(date).decision_times():
        assert reason(as_of, lambda _age, _slot: True) is None
        assert reason(as_of, thinly(3)) is None


@pytest.mark.parametrize("date", [FULL_DAY, HALF_DAY, AFTER_HALF_DAY])
def test_yesterdays_last_bar_is_not_fresh_at_the_first_decision(date: dt.date) -> None:
    ten = session_of(date).decision_times()[0]
    assert reason(ten, lambda age, _slot: age > 0) == "no bar in the last hour"
    assert reason(ten, lambda age, slot: age > 0 or slot == 0) is None


@pytest.mark.parametrize("date", [FULL_DAY, HALF_DAY, AFTER_HALF_DAY])
def test_a_feed_that_stopped_an_hour_ago_is_not_fresh(date: dt.date) -> None:
    at = session_of(date).decision_times()[-1]
    closed = int((at - session_of(date).opens_at).total_seconds()) // 300

    def stopped(bars_ago: int) -> Printed:
        return lambda age, slot: age > 0 or slot < closed - bars_ago

    assert reason(at, stopped(12)) == "no bar in the last hour"
    assert reason(at, stopped(11)) is None


def test_a_ticker_is_new_until_six_sessions_before_today_have_bars() -> None:
    at = session_of(FULL_DAY).decision_times()[2]
    assert reason(at, lambda age, _slot: age <= 5) == "bars in 5 full sessions, 6 needed"
    assert reason(at, lambda age, _slot: age <= 6) is None
    assert reason(at, None) == "no bars"


def test_gaps_count_against_what_is_usual_for_the_ticker() -> None:
    at = session_of(FULL_DAY).decision_times()[3]

    def gappy(age: int, slot: int) -> bool:
        return age > 0 or slot % 2 == 0

    assert reason(at, gappy) == "65% of the last 60 bars printed, 100% is usual"
    assert reason(at, thinly(2)) is None


def test_sessions_without_any_bar_do_not_lower_what_is_usual() -> None:
    at = session_of(FULL_DAY).decision_times()[3]

    def back_from_a_halt(age: int, slot: int) -> bool:
        return age not in range(2, 16) and (age > 0 or slot % 2 == 0)

    assert "100% is usual" in str(reason(at, back_from_a_halt))


def test_what_is_usual_is_the_median_of_twenty_sessions_before_today() -> None:
    at = session_of(FULL_DAY).decision_times()[3]

    def thinner(since: int) -> Printed:
        return lambda age, slot: slot % (1 if age > since else 4) == 0

    assert reason(at, thinner(9)) == "27% of the last 60 bars printed, 100% is usual"
    assert reason(at, thinner(11)) is None


def test_a_half_day_counts_by_its_own_length() -> None:
    """42 of 42 bars are all of them: a ticker that printed half of them is short the day after."""
    ten = session_of(AFTER_HALF_DAY).decision_times()[0]
    assert reason(ten, lambda age, slot: age != 1 or slot % 2 == 0) is not None
    assert "100% is usual" in str(reason(ten, lambda age, slot: age != 1 or slot % 2 == 0))


@pytest.mark.parametrize(
    ("usable", "candidates", "enough"), [(2, 4, True), (2, 5, False), (1, 2, False), (3, 6, True)]
)
def test_half_of_the_candidates_and_two_names_are_needed(
    usable: int, candidates: int, enough: bool
) -> None:
    at = session_of(FULL_DAY).decision_times()[1]
    panel = panel_at(at, None, OTHERS[:usable])
    asked = tuple(OTHERS[:usable]) + tuple(f"Z{i}" for i in range(candidates - usable))
    if enough:
        found = judge(panel, asked)
        assert found == Coverage(
            OTHERS[:usable], usable / candidates, dict.fromkeys(asked[usable:], "no bars")
        )
        return
    with pytest.raises(InsufficientDataError, match=f"found {usable} of {candidates} "):
        judge(panel, asked)


def test_nobody_to_decide_on_is_refused() -> None:
    panel = panel_at(session_of(FULL_DAY).decision_times()[1], None)
    assert np.isfinite(panel.close).all()
    with pytest.raises(InsufficientDataError, match="found 0 of 0"):
        judge(panel, ())

"""Whose bars come first, and whose are due."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import DataError
from astra.store.loads import TickerStatus
from etl_service.loading.plan import Asked, Known, due, start
from etl_service.loading.priority import (
    Tier,
    last_decision_time,
    parse_part,
    part_of,
    postponed,
    ranked,
)

UTC = dt.UTC
TEN = dt.datetime(2026, 7, 15, 14, 0, tzinfo=UTC)  # 10:00 in New York
MINUTE = dt.timedelta(minutes=1)


def ts(t: dt.datetime) -> int:
    return int(t.timestamp())


def status(word: str, at: dt.datetime, message: str = "") -> TickerStatus:
    return TickerStatus("A", "yahoo", word, message, at)


def test_held_names_come_first_then_candidates_then_the_rest_in_their_order() -> None:
    found = ranked(("Z", "A", "M", "B"), held={"M"}, candidates={"B", "M"})
    assert list(found.items()) == [
        ("M", Tier.HELD), ("B", Tier.CANDIDATE), ("Z", Tier.REST), ("A", Tier.REST),
    ]  # fmt: skip


@given(st.sets(st.text("ABCDEFG", min_size=1, max_size=3)), st.integers(1, 100))
def test_all_parts_together_are_the_universe_and_differ_by_one_at_most(
    universe: set[str], parts: int
) -> None:
    found = [part_of(universe, i, parts) for i in range(1, parts + 1)]
    assert [t for part in found for t in part] == sorted(universe)
    sizes = {len(part) for part in found}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/10", "11/10", "3", "3/0", "1/101", "a/b", "1/10/2", "-1/2"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="3/10"):
        parse_part(text)


@pytest.mark.parametrize(
    ("now", "decided"),
    [
        (TEN, TEN),
        (TEN - MINUTE, TEN - dt.timedelta(hours=19)),  # yesterday's last, 15:00
        (dt.datetime(2026, 7, 18, 12, 0, tzinfo=UTC), dt.datetime(2026, 7, 17, 19, 0, tzinfo=UTC)),
        (dt.datetime(2025, 11, 28, 22, tzinfo=UTC), dt.datetime(2025, 11, 28, 17, tzinfo=UTC)),
    ],
)
def test_the_last_decision_time_is_of_the_last_session(
    now: dt.datetime, decided: dt.datetime
) -> None:
    assert last_decision_time(now) == decided


@pytest.mark.parametrize(
    ("last", "known", "now", "is_due"),
    [
        (None, None, TEN, True),  # first sight
        (TEN - 5 * MINUTE, None, TEN + 50 * MINUTE, False),  # its bars reach ten o'clock
        (TEN - 10 * MINUTE, None, TEN, True),
        (TEN - 10 * MINUTE, None, TEN - MINUTE, False),  # nobody decides yet
        (TEN - 10 * MINUTE, status("ok", TEN), TEN + 5 * MINUTE, False),  # asked: there is none
        (TEN - 10 * MINUTE, status("empty", TEN), TEN + 5 * MINUTE, False),
        (TEN - 10 * MINUTE, status("ok", TEN), TEN + 60 * MINUTE, True),  # the next decision
        (TEN - 10 * MINUTE, status("error", TEN), TEN + 5 * MINUTE, True),
        (TEN - 10 * MINUTE, status("rate_limited", TEN), TEN + 5 * MINUTE, True),
        (None, status("unknown", TEN), TEN + 60 * MINUTE, False),
        (None, status("unknown", TEN), TEN + 24 * 60 * MINUTE, True),
    ],
)
def test_the_rest_is_due_once_for_each_decision(
    last: dt.datetime | None, known: TickerStatus | None, now: dt.datetime, is_due: bool
) -> None:
    reason = postponed(Tier.REST, None if last is None else ts(last), known, now)
    assert (reason == "") is is_due


def test_what_is_held_or_may_be_bought_is_always_due_unless_unknown() -> None:
    two_bars_ago = ts(TEN) - 600
    for tier in (Tier.HELD, Tier.CANDIDATE):
        assert postponed(tier, two_bars_ago, status("ok", TEN), TEN) == ""
        assert postponed(tier, two_bars_ago, status("unknown", TEN, "gone"), TEN).startswith(
            "gone; "
        )


def test_nobody_is_due_before_a_new_bar_has_closed() -> None:
    last = ts(TEN) - 300
    for tier in Tier:
        assert postponed(tier, last, None, TEN).startswith("no bar has closed")
    assert postponed(Tier.HELD, last, None, TEN + dt.timedelta(minutes=5)) == ""


def test_only_a_scheduled_load_of_news_leaves_out_what_is_not_due() -> None:
    known = Known({"A": ts(TEN), "B": 0})
    assert list(due(Asked(("A", "B"), is_scheduled=True), known, TEN)[0]) == ["B"]
    assert list(due(Asked(("A", "B")), known, TEN)[0]) == ["A", "B"]
    assert list(due(Asked(("A", "B"), days=60, is_scheduled=True), known, TEN)[0]) == ["A", "B"]


def test_a_load_starts_where_it_has_to() -> None:
    known = Known({"A": ts(TEN), "B": ts(TEN)}, others={"B": ts(TEN - dt.timedelta(days=7))})
    tuesday = dt.datetime(2026, 7, 14, 13, 30, tzinfo=UTC)
    assert start("NEW", Asked(()), known, TEN) is None
    assert start("A", Asked(()), known, TEN) == tuesday
    assert start("B", Asked(()), known, TEN) == tuesday - dt.timedelta(days=7)
    assert start("A", Asked((), days=60), known, TEN) is None
    assert start("A", Asked((), days=2), known, TEN) == TEN - dt.timedelta(days=2)
    assert start("B", Asked((), days=2), known, TEN) == tuesday - dt.timedelta(days=7)
    since = TEN - dt.timedelta(days=300)
    assert start("B", Asked((), since=since), known, TEN) == since

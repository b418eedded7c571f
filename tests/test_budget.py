"""The budget of requests: what each kind of name may spend, and when it refills."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from astra.store.loads import SourceRow
from etl_service.loading import budget
from etl_service.loading.priority import Tier

NOW = dt.datetime(2026, 7, 15, 14, 58, tzinfo=dt.UTC)
HELD, CANDIDATE, REST = Tier


def test_each_tier_stops_at_its_share() -> None:
    row = SourceRow("yahoo")
    row, granted = budget.take(row, NOW, {REST: 500}, 100)
    assert granted == {REST: 80}
    row, granted = budget.take(row, NOW, {REST: 1, CANDIDATE: 50}, 100)
    assert granted == {CANDIDATE: 10, REST: 0}
    row, granted = budget.take(row, NOW, {HELD: 50, CANDIDATE: 1}, 100)
    assert granted == {HELD: 10, CANDIDATE: 0}
    assert budget.spent(row, NOW) == 100


def test_the_vendors_next_hour_refills_it() -> None:
    row, _ = budget.take(SourceRow("yahoo"), NOW, {HELD: 100}, 100)
    assert budget.refills_at(NOW) == NOW.replace(hour=15, minute=0)
    later = NOW + dt.timedelta(minutes=2)
    assert budget.spent(row, later) == 0
    assert budget.take(row, later, {HELD: 7}, 100)[1] == {HELD: 7}


def test_an_answer_of_the_hour_before_opens_no_second_budget() -> None:
    row, _ = budget.take(SourceRow("yahoo"), NOW + dt.timedelta(minutes=2), {HELD: 100}, 100)
    assert budget.take(row, NOW, {HELD: 1}, 100)[1] == {HELD: 0}


def test_what_is_given_back_can_be_spent_but_not_in_another_hour() -> None:
    row, _ = budget.take(SourceRow("yahoo"), NOW, {HELD: 100}, 100)
    assert budget.give_back(row, NOW, 30).spent == 70
    next_hour, _ = budget.take(row, NOW + dt.timedelta(hours=1), {HELD: 5}, 100)
    assert budget.give_back(next_hour, NOW, 30) == next_hour


def test_without_a_limit_requests_are_only_counted() -> None:
    row, granted = budget.take(SourceRow("alpaca"), NOW, {HELD: 9}, None)
    assert (row.spent, granted) == (9, {HELD: 9})


calls = st.lists(st.dictionaries(st.sampled_from(Tier), st.integers(0, 60), min_size=1), max_size=8)


@given(calls, st.integers(1, 100))
def test_no_order_of_calls_overspends_or_starves_what_is_held(
    wanted: list[dict[Tier, int]], limit: int
) -> None:
    row, spent = SourceRow("yahoo"), dict.fromkeys(Tier, 0)
    for one in wanted:
        row, granted = budget.take(row, NOW, one, limit)
        for tier, count in granted.items():
            assert 0 <= count <= one[tier]
            spent[tier] += count
    assert row.spent == sum(spent.values()) <= limit
    assert spent[REST] <= 0.8 * limit
    assert spent[REST] + spent[CANDIDATE] <= 0.9 * limit

"""The breaker of a vendor, as lists of what happens to it."""

from __future__ import annotations

import pytest

from astra.store.loads import SourceRow
from etl_service.loading import breaker
from etl_service.loading.breaker import Admission, Failure

WALL = 1_800_000_000.0
LIMIT = Failure("too many", is_limit=True, retry_after=60.0)
SILENCE = Failure("no answer", is_limit=False, retry_after=60.0)


def opened(failure: Failure = LIMIT) -> SourceRow:
    return breaker.fail(SourceRow("yahoo"), Admission("closed"), WALL, failure)


def test_a_limit_opens_it_at_once_and_three_silences_in_a_row() -> None:
    assert breaker.position(opened(), WALL) == "open"
    row = SourceRow("yahoo")
    for expected in ("closed", "closed", "open"):
        row = breaker.fail(row, Admission("closed"), WALL, SILENCE)
        assert breaker.position(row, WALL) == expected


def test_an_answer_between_silences_begins_the_count_anew() -> None:
    row = SourceRow("yahoo")
    for _ in range(3):
        row = breaker.fail(row, Admission("closed"), WALL, SILENCE)
        row = breaker.fail(row, Admission("closed"), WALL, SILENCE)
        row = breaker.succeed(row, Admission("closed"))
    assert breaker.position(row, WALL) == "closed"


def test_of_many_calls_one_probes() -> None:
    row, wall = opened(), WALL + 60
    found = []
    for _ in range(5):
        row, admission = breaker.enter(row, wall)
        found.append(admission.position)
    assert found == ["half-open", "open", "open", "open", "open"]


def test_each_failed_probe_doubles_the_wait_up_to_half_an_hour() -> None:
    row, wall, waits = opened(), WALL, []
    for _ in range(7):
        waits.append(row.retry_at - wall)
        wall = row.retry_at
        row, admission = breaker.enter(row, wall)
        row = breaker.fail(row, admission, wall, SILENCE)
    assert waits == [60, 120, 240, 480, 960, 1800, 1800]


@pytest.mark.parametrize(("said", "wait"), [(5.0, 5), (900.0, 900), (1e9, 6 * 3600)])
def test_the_vendors_own_wait_counts_within_reason(said: float, wait: float) -> None:
    row = opened(Failure("too many", is_limit=True, retry_after=said))
    assert row.retry_at - WALL == wait


def test_a_probe_that_is_answered_closes_it() -> None:
    row, admission = breaker.enter(opened(), WALL + 60)
    assert breaker.succeed(row, admission) == SourceRow("yahoo")


def test_a_probe_that_was_killed_is_anothers_after_its_lease() -> None:
    row, _ = breaker.enter(opened(), WALL + 60)
    later = WALL + 60 + breaker.PROBE_SECONDS
    assert breaker.enter(row, later - 1)[1].position == "open"
    assert breaker.enter(row, later)[1].position == "half-open"


def test_a_probe_not_made_is_left_to_the_next() -> None:
    row, admission = breaker.enter(opened(), WALL + 60)
    row = breaker.leave(row, admission, WALL + 61)
    assert breaker.enter(row, WALL + 61)[1].position == "half-open"


def test_what_was_asked_before_it_opened_neither_closes_it_nor_lengthens_the_wait() -> None:
    row = opened()
    assert breaker.succeed(row, Admission("closed")) == row
    assert breaker.fail(row, Admission("closed"), WALL + 30, LIMIT) == row


@pytest.mark.parametrize(("days", "position"), [(1, "half-open"), (-1, "half-open")])
def test_a_clock_that_jumps_a_day_does_not_keep_it_open(days: int, position: str) -> None:
    assert breaker.position(opened(), WALL + days * 86_400) == position

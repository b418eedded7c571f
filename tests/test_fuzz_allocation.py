"""Files and events that nobody should send end as a plan or as a reason, never as an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos import function, fuzz
from benchmarks.chaos.function import Function

FILES, EVENTS, DROPPED = 2_000, 300, 30


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Function]:
    with function.opened(tmp_path) as opened:
        yield opened


def test_two_thousand_spoiled_files_end_as_a_plan_or_a_reason() -> None:
    ended = Counter(fuzz.judged(fuzz.file(seed)) for seed in range(FILES))
    assert min(ended["plan"], ended["reason"]) > FILES / 10  # neither is all that is met


def test_spoiled_events_are_answered_so_that_they_do_not_come_again(fed: Function) -> None:
    for seed in range(EVENTS):
        status = fed.post(*fuzz.event(seed))
        assert status in (200, 204, 400), f"seed {seed} was answered {status}"
    assert fed.unexpected == []


def test_spoiled_files_that_are_dropped_end_with_a_final_status(fed: Function) -> None:
    for seed in range(DROPPED):
        made = fuzz.file(seed)
        status = fed.deliver(made.name, fed.put(made.name, made.content, made.metadata))
        assert status == 200, f"seed {seed} was answered {status}"
    assert fed.unexpected == []
    assert {"done", "refused"} <= set(fed.statuses().values()) <= {"done", "refused", "superseded"}

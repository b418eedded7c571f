"""Wall or CPU time of works done in turns, so that a busy moment of the machine meets them all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from astra.errors import AstraError


class DifferentAnswersError(AstraError):
    """Two ways of doing one thing gave different answers: their times cannot be compared."""


@dataclass(frozen=True, slots=True)
class Timed:
    """How long something took, and what came of it."""

    seconds: float
    answer: Any


def timed(work: Callable[[], Any]) -> Timed:
    """Do it once. What was left over from before is cleared away first, untimed."""
    gc.collect()
    began = time.perf_counter()
    answer = work()
    return Timed(time.perf_counter() - began, answer)


def cpu_timed(work: Callable[[], Any]) -> Timed:
    """As `timed`, in CPU seconds of this process: what a shared machine cannot slow by waiting."""
    gc.collect()
    began = time.process_time()
    answer = work()
    return Timed(time.process_time() - began, answer)


def in_turns(rounds: int, *works: Callable[[], Timed]) -> list[Timed]:
    """Each work's median seconds over `rounds` turns A B C, A B C, ..., with its last answer.

    A work times itself (`timed`), so that what it prepares does not count.
    """
    turns = [[work() for work in works] for _ in range(rounds)]
    return [
        Timed(statistics.median(t.seconds for t in of_one), of_one[-1].answer)
        for of_one in zip(*turns, strict=True)
    ]


def require_equal(difference: float, tolerance: float, what: str) -> None:
    """Raises DifferentAnswersError if `difference` is over `tolerance` or NaN."""
    if not difference <= tolerance:
        raise DifferentAnswersError(
            f"{what} must agree to {tolerance:g}, they differ by {difference:g}: "
            "no time was recorded for this group"
        )

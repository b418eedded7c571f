"""When a vendor may be asked: the circuit breaker that all loads share. Pure.

Closed: everybody asks. A rate limit, or three requests in a row without any answer, open it: nobody
asks until `retry_at`. From then on it is half-open: one call asks for one ticker, all others still
wait. If that is answered it closes, else it opens for twice as long.

Times are the machine's wall clock, as for leases: they have nothing to do with the market.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from astra.store.loads import SourceRow

Position = Literal["closed", "open", "half-open"]

PATIENCE = 3  # requests in a row without any answer
FIRST_WAIT = 60.0
LONGEST_WAIT = 1800.0
# A vendor may ask for more than we would wait; a clock that was set back must not mean for ever.
LONGEST_ASKED_FOR = 6 * 3600.0
PROBE_SECONDS = 90.0  # after which a probe that was killed is another's to make


@dataclass(frozen=True, slots=True)
class Admission:
    """How a call found the breaker; `retry_at` tells whether another has moved it since."""

    position: Position
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was limited (`is_limit`) or had no answer; `retry_after` in seconds."""

    message: str
    is_limit: bool
    retry_after: float


def position(row: SourceRow, wall: float) -> Position:
    """Where the breaker stands at `wall`."""
    if row.retry_at == 0:
        return "closed"
    return "open" if wall < row.retry_at <= wall + LONGEST_ASKED_FOR else "half-open"


def enter(row: SourceRow, wall: float) -> tuple[SourceRow, Admission]:
    """A call wants to ask; found half-open, it is the one that probes."""
    found = position(row, wall)
    if found == "half-open":
        row = replace(row, retry_at=wall + PROBE_SECONDS)
    return row, Admission(found, row.retry_at)


def leave(row: SourceRow, admission: Admission, wall: float) -> SourceRow:
    """The call that was to probe has not asked: the next one may."""
    return replace(row, retry_at=wall) if row.retry_at == admission.retry_at else row


def fail(row: SourceRow, admission: Admission, wall: float, failure: Failure) -> SourceRow:
    """A request was limited, or had no answer."""
    if row.retry_at != admission.retry_at:
        return row  # it was opened, or tried, by another call meanwhile: one failure, once
    is_final = failure.is_limit or admission.position == "half-open"
    failures = max(row.failures + 1, PATIENCE if is_final else 0)
    row = replace(row, failures=failures, message=failure.message)
    if failures < PATIENCE:
        return row
    doubled = min(FIRST_WAIT * 2.0 ** min(failures - PATIENCE, 10), LONGEST_WAIT)
    asked_for = min(failure.retry_after, LONGEST_ASKED_FOR)
    wait = asked_for if failures == PATIENCE else max(doubled, asked_for)
    return replace(row, retry_at=wall + max(wait, 1.0))


def succeed(row: SourceRow, admission: Admission) -> SourceRow:
    """A request was answered; what was asked before it opened does not close it."""
    if row.retry_at != admission.retry_at:
        return row
    return replace(row, failures=0, retry_at=0.0, message="")

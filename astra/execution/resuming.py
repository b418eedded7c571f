"""Goes on with what is half done: the same for the scheduler, the monitor and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from astra.execution.desk import Desk
from astra.execution.executor import Executor
from astra.execution.halting.trip import trip
from astra.gcs import Bucket
from astra.store.journal import AllocationRow


@dataclass(frozen=True, slots=True)
class Resumed:
    """`stopped`: why the breakers stopped the account just now, or None. `allocations`: those that
    were unfinished, oldest first, as they stand now."""

    stopped: str | None
    allocations: tuple[AllocationRow, ...]


def resume(desk: Desk, bucket: Bucket | None) -> Resumed:
    """Let the breakers look, then finish what is unfinished.

    Args:
        bucket: where files that are refused or superseded are copied aside; None = nowhere.

    Raises:
        TemporaryError: the broker does not answer: nothing was gone on with.
        ConfigError: the settings are at fault, so nothing can be finished.
    """
    stopped = trip(desk)
    return Resumed(stopped, tuple(Executor(desk, bucket).resume()))

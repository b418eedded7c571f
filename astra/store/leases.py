"""Who may work on an allocation: a lease with a fencing token, looked at in each transaction.

A worker that was overtaken can change nothing any more, as its token is no longer the row's. Before
something leaves that cannot be called back, `require_time` asks how long the lease lasts, so that a
worker that was paused sends nothing after another has taken over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Update

from astra.errors import DataError, TemporaryError
from astra.store import schema
from astra.store.dialect import Dialect
from astra.store.journal_rows import AllocationRow, select_allocations
from astra.store.versions import writing_books

_table = schema.allocations


@dataclass(slots=True)
class _Held:
    """A lease of this process; `until` is monotonic."""

    seconds: float
    until: float


class Leases:
    """The leases of table `allocations`.

    Args:
        wall: seconds of the machine's clock, which other processes read the lease by.
    """

    def __init__(self, dialect: Dialect, wall: Callable[[], float] = time.time) -> None:
        self._dialect = dialect
        self._wall = wall
        self._held: dict[tuple[str, int], _Held] = {}

    def take_lease(self, allocation_id: str, seconds: float) -> int | None:
        """A new fencing token; None if a live worker holds the lease or the work is finished.

        A lease that lasts longer than two such was taken by a wrong clock and is not believed.

        Raises:
            DataError: the allocation is not known.
        """
        since = time.monotonic()
        now = self._wall()
        with writing_books(self._dialect) as connection:
            row = known(connection, allocation_id)
            if row.is_final or now < row.leased_until <= now + 2 * seconds:
                return None
            lease = {"fence": row.fence + 1, "leased_until": now + seconds}
            connection.execute(one(allocation_id).values(lease))
        self._held[allocation_id, row.fence + 1] = _Held(seconds, since + seconds)
        return row.fence + 1

    def renew(self, allocation_id: str, fence: int, seconds: float) -> None:
        """Hold the lease for `seconds` from now on.

        Raises:
            TemporaryError: it was lost.
        """
        self._held[allocation_id, fence] = _Held(seconds, 0.0)
        with writing_books(self._dialect) as connection:
            self.hold(connection, allocation_id, fence)

    def hold(self, connection: Connection, allocation_id: str, fence: int) -> AllocationRow:
        """As `renew`, for as long as it was taken, in a transaction that does something else too;
        a lease that this process did not take is only looked at."""
        row = check(connection, allocation_id, fence)
        if held := self._held.get((allocation_id, fence)):
            held.until = time.monotonic() + held.seconds
            until = self._wall() + held.seconds
            connection.execute(one(allocation_id).values(leased_until=until))
        return row

    def time_left(self, allocation_id: str, fence: int) -> float:
        """Seconds for which this process holds the lease, by its monotonic clock; 0 if it is over
        or another's."""
        held = self._held.get((allocation_id, fence))
        return 0.0 if held is None else max(0.0, held.until - time.monotonic())

    def require_time(self, allocation_id: str, fence: int, seconds: float) -> None:
        """Nothing is asked of the database: call it right before a request leaves.

        Raises:
            TemporaryError: the lease does not last so long, so another worker may take over.
        """
        left = self.time_left(allocation_id, fence)
        if left < seconds:
            raise TemporaryError(
                f"the lease of allocation {allocation_id} must last {seconds:.1f} s for a request, "
                f"found {left:.1f} s: nothing was sent, go on by the next delivery",
                1,
            )

    def release(self, allocation_id: str, fence: int) -> None:
        """Give the lease back; nothing happens if another worker has taken over."""
        self._held.pop((allocation_id, fence), None)
        mine = one(allocation_id).where(_table.c.fence == fence)
        with writing_books(self._dialect) as connection:
            connection.execute(mine.values(leased_until=0.0))


def check(connection: Connection, allocation_id: str, fence: int) -> AllocationRow:
    """The allocation, if its lease is still the one with this token.

    Raises:
        TemporaryError: another worker has taken over.
        DataError: the allocation is not known.
    """
    row = known(connection, allocation_id)
    if row.fence != fence:
        raise TemporaryError(
            f"allocation {allocation_id} has been taken over by another worker "
            f"(lease {row.fence}, ours was {fence}): stop, it goes on there"
        )
    return row


def known(connection: Connection, allocation_id: str) -> AllocationRow:
    """Raises: DataError where the journal has no such allocation."""
    row = find(connection, allocation_id)
    if row is None:
        raise DataError(f"an allocation in the journal is required, found none {allocation_id!r}")
    return row


def find(connection: Connection, allocation_id: str) -> AllocationRow | None:
    found = select_allocations(connection, _table.c.id == allocation_id)
    return found[0] if found else None


def one(allocation_id: str) -> Update:
    """The update of one allocation, values to come."""
    return _table.update().where(_table.c.id == allocation_id)

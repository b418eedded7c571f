"""Trades a delivered allocation to its end, once, whatever is delivered and how often.

Here is who may work on it: journal first (known and finished is left alone), then the lease. What
is done under the lease is `astra.execution.worker`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from astra.allocation import allocation_id, parse
from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.worker import LEASE_SECONDS, Worker
from astra.rebalance import Plan
from astra.store.journal import AllocationRow


@dataclass(frozen=True, slots=True)
class Delivered:
    """An object of the bucket as it was delivered."""

    bucket: str
    name: str
    generation: int
    content: bytes
    metadata: Mapping[str, str]

    @property
    def id(self) -> str:
        return allocation_id(self.bucket, self.name, self.generation)


class Executor:
    """Trades allocations for the broker's account."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = desk.store.journal

    def execute(self, delivered: Delivered) -> AllocationRow:
        """Trade it, go on trading it, or find that it has been dealt with.

        Returns: its row in the journal, with a final status.

        Raises:
            TemporaryError: another worker is at it, orders are still open, or the broker is down:
                deliver it again.
        """
        row = self._journal.allocation(delivered.id) or self._receive(delivered)
        if row.is_final:
            return row
        fence = self._journal.take_lease(row.id, LEASE_SECONDS)
        if fence is None:
            row = self._journal.allocation(row.id) or row
            if row.is_final:
                return row
            raise TemporaryError(f"{row.object} is being traded by another worker", 5)
        try:
            Worker(self._desk, row, fence).finish()
        finally:
            self._journal.release(row.id, fence)
        return self._journal.allocation(row.id) or row

    def preview(self, delivered: Delivered) -> tuple[Plan, AllocationRow]:
        """What would be traded now, both phases; nothing is written or sent.

        Raises:
            DataError: the file is malformed.
        """
        row = _read(self._blank(delivered), delivered, self._desk.max_names)
        return self._desk.preview(row), row

    def _receive(self, delivered: Delivered) -> AllocationRow:
        blank = self._blank(delivered)
        try:
            row = _read(blank, delivered, self._desk.max_names)
        except DataError as error:
            row = replace(blank, reason=str(error))
        return self._journal.receive(row)

    def _blank(self, delivered: Delivered) -> AllocationRow:
        broker = self._desk.broker
        return AllocationRow(
            id=delivered.id,
            account=broker.account().number,
            bucket=delivered.bucket,
            object=delivered.name,
            generation=delivered.generation,
            as_of=None,
            expires_at=None,
            policy="",
            model_id="",
            weights={},
            received_at=broker.clock().now,
        )


def _read(blank: AllocationRow, delivered: Delivered, max_names: int) -> AllocationRow:
    """The row with what the file says. Raises DataError if it is malformed."""
    found = parse(delivered.name, delivered.content, delivered.metadata, max_names)
    return replace(
        blank,
        as_of=found.as_of,
        expires_at=found.expires_at,
        policy=found.policy,
        model_id=found.model_id,
        weights=found.weights,
        keep=found.keep,
        coverage=found.coverage,
        trained_until=found.trained_until,
    )

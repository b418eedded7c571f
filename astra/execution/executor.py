"""Trades a delivered allocation to its end, once, whatever is delivered and how often.

Here is who may work on it: journal first (known and finished is left alone), then the lease. What
is done under the lease is `astra.execution.worker`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from astra.allocation import allocation_id, parse
from astra.errors import ConfigError, DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.planning import preview
from astra.execution.watch import lease_seconds
from astra.execution.worker import Worker
from astra.gcs import Bucket
from astra.rebalance import Plan
from astra.store.journal import AllocationRow

log = logging.getLogger("astra.execution.executor")

ASIDE = ("refused", "superseded")


@dataclass(frozen=True, slots=True)
class Delivered:
    """An object of the bucket as it was delivered; `problem` if its content was not read."""

    bucket: str
    name: str
    generation: int
    content: bytes
    metadata: Mapping[str, str]
    problem: str = ""

    @property
    def id(self) -> str:
        return allocation_id(self.bucket, self.name, self.generation)


class Executor:
    """Trades allocations for the broker's account.

    Args:
        bucket: where files that were refused or superseded are copied aside; None = nowhere.
    """

    def __init__(self, desk: Desk, bucket: Bucket | None = None) -> None:
        self._desk = desk
        self._journal = desk.store.journal
        self._bucket = bucket

    def execute(self, delivered: Delivered) -> AllocationRow:
        """Trade it, go on trading it, or find that it has been dealt with.

        Returns: its row in the journal, with a final status.

        Raises:
            TemporaryError: another worker is at it, orders are still open, or the broker is down:
                deliver it again.
        """
        return self.take_up(delivered.id) or self._finish(self._receive(delivered))

    def take_up(self, allocation_id: str) -> AllocationRow | None:
        """As `execute`, for one that the journal may know already; None if it does not.

        The file is not needed any more: it may have been overwritten or deleted since.
        """
        row = self._journal.allocation(allocation_id)
        return None if row is None else self._finish(row)

    def resume(self) -> list[AllocationRow]:
        """Go on with everything that is unfinished, oldest first; what is another account's is left
        to that one until it has expired.

        Returns: the rows as they stand now; one that cannot be finished yet is not final.

        Raises:
            ConfigError: the settings are at fault, so none can be finished.
        """
        found = []
        for row in self._journal.open_allocations():
            try:
                found.append(row if self._is_anothers(row) else self._finish(row))
            except (TemporaryError, DataError) as error:  # an answer that cannot be read passes
                log.warning("allocation=%s object=%s unfinished=%s", row.id, row.object, error)
                found.append(self._journal.allocation(row.id) or row)
        return found

    def _is_anothers(self, row: AllocationRow) -> bool:
        """Whether an account that is not ours may still be at it; its orders are out of reach."""
        broker = self._desk.broker
        if row.account == broker.account().number or row.expires_at is None:
            return False
        return broker.clock().now < row.expires_at

    def _finish(self, row: AllocationRow) -> AllocationRow:
        if row.is_final:
            self._set_aside(row)
            return row
        fence = self._journal.take_lease(row.id, lease_seconds(self._desk))
        # As the last worker left it, which may be further than when we looked.
        row = self._journal.allocation(row.id) or row
        if row.is_final:
            return row
        if fence is None:
            raise TemporaryError(f"{row.object} is being traded by another worker", 5)
        worker = Worker(self._desk, row, fence)
        try:
            worker.finish()
        finally:
            self._journal.release(row.id, fence)
            for ended in worker.ended:
                self._set_aside(ended)
        return self._journal.allocation(row.id) or row

    def _set_aside(self, row: AllocationRow) -> None:
        """Copy a file that traded nothing, or not to its end, to where a person looks for it.

        Raises:
            TemporaryError: the bucket cannot be reached: the next delivery does it.
        """
        if self._bucket is None or row.status not in ASIDE or row.bucket != self._bucket.name:
            return
        try:
            self._bucket.copy(row.object, f"failure/{row.object}", row.generation)
        except (ConfigError, DataError) as error:  # overwritten or deleted since, or not allowed
            log.warning("object=%s generation=%d aside=no reason=%s", row.object, row.generation,
                        error)  # fmt: skip

    def preview(self, delivered: Delivered) -> tuple[Plan, AllocationRow]:
        """What would be traded now, both phases; nothing is written or sent.

        Raises:
            DataError: the file is malformed.
        """
        row = _read(self._blank(delivered), delivered, self._desk.max_names)
        return preview(self._desk, row), row

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
    if delivered.problem:
        raise DataError(delivered.problem)
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

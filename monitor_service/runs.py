"""The note of each run of a job, and the look at what needs somebody that follows it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from astra.errors import AstraError
from astra.store import Store
from monitor_service.market_time import MarketTime


class Runs:
    """Table `runs`; `look` is called after each run that is watched, however it ended."""

    def __init__(self, store: Store, time: MarketTime, look: Callable[[], None]) -> None:
        self._books, self._time, self._look = store.books, time, look

    @contextmanager
    def noted(self, job: str) -> Iterator[None]:
        """Note the run of a job and how it ended, also while the broker does not answer."""
        run_id = uuid.uuid4().hex
        self._books.record_run(run_id, job, self._time.ask())
        try:
            yield
        except Exception as error:
            message = str(error) if isinstance(error, AstraError) else type(error).__name__
            self._books.finish_run(run_id, "failed", message, self._time.now())
            raise
        self._books.finish_run(run_id, "ok", "", self._time.ask())

    @contextmanager
    def watched(self, job: str) -> Iterator[None]:
        """As `noted`, and then somebody looks whether anything needs somebody."""
        try:
            with self.noted(job):
                yield
        finally:
            self._look()

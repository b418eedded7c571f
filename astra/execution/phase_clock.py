"""The market's clock as a phase sees it. A stepped one stands still between two steps."""

from __future__ import annotations

import datetime as dt
import time

from astra.execution.desk import Desk

PART = 4  # of the time for fills: so long, or two seconds, a clock that runs cannot stand still
_STILL_SECONDS = 2.0


class PhaseClock:
    """The broker's clock during a phase."""

    def __init__(self, desk: Desk) -> None:
        self._broker = desk.broker
        self._seconds = min(_STILL_SECONDS, desk.fill_timeout / PART)
        self._seen: tuple[float, dt.datetime] | None = None
        self._has_moved = False

    def now(self) -> dt.datetime:
        now = self._broker.clock().now
        if self._seen is None:
            self._seen = (time.monotonic(), now)
        elif now != self._seen[1]:
            self._has_moved = True
        return now

    def is_frozen(self) -> bool:
        """Whether it has stood still for longer than a clock that runs can."""
        if self._has_moved:
            return False
        if self._seen is None:
            self.now()
            return False
        if time.monotonic() - self._seen[0] < self._seconds:
            return False
        self.now()
        return not self._has_moved

"""The market's time: stepped by hand, or running at a multiple of wall time."""

from __future__ import annotations

import datetime as dt
import threading
import time

from astra.errors import DataError


class Clock:
    """Thread-safe market time in UTC.

    Args:
        at: where it starts; it stands still until `step_to` or `run`.
        limit: it never passes this time (the end of a recording), None = no end.
    """

    def __init__(self, at: dt.datetime, *, limit: dt.datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._limit = limit
        self._base = self._admissible(at)
        self._started = 0.0
        self._speed = 0.0

    def now(self) -> dt.datetime:
        """The market's time, UTC."""
        with self._lock:
            return self._read()

    @property
    def stepped(self) -> bool:
        """Whether it moves by `step_to` only."""
        with self._lock:
            return self._speed == 0

    @property
    def speed(self) -> float:
        """Market seconds for each wall second; 0 when stepped."""
        with self._lock:
            return self._speed

    def step_to(self, t: dt.datetime) -> None:
        """Stop at `t`.

        Raises:
            DataError: `t` lies before now, after the recording's end, or has no zone.
        """
        with self._lock:
            target, now = self._admissible(t), self._read()
            if target < now:
                raise DataError(
                    f"the market's clock only moves forwards: it is {now.isoformat()}, "
                    f"{target.isoformat()} was asked for"
                )
            self._base, self._speed = target, 0.0

    def restart(self, at: dt.datetime) -> None:
        """Stop at `at`, earlier or later: only together with all that remembers a time.

        Raises:
            DataError: `at` lies after the recording's end, or has no zone.
        """
        with self._lock:
            self._base, self._speed = self._admissible(at), 0.0

    def run(self, speed: float) -> None:
        """Run from the present time, `speed` market seconds for each wall second.

        Raises:
            DataError: `speed` is not a positive number.
        """
        if not 0 < speed < float("inf"):
            raise DataError(f"a clock's speed is a positive number, found {speed}")
        with self._lock:
            self._base = self._read()
            self._started, self._speed = time.monotonic(), float(speed)

    def halt(self) -> None:
        """Stop where it is."""
        with self._lock:
            self._base, self._speed = self._read(), 0.0

    def _read(self) -> dt.datetime:
        if not self._speed:
            return self._base
        passed = dt.timedelta(seconds=(time.monotonic() - self._started) * self._speed)
        now = self._base + passed
        return now if self._limit is None else min(now, self._limit)

    def _admissible(self, t: dt.datetime) -> dt.datetime:
        if t.tzinfo is None:
            raise DataError(f"the market's time needs a zone, found {t.isoformat()}: use UTC")
        t = t.astimezone(dt.UTC)
        if self._limit is not None and t > self._limit:
            raise DataError(
                f"the recording ends at {self._limit.isoformat()}, {t.isoformat()} lies after it"
            )
        return t

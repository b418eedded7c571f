"""Keeps to the vendor's budget of requests by the vendor's own counters. No request is made here.

Several processes share one budget (Alpaca: 200 requests a minute), and only the vendor sees them
all: so nothing is counted here, the counters of the last answer (`X-RateLimit-*`) are followed.
Reads wait while few requests are left, so that orders and cancels always find one. Wall time is
monotonic; the vendor's clock only tells how long its minute still lasts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

LOOK_SECONDS = 5.0  # a read leaves this often even then: the vendor may have begun a new minute


class Limiter:
    """How long a request has to wait. Thread-safe."""

    def __init__(self, reserve: float, wall: Callable[[], float] = time.monotonic) -> None:
        """`reserve`: the share of the vendor's budget that reads leave alone."""
        self._reserve = reserve
        self._wall = wall
        self._lock = threading.Lock()
        self._few_until = 0.0  # wall time; before it only the reserve is left
        self._next_look = 0.0

    def pause(self, *, is_read: bool) -> float:
        """Seconds until such a request may leave; 0 takes the turn."""
        with self._lock:
            now = self._wall()
            if not is_read or now >= self._few_until:
                return 0.0
            if now < self._next_look:
                return min(self._next_look, self._few_until) - now
            self._next_look = now + LOOK_SECONDS
            return 0.0

    def hear(self, headers: Mapping[str, str], now: float | None) -> None:
        """Follow the counters of an answer given at the vendor's `now` (epoch seconds).

        An answer without counters, or with ones that cannot be read, changes nothing.
        """
        try:
            limit = int(headers["X-RateLimit-Limit"])
            left = int(headers["X-RateLimit-Remaining"])
            ends = float(headers["X-RateLimit-Reset"])
        except (KeyError, ValueError):
            return
        is_few = now is not None and left <= limit * self._reserve
        with self._lock:
            wall = self._wall()
            if not is_few:
                self._few_until = 0.0
            elif self._few_until <= wall:
                self._few_until = wall + max(0.0, ends - (now or ends))
                self._next_look = wall + LOOK_SECONDS

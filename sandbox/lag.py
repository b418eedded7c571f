"""Books that learn of fills late, in wall time: what a broker answers that lags behind itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from sandbox.books import Books, Line


class LateBooks:
    """The lines of `books`, in their order, each some seconds after it was booked there.

    A line that is not late itself still waits for those before it.
    """

    def __init__(self, books: Books, lag: Callable[[Line], float]) -> None:
        self.late = Books()
        self._books = books
        self._lag = lag

    def is_behind(self) -> bool:
        """Whether `late` still lacks a line, after it has learnt of those that are due."""
        now, lines = time.monotonic(), self._books.lines
        for line, booked_at in zip(
            lines[len(self.late.lines) :],
            self._books.booked_at[len(self.late.lines) :],
            strict=True,
        ):
            if (lag := self._lag(line)) and now < booked_at + lag:
                return True
            self.late.book(line)
        return False


def of_account(line: Line) -> float:
    """Seconds by which the account and the positions learn of a line."""
    return line.order.mishap.lag_s if line.order else 0.0


def of_power(line: Line) -> float:
    """Seconds by which the buying power learns of it."""
    return max(line.order.mishap.lag_s, line.order.mishap.lag_power_s) if line.order else 0.0

"""The market's time for the notes of the monitor: the broker's clock, carried on between answers.

A job asks for the time it works with itself. Here is what a note needs, which must not fail with
the broker.
"""

from __future__ import annotations

import datetime as dt
import time

from astra.alpaca import Alpaca
from astra.errors import AstraError, TemporaryError
from astra.store import Store

LONGEST = 600.0  # seconds for which an answer is carried on before the broker is asked again


class MarketTime:
    """What the broker's clock said last, and how long ago by a clock that only goes forward."""

    def __init__(self, broker: Alpaca, store: Store) -> None:
        self._broker, self._store = broker, store
        self._told: tuple[dt.datetime, float] | None = None

    def ask(self) -> dt.datetime:
        """The broker's time; where it does not answer, what is known of it.

        Raises:
            TemporaryError: neither broker nor store has ever told a time.
        """
        try:
            self._told = self._broker.clock().now, time.monotonic()
        except AstraError as error:
            return self._known(error)
        return self._told[0]

    def now(self) -> dt.datetime:
        """The time without asking, unless the last answer is ten minutes old. Raises as `ask`."""
        if self._told is None or time.monotonic() - self._told[1] > LONGEST:
            return self.ask()
        return self._carried(*self._told)

    def _known(self, error: AstraError) -> dt.datetime:
        if self._told is not None:
            return self._carried(*self._told)
        times = [*self._store.books.accounts().values(), self._store.now()]
        known = [at for at in times if at is not None]
        if not known:
            raise TemporaryError(
                f"the market's time is required, and nobody has told it yet: {error}"
            ) from error
        return max(known)

    @staticmethod
    def _carried(told: dt.datetime, at: float) -> dt.datetime:
        return told + dt.timedelta(seconds=time.monotonic() - at)

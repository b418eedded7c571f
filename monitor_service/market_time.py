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
PATIENCE = 60.0  # seconds in which a broker that did not answer is not asked again


class MarketTime:
    """What the broker's clock said last, and how long ago by a clock that only goes forward."""

    def __init__(self, broker: Alpaca, store: Store) -> None:
        self._broker, self._store = broker, store
        self._told: tuple[dt.datetime, float] | None = None
        self._supposed: tuple[dt.datetime, float] | None = None
        self._failed_at: float | None = None

    def ask(self) -> dt.datetime:
        """The broker's time; where it does not answer, what is known of it, carried on.

        Before its first answer that is this machine's clock in the real market, and in any other
        the last time in the store.

        Raises:
            TemporaryError: neither broker nor store has ever told a time.
        """
        try:
            self._told = self._broker.clock().now, time.monotonic()
        except AstraError as error:
            self._failed_at = time.monotonic()
            return self._known(f": {error}")
        return self._told[0]

    def now(self) -> dt.datetime:
        """The time without asking, unless the last answer is ten minutes old; who did not answer
        is asked once a minute. Raises as `ask`."""
        is_old = self._told is None or time.monotonic() - self._told[1] > LONGEST
        is_away = self._failed_at is not None and time.monotonic() - self._failed_at < PATIENCE
        return self.ask() if is_old and not is_away else self._known("")

    def _known(self, why: str) -> dt.datetime:
        if self._told is not None:
            return _carried_on(*self._told)
        times = [*self._store.books.accounts().values(), self._store.now()]
        known = [at for at in times if at is not None]
        if self._store.market() == "real":
            known.append(dt.datetime.now(dt.UTC))  # a store that nobody writes to stands still
        if not known:
            raise TemporaryError(f"the market's time is required, and nobody has told it yet{why}")
        self._supposed = self._supposed or (max(known), time.monotonic())
        return max(*known, _carried_on(*self._supposed))


def _carried_on(told: dt.datetime, at: float) -> dt.datetime:
    return told + dt.timedelta(seconds=time.monotonic() - at)

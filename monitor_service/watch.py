"""The look at what needs somebody: gather, decide, keep, tell."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from astra.alerts import conditions, due, lines, notice
from astra.errors import AstraError
from astra.settings import Settings
from astra.status import Status, gather
from astra.store import Store
from astra.store.alerts import AlertRow
from monitor_service.market_time import MarketTime
from monitor_service.notices import Channel

log = logging.getLogger("astra.monitor")

_MOST_EARLIER = 50  # lines that one channel is behind the others; older ones are dropped


@dataclass(eq=False)
class _Line:
    """A channel, and what it did not take while another did."""

    channel: Channel
    earlier: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Look:
    """The alerts that are open after a look; `told` of these and of closed ones were delivered."""

    status: Status
    open: tuple[AlertRow, ...]
    changed: int
    told: int


class Watch:
    """Keeps the alerts of the account that was recorded last."""

    def __init__(
        self, store: Store, settings: Settings, time: MarketTime, channels: Sequence[Channel]
    ) -> None:
        self._store, self._settings, self._time = store, settings, time
        self._lines = [_Line(channel) for channel in channels]
        self._telling = threading.Lock()

    def status(self) -> Status:
        """How things stand, from the store alone.

        Raises:
            TemporaryError: the store does not answer, or nobody has told the time yet.
        """
        account = next(iter(self._store.books.accounts()), "")
        return gather(self._store, account, self._time.now(), self._settings)

    def look(self) -> Look:
        """Open, go on with and close alerts as things stand, and deliver what is to be told.

        Raises as `status`; a delivery that fails is logged, and tried again at the next look.
        """
        status = self.status()
        changed = self._store.alerts.see(status.account, conditions(status), status.at)
        told = self._tell(status)
        return Look(status, self._store.alerts.open(status.account), changed, told)

    def look_quietly(self) -> None:
        """As `look`, but nothing that goes wrong stands in the way of who just did their job."""
        try:
            self.look()
        except AstraError as error:
            log.warning("look=failed message=%s", error)
        except Exception:  # a look must not become what is wrong
            log.exception("look=failed unexpectedly")

    def _tell(self, status: Status) -> int:
        """Notices reach a channel once, or more than once where this process dies in between."""
        if not self._lines or not self._telling.acquire(blocking=False):
            return 0  # who is telling now, or the next look, tells it
        try:
            rows = due(self._store.alerts.to_tell(status.account), status.at)
            taken = [line for line in self._lines if self._is_taken(line, rows, status)]
            if not (rows and taken):
                return 0
            self._store.alerts.mark_told(rows, status.at)
        finally:
            self._telling.release()
        for line in self._lines:
            if line not in taken:
                line.earlier = [*line.earlier, *lines(rows)][-_MOST_EARLIER:]
        return len(lines(rows))

    @staticmethod
    def _is_taken(line: _Line, rows: Sequence[AlertRow], status: Status) -> bool:
        """Whether the channel took all there is for it; True if there is nothing."""
        if not rows and not line.earlier:
            return True
        try:
            line.channel.send(notice(rows, status, line.earlier))
        except AstraError as error:
            log.warning("notice=undelivered message=%s", error)
            return False
        except Exception as error:  # noqa: BLE001 - what the others took must be marked as told
            # Neither its text nor a traceback, which may hold an address and that a secret.
            log.warning("notice=undelivered unexpected=%s", type(error).__name__)
            return False
        line.earlier = []
        return True

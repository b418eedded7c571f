"""What the page can ask of the monitor: stop trading, lift that in two steps. Nothing else acts.

The monitor's bearer token is sent from the settings, so whoever may press is the page's login to
say. The account that is looked at goes with every request. Every call raises TemporaryError while
the monitor does not answer, or something else does; DataError where the broker has another account;
and the monitor's errors.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from astra.errors import TemporaryError
from astra.records import TradingState
from astra.services import Services
from astra.settings import Settings
from astra.status import Trading

_READ_SECONDS = 60.0  # beyond the time for which the monitor looks at the broker
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it in one sentence; `is_done` False where the broker has not confirmed it."""

    message: str
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """What is lifted, and the code that lifts it within ten minutes; "" = there is nothing to."""

    account: str
    state: TradingState
    since: dt.datetime | None
    reason: str
    unfinished: tuple[str, ...]
    code: str
    message: str

    def is_of(self, account: str, found: Trading) -> bool:
        """Whether that is what it lifts."""
        offered = (self.account, self.state, self.since, self.reason)
        return offered == (account, found.state, found.since, found.reason)


class Monitor:
    """The monitor's switch, for one account."""

    def __init__(self, settings: Settings, account: str) -> None:
        self._services = Services(settings, 3 * settings.vendor_timeout + _READ_SECONDS)
        self._account = account

    def halt(self, state: TradingState, reason: str) -> Answer:
        """Stop all trading, or purchases only; a stricter state stays."""
        found = self._post("/halt", state=state.value, reason=reason)
        _read_state(found)
        return Answer(_read(found, "message", str), _read(found, "confirmed", bool))

    def offer_lift(self) -> Offer:
        """The first step of lifting."""
        found = self._post("/lift")
        since = found.get("since")
        return Offer(
            _read(found, "account", str),
            _read_state(found),
            None if since is None else _read_time(found, "since"),
            _read(found, "reason", str),
            tuple(map(str, _read(found, "unfinished", list))),
            _read(found, "code", str),
            _read(found, "message", str),
        )

    def lift(self, code: str) -> Answer:
        """The second step: trading goes on."""
        found = self._post("/lift", code=code)
        if _read_state(found) is not TradingState.ACTIVE:
            raise _unreadable(found, "state")
        return Answer(_read(found, "message", str))

    def _post(self, path: str, **body: str) -> dict[str, Any]:
        return self._services.post("monitor", path, {"account": self._account, **body})


def _read(found: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = found.get(name)
    if not isinstance(value, kind):
        raise _unreadable(found, name)
    return value


def _read_state(found: Mapping[str, Any]) -> TradingState:
    try:
        return TradingState(_read(found, "state", str))
    except ValueError as error:
        raise _unreadable(found, "state") from error


def _read_time(found: Mapping[str, Any], name: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(_read(found, name, str))
    except ValueError as error:
        raise _unreadable(found, name) from error


def _unreadable(found: Mapping[str, Any], name: str) -> TemporaryError:
    return TemporaryError(
        f"a monitor's answer is required at ASTRA_MONITOR_URL, found {name} {found.get(name)!r:.60}"
        ": correct the address, or start the services of this release"
    )

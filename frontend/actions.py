"""What the page can ask of the monitor: stop trading, lift that in two steps. Nothing else acts.

The monitor's bearer token is sent from the settings, so whoever may press is the page's login to
say. Every call raises TemporaryError while the monitor does not answer, and the monitor's errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from astra.records import TradingState
from astra.services import Services
from astra.settings import Settings

_READ_SECONDS = 60.0  # beyond the time for which the monitor looks at the broker


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it in one sentence; `is_done` False where the broker has not confirmed it."""

    message: str
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """What is lifted, and the code that lifts it within ten minutes; "" = there is nothing to."""

    state: str
    reason: str
    unfinished: tuple[str, ...]
    code: str
    message: str


class Monitor:
    """The monitor's switch."""

    def __init__(self, settings: Settings) -> None:
        self._services = Services(settings, 3 * settings.vendor_timeout + _READ_SECONDS)

    def halt(self, state: TradingState, reason: str) -> Answer:
        """Stop all trading, or purchases only; a stricter state stays."""
        body = {"state": state.value, "reason": reason}
        found = self._services.post("monitor", "/halt", body)
        return Answer(str(found["message"]), bool(found["confirmed"]))

    def offer_lift(self) -> Offer:
        """The first step of lifting."""
        found = self._services.post("monitor", "/lift")
        return Offer(
            str(found["state"]),
            str(found["reason"]),
            tuple(map(str, found["unfinished"])),
            str(found["code"]),
            str(found["message"]),
        )

    def lift(self, code: str) -> Answer:
        """The second step: trading goes on."""
        return Answer(str(self._services.post("monitor", "/lift", {"code": code})["message"]))

"""Delivery of storage events to a function: binary-mode CloudEvents over HTTP, at least once.

Each event is posted until the function answers 2xx, with exponential back-off in wall time; a
function that is not up yet is just another failed attempt. Events overtake each other freely, as
the real ones do.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import requests

log = logging.getLogger("sandbox.events")

FINALIZED = "google.cloud.storage.object.v1.finalized"
# The longest an event-driven Cloud Function may run; after it the platform sends again.
ACK_DEADLINE = 540.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before the second attempt, the longest pause, and the attempts in all."""

    first: float = 0.2
    longest: float = 10.0
    attempts: int = 20

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the failed `attempt` (1 for the first)."""
        return min(self.longest, self.first * 2.0 ** (attempt - 1))


@dataclass(frozen=True, slots=True)
class Event:
    """One finalized object. `resource` is the object as JSON, the event's data."""

    id: str
    bucket: str
    name: str
    time: str
    resource: Mapping[str, object]

    def headers(self) -> dict[str, str]:
        """The CloudEvents attributes of the HTTP binding, binary mode, and the content type."""
        return {
            "ce-id": self.id,
            "ce-type": FINALIZED,
            "ce-source": f"//storage.googleapis.com/projects/_/buckets/{self.bucket}",
            # Names may hold any character, header values may not.
            "ce-subject": quote(f"objects/{self.name}", safe="/"),
            "ce-time": self.time,
            "ce-specversion": "1.0",
            "Content-Type": "application/json",
        }


@dataclass(slots=True)
class Delivery:
    """What became of one delivery: the status (or "error") of each attempt, and how it ended."""

    event: Event
    attempts: list[int | str] = field(default_factory=list)
    done: bool = False
    given_up: bool = False

    def row(self) -> dict[str, object]:
        """The delivery as JSON, for `/sandbox/state`."""
        return {
            "event": self.event.id,
            "object": self.event.name,
            "bucket": self.event.bucket,
            "attempts": list(self.attempts),
            "done": self.done,
            "given_up": self.given_up,
        }


class Courier:
    """Delivers events to `function_url` in background threads, one for each delivery."""

    def __init__(self, function_url: str, backoff: Backoff | None = None) -> None:
        self._url = function_url
        self._backoff = backoff or Backoff()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []

    def send(self, event: Event, *, after: float = 0.0) -> None:
        """Start delivering `event` in `after` seconds; returns at once."""
        delivery = Delivery(event)
        with self._lock:
            if self._stopped.is_set():
                return
            self._deliveries.append(delivery)
        name = f"delivery-{event.id}"
        threading.Thread(
            target=self._deliver, args=(delivery, after), name=name, daemon=True
        ).start()

    def stop(self) -> None:
        """Begin no further attempt; one under way ends by itself, nobody waits for it."""
        self._stopped.set()

    def rows(self) -> list[dict[str, object]]:
        """All deliveries so far, in the order they were announced."""
        with self._lock:
            return [delivery.row() for delivery in self._deliveries]

    def _deliver(self, delivery: Delivery, after: float) -> None:
        pause = after
        for attempt in range(1, self._backoff.attempts + 1):
            if self._stopped.wait(pause):
                return
            answer = self._post(delivery.event)
            ok = isinstance(answer, int) and 200 <= answer < 300
            with self._lock:
                delivery.attempts.append(answer)
                delivery.done = ok
            log.info("event=%s attempt=%d answer=%s", delivery.event.id, attempt, answer)
            if ok:
                return
            pause = self._backoff.pause(attempt)
        with self._lock:
            delivery.given_up = True

    def _post(self, event: Event) -> int | str:
        body = json.dumps(event.resource).encode()
        try:
            answer = requests.post(
                self._url, data=body, headers=event.headers(), timeout=ACK_DEADLINE
            )
        except requests.RequestException:
            return "error"
        return answer.status_code

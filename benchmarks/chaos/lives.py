"""A worker's life: what it has in memory, one call of it, and how that call ended.

A call is made in this process, where death is an exception nobody may catch and its memory is
dropped, or in a forked one (`forks.py`), where it is SIGKILL.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from sqlalchemy import make_url

from astra.alpaca import Alpaca
from astra.errors import TemporaryError
from astra.execution import Delivered, Desk, Executor
from astra.settings import Settings
from astra.store import Store
from astra.store.journal import Journal
from benchmarks.chaos.at_hand import App
from benchmarks.chaos.points import Killed, Points, WatchedSqlite, watch

PATIENT, HASTY = 20.0, 0.5  # seconds; a busy machine must not look like a broker that hangs


@dataclass(frozen=True, slots=True)
class Place:
    """What outlives a worker.

    Attributes:
        url: of the broker.
        file: of the database.
        timeout: seconds that a worker waits for an answer of the broker.
        app: the broker itself for workers in its process, called without a port; None = by `url`.
    """

    url: str
    file: Path
    timeout: float = PATIENT
    app: App | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, as the platform sees it; all but `returned` are delivered again.

    Attributes:
        how: `again` is what the product says with TemporaryError; `failed` is any other exception.
        detail: the status returned, the point of death, the sentence of the error.
    """

    how: Literal["returned", "again", "failed", "died"]
    detail: str


class Call(Protocol):
    """Delivers a file to a new worker that dies at the point `at`, None = it lives.

    `ahead` is by how many seconds its clock is ahead, so that older leases have expired.
    """

    def __call__(
        self, place: Place, delivered: Delivered, at: int | str | None = None, ahead: float = 0.0
    ) -> Ended: ...


class Life:
    """A worker from its start to its end; a context manager."""

    def __init__(self, place: Place, points: Points | None = None, ahead: float = 0.0) -> None:
        self.points = points or Points()
        broker = Alpaca.from_settings(_settings(place.url, place.timeout))
        self._sessions = watch(broker, self.points, place.app)
        dialect = WatchedSqlite(make_url(f"sqlite:///{place.file}"), self.points)
        self.store = Store(dialect)
        self.store.journal = Journal(dialect, wall=lambda: time.time() + ahead)
        self.desk = _desk(broker, self.store)
        self.executor = Executor(self.desk)

    def __enter__(self) -> Life:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in self._sessions:
            session.close()
        self.store.close()


def call_in_process(
    place: Place, delivered: Delivered, at: int | str | None = None, ahead: float = 0.0
) -> Ended:
    """See `Call`."""
    return call_with(place, delivered, Points(at), ahead)


def call_with(place: Place, delivered: Delivered, points: Points, ahead: float = 0.0) -> Ended:
    """As `call_in_process`, with points of the caller's."""
    try:
        with Life(place, points, ahead) as life:
            return Ended("returned", life.executor.execute(delivered).status)
    except Killed as death:
        return Ended("died", str(death))
    except TemporaryError as error:
        return Ended("again", str(error))
    except Exception as error:  # noqa: BLE001 - a bug, whatever it is: the platform sees a 500
        return Ended("failed", f"{type(error).__name__}: {error}")


@lru_cache(maxsize=8)
def _settings(url: str, timeout: float) -> Settings:
    keys = {"alpaca_key": "key", "alpaca_secret": "secret"}
    urls = {"alpaca_url": url, "alpaca_data_url": url}
    more = {**keys, **urls, "vendor_timeout": timeout}
    return Settings(_env_file=None, **more)  # type: ignore[call-arg, arg-type]


def _desk(broker: Alpaca, store: Store) -> Desk:
    """As the settings' defaults make it, with short waits and room for any weight."""
    plain = Desk.of(broker, store, Settings.model_construct())
    wide = replace(plain.limits, max_order_weight=1.0, max_position_weight=1.0)
    return replace(plain, limits=wide, fill_timeout=0.3, doubt_seconds=0.05, confirm_seconds=1.0)

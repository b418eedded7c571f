"""A worker's life: what it has in memory, one call of it, and how that call ended.

A call is made in this process, where death is an exception nobody may catch and its memory is
dropped, or in a forked one (`forks.py`), where it is SIGKILL.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from sqlalchemy import make_url

from astra.alpaca import Alpaca
from astra.errors import TemporaryError
from astra.execution import Delivered, Desk, Executor
from astra.execution.desk import limits_of
from astra.settings import Settings
from astra.store import Store
from astra.store.journal import Journal
from benchmarks.chaos.at_hand import App
from benchmarks.chaos.points import Killed, Points, WatchedSqlite, watch

PATIENT, HASTY = 20.0, 0.5  # seconds; a busy machine must not look like a broker that hangs
LIMITS = limits_of(Settings.model_construct())
# What the settings say beside their defaults. The limit is so wide that it is met at once while the
# clock stands still; the slices are a minute apart.
STYLES: dict[str, dict[str, Any]] = {
    "market": {},
    "limit": {"order_style": "limit", "limit_collar_bp": 200.0},
    "twap": {"order_style": "twap", "twap_minutes": 3},
}


@dataclass(frozen=True, slots=True)
class Waits:
    """A desk's waits, seconds; see `astra.execution.desk.Desk`."""

    fill_timeout: float = 0.3
    doubt_seconds: float = 0.05
    confirm_seconds: float = 1.0


_SHORT = Waits()
TENTH = Waits(fill_timeout=12.0, doubt_seconds=2.0, confirm_seconds=1.2)  # of what settings say


@dataclass(frozen=True, slots=True)
class Place:
    """What outlives a worker.

    Attributes:
        url: of the broker.
        file: of the database.
        timeout: seconds that a worker waits for an answer of the broker.
        app: the broker itself for workers in its process, called without a port; None = by `url`.
        style, waits: of the desk, short ones by default.
    """

    url: str
    file: Path
    timeout: float = PATIENT
    app: App | None = None
    style: str = "market"
    waits: Waits = _SHORT


How = Literal["returned", "again", "failed", "died"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, as the platform sees it; all but `returned` are delivered again.

    Attributes:
        how: `again` is what the product says with TemporaryError; `failed` is any other exception.
        detail: the status returned, the point of death, the sentence of the error.
        passed: points that the worker passed.
    """

    how: How
    detail: str
    passed: int = 0


class Call(Protocol):
    """Delivers a file to a new worker that dies at the point `at`, None = it lives.

    Without a file it is told to resume whatever is unfinished.

    `ahead` is by how many seconds its clock is ahead, so that older leases have expired.
    """

    def __call__(
        self,
        place: Place,
        delivered: Delivered | None,
        at: int | str | None = None,
        ahead: float = 0.0,
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
        self.desk = _desk(broker, self.store, place)
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
    place: Place,
    delivered: Delivered | None,
    at: int | str | None = None,
    ahead: float = 0.0,
) -> Ended:
    """See `Call`."""
    return call_with(place, delivered, Points(at), ahead)


def call_with(
    place: Place, delivered: Delivered | None, points: Points, ahead: float = 0.0
) -> Ended:
    """As `call_in_process`, with points of the caller's."""
    how: How
    try:
        with Life(place, points, ahead) as life:
            how, detail = _called(life, delivered)
    except Killed as death:
        how, detail = "died", str(death)
    except TemporaryError as error:
        how, detail = "again", str(error)
    except Exception as error:  # noqa: BLE001 - a bug, whatever it is: the platform sees a 500
        how, detail = "failed", f"{type(error).__name__}: {error}"
    return Ended(how, detail, len(points.passed))


def _called(life: Life, delivered: Delivered | None) -> tuple[How, str]:
    if delivered is not None:
        return "returned", life.executor.execute(delivered).status
    rows = life.executor.resume()
    told = ", ".join(row.status for row in rows)
    return ("returned" if all(row.is_final for row in rows) else "again"), told


@lru_cache(maxsize=8)
def _settings(url: str, timeout: float) -> Settings:
    keys = {"alpaca_key": "key", "alpaca_secret": "secret"}
    urls = {"alpaca_url": url, "alpaca_data_url": url}
    more = {**keys, **urls, "vendor_timeout": timeout}
    return Settings(_env_file=None, **more)  # type: ignore[call-arg, arg-type]


def _desk(broker: Alpaca, store: Store, place: Place) -> Desk:
    """As the settings' defaults make it, with a style and waits of its own."""
    plain = Desk.of(broker, store, Settings.model_construct(**STYLES[place.style]))
    return replace(plain, **asdict(place.waits))

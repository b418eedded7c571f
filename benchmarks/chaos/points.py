"""Where a worker can die: before and after each commit to its database and each request it sends.

A worker is watched from below, at the database's transactions and at the client's sockets, so no
code of the product knows of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import BaseAdapter
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from astra.alpaca import Alpaca
from astra.store.dialect import Scope
from astra.store.sqlite import Sqlite
from benchmarks.chaos.at_hand import App, AtHand

_ORDER = re.compile(r"(/v2/orders)/[^/?]+")


class Killed(BaseException):
    """The worker's process is gone: not an `Exception`, so nothing in it may go on."""


def abort(point: str) -> None:
    """Die in process: whoever started the worker drops all its memory."""
    raise Killed(point)


class Points:
    """Counts the points that one worker passes, and does something at one of them.

    Args:
        at: the number of the point, from 0, or its name at the first time; None = none.
        act: what happens there; a worker whose act raises `Killed` does nothing more, whatever
            its `finally` clauses try.

    Attributes:
        passed: what each point was, such as "before commit" or "after POST /v2/orders".
    """

    def __init__(self, at: int | str | None = None, act: Callable[[str], None] = abort) -> None:
        self.passed: list[str] = []
        self._at = at
        self._act = act
        self._death: Killed | None = None

    def reach(self, point: str) -> None:
        """Pass a point. Raises `Killed` at the chosen one and ever after."""
        self.check()
        is_first = point == self._at and point not in self.passed
        self.passed.append(point)
        if is_first or len(self.passed) - 1 == self._at:
            try:
                self._act(point)
            except Killed as death:
                self._death = death
                raise

    def check(self) -> None:
        """Raises `Killed` if the worker is dead."""
        if self._death is not None:
            raise self._death


class _Compiled(dict[Any, Any]):
    """Statements as SQLAlchemy compiled them, for all workers of a process: it keeps them by the
    dialect of an engine, which comes first in a key, and each worker has an engine of its own."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(key[1:], compiled)


_COMPILED = _Compiled()  # to compile them anew was a sixth of a case


class WatchedSqlite(Sqlite):
    """A database whose commits are points."""

    def __init__(self, url: URL, points: Points) -> None:
        super().__init__(url)
        self.engine.update_execution_options(compiled_cache=_COMPILED)
        self._readers = self.engine.execution_options(astra_reads=True)
        self._points = points

    @contextmanager
    def writing(self, scope: Scope) -> Iterator[Connection]:
        self._points.check()
        with super().writing(scope) as connection:
            yield connection
            self._points.reach("before commit")
        self._points.reach("after commit")


class _Watched(BaseAdapter):
    """A client's way to the network whose requests are points."""

    def __init__(self, inner: BaseAdapter, points: Points) -> None:
        super().__init__()
        self._inner = inner
        self._points = points

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        path = _ORDER.sub(r"\1/*", request.path_url.partition("?")[0])
        asked = f"{request.method} {path}"
        self._points.reach(f"before {asked}")
        response = self._inner.send(request, *args, **more)
        try:
            self._points.reach(f"after {asked}")
        except Killed:
            response.close()
            raise
        return response

    def close(self) -> None:
        self._inner.close()


def watch(broker: Alpaca, points: Points, app: App | None = None) -> tuple[requests.Session, ...]:
    """Make the requests of `broker` points; its sessions, to be closed with the worker.

    Args:
        app: called instead of what listens at the url; None = nothing is.
    """
    sessions = tuple(api._client._session for api in (broker.trading, broker._data))
    for session in sessions:
        inner = session.get_adapter("http://") if app is None else AtHand(app)
        session.mount("http://", _Watched(inner, points))
    return sessions

"""A process killed at any statement of a load: the tables are as before it, or as after it."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from types import FrameType

from sqlalchemy import make_url

from astra.store import Counts, Store, _dialect
from tests.grid import HOUR, NOW, frame
from tests.stores import price_rows, set_price_rows

# Three bars are new, one replaces a version, one is older than the version that is stored.
OFFERED = frame([("A", 0, 10.5), ("A", 2, 12.5), ("B", 0, 5.0), ("B", 1, 5.0), ("C", 0, 6.0)])
COUNTS = Counts(3, 1, 1)
# What a driver does for us; SQLite's is written in C, psycopg in Python.
SENDS = {
    "psycopg.cursor": ("execute", "executemany", "copy"),
    "psycopg._copy": ("write",),
    "psycopg.connection": ("commit",),
}


class Killed:
    """A profiler that kills its process when the n-th statement begins, or a commit has ended."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __call__(self, caller: FrameType, event: str, called: object) -> None:
        owner = getattr(called, "__self__", None)
        if event in ("c_call", "c_return") and isinstance(
            owner, sqlite3.Connection | sqlite3.Cursor
        ):
            name = getattr(called, "__name__", "")
            sends = name in ("execute", "executemany", "commit")
        elif event in ("call", "return"):
            name = caller.f_code.co_name
            sends = name in SENDS.get(str(caller.f_globals.get("__name__")), ())
        else:
            return
        if sends and (event.endswith("call") or name == "commit"):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def load_until_killed(url: str, n: int) -> bool:
    """Load in another process that dies at its n-th statement; whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            store = Store(_dialect(make_url(url)))  # the tables are there: no migration to pay
            sys.setprofile(Killed(n))
            store.prices.upsert(OFFERED, NOW + HOUR)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def test_a_load_killed_at_any_statement_is_done_or_undone(store: Store, store_url: str) -> None:
    store.prices.upsert(frame([("A", 0, 10.0), ("A", 1, 11.0)]), NOW)
    store.prices.upsert(frame([("A", 2, 12.0)]), NOW + 2 * HOUR)
    before, version = price_rows(store), store.versions()["prices"]
    assert store.prices.upsert(OFFERED, NOW + HOUR) == COUNTS
    after = price_rows(store)
    assert [len(rows) for rows in after] == [len(before[0]) + COUNTS.inserted, 2]
    outcomes: list[bool] = []
    while True:
        set_price_rows(store, before)
        store.close()  # SQLite's locks are the process's: none may be held where it is forked
        if load_until_killed(store_url, len(outcomes) + 1):
            break
        found = price_rows(store)
        outcomes.append(found == after)
        assert outcomes[-1] or found == before
        assert store.versions()["prices"] == version + len(outcomes) + outcomes[-1]
        again = store.prices.upsert(OFFERED, NOW + HOUR)
        assert again == (Counts(unchanged=len(OFFERED)) if outcomes[-1] else COUNTS)
        assert price_rows(store) == after
    assert price_rows(store) == after
    assert outcomes.count(False) > 9
    assert outcomes[outcomes.index(True) :] == [True]  # killed when the commit had ended

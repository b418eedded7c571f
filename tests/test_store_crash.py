"""A process killed at any statement of a load: the tables are as before it, or as after it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from sqlalchemy import make_url

from astra.store import Counts, Store, _dialect
from tests.grid import HOUR, NOW, frame
from tests.stores import price_rows, set_price_rows

# Three bars are new, one replaces a version, one is older than the version that is stored.
OFFERED = frame([("A", 0, 10.5), ("A", 2, 12.5), ("B", 0, 5.0), ("B", 1, 5.0), ("C", 0, 6.0)])
COUNTS = Counts(3, 1, 1)
# How the drivers send something: these are written in C, psycopg in Python.
DRIVERS_IN_C = ("sqlite3", "pyodbc")
SENDS_IN_C = ("execute", "executemany", "commit")
PSYCOPG_SENDS = {
    "psycopg.cursor": ("execute", "executemany", "copy"),
    "psycopg._copy": ("write",),
    "psycopg.connection": ("commit",),
}


class Killer:
    """A profiler that kills its process where the n-th statement begins."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __call__(self, caller: FrameType, event: str, called: object) -> None:
        if event == "c_call":
            driver = type(getattr(called, "__self__", None)).__module__
            sends = driver in DRIVERS_IN_C and getattr(called, "__name__", "") in SENDS_IN_C
        elif event == "call":
            module = str(caller.f_globals.get("__name__"))
            sends = caller.f_code.co_name in PSYCOPG_SENDS.get(module, ())
        else:
            return
        if sends:
            self.count()

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def load_until_killed(url: str, n: int) -> bool:
    """Load in another process that dies at its n-th statement; whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            store = Store(_dialect(make_url(url)))  # the tables are there: no migration to pay
            killer = Killer(n)
            sys.setprofile(killer)
            store.prices.upsert(OFFERED, NOW + HOUR)
            sys.setprofile(None)
            killer.count()  # the load is done, and nobody was told
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    outcome = os.waitstatus_to_exitcode(status)
    assert outcome in (0, -signal.SIGKILL)
    return outcome == 0


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
    assert all(outcomes[outcomes.index(True) :])

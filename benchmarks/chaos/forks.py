"""Workers that are real processes, forked from a warm server, and really killed.

The server has been through a case (`warm.py`) and runs no thread, so a fork is safe and takes
milliseconds.
The broker lives elsewhere and survives, as brokers do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from astra.execution import Delivered
from benchmarks.chaos.lives import Ended, Place, call_with
from benchmarks.chaos.points import Points

SECONDS = 60.0  # no call takes so long


def call_forked(
    place: Place, delivered: Delivered | None, at: int | str | None = None, ahead: float = 0.0
) -> Ended:
    """See `benchmarks.chaos.lives.Call`; death is SIGKILL by its own hand."""
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_live, args=(theirs, place, delivered, at, ahead))
    with ours:
        child.start()
        theirs.close()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            child.join()
            return Ended("failed", f"the worker was still busy after {SECONDS} s")
        said: Ended | None = None
        while ours.poll():
            try:
                said = ours.recv()
            except EOFError:
                break
    if said is None or (said.how == "died") != (child.exitcode == -signal.SIGKILL):
        return Ended("failed", f"the worker ended with {child.exitcode} and said {said}")
    return said


def _live(
    told: Connection, place: Place, delivered: Delivered | None, at: int | str | None, ahead: float
) -> None:
    def die(point: str) -> None:
        told.send(Ended("died", point, len(points.passed)))
        os.kill(os.getpid(), signal.SIGKILL)

    points = Points(at, die)
    told.send(call_with(place, delivered, points, ahead))


@lru_cache(maxsize=1)
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.chaos.warm"])
    return context

"""Runs cases, each beside a calm run of the same file on the same account, and keeps calm runs."""

from __future__ import annotations

import time
from dataclasses import replace

from astra.execution import Delivered
from benchmarks.chaos import judge
from benchmarks.chaos.house import START, House, Weights, dropped
from benchmarks.chaos.judge import Outcome
from benchmarks.chaos.lives import HASTY, TENTH, Call, Place, Waits, call_in_process, call_with
from benchmarks.chaos.plans import Case
from benchmarks.chaos.platform import DELIVERIES
from benchmarks.chaos.points import Points
from benchmarks.chaos.trial import Calm, Trial
from benchmarks.chaos.verdict import Verdict


class Cases:
    """Runs cases on one house; calm runs are kept.

    Args:
        call: how workers are made.
    """

    def __init__(self, house: House, call: Call = call_in_process) -> None:
        self._house = house
        self._call = call
        self._calm: dict[str, Calm] = {}

    def run(self, case: Case, waits: Waits | None = None) -> Verdict:
        """Let it happen and judge; `waits` of the desk, default: as the kind of case needs."""
        started = time.monotonic()
        calm = self.calm(case.held, case.weights, case.style)
        place = replace(self._house.begin(case.held), style=case.style)
        if case.kind == "hanging":
            place = replace(place, timeout=HASTY, app=None)
        if waits or case.kind == "power lags":
            place = replace(place, waits=waits or TENTH)
        for fault in case.faults:
            self._house.faults.arm(fault)
        verdict = Trial(self._house, case, calm, place, self._call).judged()
        if case.kind == "hanging":
            self._house.renew()
        verdict.seconds = time.monotonic() - started
        return verdict

    def calm(self, held: Weights, weights: Weights, style: str = "market") -> Calm:
        """What must come of a file when nothing goes wrong.

        Raises:
            RuntimeError: not even then are the weights reached, so it is no measure.
        """
        key = repr((held, weights, style))
        if key not in self._calm:
            place = replace(self._house.begin(held), style=style)
            ended, points = self._undisturbed(place, dropped(weights, START, 2))
            missed = judge.reached(self._house.broker, weights)
            if ended != "done" or missed:
                raise RuntimeError(f"a calm run must end as done, found {ended}, {missed}")
            self._calm[key] = Calm(Outcome.of(self._house.broker), points)
            place.file.unlink()
        return self._calm[key]

    def _undisturbed(self, place: Place, file: Delivered) -> tuple[str, tuple[str, ...]]:
        """How the file ends, and the points of all workers that it took, one for each slice."""
        passed: list[str] = []
        for _ in range(DELIVERIES):
            points = Points()
            ended = call_with(place, file, points)
            passed += points.passed
            if ended.how != "again":
                break
            self._house.step_to_slice(ended.detail)
        return ended.detail, tuple(passed)

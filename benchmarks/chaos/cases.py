"""Runs cases, each beside a calm run of the same file on the same account, and keeps calm runs."""

from __future__ import annotations

import time
from dataclasses import replace

from benchmarks.chaos import judge
from benchmarks.chaos.house import START, House, Weights, dropped
from benchmarks.chaos.judge import Outcome
from benchmarks.chaos.lives import HASTY, Call, Life, call_in_process
from benchmarks.chaos.plans import Case
from benchmarks.chaos.trial import Calm, Trial, Verdict


class Cases:
    """Runs cases on one house; calm runs are kept.

    Args:
        call: how workers are made.
    """

    def __init__(self, house: House, call: Call = call_in_process) -> None:
        self._house = house
        self._call = call
        self._calm: dict[str, Calm] = {}

    def run(self, case: Case) -> Verdict:
        """Let it happen and judge."""
        started = time.monotonic()
        calm = self.calm(case.held, case.weights)
        place = self._house.begin(case.held)
        if case.kind == "hanging":
            place = replace(place, timeout=HASTY, app=None)
        for fault in case.faults:
            self._house.faults.arm(fault)
        verdict = Trial(self._house, case, calm, place, self._call).judged()
        if case.kind == "hanging":
            self._house.renew()
        verdict.seconds = time.monotonic() - started
        return verdict

    def calm(self, held: Weights, weights: Weights) -> Calm:
        """What must come of a file when nothing goes wrong.

        Raises:
            RuntimeError: not even then are the weights reached, so it is no measure.
        """
        key = repr((held, weights))
        if key not in self._calm:
            place = self._house.begin(held)
            with Life(place) as life:
                row = life.executor.execute(dropped(weights, START, 2))
            missed = judge.reached(self._house.broker, weights)
            if row.status != "done" or missed:
                raise RuntimeError(f"a calm run must end as done, found {row}, {missed}")
            self._calm[key] = Calm(Outcome.of(self._house.broker), tuple(life.points.passed))
            place.file.unlink()
        return self._calm[key]

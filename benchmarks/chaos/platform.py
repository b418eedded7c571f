"""Delivers a file as the platform does, until a call returns, to workers that die on the way.

After anything but a returned call it is delivered again. A worker that died took its memory along;
the next one is another process whose clock is so far ahead that the lease has expired, after one
delivery that still finds the lease alive. Where a worker says that the next slice is due later, the
market's clock goes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from astra.execution import Delivered
from astra.tactics import SLICE
from benchmarks.chaos.house import LEASE_OVER, House
from benchmarks.chaos.lives import Call, Ended, Place
from benchmarks.chaos.verdict import Verdict

DELIVERIES = 24  # a file that is not settled after so many never will be


class Platform:
    """Deliveries of one case; what they come to is noted in its verdict.

    Args:
        points: of the calm run.

    Attributes:
        may_refuse: whether a call may end with a DataError.
    """

    def __init__(
        self, house: House, place: Place, call: Call, points: Sequence[str], verdict: Verdict
    ) -> None:
        self._house = house
        self._place = place
        self._call = call
        self._points = points
        self._verdict = verdict
        self._restarts = 0
        self.may_refuse = False

    @property
    def ahead(self) -> float:
        """Seconds by which the clock of the next worker is ahead."""
        return LEASE_OVER * self._restarts

    def restart(self) -> None:
        """The lease of the worker before expires."""
        self._restarts += 1

    def point(self, kill: float | str) -> int | str:
        """A point by its share of the calm run's, or by its name."""
        return int(kill * len(self._points)) if isinstance(kill, float) else kill

    def deliver(self, delivered: Delivered | None, kill: float | str | None = None) -> Ended:
        """One call, by a worker that dies at `kill`; see `benchmarks.chaos.lives.Call`."""
        return self._deliver(delivered, None if kill is None else self.point(kill))

    def until_death(self, delivered: Delivered, kill: float | str) -> None:
        """Deliver, slice by slice, until a worker has died at `kill` or a call has returned."""
        at, has_next = self.point(kill), True
        while has_next:
            ended = self._deliver(delivered, at)
            if isinstance(at, int):
                at -= ended.passed
            has_next = ended.how == "again" and self._house.step_to_slice(ended.detail)

    def until_settled(
        self,
        delivered: Delivered,
        kills: Sequence[float | str] = (),
        between: Callable[[], None] | None = None,
    ) -> list[str]:
        """Deliver until a call returns, workers dying at `kills`; what was wrong with that.

        A worker that ends before it came to its point leaves the rest of the way to the next one.
        """
        left = [self.point(kill) for kill in kills]
        for _ in range(DELIVERIES):
            at = left.pop(0) if left else None
            ended = self._deliver(delivered, at)
            if has_died := ended.how == "died":
                ended = self._deliver(delivered)  # its lease is still alive
                self.restart()
            elif at is not None:
                left.insert(0, at - ended.passed if isinstance(at, int) else at)
            if ended.how == "returned":
                return []
            if not (self._house.step_to_slice(ended.detail) or has_died) and between:
                between()
        return [f"{delivered.name} is not settled after {DELIVERIES} deliveries: {ended.detail}"]

    def until_resumed(self) -> list[str]:
        """As `until_settled`, but nothing is delivered: it is asked to resume what is unfinished.

        Who resumes does not hear what a file waits for, so slices are met by the minute.
        """
        ended = self._deliver(None)  # the lease of the one before is still alive
        self.restart()
        for _ in range(DELIVERIES):
            if ended.how == "returned":
                return []
            ended = self._deliver(None)
            if ended.how == "again" and self._place.style == "twap":
                self._house.step(self._house.market.clock.now() + SLICE)
        return [f"nothing is settled after {DELIVERIES} resumes: {ended.detail}"]

    def noted(self, ended: Ended) -> Ended:
        """Note how a call ended."""
        self._verdict.deliveries += 1
        if ended.how == "died":
            self._verdict.deaths.append(ended.detail)
        is_refusal = self.may_refuse and ended.detail.startswith("DataError:")
        if ended.how == "failed" and not is_refusal:
            self._verdict.wrong.append(f"an exception came out: {ended.detail}")
        return ended

    def _deliver(self, delivered: Delivered | None, at: int | str | None = None) -> Ended:
        return self.noted(self._call(self._place, delivered, at, self.ahead))

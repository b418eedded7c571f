"""One case: deliveries as the platform makes them, workers that die, a world that moves.

The platform delivers again after anything but a returned call. A worker that died took its memory
along; the next one is another process whose clock is so far ahead that the lease has expired, after
one delivery that still finds the lease alive.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from astra.execution import Delivered
from astra.execution.reconciling.reconcile import reconcile
from astra.records import Side
from benchmarks.chaos import judge
from benchmarks.chaos.house import CLOSE, LEASE_OVER, START, House, dropped
from benchmarks.chaos.judge import Outcome
from benchmarks.chaos.lives import Call, Ended, Life, Place, call_with
from benchmarks.chaos.plans import EXACT, Case
from benchmarks.chaos.points import Points

LAG = 2.0  # seconds, longer than any that is armed
DELIVERIES = 12  # a file that is not settled after so many never will be
_COSTS = Decimal("1.01")  # far above what spread and fees of a whole turnover come to
_BAR = dt.timedelta(minutes=5)


@dataclass(slots=True)
class Verdict:
    """What a case came to; it is as it should be where nothing is `wrong`.

    Attributes:
        deaths: the points at which workers died or stood still.
        spoiled: requests that a fault has met.
    """

    case: Case
    wrong: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    deliveries: int = 0
    spoiled: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Calm:
    """A run in which nothing goes wrong, and the points that it passed."""

    outcome: Outcome
    points: tuple[str, ...]


class Trial:
    """One case under way."""

    def __init__(self, house: House, case: Case, calm: Calm, place: Place, call: Call) -> None:
        self._house = house
        self._case = case
        self._calm = calm
        self._place = place
        self._call = call
        self._restarts = 0
        self._may_refuse = False  # whether a call may end with a DataError
        self._file = dropped(case.weights, START, 2)
        self._verdict = Verdict(case)

    def judged(self) -> Verdict:
        """Let it happen and judge."""
        happen: dict[str, Callable[[], list[str]]] = {
            "paused": self._paused,
            "two workers": self._together,
            "time passes": self._stepped,
            "newer file": self._overtaken,
            "part fills": self._in_parts,
            "rejected": self._rejected,
            "fields": self._unreadable,
            "session closes": self._closed,
            "account reset": self._reset,
        }
        wrong = happen.get(self._case.kind, self._plainly)()
        found = Outcome.of(self._house.broker)
        if self._case.kind in EXACT:
            wrong += judge.against_calm(found, self._calm.outcome)
        self._verdict.wrong += wrong + judge.always(found) + self._books()
        self._place.file.unlink()
        return self._verdict

    # What happens

    def _plainly(self) -> list[str]:
        """Workers die where they are told to, others go on."""
        return self._until_settled(self._file, self._case.kills)

    def _paused(self) -> list[str]:
        """A worker stands still for so long that another one takes over; then it goes on."""
        wrong: list[str] = []

        def meanwhile(point: str) -> None:
            self._verdict.deaths.append(f"paused {point}")
            self._restarts += 1
            wrong.extend(self._until_settled(self._file))

        at = self._point(self._case.kills[0])
        # One that stands still inside a transaction holds the database's lock: nobody takes over.
        if isinstance(at, int) and self._calm.points[at] == "before commit":
            at += 1
        points = Points(at, meanwhile)
        self._noted(call_with(self._place, self._file, points))
        return wrong + self._until_settled(self._file)

    def _together(self) -> list[str]:
        """Two are delivered the same file at the same time, one of them dies."""
        workers = [
            threading.Thread(target=self._deliver, args=(self._file, kill))
            for kill in (self._case.kills[0], None)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self._restarts += 1
        return self._until_settled(self._file)

    def _stepped(self) -> list[str]:
        """Prices move while the worker is dead: what had been begun is ended as it was planned."""
        self._deliver(self._file, self._case.kills[0])
        begun = [side for side in Side if self._phase(Outcome.of(self._house.broker), side)]
        self._house.step(START + _BAR)
        self._restarts += 1
        wrong = self._until_settled(self._file)
        found = Outcome.of(self._house.broker)
        for side in begun:
            ours, planned = self._phase(found, side), self._phase(self._calm.outcome, side)
            if ours != planned:
                wrong.append(f"{side.value}s begun as {planned} were ended as {ours}")
        return wrong + judge.reached(self._house.broker, self._case.weights)

    def _overtaken(self) -> list[str]:
        """A newer file comes while the worker is dead; then the older one comes again."""
        self._deliver(self._file, self._case.kills[0])
        newer = dropped(self._case.newer, START + dt.timedelta(minutes=1), 3)
        self._house.step(START + _BAR)
        self._restarts += 1
        wrong = self._until_settled(newer) + judge.reached(self._house.broker, self._case.newer)
        before = Outcome.of(self._house.broker)
        wrong += self._until_settled(self._file)
        if Outcome.of(self._house.broker) != before:
            wrong.append("the older file was traded after the newer one")
        return wrong

    def _in_parts(self) -> list[str]:
        """Orders fill in parts; the rest fills at the next bar, or the broker cancels it."""
        wrong = self._until_settled(self._file, self._case.kills, between=self._one_bar)
        if any(fault["rest"] == "cancel" for fault in self._case.faults):
            return wrong + self._no_more_than_planned()  # so often that attempts may run out
        sold = self._phase(Outcome.of(self._house.broker), Side.SELL)
        if sold != (planned := self._phase(self._calm.outcome, Side.SELL)):
            wrong.append(f"sold {sold}, planned {planned}")
        return wrong + judge.reached(self._house.broker, self._case.weights)

    def _rejected(self) -> list[str]:
        """Orders are accepted and then rejected: less may be traded, never more."""
        return self._plainly() + self._no_more_than_planned()

    def _unreadable(self) -> list[str]:
        """Answers lack fields: what cannot be read may stop a call with a DataError, and
        nothing else."""
        self._may_refuse = True
        wrong = self._plainly()
        found = Outcome.of(self._house.broker)
        return wrong + judge.against_calm(found, self._calm.outcome)

    def _closed(self) -> list[str]:
        """The session ends while the worker is dead, and the file is still fresh."""
        self._house.step(CLOSE - 2 * _BAR)
        self._file = dropped(self._case.weights, CLOSE - 2 * _BAR, 2)
        self._deliver(self._file, self._case.kills[0])
        self._house.step(CLOSE + _BAR)
        before = Outcome.of(self._house.broker)
        self._restarts += 1
        wrong = self._until_settled(self._file)
        if Outcome.of(self._house.broker) != before:
            wrong.append("it was traded after the close")
        return wrong

    def _reset(self) -> list[str]:
        """The account is replaced by a new one while the worker is dead: what was begun on the old
        one must not go on there."""
        self._deliver(self._file, self._case.kills[0])
        begun = self._was_received()
        self._house.reset()
        self._restarts += 1
        wrong = self._until_settled(self._file)
        traded = Outcome.of(self._house.broker).filled if begun else {}
        return wrong + [f"{key} was traded on another account" for key in traded]

    # Deliveries

    def _until_settled(
        self,
        delivered: Delivered,
        kills: Sequence[float | str] = (),
        between: Callable[[], None] | None = None,
    ) -> list[str]:
        """Deliver until a call returns, workers dying at `kills`; what was wrong with that."""
        left = list(kills)
        for _ in range(DELIVERIES):
            ended = self._deliver(delivered, left.pop(0) if left else None)
            if ended.how == "died":
                ended = self._deliver(delivered)  # its lease is still alive
                self._restarts += 1
            elif between is not None:
                between()
            if ended.how == "returned":
                return []
        return [f"{delivered.name} is not settled after {DELIVERIES} deliveries: {ended.detail}"]

    def _deliver(self, delivered: Delivered, kill: float | str | None = None) -> Ended:
        """One call, by a worker that dies at `kill`."""
        return self._noted(self._call(self._place, delivered, self._point(kill), self._ahead))

    def _point(self, kill: float | str | None) -> int | str | None:
        return int(kill * len(self._calm.points)) if isinstance(kill, float) else kill

    def _noted(self, ended: Ended) -> Ended:
        self._verdict.deliveries += 1
        if ended.how == "died":
            self._verdict.deaths.append(ended.detail)
        is_refusal = self._may_refuse and ended.detail.startswith("DataError:")
        if ended.how == "failed" and not is_refusal:
            self._verdict.wrong.append(f"an exception came out: {ended.detail}")
        return ended

    @property
    def _ahead(self) -> float:
        return LEASE_OVER * self._restarts

    # What is judged

    def _phase(self, found: Outcome, side: Side) -> dict[str, object]:
        return dict(found.phase(self._file.id, side))

    def _one_bar(self) -> None:
        self._house.step(self._house.market.clock.now() + _BAR)

    def _no_more_than_planned(self) -> list[str]:
        """At most the sells of the calm run; its buys too, but for costs that were not had."""
        found, planned = Outcome.of(self._house.broker).filled, self._calm.outcome.filled
        return [
            f"{key} has traded {qty}, planned {planned.get(key, 0)}"
            for key, qty in found.items()
            if qty > planned.get(key, 0) * (_COSTS if key.endswith("buy") else 1)
        ]

    def _was_received(self) -> bool:
        with Life(self._place) as life:
            return life.store.journal.allocation(self._file.id) is not None

    def _books(self) -> list[str]:
        """Our books after the reconciliation that a monitor makes every few minutes."""
        left = sum(fault["left"] or 0 for fault in self._house.faults.armed())
        asked = sum(fault["times"] or 0 for fault in self._case.faults)
        self._verdict.spoiled = asked - left
        self._house.faults.disarm()
        with Life(self._place, ahead=self._ahead) as life:
            found = reconcile(life.desk, seconds=LAG)  # the broker may still lag its last fill
            wrong = [] if found.is_equal else [f"reconciled: {found.found.message}"]
            wrong += judge.records(life.store, self._file.id)
            return wrong + judge.books(self._house.broker, life.store)

"""One case: what happens to its file, its workers and its world, and what must hold then."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from astra.execution.reconciling.reconcile import reconcile
from astra.records import Side
from benchmarks.chaos import judge
from benchmarks.chaos.house import CLOSE, START, House, dropped
from benchmarks.chaos.judge import Outcome
from benchmarks.chaos.lives import Call, Life, Place, call_with
from benchmarks.chaos.plans import EXACT, Case
from benchmarks.chaos.platform import Platform
from benchmarks.chaos.points import Points
from benchmarks.chaos.verdict import Verdict
from sandbox.orders import Mishap

LAG = 2.0  # seconds, longer than any that is armed
_COSTS = Decimal("1.01")  # far above what spread and fees of a whole turnover come to
_NONE = Decimal(0)
_BAR = dt.timedelta(minutes=5)


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
        self._file = dropped(case.weights, START, 2)
        self._may_lack = False  # whether less may be traded than in the calm run
        self._verdict = Verdict(case)
        self._platform = Platform(house, place, call, calm.points, self._verdict)

    def judged(self) -> Verdict:
        """Let it happen and judge."""
        happen: dict[str, Callable[[], list[str]]] = {
            "resumed": self._resumed,
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
        return self._platform.until_settled(self._file, self._case.kills)

    def _resumed(self) -> list[str]:
        """A worker dies, and not the file comes again: whoever resumes what is unfinished ends it,
        and when the file does come, nothing is left to be done."""
        self._platform.until_death(self._file, self._case.kills[0])
        wrong = []
        if self._was_received():
            wrong = self._platform.until_resumed()
            wrong += judge.against_calm(Outcome.of(self._house.broker), self._calm.outcome)
        return wrong + self._platform.until_settled(self._file)

    def _paused(self) -> list[str]:
        """A worker stands still for so long that another one takes over; then it goes on."""
        wrong: list[str] = []

        def meanwhile(point: str) -> None:
            self._verdict.deaths.append(f"paused {point}")
            self._platform.restart()
            wrong.extend(self._platform.until_settled(self._file))

        at = self._platform.point(self._case.kills[0])
        # One that stands still inside a transaction holds the database's lock: nobody takes over.
        if isinstance(at, int) and self._calm.points[at] == "before commit":
            at += 1
        points = Points(at, meanwhile)
        self._platform.noted(call_with(self._place, self._file, points))
        return wrong + self._platform.until_settled(self._file)

    def _together(self) -> list[str]:
        """Two are delivered the same file at the same time, one of them dies."""
        workers = [
            threading.Thread(target=self._platform.deliver, args=(self._file, kill))
            for kill in (self._case.kills[0], None)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self._platform.restart()
        return self._platform.until_settled(self._file)

    def _stepped(self) -> list[str]:
        """Prices move while the worker is dead: what had been begun is ended as it was planned."""
        self._platform.until_death(self._file, self._case.kills[0])
        begun = [side for side in Side if self._phase(Outcome.of(self._house.broker), side)]
        self._one_bar()
        self._platform.restart()
        wrong = self._platform.until_settled(self._file)
        found = Outcome.of(self._house.broker)
        for side in begun:
            ours, planned = self._phase(found, side), self._phase(self._calm.outcome, side)
            if ours != planned:
                wrong.append(f"{side.value}s begun as {planned} were ended as {ours}")
        return wrong + judge.reached(self._house.broker, self._case.weights)

    def _overtaken(self) -> list[str]:
        """A newer file comes while the worker is dead; then the older one comes again."""
        self._platform.until_death(self._file, self._case.kills[0])
        newer = dropped(self._case.newer, START + dt.timedelta(minutes=1), 3)
        self._one_bar()
        self._platform.restart()
        wrong = self._platform.until_settled(newer)
        wrong += judge.reached(self._house.broker, self._case.newer)
        before = Outcome.of(self._house.broker)
        wrong += self._platform.until_settled(self._file)
        if Outcome.of(self._house.broker) != before:
            wrong.append("the older file was traded after the newer one")
        return wrong

    def _in_parts(self) -> list[str]:
        """Orders fill in parts; the rest fills at the next bar, or the broker cancels it."""
        wrong = self._platform.until_settled(self._file, self._case.kills, between=self._one_bar)
        if any(fault["rest"] == "cancel" for fault in self._case.faults):
            return wrong + self._traded_but_for_faults()  # so often that attempts may run out
        sold = self._phase(Outcome.of(self._house.broker), Side.SELL)
        if sold != (planned := self._phase(self._calm.outcome, Side.SELL)):
            wrong.append(f"sold {sold}, planned {planned}")
        return wrong + judge.reached(self._house.broker, self._case.weights)

    def _rejected(self) -> list[str]:
        """Orders are accepted and then rejected: less may be traded, never more."""
        return self._plainly() + self._traded_but_for_faults()

    def _unreadable(self) -> list[str]:
        """Answers lack fields: what cannot be read may stop a call with a DataError, and
        nothing else."""
        self._platform.may_refuse = True
        wrong = self._plainly()
        found = Outcome.of(self._house.broker)
        return wrong + judge.against_calm(found, self._calm.outcome)

    def _closed(self) -> list[str]:
        """The session ends while the worker is dead, and the file is still fresh."""
        self._house.step(CLOSE - 2 * _BAR)
        self._file = dropped(self._case.weights, CLOSE - 2 * _BAR, 2)
        self._platform.until_death(self._file, self._case.kills[0])
        self._house.step(CLOSE + _BAR)
        before = Outcome.of(self._house.broker)
        self._platform.restart()
        wrong = self._platform.until_settled(self._file)
        if Outcome.of(self._house.broker) != before:
            wrong.append("it was traded after the close")
        return wrong

    def _reset(self) -> list[str]:
        """The account is replaced by a new one while the worker is dead: what was begun on the old
        one must not go on there."""
        self._platform.until_death(self._file, self._case.kills[0])
        begun = self._was_received()
        self._house.reset()
        self._platform.restart()
        wrong = self._platform.until_settled(self._file)
        traded = Outcome.of(self._house.broker).filled if begun else {}
        return wrong + [f"{key} was traded on another account" for key in traded]

    # What is judged

    def _phase(self, found: Outcome, side: Side) -> dict[str, object]:
        return dict(found.phase(self._file.id, side))

    def _one_bar(self) -> None:
        self._house.step(self._house.market.clock.now() + _BAR)

    def _traded_but_for_faults(self) -> list[str]:
        """Never more than in the calm run, and of a name whose orders met no fault no less; buys
        but for costs, and for cash that sells did not bring. Where prices have moved, buys are
        judged by the weights that they come to."""
        self._may_lack = True
        broker, calm = self._house.broker, self._calm.outcome
        met = {
            order.ticket.client_order_id.rpartition("-")[0]
            for order in broker.orders.values()
            if order.mishap != Mishap()
        }
        found, planned = Outcome.of(broker).filled, calm.filled
        sold = [key for key in planned if key.endswith("sell")]
        is_paid = all(found.get(key) == planned[key] for key in sold)
        has_moved = self._house.market.clock.now() != START
        wrong = []
        for key in sorted(found.keys() | planned.keys()):
            qty, due = found.get(key, _NONE), planned.get(key, _NONE)
            costs = Decimal(1)
            if key.endswith("buy"):
                if has_moved:
                    continue
                costs = _COSTS
            if qty > due * costs:
                wrong.append(f"{key} has traded {qty}, planned {due}")
            if key not in met and qty < due / costs and (is_paid or key in sold):
                wrong.append(f"{key} met no fault and traded {qty} only, planned {due}")
        if has_moved and is_paid:
            short = {key.split("-")[1] for key in met}
            wrong += judge.reached(broker, self._case.weights, short)
        return wrong

    def _was_received(self) -> bool:
        with Life(self._place) as life:
            return life.store.journal.allocation(self._file.id) is not None

    def _books(self) -> list[str]:
        """Our books after the reconciliation that a monitor makes every few minutes."""
        left = sum(fault["left"] or 0 for fault in self._house.faults.armed())
        asked = sum(fault["times"] or 0 for fault in self._case.faults)
        self._verdict.spoiled = asked - left
        self._house.faults.disarm()
        with Life(self._place, ahead=self._platform.ahead) as life:
            found = reconcile(life.desk, seconds=LAG)  # the broker may still lag its last fill
            wrong = [] if found.is_equal else [f"reconciled: {found.found.message}"]
            wrong += judge.records(life.store, self._file.id)
            if self._may_lack:
                now, calm = Outcome.of(self._house.broker), self._calm.outcome
                wrong += judge.unexplained(life.store, self._file.id, now, calm)
            return wrong + judge.books(self._house.broker, life.store)

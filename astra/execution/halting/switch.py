"""One throw of the switch: what a state forbids is cancelled at the broker and looked for.

Who throws it stands in `halt.py`, how its state is lifted in `lift.py`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from dataclasses import dataclass

from astra.errors import AstraError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Exit
from astra.execution.halting.cancelling import cancel, cancelled, forbidden, looks
from astra.records import Order, OrderStatus, TradingState
from astra.store.states import StateRow


@dataclass(frozen=True, slots=True)
class Halted:
    """What became of a halt. Orders are named by their client's id.

    Attributes:
        state, reason: what stands now; stricter than asked for if it was so before.
        was: the state before.
        cancelled: open orders that are cancelled now.
        still_open: those that the state forbids and the broker had open at the last look.
        under_way: those that had left and of which the broker knew nothing yet.
        is_confirmed: the broker was asked, and neither of the two is left.
        seconds: wall time it took.
        problem: why the broker could not be asked, or the state not written; "" if neither.
        is_written: the state stands in the database, so that nothing more leaves.
    """

    account: str
    state: TradingState
    reason: str
    was: TradingState
    cancelled: tuple[str, ...]
    still_open: tuple[str, ...]
    under_way: tuple[str, ...]
    is_confirmed: bool
    seconds: float
    problem: str = ""
    is_written: bool = True

    @property
    def message(self) -> str:
        """One sentence for a person."""
        open_ones = f"{len(self.still_open)} orders open, {len(self.under_way)} under way"
        if not self.is_written:
            return (
                f"account {self.account}: {len(self.cancelled)} orders were cancelled at the "
                f"broker ({open_ones}), but {self.state.value} is NOT written down "
                f"({self.problem}): trading goes on when that is over, halt again"
            )
        head = f"account {self.account} is {self.state.value}"
        if self.is_confirmed:
            return (
                f"{head}: the broker confirms that nothing it forbids is open, "
                f"{len(self.cancelled)} orders were cancelled, after {self.seconds:.1f} s"
            )
        why = self.problem or open_ones
        return f"{head}, but the broker has not confirmed it ({why}): ask again, or look there"


class Switch:
    """One halt under way: `write` the state, then `sweep`. It never weakens a stricter state.

    Once the broker has confirmed it, orders that are not ours are left alone.
    """

    def __init__(self, desk: Desk, state: TradingState, reason: str, by: str) -> None:
        self._desk = desk
        self._asked_for = (state, reason, by)
        self._row: StateRow | None = None
        self._was = TradingState.ACTIVE
        self._is_at_broker = False
        self._was_confirmed = False
        self._began = time.monotonic()
        self._cancelling: dict[str, Order] = {}
        self._open: list[Order] = []
        self._under_way: list[str] = []

    @classmethod
    def of(cls, desk: Desk, row: StateRow) -> Switch:
        """One that was thrown before."""
        switch = cls(desk, row.state, row.reason, row.changed_by)
        switch._row, switch._was, switch._is_at_broker = row, row.state, True
        switch._was_confirmed = desk.store.states.is_confirmed(row.account)
        return switch

    def write(self) -> None:
        """The state, for the account traded last: the broker may be slow to name it."""
        if known := self._desk.store.states.last_account():
            account, at = known
            self._set(account, max(at, self._desk.store.now() or at))

    def sweep(self, seconds: float) -> Halted:
        """Cancel and look, again and again, until nothing is left or `seconds` are over."""
        is_clear, problem = False, ""
        for elapsed in looks(self._began, seconds):
            problem = self._pass(elapsed)
            is_clear = not (problem or self._open or self._under_way)
            if is_clear:
                break
        if is_clear and not self._was_confirmed:
            self._note()
        return self._ended(is_clear, problem)

    def _set(self, account: str, at: dt.datetime) -> None:
        states = self._desk.store.states
        self._was = states.set(account, *self._asked_for, at).state
        self._row = states.get(account)

    def _pass(self, elapsed: float) -> str:
        """Cancel what is open and note what is left; the problem, if the broker has one."""
        try:
            if not self._is_at_broker:
                self._meet()
            sending = self._sending()  # before the look: what is noted as arrived by then is seen
            self._open, self._under_way = self._forbidden(), []
            for order_id in sending - {order.client_order_id for order in self._open}:
                self._look_up(order_id, elapsed)
            if self._open:
                self._cancel()
        except AstraError as error:
            if not self._leaves_others:  # blindly, as the look has failed
                with contextlib.suppress(AstraError):
                    Exit(self._desk.broker).cancel_all()
            return str(error)
        return ""

    def _meet(self) -> None:
        """Write the state for the account that the broker has, if it is another."""
        account = self._desk.broker.account().number
        if self._row is None or self._row.account != account:
            self._set(account, self._desk.broker.clock().now)
        self._is_at_broker = True

    def _forbidden(self) -> list[Order]:
        """The broker's open orders that the state does not allow."""
        return forbidden(self._desk.broker, self._state, self._leaves_others)

    def _cancel(self) -> None:
        self._cancelling |= {order.id: order for order in self._open}
        cancel(self._desk.broker, self._open if self._leaves_others else None)

    def _sending(self) -> set[str]:
        """Journaled orders that the state forbids and that have left, outcome unknown."""
        journal = self._desk.store.journal
        account = self._row.account if self._row else ""
        return {
            order.id
            for allocation in journal.open_allocations(account)
            for order in journal.orders(allocation.id)
            if order.status is OrderStatus.SENDING and not self._state.allows(order.side)
        }

    def _look_up(self, order_id: str, elapsed: float) -> None:
        """Nothing has left since the state was written, so that an order which has not arrived in
        the time that a request may take never will."""
        found = self._desk.broker.order(order_id)
        if found is None and elapsed < self._desk.doubt_seconds:
            self._under_way.append(order_id)
        elif found is not None and not found.status.is_final:
            self._open.append(found)

    def _note(self) -> None:
        """That it is confirmed; without the note the next look cancels everything once more."""
        heard = self._desk.broker.trading.now
        if self._row is not None and (at := heard or self._row.since) is not None:
            with contextlib.suppress(AstraError):
                self._desk.store.states.confirm(self._row.account, at)

    @property
    def _leaves_others(self) -> bool:
        return self._was_confirmed or self._state is not TradingState.HALTED

    @property
    def _state(self) -> TradingState:
        """What stands, which may be stricter than what was asked for."""
        return self._row.state if self._row else self._asked_for[0]

    def _ended(self, is_clear: bool, problem: str) -> Halted:
        if self._row is None:
            raise TemporaryError(
                f"the account's number is required to halt it, none has been traded yet and the "
                f"broker does not answer: nothing was written, try again ({problem})"
            )
        return Halted(
            account=self._row.account,
            state=self._row.state,
            reason=self._row.reason,
            was=self._was,
            cancelled=cancelled(self._desk.broker, self._cancelling),
            still_open=tuple(order.client_order_id for order in self._open),
            under_way=tuple(self._under_way),
            is_confirmed=is_clear,
            seconds=time.monotonic() - self._began,
            problem=problem,
        )

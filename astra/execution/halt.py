"""Stops an account, and lets it go on: the switch that a person or a breaker throws.

The state is written before the broker is asked anything, so that it stands whatever fails after it
and nothing more leaves through the door; cancelling and looking may be repeated at any time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import secrets
import time
from dataclasses import dataclass

from astra.breakers import beyond, raised, tripped
from astra.errors import AstraError, DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.standing import standing
from astra.records import Account, Order, OrderStatus, TradingState
from astra.store.states import StateRow

log = logging.getLogger("astra.execution.halt")

OFFER_SECONDS = 600.0  # how long the code that lifts a state is good for
BREAKER_SECONDS = 2.0  # that a breaker looks at the broker; the next look goes on
_PAUSES = (0.05, 0.5)  # first and longest pause between two looks at the broker
_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none that are mistaken for one another


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
        problem: why the broker could not be asked, "" if it answered.
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

    @property
    def message(self) -> str:
        """One sentence for a person."""
        head = f"account {self.account} is {self.state.value}"
        if self.is_confirmed:
            return (
                f"{head}: the broker confirms that nothing it forbids is open, "
                f"{len(self.cancelled)} orders were cancelled, after {self.seconds:.1f} s"
            )
        open_ones = f"{len(self.still_open)} orders open, {len(self.under_way)} under way"
        why = self.problem or open_ones
        return f"{head}, but the broker has not confirmed it ({why}): ask again, or look there"


@dataclass(frozen=True, slots=True)
class Offer:
    """The first step of lifting: what is lifted, and the code for the second. `code` is "" where
    there is nothing to lift."""

    account: str
    state: TradingState
    reason: str
    by: str
    since: dt.datetime | None
    code: str
    unfinished: tuple[str, ...]

    @property
    def message(self) -> str:
        """What a person has to know before the second step."""
        if not self.code:
            return f"account {self.account} is {self.state.value}: there is nothing to lift"
        since = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return (
            f"account {self.account} is {self.state.value}{since} (by {self.by}: {self.reason}); "
            f"lifted it may buy and sell again{_left(self.unfinished)}; to lift it: "
            f"astra lift {self.code} within ten minutes"
        )


@dataclass(frozen=True, slots=True)
class Lifted:
    """The account is ACTIVE. `unfinished` are the half-done allocations, which do not go on by
    themselves."""

    account: str
    was: TradingState
    unfinished: tuple[str, ...]

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return f"account {self.account} was {self.was.value} and is ACTIVE{_left(self.unfinished)}"


def halt(
    desk: Desk, state: TradingState, reason: str, by: str, seconds: float | None = None
) -> Halted:
    """Write the state, cancel what it forbids, and look until the broker has none of it open.

    HALTED cancels every open order of the account, also one that is not ours; REDUCING our open
    purchases. A stricter state stays. While the broker does not answer, the state stands for the
    account that was traded last, unconfirmed.

    Args:
        seconds: of wall time to look at most; by default as long as an order that has left may
            still be on its way.

    Raises:
        DataError: ACTIVE is asked for, which is `lift`'s.
        TemporaryError: no account has been traded yet and the broker does not answer: nothing was
            written.
    """
    if state is TradingState.ACTIVE:
        raise DataError("REDUCING or HALTED is required, found ACTIVE: that takes `lift`")
    switch = _Switch(desk, state, reason, by)
    switch.write()
    ended = switch.sweep(desk.doubt_seconds if seconds is None else seconds)
    level = logging.WARNING if ended.is_confirmed else logging.ERROR
    log.log(level, "alarm=halt state=%s by=%s reason=%s confirmed=%s message=%s",
            ended.state.value, by, reason, ended.is_confirmed, ended.message)  # fmt: skip
    return ended


def offer_lift(desk: Desk) -> Offer:
    """The first of two steps: what would be lifted, and a code that does it within ten minutes.

    Raises:
        TemporaryError: the broker does not say which account it is.
    """
    row = desk.store.states.get(desk.broker.account().number)
    code = ""
    if row.state is not TradingState.ACTIVE:
        code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        desk.store.states.offer_lift(row.account, code, time.time() + OFFER_SECONDS)
    unfinished = _unfinished(desk, row.account)
    return Offer(row.account, row.state, row.reason, row.changed_by, row.since, code, unfinished)


def lift(desk: Desk, code: str, by: str) -> Lifted:
    """The second step: the account may trade again. A half-done allocation is left as it is.

    The figures that are beyond the breakers' limits now are accepted for the rest of the day.

    Raises:
        DataError: the code is wrong, was used, or is older than ten minutes; nothing has changed.
        TemporaryError: the broker does not say which account it is.
    """
    account, now = desk.broker.account(), desk.broker.clock().now
    states = desk.store.states
    accepted = beyond(_figures(desk, account, now), desk.limits)
    before = states.lift(account.number, code.strip().upper(), time.time(), accepted, by, now)
    if before is None:
        state = states.get(account.number).state.value
        raise DataError(
            f"the code offered for account {account.number} in the last ten minutes is required, "
            f"found another, a used or an old one: it stays {state}, ask for a new code"
        )
    log.warning("alarm=lifted account=%s was=%s by=%s", before.account, before.state.value, by)
    return Lifted(before.account, before.state, _unfinished(desk, before.account))


def trip(desk: Desk) -> str | None:
    """Let the breakers look at the account; where it is stopped already, cancel what is open.

    A breaker makes a state only stricter, and does not trip again at figures that a person has
    accepted on the same day by lifting, see `astra.breakers.raised`.

    Returns: why it was stopped now, or None.

    Raises:
        TemporaryError: the broker does not answer.
    """
    account, now = desk.broker.account(), desk.broker.clock().now
    row = desk.store.states.get(account.number)
    limits = raised(desk.limits, row.accepted, row.since, now)
    found = tripped(_figures(desk, account, now), limits)
    if found is not None and found.state.is_stricter_than(row.state):
        halt(desk, found.state, found.reason, "breaker", seconds=BREAKER_SECONDS)
        return found.reason
    if row.state is not TradingState.ACTIVE:
        confirm(desk, row)
    return None


def confirm(desk: Desk, row: StateRow) -> Halted:
    """Cancel once more what a state forbids, and look once."""
    ended = _Switch.of(desk, row).sweep(0.0)
    if not ended.is_confirmed:
        log.error("alarm=halt-unconfirmed message=%s", ended.message)
    return ended


class _Switch:
    """One halt under way."""

    def __init__(self, desk: Desk, state: TradingState, reason: str, by: str) -> None:
        self._desk = desk
        self._asked_for = (state, reason, by)
        self._row: StateRow | None = None
        self._was = TradingState.ACTIVE
        self._is_at_broker = False
        self._began = time.monotonic()
        self._cancelling: dict[str, Order] = {}
        self._open: list[Order] = []
        self._under_way: list[str] = []

    @classmethod
    def of(cls, desk: Desk, row: StateRow) -> _Switch:
        """One that was thrown before."""
        switch = cls(desk, row.state, row.reason, row.changed_by)
        switch._row, switch._was, switch._is_at_broker = row, row.state, True
        return switch

    def write(self) -> None:
        """The state, for the account traded last: the broker may be slow to name it."""
        if known := self._desk.store.states.last_account():
            account, at = known
            self._set(account, max(at, self._desk.store.now() or at))

    def sweep(self, seconds: float) -> Halted:
        """Cancel and look, again and again, until nothing is left or `seconds` are over."""
        pause, longest = _PAUSES
        while True:
            elapsed = time.monotonic() - self._began
            problem = self._pass(elapsed)
            is_clear = not (problem or self._open or self._under_way)
            if is_clear or elapsed >= seconds:
                return self._ended(is_clear, problem)
            time.sleep(min(pause, max(0.0, seconds - elapsed)))
            pause = min(2 * pause, longest)

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
            if self._asked_for[0] is TradingState.HALTED:  # blindly, as the look has failed
                with contextlib.suppress(AstraError):
                    Door(self._desk).cancel_all()
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
        found = self._desk.broker.orders("open")
        if self._state is TradingState.HALTED:
            return list(found)
        return [o for o in found if not self._state.allows(o.side) and self._is_ours(o)]

    def _is_ours(self, order: Order) -> bool:
        allocation_id = order.client_order_id.split("-", 1)[0]
        return self._desk.store.journal.allocation(allocation_id) is not None

    def _cancel(self) -> None:
        self._cancelling |= {order.id: order for order in self._open}
        door = Door(self._desk)
        if self._state is TradingState.HALTED:
            door.cancel_all()
            return
        for order in self._open:
            door.cancel(order.id)

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
            cancelled=self._cancelled(),
            still_open=tuple(order.client_order_id for order in self._open),
            under_way=tuple(self._under_way),
            is_confirmed=is_clear,
            seconds=time.monotonic() - self._began,
            problem=problem,
        )

    def _cancelled(self) -> tuple[str, ...]:
        """Of the orders that were asked to go those that did; others may have filled before."""
        if not self._cancelling:
            return ()
        times = [order.submitted_at for order in self._cancelling.values()]
        known = [t for t in times if t is not None]
        after = min(known) - dt.timedelta(seconds=1) if len(known) == len(times) else None
        with contextlib.suppress(AstraError):
            return tuple(
                order.client_order_id
                for order in self._desk.broker.orders("all", after)
                if order.id in self._cancelling and order.status is OrderStatus.CANCELED
            )
        return ()


def _figures(desk: Desk, account: Account, now: dt.datetime) -> dict[str, float | None]:
    """What the breakers hold against their limits."""
    found = standing(desk, account, now)
    return {
        "daily_loss": None if found.day_return is None else -found.day_return,
        "drawdown": found.drawdown,
        "reject_rate": found.reject_rate,
    }


def _left(unfinished: tuple[str, ...]) -> str:
    """What lifting does not do by itself."""
    if not unfinished:
        return ", no allocation is half done"
    return f", half done and left to the next resume: {', '.join(unfinished)}"


def _unfinished(desk: Desk, account: str) -> tuple[str, ...]:
    return tuple(row.object for row in desk.store.journal.open_allocations(account))

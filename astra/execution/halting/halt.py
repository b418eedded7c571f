"""Stops an account, and lets it go on: the switch that a person or a breaker throws.

The state is written before the broker is asked anything, so that it stands whatever fails after it
and nothing more leaves through the door; cancelling and looking may be repeated at any time.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from dataclasses import dataclass

from astra.breakers import beyond, raised, still_accepted, tripped
from astra.errors import AstraError, DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.figures import Figures, figures_of
from astra.execution.halting.blind import halt_without_books
from astra.execution.halting.switch import Halted, Switch
from astra.records import TradingState
from astra.store.states import StateRow

log = logging.getLogger("astra.execution.halting.halt")

OFFER_SECONDS = 600.0  # how long the code that lifts a state is good for
BREAKER_SECONDS = 2.0  # that a breaker looks at the broker; the next look goes on
_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none that are mistaken for one another


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
    account that was traded last, unconfirmed; while the database does not, orders are cancelled all
    the same, see `halt_without_books`.

    Args:
        seconds: of wall time to look at most; by default as long as an order that has left may
            still be on its way.

    Raises:
        DataError: ACTIVE is asked for, which is `lift`'s.
        TemporaryError: nothing could be written, and the broker does not answer either.
    """
    if state is TradingState.ACTIVE:
        raise DataError("REDUCING or HALTED is required, found ACTIVE: that takes `lift`")
    switch = Switch(desk, state, reason, by)
    limit = desk.doubt_seconds if seconds is None else seconds
    began = time.monotonic()
    try:
        switch.write()
        ended = switch.sweep(limit)
    except AstraError as error:
        limit -= time.monotonic() - began
        ended = halt_without_books(desk.broker, state, reason, str(error), limit)
    level = logging.WARNING if ended.is_confirmed else logging.ERROR
    log.log(level, "alarm=halt state=%s by=%s reason=%s confirmed=%s message=%s",
            ended.state.value, by, reason, ended.is_confirmed, ended.message)  # fmt: skip
    return ended


def offer_lift(desk: Desk, by: str) -> Offer:
    """The first of two steps: what would be lifted, and a code that does it within ten minutes.

    Raises:
        TemporaryError: the broker does not say which account it is or what time, or the state
            changed just now.
    """
    row = desk.store.states.get(desk.broker.account().number)
    code = ""
    if row.state is not TradingState.ACTIVE:
        code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        until, now = time.time() + OFFER_SECONDS, desk.broker.clock().now
        if not desk.store.states.offer_lift(row, code, until, by, now):
            raise TemporaryError(
                f"the state of account {row.account} has to stand still to be lifted, it has just "
                "changed: ask for a new code and read what it is now"
            )
    unfinished = _unfinished(desk, row.account)
    return Offer(row.account, row.state, row.reason, row.changed_by, row.since, code, unfinished)


def lift(desk: Desk, code: str, by: str) -> Lifted:
    """The second step: the account may trade again. A half-done allocation is left as it is.

    The figures that are beyond the breakers' limits now are accepted, see `astra.breakers`,
    and what was accepted before stays so.

    Raises:
        DataError: the code is wrong, was used, or is older than ten minutes; nothing has changed.
        TemporaryError: the broker does not say which account it is.
    """
    account, now = desk.broker.account(), desk.broker.clock().now
    states = desk.store.states
    row, found = states.get(account.number), figures_of(desk, account, now)
    accepted = still_accepted(row.accepted, row.accepted_at, now, found.peak_at)
    for name, value in beyond(_for_breakers(found), desk.limits).items():
        accepted[name] = max(value, accepted.get(name, value))
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
    accepted by lifting, see `astra.breakers.raised`.

    Returns: why it was stopped now, or None.

    Raises:
        TemporaryError: the broker does not answer.
    """
    account, now = desk.broker.account(), desk.broker.clock().now
    row = desk.store.states.get(account.number)
    figures = figures_of(desk, account, now)
    limits = raised(desk.limits, row.accepted, row.accepted_at, now, figures.peak_at)
    found = tripped(_for_breakers(figures), limits)
    if found is not None and found.state.is_stricter_than(row.state):
        halt(desk, found.state, found.reason, "breaker", seconds=BREAKER_SECONDS)
        return found.reason
    if row.state is not TradingState.ACTIVE:
        confirm(desk, row)
    return None


def confirm(desk: Desk, row: StateRow) -> Halted:
    """Cancel once more what a state forbids, and look once; of orders that are not ours only while
    the broker has not confirmed the halt."""
    ended = Switch.of(desk, row).sweep(0.0)
    if not ended.is_confirmed:
        log.error("alarm=halt-unconfirmed message=%s", ended.message)
    return ended


def _for_breakers(found: Figures) -> dict[str, float | None]:
    """What the breakers hold against their limits."""
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

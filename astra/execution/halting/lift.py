"""Lets a stopped account go on, in two deliberate steps: a code is asked for, then given.

Whoever lifts accepts the figures that stopped it, see `astra.breakers`. Nothing is sent from here.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from dataclasses import dataclass

from astra.breakers import accepted_by_lifting, still_accepted
from astra.errors import DataError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.figures import figures_of
from astra.records import TradingState

log = logging.getLogger("astra.execution.halting")

OFFER_SECONDS = 600.0  # how long the code that lifts a state is good for
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
    earlier = still_accepted(row.accepted, row.accepted_at, now, found.peak_at)
    accepted = accepted_by_lifting(found.of_breakers, desk.limits, earlier)
    given = code.encode("ascii", "ignore").decode().strip().upper()
    before = states.lift(account.number, given, time.time(), accepted, by, now)
    if before is None:
        state = states.get(account.number).state.value
        raise DataError(
            f"the code offered for account {account.number} in the last ten minutes is required, "
            f"found another, a used or an old one: it stays {state}, ask for a new code"
        )
    log.warning("alarm=lifted account=%s was=%s by=%s", before.account, before.state.value, by)
    return Lifted(before.account, before.state, _unfinished(desk, before.account))


def _left(unfinished: tuple[str, ...]) -> str:
    """What lifting does not do by itself."""
    if not unfinished:
        return ", no allocation is half done"
    return f", half done and left to the next resume: {', '.join(unfinished)}"


def _unfinished(desk: Desk, account: str) -> tuple[str, ...]:
    return tuple(row.object for row in desk.store.journal.open_allocations(account))

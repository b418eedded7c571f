"""The breakers at work: an account whose losses or rejects are beyond their limits stops itself.

The rules are `astra.breakers`'; here the figures are gathered and what they say is done.
"""

from __future__ import annotations

import logging

from astra.breakers import raised, tripped
from astra.execution.desk import Desk
from astra.execution.figures import figures_of
from astra.execution.halting.halt import halt
from astra.execution.halting.switch import Switch
from astra.records import TradingState
from astra.store.states import StateRow

log = logging.getLogger("astra.execution.halting")

SECONDS = 2.0  # that a breaker looks at the broker; the next look goes on


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
    found = tripped(figures.of_breakers, limits)
    if found is not None and found.state.is_stricter_than(row.state):
        halt(desk, found.state, found.reason, "breaker", seconds=SECONDS)
        return found.reason
    if row.state is not TradingState.ACTIVE:
        _confirm(desk, row)
    return None


def _confirm(desk: Desk, row: StateRow) -> None:
    """Cancel once more what a state forbids, and look once; of orders that are not ours only while
    the broker has not confirmed the halt."""
    ended = Switch.of(desk, row).sweep(0.0)
    if not ended.is_confirmed:
        log.error("alarm=halt-unconfirmed message=%s", ended.message)

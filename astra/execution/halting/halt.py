"""Stops an account: the switch that a person, a breaker or the reconciliation throws.

The state is written before the broker is asked anything, so that it stands whatever fails after it
and nothing more leaves through the door; cancelling and looking may be repeated at any time.
"""

from __future__ import annotations

import logging
import time

from astra.errors import AstraError, DataError
from astra.execution.desk import Desk
from astra.execution.halting.blind import halt_without_books
from astra.execution.halting.switch import Halted, Switch
from astra.records import TradingState

log = logging.getLogger("astra.execution.halting")

_LONGEST_REASON = 500


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
    reason = "".join(filter(str.isprintable, reason)).strip()[:_LONGEST_REASON]  # or none keeps it
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

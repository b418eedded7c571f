"""Holds our books and the journal against the broker, which is right.

All activities of the account, replayed, must come to its cash and positions, and each order's fills
to what the journal says of it. Orders, fills, positions and cash may each lag the others by
seconds, so a difference counts only when it stays. An answer that is missing stops with an error,
one that is empty is a difference: nothing is ever taken for flat.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from astra.errors import AstraError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.halting.halt import halt
from astra.execution.order_id import is_ours
from astra.execution.reconciling.agreement import (
    InTransit,
    beyond,
    filled_by_order,
    overfilled,
)
from astra.execution.reconciling.booking import book
from astra.execution.reconciling.look import BRIEF, LONG, Look, look_at
from astra.execution.waiting import pauses
from astra.ledger import Differences, less
from astra.records import Account, Position, TradingState
from astra.store.journal import ExecutionReport
from astra.store.reconciliations import Reconciliation

log = logging.getLogger("astra.execution.reconciling.reconcile")

_REMEMBERED = dt.timedelta(days=30)
_TOLD_WITHIN = dt.timedelta(minutes=5)  # of the market: so late may the record tell a fill of ours
_SHOWN = 8  # differences named in a message


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How books and journal stand, see `astra.store.reconciliations.Reconciliation`.

    Attributes:
        account, positions: the broker's, as the last look found and compared them.
        new: activities that were not known before.
        halted: whether this difference has halted the account now.
    """

    found: Reconciliation
    account: Account
    positions: tuple[Position, ...]
    new: int
    halted: bool = False

    @property
    def status(self) -> str:
        return self.found.status

    @property
    def is_equal(self) -> bool:
        """Whether our books are the broker's now."""
        return self.found.status != "differs"


def reconcile(
    desk: Desk, seconds: float = 0.0, keep: Callable[[], None] = lambda: None
) -> Reconciled:
    """Bring the record up to date and hold books and journal against the broker.

    What differs is looked at again until it is equal or `seconds` of wall time are over; the
    difference that was found last time is not waited for. Then it is recorded and alarmed, and
    above the desk's limit the account is halted. Not counted there is what a person has seen and
    lifted a halt at, what orders under way may have moved, and for some minutes fills of ours that
    the record does not tell yet.

    Args:
        keep: called after each look, for who holds a lease meanwhile.

    Raises:
        TemporaryError: the broker or the store does not answer: nothing is known. What the record
            has told until then stays in the books.
    """
    deadline = time.monotonic() + seconds
    waits = pauses()
    look = look_at(desk, BRIEF)
    new = look.new
    while not (look.is_equal or look.is_known) and time.monotonic() < deadline:
        time.sleep(min(next(waits), max(0.0, deadline - time.monotonic())))
        keep()
        look = look_at(desk, BRIEF)
        new += look.new
    keep()
    if not look.is_equal:
        look = look_at(desk, LONG)
        new += look.new
        keep()
    booked = "" if look.differences.are_none else book(desk, look)
    if booked:
        look = look_at(desk, BRIEF)
    return _conclude(desk, look, new, booked)


def duplicates(desk: Desk, account: str) -> int:
    """How often more was traded than planned: of the last 30 days the lines of plans that were
    overfilled, and of the last reconciliation the orders that bear an id of ours and are in no
    journal."""
    last = desk.store.reconciliations.latest(account)
    since = None if last is None else last.at - _REMEMBERED
    journaled = desk.store.journal.orders_to_reconcile(account, since)
    filled = filled_by_order(desk.store.books.activities(account, since))
    strange = {} if last is None else last.order_diffs
    known = {order.id for order in journaled}
    return len(overfilled(journaled, filled)) + sum(is_ours(i) and i not in known for i in strange)


def _conclude(desk: Desk, look: Look, new: int, booked: str) -> Reconciled:
    """Correct the journal, write down how it stands, and halt where that is called for."""
    corrected = _correct(desk, look)
    status = "explained" if corrected or booked else "equal"
    if not look.is_equal:
        status = "differs"
    prices = _prices(desk, look)
    found = Reconciliation(
        account=look.account.number,
        at=look.at,
        status=status,
        cash_diff=look.differences.cash,
        share_diffs=look.differences.shares,
        order_diffs={**corrected, **look.unexplained},
        value_diff=_value(look, look.differences, prices),
    )
    found = replace(found, message=_message(found, booked))
    is_to_halt = _is_to_halt(desk, look, found, prices)
    desk.store.reconciliations.record(found)
    if status == "differs":
        log.error("alarm=books-differ account=%s message=%s", found.account, found.message)
    if is_to_halt:
        halt(desk, TradingState.HALTED, found.message, "reconciliation")
    return Reconciled(found, look.account, look.positions, new, is_to_halt)


def _correct(desk: Desk, look: Look) -> dict[str, str]:
    """Make the journal's orders what the broker says; cancel what nobody waits for any more."""
    told = {}
    for order in look.orders.corrected:
        text = f"{order.status.value} at the broker, {order.filled_qty:f} {order.symbol} filled"
        if not order.status.is_final:
            Door(desk).cancel(order.id)
            text += ": it came too late and was cancelled"
        done = desk.store.journal.correct(ExecutionReport.of(order, look.at, text))
        if done is None:
            continue  # a worker was just noting it
        told[order.client_order_id] = text
        log.warning("alarm=order-corrected order=%s text=%s", order.client_order_id, text)
    return told


def _prices(desk: Desk, look: Look) -> dict[str, float]:
    """USD of a share of what differs, as far as a price is known."""
    prices = {p.symbol: p.market_price for p in look.positions if math.isfinite(p.market_price)}
    if lacking := look.differences.shares.keys() - prices.keys():
        with contextlib.suppress(AstraError):
            prices |= desk.broker.latest_prices(lacking)
    return prices


def _value(look: Look, found: Differences, prices: Mapping[str, float]) -> float:
    """USD of all differences; shares of which no price is known count as the whole equity."""
    equity = abs(float(look.account.equity))
    value = sum(
        float(abs(qty)) * prices[s] if s in prices else equity for s, qty in found.shares.items()
    )
    return float(abs(found.cash)) + value


def _is_to_halt(desk: Desk, look: Look, found: Reconciliation, prices: Mapping[str, float]) -> bool:
    """Whether too much differs, beyond what was seen and lifted and what trades explain."""
    state = desk.store.states.get(found.account)
    if found.status != "differs" or state.state is TradingState.HALTED:
        return False
    left = look.differences
    if state.state is TradingState.ACTIVE and state.since is not None:
        seen = desk.store.reconciliations.latest(found.account, state.since)
        if seen is not None and seen.status == "differs":
            left = less(left, seen.differences)
    left = beyond(left, (*look.orders.under_way, *_late(desk, look)))
    limit = desk.max_books_difference * float(look.account.equity)
    return _value(look, left, prices) > limit


def _late(desk: Desk, look: Look) -> list[InTransit]:
    """Fills that the record does not tell, but for those that it did not tell minutes ago."""
    before = desk.store.reconciliations.latest(look.account.number, look.at - _TOLD_WITHIN)
    old = {} if before is None or before.status != "differs" else before.order_diffs
    return [fill for fill in look.orders.untold if fill.id not in old]


def _message(found: Reconciliation, booked: str) -> str:
    if found.status == "equal":
        return "our books equal the broker's to the cent and the share"
    parts = [booked] if booked else []
    parts += [f"cash by {found.cash_diff:+.2f} USD"] if found.cash_diff else []
    parts += [f"{symbol} by {qty:+f} shares" for symbol, qty in found.share_diffs.items()]
    parts += [f"order {i}: {text}" for i, text in found.order_diffs.items()]
    listed = "; ".join(parts[:_SHOWN]) + (f"; {len(parts) - _SHOWN} more" * (len(parts) > _SHOWN))
    if found.status == "explained":
        return f"our books equal the broker's, once corrected: {listed}"
    return (
        f"our books must equal the broker's, which is right, and differ by "
        f"{found.value_diff:.2f} USD: {listed}; look at its activities"
    )

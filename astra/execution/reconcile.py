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
from dataclasses import dataclass, replace

from astra.errors import AstraError, DataError, TemporaryError
from astra.execution.agreement import (
    Orders,
    compare_orders,
    filled_by_order,
    is_ours,
    is_under_way,
    overfilled,
)
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.halt import halt
from astra.ledger import Differences, compare, opening, reversal, untold
from astra.records import Account, Activity, Order, Position, TradingState
from astra.store.journal import OrderRow
from astra.store.reconciliations import Reconciliation

log = logging.getLogger("astra.execution.reconcile")

_PAUSES = (0.05, 1.0)  # first and longest pause between two looks
# How far before what is known the record is asked for: fills of one moment may appear one by one,
# fees and dividends days later.
BRIEF, _LONG = dt.timedelta(minutes=1), dt.timedelta(days=10)
OVERLAP = dt.timedelta(days=2)
# Orders are compared again for so long after they were; one may be sent so long after its planning.
_SINCE_LAST, _PLANNED_BEFORE = dt.timedelta(hours=1), dt.timedelta(days=1)
_REMEMBERED = dt.timedelta(days=30)
_SHOWN = 8  # differences named in a message


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How books and journal stand, see `astra.store.reconciliations.Reconciliation`.

    Attributes:
        new: activities that were not known before.
        halted: whether this difference has halted the account now.
    """

    found: Reconciliation
    new: int
    halted: bool = False

    @property
    def status(self) -> str:
        return self.found.status

    @property
    def is_equal(self) -> bool:
        """Whether our books are the broker's now."""
        return self.found.status != "differs"


def reconcile(desk: Desk, seconds: float = 0.0) -> Reconciled:
    """Bring the record up to date and hold books and journal against the broker.

    What differs is looked at again until it is equal or `seconds` of wall time are over, or at once
    no more if it is the difference found last time. Then it is recorded and alarmed, and above the
    desk's limit the account is halted, unless orders are still under way or a person has lifted a
    halt at this very difference.

    Raises:
        TemporaryError: the broker or the store does not answer: nothing is known, nothing was
            changed.
    """
    deadline = time.monotonic() + seconds
    pause, longest = _PAUSES
    look = _look(desk, BRIEF)
    new = look.new
    while not (look.is_equal or look.is_known) and time.monotonic() < deadline:
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, longest)
        look = _look(desk, BRIEF)
        new += look.new
    if not look.is_equal:
        look = _look(desk, _LONG)
        new += look.new
    booked = "" if look.differences.are_none else _book(desk, look)
    if booked:
        look = _look(desk, BRIEF)
    return _conclude(desk, look, new, booked)


def duplicates(desk: Desk, account: str) -> int:
    """How often more was filled than planned, of what was planned within the last 30 days: lines of
    plans that were overfilled, and filled orders of ours that the journal does not know."""
    last = desk.store.reconciliations.latest(account)
    since = None if last is None else last.at - _REMEMBERED
    journaled = desk.store.reconciliations.orders(account, since)
    filled = filled_by_order(desk.store.books.activities(account, since))
    strange = {} if last is None else last.order_diffs
    known = {order.id for order in journaled}
    return len(overfilled(journaled, filled)) + sum(is_ours(i) and i not in known for i in strange)


def catch_up(desk: Desk, account: str, overlap: dt.timedelta = OVERLAP) -> int:
    """Add the activities that are not known yet, from `overlap` before the last; their number."""
    return desk.store.books.record_activities(account, _missed(desk, account, overlap))


@dataclass(frozen=True, slots=True)
class _Look:
    """Books, journal and broker at one moment."""

    account: Account
    at: dt.datetime
    positions: tuple[Position, ...]
    differences: Differences
    orders: Orders
    is_under_way: bool
    last: Reconciliation | None
    new: int

    @property
    def is_equal(self) -> bool:
        return self.differences.are_none and not self.unexplained

    @property
    def is_known(self) -> bool:
        """Whether the last reconciliation has found the same, so that waiting mends nothing."""
        return (
            self.last is not None
            and self.last.status == "differs"
            and (self.last.cash_diff, self.last.share_diffs)
            == (self.differences.cash, self.differences.shares)
            and self.unexplained.keys() <= self.last.order_diffs.keys()
        )

    @property
    def unexplained(self) -> dict[str, str]:
        """A sentence for each order that nothing but a later answer can explain."""
        return {
            **{o.id: f"{o.symbol}: the broker does not know it" for o in self.orders.absent},
            **{o.client_order_id: f"{o.symbol}: not in our journal" for o in self.orders.strange},
            **self.orders.unfilled,
        }


def _look(desk: Desk, overlap: dt.timedelta) -> _Look:
    """Ask the broker for everything, then write down what is new and compare."""
    broker, store = desk.broker, desk.store
    try:
        number = broker.account().number
        lines = _missed(desk, number, overlap)
        journaled, theirs, since = _orders(desk, number)
        positions, account, at = broker.positions(), broker.account(), broker.clock().now
    except DataError as error:  # it may pass, and is no answer
        raise TemporaryError(f"the broker's answer cannot be read: {error}") from error
    if account.number != number:
        return _look(desk, overlap)  # the account was reset between two answers
    new = store.books.record_activities(number, lines)
    unfinished = {row.id for row in store.journal.open_allocations(number)}
    return _Look(
        account,
        at,
        positions,
        compare(store.books.replayed(number), account, positions),
        compare_orders(journaled, theirs, store.books.activities(number, since), unfinished),
        any(is_under_way(order, unfinished) and order.sent_at for order in journaled),
        store.reconciliations.latest(number),
        new,
    )


def _orders(desk: Desk, account: str) -> tuple[list[OrderRow], list[Order], dt.datetime | None]:
    """The journal's orders and the broker's since shortly before the last reconciliation."""
    last = desk.store.reconciliations.latest(account)
    since = None if last is None else last.at - _SINCE_LAST
    earliest = None if since is None else since - _PLANNED_BEFORE
    journaled = desk.store.reconciliations.orders(account, earliest)
    if since is not None:
        since = min([since, *(o.planned_at for o in journaled if not o.status.is_final)])
    theirs = list(desk.broker.orders("all", since))
    known = {order.client_order_id for order in theirs}
    asked = [
        o
        for o in journaled
        if o.broker_id and o.id not in known and (since is None or o.planned_at >= since)
    ]
    found = {o.id: desk.broker.order(o.id) for o in asked}
    theirs += [order for order in found.values() if order is not None]
    passed = {o.id for o in journaled if since is not None and o.planned_at < since} - known
    return [o for o in journaled if o.id not in passed], theirs, since


def _missed(desk: Desk, account: str, overlap: dt.timedelta) -> tuple[Activity, ...]:
    last = desk.store.books.last_activity(account)
    return tuple(desk.broker.activities(None if last is None else last - overlap))


def _book(desk: Desk, look: _Look) -> str:
    """Book what explains a difference though the broker's record does not say it; a sentence about
    it, "" if nothing does."""
    books, number = desk.store.books, look.account.number
    known, ours = books.activities(number), books.replayed(number)
    lines = reversal(look.differences, known, look.at)
    text = "the record tells now of a new symbol or a split that had been booked"
    if not lines:
        seen = {s: q for s, q in ours.shares.items() if s in look.differences.shares}
        before = books.last_held(number, seen) if seen else {}
        lines = untold(ours, look.differences, look.positions, before, look.at)
        text = "a new symbol or a split that the record does not tell was booked"
    if not lines and _is_new(desk, number):
        first = min((line.at for line in known), default=look.at) - dt.timedelta(seconds=1)
        lines = opening(ours, look.account, look.positions, first)
        text = "the account is met for the first time and its record was opened with what it holds"
    for line in lines:
        log.warning("alarm=booked account=%s line=%s type=%s symbol=%s qty=%s amount=%s",
                    number, line.id, line.type, line.symbol, line.qty, line.net_amount)  # fmt: skip
    return text if books.record_activities(number, lines) else ""


def _is_new(desk: Desk, account: str) -> bool:
    """Whether an account's books have yet to be the broker's, and nothing of ours was traded."""
    known = desk.store.reconciliations
    if known.latest(account) is None:
        return True
    return not known.was_equal(account) and not known.fills(account)


def _conclude(desk: Desk, look: _Look, new: int, booked: str) -> Reconciled:
    """Correct the journal, write down how it stands, and halt where that is called for."""
    corrected = _correct(desk, look)
    status = "explained" if corrected or booked else "equal"
    if not look.is_equal:
        status = "differs"
    found = Reconciliation(
        account=look.account.number,
        at=look.at,
        status=status,
        cash_diff=look.differences.cash,
        share_diffs=look.differences.shares,
        order_diffs={**corrected, **look.unexplained},
        value_diff=_value(desk, look),
    )
    found = replace(found, message=_message(found, booked))
    is_to_halt = _is_to_halt(desk, look, found)
    desk.store.reconciliations.record(found)
    if status == "differs":
        log.error("alarm=books-differ account=%s message=%s", found.account, found.message)
    if is_to_halt:
        halt(desk, TradingState.HALTED, found.message, "reconciliation")
    return Reconciled(found, new, is_to_halt)


def _correct(desk: Desk, look: _Look) -> dict[str, str]:
    """Make the journal's orders what the broker says; cancel what nobody waits for any more."""
    told = {}
    for order in look.orders.corrected:
        text = f"{order.status.value} at the broker, {order.filled_qty:f} {order.symbol} filled"
        if not order.status.is_final:
            Door(desk).cancel(order.id)
            text += ": it came too late and was cancelled"
        desk.store.journal.correct(
            order.client_order_id,
            order.status,
            order.filled_at or order.submitted_at or look.at,
            order.filled_qty,
            order.filled_average_price,
            order.id,
            text,
        )
        told[order.client_order_id] = text
        log.warning("alarm=order-corrected order=%s text=%s", order.client_order_id, text)
    return told


def _value(desk: Desk, look: _Look) -> float:
    """USD of all differences; shares of which no price is known count as the whole equity."""
    shares = look.differences.shares
    prices = {p.symbol: p.market_price for p in look.positions if math.isfinite(p.market_price)}
    if lacking := shares.keys() - prices.keys():
        with contextlib.suppress(AstraError):
            prices |= desk.broker.latest_prices(lacking)
    equity = float(look.account.equity)
    value = sum(
        float(abs(qty)) * prices[s] if s in prices else abs(equity) for s, qty in shares.items()
    )
    return float(abs(look.differences.cash)) + value


def _is_to_halt(desk: Desk, look: _Look, found: Reconciliation) -> bool:
    """Whether the difference is too large, is no trade under way, and was not seen and lifted."""
    limit = desk.max_books_difference * float(look.account.equity)
    if found.status != "differs" or found.value_diff <= limit or look.is_under_way:
        return False
    state = desk.store.states.get(found.account)
    if state.state is TradingState.HALTED:
        return False
    if state.state is TradingState.REDUCING or state.since is None:
        return True
    seen = desk.store.reconciliations.latest(found.account, state.since)
    return seen is None or seen.status != "differs" or not seen.is_same_difference(found)


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

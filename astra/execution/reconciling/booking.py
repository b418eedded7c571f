"""Books what explains a difference though the broker's record does not say it (yet)."""

from __future__ import annotations

import logging

from astra.execution.desk import Desk
from astra.execution.reconciling.look import Look
from astra.ledger import Differences, compare
from astra.untold import opening, renames_and_splits, reversal

log = logging.getLogger("astra.execution.reconciling.booking")


def book(desk: Desk, look: Look) -> str:
    """Book what explains the look's differences, as `astra.untold` infers it.

    Returns: a sentence about it, "" if nothing explains them.
    """
    books, number = desk.store.books, look.account.number
    ours = books.replayed(number)
    if compare(ours, look.account, look.positions) != look.differences:
        return "another has booked what was missing in the meantime"
    lines = reversal(look.differences, books.own_lines(number), look.at)
    told = {line.symbol for line in lines}
    rest = {s: q for s, q in look.differences.shares.items() if s not in told}
    seen = {s: q for s, q in ours.shares.items() if s in rest}
    before = books.last_held(number, seen) if seen else {}
    found = Differences(look.differences.cash, rest)
    lines += renames_and_splits(ours, found, look.positions, before, look.at)
    text = "a new symbol or a split that the record does not tell, or tells now too, was booked"
    if not lines and _is_new(desk, number):
        lines = opening(ours, look.account, look.positions, look.at)
        text = "the account is met for the first time and its record was opened with what it holds"
    for line in lines:
        log.warning("alarm=booked account=%s line=%s type=%s symbol=%s qty=%s amount=%s",
                    number, line.id, line.type, line.symbol, line.qty, line.net_amount)  # fmt: skip
    books.record_activities(number, lines)  # another may have booked them a moment ago
    return text if lines else ""


def _is_new(desk: Desk, account: str) -> bool:
    """Whether an account's books have yet to be the broker's, and nothing of ours was traded."""
    store = desk.store
    return not store.reconciliations.was_equal(account) and not store.journal.fills(account)

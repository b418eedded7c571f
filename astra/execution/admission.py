"""Whether a file may be traded now: by its own words, the market's hours, the settings, others."""

from __future__ import annotations

from astra.allocation import MANUAL, Allocation, why_not_now
from astra.execution.desk import Desk
from astra.execution.holdings import holdings_of
from astra.rebalance import drift
from astra.records import MarketClock
from astra.store.journal import AllocationRow, Journal


def rank(row: AllocationRow) -> tuple[float, int]:
    """By which files supersede one another."""
    return (row.as_of.timestamp() if row.as_of else 0.0, row.generation)


def why_not(row: AllocationRow, clock: MarketClock) -> str | None:
    """Why a new file may not be traded now: it was malformed, is expired or from the future."""
    if row.as_of is None or row.expires_at is None:
        return row.reason
    return why_not_now(Allocation(row.object, row.as_of, row.expires_at, row.weights), clock.now)


def why_closed(clock: MarketClock) -> str | None:
    if clock.is_open:
        return None
    return f"the market is closed until {clock.next_open:%Y-%m-%d %H:%M} UTC"


def why_held(desk: Desk, row: AllocationRow) -> str | None:
    """Why a decision waits: only files dropped by hand are traded, or too little has drifted.

    What was begun and not brought to its end is gone on with by the next decision, drift or no.
    """
    if row.policy == MANUAL or desk.rebalance_on == "decision":
        return None
    if desk.rebalance_on == "file":
        return "ASTRA_REBALANCE_ON=file: only files dropped by hand are traded"
    last = desk.store.journal.newest_begun(row.account)
    if last is None or last.status != "done":
        return None
    found = holdings_of(desk, last.weights)
    held = {p.symbol: float(p.qty) * p.market_price for p in found.positions}
    if not found.equity > 0:
        return None
    drifted = drift({s: value / found.equity for s, value in held.items()}, last.weights)
    if drifted >= desk.drift_threshold:
        return None
    return (
        f"the holdings have drifted {drifted:.2%} of equity from {last.object}, under "
        f"{desk.drift_threshold:.2%}"
    )


def others(journal: Journal, row: AllocationRow, clock: MarketClock) -> list[AllocationRow]:
    """Unfinished allocations beside this one, without new ones that will be refused."""
    return [
        other
        for other in journal.open_allocations(row.account)
        if other.id != row.id and (other.status != "received" or why_not(other, clock) is None)
    ]


def superseded_by(desk: Desk, row: AllocationRow, clock: MarketClock) -> AllocationRow | None:
    """A newer one that was traded, or will be; one that will be held back stands in no way."""
    done = desk.store.journal.newest_done(row.account)
    if done is not None and rank(done) > rank(row):
        return done
    newer = (other for other in others(desk.store.journal, row, clock) if rank(other) > rank(row))
    return next((other for other in newer if not waits(desk, other, row)), None)


def waits(desk: Desk, newer: AllocationRow, row: AllocationRow) -> bool:
    """Whether a newer allocation is not traded now: it will be held back, or is to be measured by
    the drift from what this one, which has begun, leads to."""
    if newer.status != "received":
        return False
    is_measured = desk.rebalance_on == "drift" and newer.policy != MANUAL
    has_begun = row.status != "received"
    return (is_measured and has_begun) or why_held(desk, newer) is not None

"""How many requests an hour of the vendor's time each kind of name may have. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from astra.store.loads import SourceRow
from etl_service.loading.priority import Tier

HOUR = 3600
# Of the budget, all tiers together: what is kept back stays for the names above.
SHARES = {Tier.HELD: 1.0, Tier.CANDIDATE: 0.9, Tier.REST: 0.8}


def take(
    row: SourceRow, now: dt.datetime, wanted: Mapping[Tier, int], limit: int | None
) -> tuple[SourceRow, dict[Tier, int]]:
    """Spend on the most important first; how many requests each tier was granted.

    Args:
        now: the vendor's time; a later hour begins with nothing spent.
        limit: requests an hour; None = no limit, they are only counted.
    """
    row = _turned(row, now)
    granted = {}
    for tier in sorted(wanted):
        free = wanted[tier] if limit is None else int(limit * SHARES[tier]) - row.spent
        granted[tier] = max(0, min(wanted[tier], free))
        row = replace(row, spent=row.spent + granted[tier])
    return row, granted


def give_back(row: SourceRow, taken_at: dt.datetime, count: int) -> SourceRow:
    """What was taken at `taken_at` and not used, unless that hour is over."""
    if row.hour != _hour(taken_at):
        return row
    return replace(row, spent=max(0, row.spent - count))


def spent(row: SourceRow, now: dt.datetime) -> int:
    """Requests in the vendor's hour of `now`."""
    return _turned(row, now).spent


def refills_at(now: dt.datetime) -> dt.datetime:
    """The vendor's next hour."""
    return dt.datetime.fromtimestamp(_hour(now) + HOUR, dt.UTC)


def refusal(tier: Tier, now: dt.datetime, limit: int) -> str:
    """What a ticker over the budget is told."""
    share = int(limit * SHARES[tier])
    return (
        f"not asked: the budget of {limit} requests an hour ({share} of them for "
        f"{tier.names}) is spent until {refills_at(now):%Y-%m-%d %H:%M} UTC; ask again then, or "
        "set ASTRA_YAHOO_REQUESTS_PER_HOUR"
    )


def _turned(row: SourceRow, now: dt.datetime) -> SourceRow:
    hour = _hour(now)
    # One more than an hour ahead was never true, and must not stay until it is.
    is_over = hour > row.hour or hour < row.hour - HOUR
    return replace(row, hour=hour, spent=0) if is_over else row


def _hour(now: dt.datetime) -> int:
    return int(now.timestamp()) // HOUR * HOUR

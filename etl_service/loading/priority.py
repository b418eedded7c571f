"""Whose bars come first, and whose are due. Pure.

What is held is watched all the time and what may be bought soon nearly so; the others only have to
be there when it is decided.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum

from astra.errors import DataError
from astra.sessions import (
    BAR_SECONDS,
    decision_times_between,
    last_closed_bars,
    last_sessions,
    next_decision_time,
)
from astra.store.loads import TickerStatus

_MOST_PARTS = 100


class Tier(IntEnum):
    """How much a name matters, the most important first."""

    HELD = 0
    CANDIDATE = 1
    REST = 2

    @property
    def names(self) -> str:
        """For people."""
        return ("held names", "candidates", "names neither held nor candidates")[self]


def ranked(
    tickers: Iterable[str], held: Collection[str], candidates: Collection[str]
) -> dict[str, Tier]:
    """Tickers with their tiers, the most important first, else in their order."""
    tiers = {
        t: Tier.HELD if t in held else Tier.CANDIDATE if t in candidates else Tier.REST
        for t in tickers
    }
    return dict(sorted(tiers.items(), key=lambda item: item[1]))


def parse_part(text: str) -> tuple[int, int]:
    """`3/10` as (3, 10).

    Raises:
        DataError: it is no such part.
    """
    found = re.fullmatch(r"([1-9]\d{0,2})/([1-9]\d{0,2})", text)
    part, parts = (int(found[1]), int(found[2])) if found else (1, 0)
    if not part <= parts <= _MOST_PARTS:
        raise DataError(
            f"a part is such as 3/10, the third of ten, of at most {_MOST_PARTS}; found {text!r}"
        )
    return part, parts


def part_of(universe: Collection[str], part: int, parts: int) -> tuple[str, ...]:
    """The `part`-th of `parts` equal parts of `universe` by name; all parts make it whole."""
    ordered = sorted(universe)
    start, end = ((i * len(ordered)) // parts for i in (part - 1, part))
    return tuple(ordered[start:end])


def last_decision_time(now: dt.datetime) -> dt.datetime:
    """The last decision time at or before `now`."""
    first = last_sessions(2, now)[0].opens_at
    return decision_times_between(first, now + dt.timedelta(seconds=1))[-1]


def postponed(
    tier: Tier, last_ts: int | None, status: TickerStatus | None, now: dt.datetime
) -> str:
    """Why a scheduled load leaves a ticker out now, as a sentence; "" if it is due.

    Nobody is due while no bar has closed since the last stored one. The rest is due once for each
    decision time, from then on, if its bars do not reach it yet. A name that the vendor does not
    know is due once a session.
    """
    if status and status.status == "unknown":
        opened = last_sessions(1, now)[0].opens_at
        return f"{status.message}; asked again next session" if status.asked_at >= opened else ""
    newest = int(last_closed_bars(1, now)[-1])
    if last_ts is not None and last_ts >= newest:
        return "no bar has closed since its last one"
    decided = last_decision_time(now)
    if tier is not Tier.REST:
        return ""
    is_there = last_ts is not None and last_ts + BAR_SECONDS >= decided.timestamp()
    is_answered = bool(status and status.status in ("ok", "empty") and status.asked_at >= decided)
    if not (is_there or is_answered):
        return ""
    return f"not due before {next_decision_time(now).isoformat()}"


def tiers(ranks: dict[str, Tier], tickers: Sequence[str]) -> dict[Tier, int]:
    """How many of `tickers` are of each tier."""
    return {tier: sum(ranks[t] is tier for t in tickers) for tier in Tier}

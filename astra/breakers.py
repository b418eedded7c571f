"""When an account stops itself: the rules of the breakers. Pure.

Figures are losses and rates, larger is worse: `daily_loss` and `drawdown` as shares of the
account's value, `reject_rate` as a share of the day's orders.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from astra.records import TradingState
from astra.risk import Limits
from astra.sessions import NEW_YORK

FURTHER = 0.25  # share of a limit by which a figure must grow before it trips again


@dataclass(frozen=True, slots=True)
class Breaker:
    """One figure, the limit it is held against, and what the account may do beyond it."""

    figure: str
    limit: str
    state: TradingState
    words: str


BREAKERS = (  # the strictest first
    Breaker("reject_rate", "max_reject_rate", TradingState.HALTED, "of the day's orders rejected"),
    Breaker("daily_loss", "max_daily_loss", TradingState.REDUCING, "lost in a day"),
    Breaker("drawdown", "max_drawdown", TradingState.REDUCING, "lost from the peak"),
)


@dataclass(frozen=True, slots=True)
class Tripped:
    """What the account may still do, and why: every figure that is beyond its limit."""

    state: TradingState
    reason: str


def tripped(figures: Mapping[str, float | None], limits: Limits) -> Tripped | None:
    """The strictest state that a figure calls for, or None. What is not known trips nothing."""
    over = beyond(figures, limits)
    found = [b for b in BREAKERS if b.figure in over]
    if not found:
        return None
    reasons = (
        f"{over[b.figure]:.2%} {b.words}, over {getattr(limits, b.limit):.2%}" for b in found
    )
    return Tripped(found[0].state, "; ".join(reasons))


def beyond(figures: Mapping[str, float | None], limits: Limits) -> dict[str, float]:
    """The figures that are over their limits."""
    known = {b: figures.get(b.figure) for b in BREAKERS}
    return {
        b.figure: value
        for b, value in known.items()
        if value is not None and value > getattr(limits, b.limit)
    }


def raised(
    limits: Limits,
    accepted: Mapping[str, float],
    lifted_at: dt.datetime | None,
    now: dt.datetime,
) -> Limits:
    """The limits for the rest of the day on which a person lifted a state.

    Lifting accepts the figures that were beyond their limits then. On the same day in New York each
    of them trips again only once it has grown by another quarter of its limit; from the next day on
    the limits are the settings' own.

    Args:
        accepted: figures at lifting.
    """
    day = now.astimezone(NEW_YORK).date()
    if lifted_at is None or lifted_at.astimezone(NEW_YORK).date() != day:
        return limits
    changed = {
        b.limit: max(at := getattr(limits, b.limit), accepted[b.figure] + FURTHER * at)
        for b in BREAKERS
        if b.figure in accepted
    }
    return replace(limits, **changed)

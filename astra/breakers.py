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
from astra.sessions import NEW_YORK, next_session

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


def accepted_by_lifting(
    figures: Mapping[str, float | None], limits: Limits, before: Mapping[str, float]
) -> dict[str, float]:
    """What a person accepts who lifts a state at these figures: those beyond their limits, and what
    was accepted `before` and still is."""
    return dict(before) | {
        name: max(value, before.get(name, value)) for name, value in beyond(figures, limits).items()
    }


def raised(
    limits: Limits,
    accepted: Mapping[str, float],
    lifted_at: dt.datetime | None,
    now: dt.datetime,
    peak_at: dt.datetime | None = None,
) -> Limits:
    """The limits after a person has lifted a state.

    Lifting accepts the figures that were beyond their limits then. While one stays accepted it
    trips again only once it has grown by another quarter of its limit.

    Args:
        accepted: figures at lifting.
        peak_at: when the account reached the peak that its drawdown is measured from.
    """
    figures = still_accepted(accepted, lifted_at, now, peak_at)
    changed = {
        b.limit: max(at := getattr(limits, b.limit), figures[b.figure] + FURTHER * at)
        for b in BREAKERS
        if b.figure in figures
    }
    return replace(limits, **changed)


def still_accepted(
    accepted: Mapping[str, float],
    lifted_at: dt.datetime | None,
    now: dt.datetime,
    peak_at: dt.datetime | None = None,
) -> dict[str, float]:
    """Those of the accepted figures that are still the ones a person has seen.

    A drawdown is until a new peak is reached; a day's figure through the day in New York of the
    session in which the state was lifted or, lifted while none was open, of the next one.
    """
    if lifted_at is None or not accepted:
        return {}
    found = dict(accepted)
    if peak_at is not None and peak_at > lifted_at:
        found.pop("drawdown", None)
    if now.astimezone(NEW_YORK).date() > next_session(lifted_at).date:
        return {name: value for name, value in found.items() if name == "drawdown"}
    return found

"""What an account has lost, deposits and withdrawals taken out. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import pairwise

# The kinds of activities that bring money in or take it out: cash deposited and withdrawn,
# journaled between accounts, transferred from another broker.
FLOWS = frozenset({"CSD", "CSW", "JNLC", "ACATC", "TRANS"})


def growth(before: float, after: float, flow: float) -> float | None:
    """Simple return between two values of an account, `flow` USD having come in (or gone, < 0).

    What came in is taken to have been there from the start, so that it makes no loss larger; None
    if there was nothing to lose.
    """
    base = before + max(0.0, flow)
    return (after - flow - before) / base if base > 0 else None


def drawdown(
    values: Sequence[tuple[dt.datetime, float]], flows: Iterable[tuple[dt.datetime, float]]
) -> float | None:
    """Share of the account's value below its peak, in [0, 1]; None of fewer than two values.

    Args:
        values: USD of the account at ascending times, the last one now. One a day, since a broker
            may date a deposit by its day alone: values in between could stand before the money.
        flows: deposits (> 0) and withdrawals at their times.
    """
    if len(values) < 2:
        return None
    moved = sorted(flows)
    index = peak = 1.0
    for (start, before), (end, after) in pairwise(values):
        flow = sum(amount for at, amount in moved if start < at <= end)
        step = growth(before, after, flow)
        index *= 1.0 if step is None else max(0.0, 1.0 + step)
        peak = max(peak, index)
    return 1.0 - index / peak

"""What an account has lost, deposits and withdrawals taken out. Pure."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from astra.sessions import NEW_YORK

# The kinds of activities that bring money or shares in or take them out: cash deposited and
# withdrawn, cash and shares journaled between accounts or transferred from another broker.
FLOWS = frozenset({"CSD", "CSW", "JNL", "JNLC", "JNLS", "ACATC", "ACATS", "TRANS"})
Amount = tuple[dt.datetime, float]  # USD, and when


@dataclass(frozen=True, slots=True)
class Fall:
    """How far an account is below its peak, a share in [0, 1], and when that was reached."""

    share: float
    peak_at: dt.datetime


def growth(before: float, after: float, flow: float) -> float | None:
    """Simple return between two values of an account, `flow` USD having come in (or gone, < 0).

    What came in is taken to have been there from the start, so that it makes no loss larger; None
    if there was nothing to lose.
    """
    base = before + max(0.0, flow)
    return (after - flow - before) / base if base > 0 else None


def fallen(values: Sequence[Amount], flows: Iterable[Amount]) -> Fall | None:
    """The account's value against its peak; None of fewer than two values.

    A day's end counts as a peak only as far as the value after it confirms it, so that a wrong
    value that was saved once is none. The first value counts as it is: if that one is wrong, a
    person accepts the drawdown by lifting. Values of 0 or less say nothing of days gone by.

    Args:
        values: USD of the account at ascending times, the last one now. One a day, since a broker
            may date a deposit by its day alone: values in between could stand before the money.
        flows: deposits (> 0) and withdrawals at their times, see `placed`.
    """
    values = [value for value in values[:-1] if value[1] > 0] + list(values[-1:])
    if len(values) < 2:
        return None
    levels = [1.0]
    for ((_, before), (_, after)), flow in zip(
        pairwise(values), placed(values, flows), strict=True
    ):
        step = growth(before, after, flow)
        levels.append(levels[-1] * (1.0 if step is None else max(0.0, 1.0 + step)))
    sure = [1.0, *map(min, pairwise(levels[1:])), levels[-1]]
    i = max(range(len(sure)), key=sure.__getitem__)  # the first of equals
    return Fall(1.0 - levels[-1] / sure[i], values[i][0])


def placed(values: Sequence[Amount], flows: Iterable[Amount]) -> list[float]:
    """USD that came in (or went, < 0) between each value and the next.

    A flow that is dated by its day alone (midnight in New York) came before or after the last value
    of that day: it is counted where it leaves the smaller moves unexplained. That errs where the
    account itself has moved by about as much as the flow.

    Args:
        values: USD at ascending times.
    """
    ends = [end for end, _ in values]
    moved = [0.0] * len(values)  # the first: before the first value
    doubtful = []
    for at, amount in sorted(flows):
        i = bisect_left(ends, at)
        if i == len(values):
            continue
        moved[i] += amount
        if i + 1 < len(values) and _is_day(at) and _day(at) == _day(values[i][0]):
            doubtful.append((i, amount))
    for i, amount in doubtful:
        later = [*moved]
        later[i], later[i + 1] = later[i] - amount, later[i + 1] + amount
        if _unexplained(values, later, i) < _unexplained(values, moved, i) - 1e-9:
            moved = later
    return moved[1:]


def _unexplained(values: Sequence[Amount], moved: Sequence[float], i: int) -> float:
    """The moves that end with value `i` and with the next one, added up."""
    found = 0.0
    for k in (i, i + 1):
        if k > 0:
            found += abs(growth(values[k - 1][1], values[k][1], moved[k]) or 0.0)
    return found


def _is_day(at: dt.datetime) -> bool:
    return at.astimezone(NEW_YORK).time() == dt.time()


def _day(at: dt.datetime) -> dt.date:
    return at.astimezone(NEW_YORK).date()

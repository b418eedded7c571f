"""Deposits and withdrawals among an account's values: of which step each is, which values they
rule out, what each dollar earned. Pure.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from astra.risk import Amount
from astra.sessions import NEW_YORK

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # of a balance, as a share of all that was paid
_LEAST = 1e-9  # USD, so that the move of an empty account is large and not infinite


def believed(
    points: Mapping[dt.datetime, float], flows: Sequence[Amount]
) -> Mapping[dt.datetime, float]:
    """The values without those of 0 or less that cannot be true.

    Before the first value above 0 there was no account yet, and nothing comes of nothing: where
    deposits are less than half of what the account was worth next, it had never been empty.
    """
    kept, empty, last = dict[dt.datetime, float](), list[dt.datetime](), None
    for at in sorted(points):
        value = points[at]
        if value <= 0:
            empty += [at] if kept else []
            continue
        if last is not None and empty:
            came = math.fsum(usd for t, usd in flows if last < t <= at and usd > 0)
            kept |= {t: points[t] for t in empty} if came >= value / 2 else {}
        kept[at], last, empty = value, at, []
    return kept | {t: points[t] for t in empty}


def growth(values: Floats, moved: Floats) -> Floats:
    """After over before, shape (n - 1,), as `astra.risk.growth` has it: what came in was there from
    the start of its step, what went was there to its end. 0 if all was lost, 1 if there was
    nothing to lose."""
    came, went = np.maximum(moved[1:], 0.0), np.maximum(-moved[1:], 0.0)
    before, after = values[:-1] + came, np.maximum(values[1:] + went, 0.0)
    return np.where(before > 0, after / np.where(before > 0, before, 1.0), 1.0)


def placed(
    times: Sequence[dt.datetime], values: Floats, flows: Sequence[Amount]
) -> list[tuple[int, dt.datetime, float]]:
    """Each flow with the value that is the first to have it, at a time since the one before it.

    What came before the first value is part of it, what came after the last in none: both are left
    out. A flow that is dated by its day alone (midnight in New York) came at any time of that day,
    or after its last value: it is counted where it leaves the smallest moves unexplained.

    Args:
        flows: oldest first.
    """
    seconds = np.array([t.timestamp() for t in times])
    first = np.searchsorted(seconds, [at.timestamp() for at, _ in flows]).tolist()
    inside = [k for k, i in enumerate(first) if i < len(times)]
    moved = np.zeros(len(times))
    for k in inside:
        moved[first[k]] += flows[k][1]
    for k in inside:
        (at, amount), i = flows[k], first[k]
        local = at.astimezone(NEW_YORK)
        if local.time() != dt.time():
            continue
        next_day = dt.datetime.combine(local.date() + dt.timedelta(days=1), dt.time(), NEW_YORK)
        end = min(int(np.searchsorted(seconds, next_day.timestamp())), len(times) - 1)
        moved[i] -= amount
        first[k] = i + int(np.argmin(_unexplained(values, moved, np.arange(i, end + 1), amount)))
        moved[first[k]] += amount
    return [
        (i, min(max(flows[k][0], times[i - 1] + dt.timedelta(seconds=1)), times[i]), flows[k][1])
        for k, i in ((k, first[k]) for k in inside)
        if i > 0
    ]


def _unexplained(values: Floats, moved: Floats, steps: NDArray[np.int64], amount: float) -> Floats:
    """By how much the move of each of `steps` grows by a flow in it; the first value has none."""
    before, after = values[np.maximum(steps - 1, 0)], values[steps]

    def move(flow: Floats) -> Floats:
        base = np.maximum(before + np.maximum(flow, 0.0), _LEAST)
        return np.abs((after - flow - before) / base)

    found: Floats = move(moved[steps] + amount) - move(moved[steps])
    found[steps == 0] = 0.0
    return np.round(found, 9)  # of equals the first


def money_weighted(times: Sequence[dt.datetime], values: Floats, flows: Sequence[Amount]) -> float:
    """The internal rate of return of the whole time, not of a year: what each dollar earned for as
    long as it was there.

    R solves V0 (1 + R) + sum F_k (1 + R)^((T - t_k) / T) = V1: first and last value, T apart, and
    the flow of each instant. It is told only where the balance is nowhere below 0 at R, as there is
    no other solution then (Teichroew, Robichek and Montalbano 1965, "An analysis of criteria for
    investment and financing decisions under certainty", Management Science 12(3)); else NaN, as for
    fewer than two values.

    Args:
        values: USD, the first above 0; a last one below 0 counts as 0.
        flows: oldest first, after the first value and up to the last.
    """
    if len(times) < 2:
        return math.nan
    worth = max(float(values[-1]), 0.0)
    if not flows:
        return worth / float(values[0]) - 1.0
    from scipy.optimize import brentq  # half a second that most accounts don't need

    sums = {times[0]: float(values[0])}
    for at, amount in flows:
        sums[at] = sums.get(at, 0.0) + amount
    start, end = times[0], times[-1]
    left = np.array([(end - at) / (end - start) for at in sums])
    paid = np.array(list(sums.values()))

    def missing(growth: float) -> float:
        return float(paid @ growth**left - worth)

    if worth == 0 and (paid > 0).all():
        return -1.0
    low, high = _LEAST, 2.0
    while missing(high) < 0 and high < 1e12:
        high *= 2
    if missing(low) >= 0 or missing(high) < 0:
        return math.nan
    root = float(brentq(missing, low, high, xtol=1e-14))
    balance = np.cumsum(paid * root**left)  # after the flows of each instant, grown to the end
    return root - 1.0 if (balance > -_ROUNDING * np.abs(paid).sum()).all() else math.nan

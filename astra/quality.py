"""What a ticker usually prints, and how the bars of one session compare with that. Pure.

Arrays have a column for each of N tickers; a bar is *printed* if it is stored. Nothing here knows
the store, the clock or the calendar: sessions come as counts and lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from astra.sessions import BAR_SECONDS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Verdict = Literal["ok", "gaps", "stale", "missing"]
VERDICTS: tuple[Verdict, ...] = ("ok", "gaps", "stale", "missing")

USUAL_SESSIONS = 20
FRESH_BARS = 12
# A thin name's share varies by chance: 60 bars that usually print at 50 % print under 40 % once in
# twenty times.
TOLERATED_SHORTFALL = 0.2
TOLERATED_BARS = 1  # early in a session one bar is more than 20 % of them
LATE_SECONDS = 900  # three rounds of loading after a decision time


@dataclass(frozen=True, slots=True)
class Figures:
    """Bars of one session, of one ticker or of several.

    Attributes:
        expected: what is usually printed of the bars that have closed; None = no past to tell.
        present: stored.
        late: of these, first known more than 15 minutes after the decision time that could have
            used them first, before the next session opened.
        backfilled: of these, known later than that, or by the ticker's first load.
        corrected: of these, those with a replaced version.
        quarantined: offered and refused, once for each reason.
    """

    expected: int | None
    present: int
    late: int
    backfilled: int
    corrected: int
    quarantined: int


def usual_shares(counts: Integers, lengths: Integers) -> Floats:
    """The share of a session's bars that each ticker usually prints, shape (N,).

    The median over the last 20 sessions in which it printed at all; NaN where there is none. A
    session without any bar says that it was not listed, halted or not loaded, not what is usual.

    Args:
        counts: bars printed in each session, oldest first, shape (D, N).
        lengths: bars that each session has, shape (D,): 78, or 42 on a half day.
    """
    if not len(counts):
        return np.full(counts.shape[1], np.nan)
    shares = counts[-USUAL_SESSIONS:] / lengths[-USUAL_SESSIONS:, None]
    ordered = np.sort(np.where(shares > 0, shares, np.nan), axis=0)  # NaN goes to the end
    known = (shares > 0).sum(axis=0)
    middle = np.stack([np.maximum(known - 1, 0) // 2, known // 2])
    middle = np.minimum(middle, len(ordered) - 1)
    usual: Floats = np.take_along_axis(ordered, middle, axis=0).mean(axis=0)
    return usual


def is_fresh(printed: Flags) -> Flags:
    """Which tickers printed in the last hour of a session, shape (N,).

    Yesterday's last bar is not fresh in the morning, however few bars have closed since.

    Args:
        printed: the bars of this session that have closed, shape (closed, N).
    """
    fresh: Flags = np.logical_or.reduce(printed[-FRESH_BARS:], axis=0)
    return fresh


def falls_short(printed: float, usual: float) -> bool:
    """Whether a ticker printed less than 80 % of what it usually does, both in one unit."""
    return printed < (1 - TOLERATED_SHORTFALL) * usual


def judge(expected: int | None, present: int, fresh: bool) -> Verdict:
    """What a person has to know of a ticker's session, the gravest first.

    `missing`: bars are expected, or nothing is known of the ticker, and there is none. `stale`:
    there are some, but none in the last hour. `gaps`: more than one bar, and more than 20 % of
    the expected, are not there.
    """
    if present == 0:
        return "ok" if expected == 0 else "missing"
    if not fresh:
        return "stale"
    if (
        expected is not None
        and falls_short(present, expected)
        and expected - present > TOLERATED_BARS
    ):
        return "gaps"
    return "ok"


def wanted_by(ts: Integers, decisions: Integers, next_open: int) -> Integers:
    """Until when a bar must be known, shape (closed,): 15 minutes after the first decision time
    that could use it, or the second before the next session opens where there is none.

    Args:
        ts: starts of the bars, epoch seconds, shape (closed,).
        decisions: the session's decision times, ascending.
    """
    following = np.append(decisions + LATE_SECONDS, next_open - 1)
    found: Integers = following[np.searchsorted(decisions, ts + BAR_SECONDS)]
    return found


def is_delayed(deadlines: Integers, first_known: Integers) -> Flags:
    """Which bars became known after they were wanted, shape (closed, N).

    Args:
        deadlines: see `wanted_by`.
        first_known: when each bar's first version was seen, epoch seconds, shape (closed, N);
            below 0 where no bar is.
    """
    return first_known > deadlines[:, None]


def count_delays(
    deadlines: Integers, first_known: Integers, first_sight: Integers, next_open: int
) -> tuple[Integers, Integers]:
    """How many bars of each ticker are late, and how many are backfilled, each of shape (N,).

    Args:
        deadlines, first_known: see `is_delayed`.
        first_sight: when any bar of the ticker was first seen, shape (N,).
        next_open: when the next session opens.
    """
    delayed = is_delayed(deadlines, first_known)
    backfilled = delayed & ((first_known >= next_open) | (first_known <= first_sight))
    return (delayed & ~backfilled).sum(axis=0), backfilled.sum(axis=0)


def total(figures: Iterable[Figures]) -> Figures:
    """The sum; what is expected counts where it is known, None where it is known of none."""
    found = list(figures)
    expected = [f.expected for f in found if f.expected is not None]
    return Figures(
        sum(expected) if expected else None,
        sum(f.present for f in found),
        sum(f.late for f in found),
        sum(f.backfilled for f in found),
        sum(f.corrected for f in found),
        sum(f.quarantined for f in found),
    )


def coverage(figures: Iterable[Figures]) -> float | None:
    """The share of the expected bars that are there; None if none is expected.

    A ticker that prints more than usual does not make up for another that prints less.
    """
    known = [(f.expected, f.present) for f in figures if f.expected is not None]
    expected = sum(e for e, _ in known)
    return sum(min(e, p) for e, p in known) / expected if expected else None

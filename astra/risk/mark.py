"""The last close that is believed, and how far a price may have moved since. Pure.

The deviation comes from the 5-minute returns within sessions and grows with the root of the time
since, a night counted as the bars that it is worth.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.sessions import BAR, BAR_SECONDS, sessions_between

# The overnight variance of SPY is that of 4.1 hours of trading, of the median stock of 2.9
# (two years of 5-minute bars): the larger one.
NIGHT_BARS = 49
FEWEST_RETURNS = 20
# A bar of a stock of 2.6 % a day, where there are too few returns to measure; and the least that is
# believed, 0.9 % a day: below it a tick of a cheap stock would be eight deviations.
USUAL_DEVIATION = 0.003
LEAST_DEVIATION = 0.001


@dataclass(frozen=True, slots=True)
class Mark:
    """A close in USD, and the deviation of the price's logarithm from it until now.

    Both are NaN where no close is known.
    """

    close: float
    deviation: float

    def sigmas(self, price: float) -> float:
        """How many deviations a price is away; NaN if that cannot be said."""
        if not (self.close > 0 and price > 0 and 0 < self.deviation < math.inf):
            return math.nan
        return abs(math.log(price) - math.log(self.close)) / self.deviation


UNKNOWN = Mark(math.nan, math.nan)


def mark_of(ts: NDArray[np.int64], close: NDArray[np.float64], now: dt.datetime) -> Mark:
    """The mark at `now` of one symbol's bars.

    Args:
        ts: starts of closed bars, epoch seconds, ascending, shape (n,).
        close: USD, shape (n,); NaN and prices not above 0 are left out.

    Returns: `UNKNOWN` of no bars.
    """
    usable = np.isfinite(close) & (close > 0)
    ts, close = ts[usable], close[usable]
    if not len(ts):
        return UNKNOWN
    in_session = np.diff(ts) == BAR_SECONDS
    moves = np.diff(np.log(close))[in_session]
    deviation = USUAL_DEVIATION
    if len(moves) >= FEWEST_RETURNS:
        deviation = max(LEAST_DEVIATION, float(np.sqrt(np.mean(moves**2))))
    closed_at = dt.datetime.fromtimestamp(int(ts[-1]) + BAR_SECONDS, dt.UTC)
    return Mark(float(close[-1]), deviation * math.sqrt(bars_since(closed_at, now)))


def bars_since(then: dt.datetime, now: dt.datetime) -> float:
    """Bars of trading between two times, each night as `NIGHT_BARS`; 1 at least."""
    bars = 0.0
    for session in sessions_between(then, now):
        bars += (min(now, session.closes_at) - max(then, session.opens_at)) / BAR
        bars += NIGHT_BARS if session.opens_at > then else 0
    return max(1.0, bars)

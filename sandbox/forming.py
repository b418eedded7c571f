"""The bar that has begun and not closed: what of it can be known part of the way through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from astra.sessions import BAR_SECONDS
from sandbox.tape import Bars
from sandbox.traits import stream


@dataclass(frozen=True, slots=True)
class Forming:
    """The bar that has begun and not closed, as known now: `close` is the live price."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: int


def partial(ticker: str, bars: Bars, seconds: float) -> Forming:
    """A bar's first `seconds`: a Brownian bridge from open to close (Karhunen-Loeve, 6 terms).

    Seeded by the bar, so that it is one path whenever and however often it is asked.
    """
    ts, o, h, low, c = (float(a[0]) for a in (bars.ts, bars.open, bars.high, bars.low, bars.close))
    passed = np.arange(int(seconds) + 1) / BAR_SECONDS  # the price moves every second
    z = stream(int(ts), "forming", ticker).standard_normal(6)
    k = np.arange(1, 7)
    # The expected range of Brownian motion is 1.6 standard deviations.
    sigma = math.log(h / low) / 1.6
    bridge = (np.sin(np.outer(passed, k) * np.pi) / (k * np.pi)) @ z * math.sqrt(2)
    path = o * np.exp(passed * math.log(c / o) + sigma * bridge)
    path[1:] = np.clip(np.round(path[1:], 4), low, h)
    volume = int(bars.volume[0] * passed[-1])
    return Forming(int(ts), o, float(path.max()), float(path.min()), float(path[-1]), volume)

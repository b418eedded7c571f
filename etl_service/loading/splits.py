"""Splits, found where stored and offered bars overlap. Pure.

A vendor restates all prices before a split at once, so that what is stored is off by one ratio. The
oldest bars in common decide: they are the first to be restated and what is older is on their scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.bars import PRICES
from astra.sessions import FULL_DAY_BARS

_FEWEST = 3  # bars in common that can speak for themselves
_AGREEING = 0.9  # of them: a corrected bar or two change nothing
_SMALLEST = 0.005  # feeds differ by less, splits by more
_SUSPICIOUS = 0.02  # more than even a thin feed's bar differs by
_TOLERANCE = 0.01  # between feeds; a quarter of the change for small ones
_ROUNDING = 1e-4  # vendors give four decimals


@dataclass(frozen=True, slots=True)
class Closes:
    """Closing prices of one ticker by ts, ascending, both shape (n,)."""

    ts: NDArray[np.int64]
    close: NDArray[np.float64]


def ratio(stored: Closes, offered: Closes, told: float | None = None) -> float | None:
    """Shares for one between the stored and the offered scale; None if they are on one.

    Args:
        told: what the vendor says of splits in the window: it settles the exact number, and whether
            there is one where too few bars are common to tell.
    """
    _, ratios = _common(stored, offered)
    oldest = ratios[:FULL_DAY_BARS]
    if len(oldest) < _FEWEST:
        return told if told and _is_nearer(_step(stored, offered), told) else None
    found = float(np.median(oldest))
    if abs(found - 1) < _SMALLEST:
        return None
    tolerance = min(_TOLERANCE, abs(found - 1) / 4)
    if np.mean(np.abs(oldest / found - 1) <= tolerance) < _AGREEING:
        return None
    return _exact(found, told)


def is_suspected(stored: Closes, offered: Closes) -> bool:
    """Whether bars in common differ as after a split, though too few agree to tell its ratio."""
    _, ratios = _common(stored, offered)
    return bool(len(ratios)) and abs(float(np.median(ratios[:FULL_DAY_BARS])) - 1) > _SUSPICIOUS


def restated(
    stored: pd.DataFrame, offered: Closes, split: float, kept: NDArray[np.int64]
) -> pd.DataFrame:
    """Those of the stored bars of a ticker that stay (their ts is not in `kept`) and are on the
    scale before `split`, on the scale after it.

    A bar is on the scale of the common bar before it, or of the oldest.

    Args:
        stored: a bars frame of the ticker's whole past; further columns are left as they are.
    """
    held = Closes(stored["ts"].to_numpy(np.int64), stored["close"].to_numpy(np.float64))
    common, ratios = _common(held, offered)
    if len(common):
        is_old = np.array([_is_nearer(r, split) for r in ratios], np.bool_)
        before = np.searchsorted(common, held.ts, side="right") - 1
        is_concerned = is_old[np.maximum(before, 0)]
    else:
        is_concerned = (held.ts < offered.ts[0]) & _is_nearer(_step(held, offered), split)
    frame = stored.loc[is_concerned & ~np.isin(held.ts, kept)].copy()
    frame[list(PRICES)] = frame[list(PRICES)] / split
    frame["volume"] = np.rint(frame["volume"] * split).astype(np.int64)
    return frame


def describe(split: float) -> str:
    """For a person: "4:1 split", "1:10 split"."""
    new, old = Fraction(split).limit_denominator(1000).as_integer_ratio()
    return f"{new}:{old} split"


def _common(stored: Closes, offered: Closes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times that both have, and the stored over the offered closes there."""
    ts, i, j = np.intersect1d(stored.ts, offered.ts, assume_unique=True, return_indices=True)
    return ts, stored.close[i] / offered.close[j]


def _step(stored: Closes, offered: Closes) -> float:
    """The nearest thing to a ratio where there is no overlap to speak of."""
    if not len(stored.ts) or not len(offered.ts):
        return 1.0
    before = stored.close[max(np.searchsorted(stored.ts, offered.ts[0], side="right") - 1, 0)]
    return float(before / offered.close[0])


def _is_nearer(found: float, split: float) -> bool:
    """Whether a ratio speaks for the split rather than for none."""
    return abs(math.log(found / split)) < abs(math.log(found))


def _exact(found: float, told: float | None) -> float:
    if told and abs(found / told - 1) <= _TOLERANCE:
        return told
    simple = float(Fraction(found).limit_denominator(100))
    return simple if abs(found / simple - 1) <= _ROUNDING else found

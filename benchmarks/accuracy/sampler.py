"""Training windows of series of unequal lengths, each divided by the level of its look-back.

A series shorter than the look-back is filled with zeros in front, as the N-BEATS authors do it;
levels count known values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import InsufficientDataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ragged:
    """S series side by side, the newest value last.

    Attributes:
        values: zeros where a series has not begun, shape (S, L).
        lengths: known values of each series, shape (S,).
        window: values of look-back.
        horizon: values ahead.
        history: origins lie at most this many values before a series' end.
    """

    values: Single
    lengths: Integers
    window: int
    horizon: int
    history: int

    def __len__(self) -> int:
        """How many windows there are to draw from."""
        return int((self._oldest() - self.horizon + 1).sum())

    def batches(self, size: int, steps: int, seed: int) -> Iterator[tuple[Single, Single]]:
        """`steps` batches of `size` windows: a series at random, then an origin within it."""
        rng = np.random.default_rng(seed)
        oldest = self._oldest()
        for _ in range(steps):
            which = rng.integers(len(self.values), size=size)
            yield self.taken(which, rng.integers(self.horizon, oldest[which] + 1))

    def taken(self, which: Integers, before_end: Integers) -> tuple[Single, Single]:
        """Look-backs and what came next, for origins `before_end` values before the end."""
        origin = self.values.shape[1] - before_end
        paths = self.values[which[:, None], origin[:, None] + np.arange(-self.window, 0)]
        ahead = self.values[which[:, None], origin[:, None] + np.arange(self.horizon)]
        level = _level(paths, self.lengths[which] - before_end)
        return paths / level, ahead / level

    def _oldest(self) -> Integers:
        """The origin farthest back, in values before the end, that has a value behind it."""
        return np.minimum(self.history, self.lengths - 1)


def ragged(past: Sequence[Floats], window: int, horizon: int, history: int) -> Ragged:
    """The windows of all series that have at least one value before a whole horizon.

    Raises:
        InsufficientDataError: there is none.
    """
    long_enough = [one[-history - window :] for one in past if len(one) > horizon]
    if not long_enough:
        raise InsufficientDataError(
            f"training needs a series of at least {horizon + 1} values, the longest of {len(past)} "
            f"has {max(map(len, past), default=0)}"
        )
    lengths = np.array([len(one) for one in long_enough], np.int64)
    values = np.zeros((len(lengths), history + window), np.float32)
    for row, one in zip(values, long_enough, strict=True):
        row[-len(one) :] = one
    return Ragged(values, lengths, window, horizon, history)


def look_backs(past: Sequence[Floats], window: int) -> tuple[Single, Single]:
    """The input at each series' end, and the levels to multiply the answer with, shape (S, 1)."""
    paths = np.zeros((len(past), window), np.float32)
    for row, one in zip(paths, past, strict=True):
        row[-len(one) :] = one[-window:]
    level = _level(paths, np.array([len(one) for one in past], np.int64))
    return paths / level, level


def _level(paths: Single, known: Integers) -> Single:
    """Mean absolute value of the known part of each look-back, 1 where that is 0; shape (B, 1)."""
    count = np.minimum(known, paths.shape[1]).astype(np.float32)
    mean = np.abs(paths).sum(axis=1) / count
    found: Single = np.where(mean > 0, mean, 1)[:, None].astype(np.float32)
    return found

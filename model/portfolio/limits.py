"""What a portfolio may look like: k names, caps on a name and a sector, a floor under cash.

Weights are fractions of equity; what is not invested is cash. Sectors do not overlap, so how much
the caps let k names hold has a closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError
from model.panel import Floats

Indices = NDArray[np.int64]
ROUNDING = 1e-9  # a weight this far over its cap is arithmetic, not a breach
NEARLY = 1e-6  # of equity: a solver's answer this far under the least weight is meant to be it


@dataclass(frozen=True, slots=True)
class Limits:
    """k names at most, each up to `max_weight`, each sector up to `max_sector_weight`, all of them
    up to 1 - `cash_floor` of equity; a name is held with at least `min_weight` or not at all.

    Raises:
        DataError: a limit under which nothing, or more than all, could be held.
    """

    k: int = 20
    max_weight: float = 0.10
    max_sector_weight: float = 0.30
    cash_floor: float = 0.02
    min_weight: float = 0.0

    def __post_init__(self) -> None:
        fits = (
            (self.k >= 1, f"k of at least 1, found {self.k}"),
            (0 < self.max_weight <= 1, f"max_weight in (0, 1], found {self.max_weight}"),
            (
                0 < self.max_sector_weight <= 1,
                f"max_sector_weight in (0, 1], found {self.max_sector_weight}",
            ),
            (0 <= self.cash_floor < 1, f"cash_floor in [0, 1), found {self.cash_floor}"),
            (
                0 <= self.min_weight <= self.max_weight,
                f"min_weight between 0 and max_weight, found {self.min_weight}",
            ),
            (
                self.min_weight <= min(self.max_sector_weight, self.investable),
                f"min_weight that max_sector_weight and 1 - cash_floor leave room for, found "
                f"{self.min_weight} with {self.max_sector_weight} and {self.investable:.6g}",
            ),
        )
        for holds, wanted in fits:
            if not holds:
                raise DataError(f"the limits need a {wanted}")

    @property
    def investable(self) -> float:
        return 1.0 - self.cash_floor

    @property
    def most_names(self) -> int:
        """How many names may be held: k, or as many as can have their least weight."""
        return self.k if not self.min_weight else min(self.k, int(_fit(self.investable, self)))

    @property
    def first_sectors(self) -> tuple[str, ...]:
        """Sectors with the codes 0.., whether or not a name is of them."""
        return ()

    def rooms(self, sectors: int) -> Floats:
        """The most that each of so many sectors may hold, by code."""
        return np.full(sectors, self.max_sector_weight)

    def beside(self, kept: Mapping[str, float]) -> Limits:
        """These limits beside holdings that stay, given as a share of equity by sector."""
        own = (self.k, self.max_weight, self.max_sector_weight, self.cash_floor, self.min_weight)
        return LimitsBeside(*own, kept=tuple(sorted(kept.items()))) if kept else self


@dataclass(frozen=True, slots=True)
class LimitsBeside(Limits):
    """Limits in sectors of which a share of equity is `kept`, beside the names they are for."""

    kept: tuple[tuple[str, float], ...] = ()

    @property
    def first_sectors(self) -> tuple[str, ...]:
        return tuple(sector for sector, _ in self.kept)

    def rooms(self, sectors: int) -> Floats:
        left = np.full(max(sectors, len(self.kept)), self.max_sector_weight)
        left[: len(self.kept)] -= [weight for _, weight in self.kept]
        return np.where(left > NEARLY, left, 0.0)[:sectors]


def sector_codes(sectors: Sequence[str], limits: Limits | None = None) -> Indices:
    """Sectors as integers 0.., shape (n,). A name without a sector ("") is a sector of its own.

    Args:
        limits: under which they are to be; they may ask for the first codes.
    """
    first = limits.first_sectors if limits else ()
    known = {sector: code for code, sector in enumerate(first)}
    keys = (sector or f"\0{i}" for i, sector in enumerate(sectors))
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def room(codes: Indices, limits: Limits) -> Floats:
    """What each name adds to the largest total weight when names join in this order, shape (n,)."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    place = np.empty(len(codes), np.int64)
    place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return _gain(place, limits.rooms(len(sizes))[codes], limits)


def capacity(codes: Indices, limits: Limits) -> float:
    """The largest total weight these names may have together."""
    return min(limits.investable, float(room(codes, limits).sum()))


def best_capacity(codes: Indices, limits: Limits) -> float:
    """The largest total weight that k of these names may have together."""
    largest = np.sort(room(codes, limits))[::-1][: limits.most_names]
    return min(limits.investable, float(largest.sum()))


def pick(
    preference: Indices, codes: Indices, limits: Limits, count: int, invested: float
) -> Indices:
    """The first `count` names of `preference`, changed as little as it takes to hold `invested`.

    As long as the caps let the picked names hold less, the least preferred name of the fullest
    sector gives way to the most preferred one of the emptiest. Room is concave in the number of
    names of a sector, so these single exchanges reach whatever `count` names can hold. Names for
    which there is no room at all come last.

    Returns:
        indices into `codes`, in order of preference.
    """
    fits = has_room(codes, limits)[preference]
    preference = np.concatenate([preference[fits], preference[~fits]])
    kept, spare = preference[:count].copy(), preference[count:].copy()
    rooms = limits.rooms(int(codes.max()) + 1)
    while len(spare) and capacity(codes[kept], limits) < invested - ROUNDING:
        counts = np.bincount(codes[kept], minlength=len(rooms))
        lost = _gain(counts[codes[kept]] - 1, rooms[codes[kept]], limits)
        won = _gain(counts[codes[spare]], rooms[codes[spare]], limits)
        leaver = np.flatnonzero(lost <= lost.min() + ROUNDING)[-1]
        joiner = np.flatnonzero(won >= won.max() - ROUNDING)[0]
        if won[joiner] <= lost[leaver] + ROUNDING:
            break
        kept[leaver], spare[joiner] = spare[joiner], kept[leaver]
    rank = {int(name): place for place, name in enumerate(preference)}
    return np.array(sorted(kept, key=lambda name: rank[int(name)]), np.int64)


def trim(weights: Floats, codes: Indices, limits: Limits) -> Floats:
    """Weights cut down to the limits, what is cut off becoming cash: never a purchase.

    All but the k largest names go, then names and sectors over their caps, then, in proportion,
    whatever would leave less cash than its floor.
    """
    out = np.where(weights > 0, weights, 0.0)
    out[np.argsort(-out, kind="stable")[limits.k :]] = 0.0
    out = np.minimum(out, limits.max_weight)
    out = _within(out, codes, limits.rooms(int(codes.max()) + 1))
    return out / max(1.0, float(out.sum()) / limits.investable)


def lift(weights: Floats, codes: Indices, limits: Limits) -> Floats:
    """Weights nearly at the least one raised to it, at the cost of larger ones where room lacks."""
    least = limits.min_weight
    short = (weights > 0) & (weights < least) & (weights >= least - NEARLY)
    if not short.any():
        return weights
    base = np.where(weights >= least - NEARLY, least, weights)
    room = limits.rooms(int(codes.max()) + 1) - np.bincount(codes, weights=base)
    above = _within(np.maximum(weights - base, 0.0), codes, np.maximum(0.0, room))
    left = max(0.0, limits.investable - float(base.sum()))
    lifted: Floats = base + above * min(1.0, left / max(float(above.sum()), 1e-300))
    return lifted


def fill(direction: Floats, codes: Indices, limits: Limits, invested: float) -> Floats:
    """`invested` spread in proportion to `direction`, past a cap over the names with room left.

    Names that would have less than their least weight go, the smallest first.
    """
    while True:
        out = _filled(direction, codes, limits, invested)
        small = (out > 0) & (out < limits.min_weight - ROUNDING)
        if not small.any():
            return out
        smallest = np.argmin(np.where(small, out, np.inf))
        direction = np.where(np.arange(len(out)) == smallest, 0.0, direction)


def _filled(direction: Floats, codes: Indices, limits: Limits, invested: float) -> Floats:
    """Each step fills up a name, a sector or the sum, so there are at most n + sectors + 1."""
    out = np.zeros(len(direction))
    sectors = int(codes.max()) + 1
    rooms = limits.rooms(sectors)
    for _ in range(len(direction) + sectors + 1):
        held = np.bincount(codes, weights=out, minlength=sectors)
        name_room = limits.max_weight - out
        sector_room = rooms - held
        missing = invested - float(out.sum())
        free = (direction > 0) & (name_room > ROUNDING) & (sector_room[codes] > ROUNDING)
        if missing <= ROUNDING or not free.any():
            break
        share = np.where(free, direction, 0.0) / float(direction[free].sum())
        by_sector = np.bincount(codes, weights=share, minlength=sectors)
        step = min(missing, float((name_room[free] / share[free]).min()))
        step = min(step, float((sector_room[by_sector > 0] / by_sector[by_sector > 0]).min()))
        out = out + step * share
    return trim(out, codes, limits)


def validate_weights(weights: Floats, codes: Indices, limits: Limits) -> Floats:
    """The weights themselves, if a portfolio may have them, rounding below 0 cut off.

    What holdings beside it leave of a sector is not asked for.

    Raises:
        DataError: the first limit they break, as one sentence.
    """
    found = np.asarray(weights, np.float64)
    if found.shape != codes.shape:
        raise DataError(f"one weight per ticker is required: {len(codes)}, found {found.shape}")
    if not np.isfinite(found).all():
        raise DataError(f"weights must be finite, {int((~np.isfinite(found)).sum())} are not")
    by_sector = np.bincount(codes, weights=found, minlength=1)
    breaches = (
        (found.min(initial=0.0) < -ROUNDING, f"at least 0, found {found.min(initial=0.0):.6f}"),
        (found.max(initial=0.0) > limits.max_weight + ROUNDING,
         f"at most {limits.max_weight} a name, found {found.max(initial=0.0):.6f}"),
        (by_sector.max() > limits.max_sector_weight + ROUNDING,
         f"at most {limits.max_sector_weight} a sector, found {by_sector.max():.6f}"),
        (found.sum() > limits.investable + ROUNDING,
         f"at most {limits.investable} in all, found {found.sum():.6f}"),
        ((found > 0).sum() > limits.k, f"on {limits.k} names at most, found {(found > 0).sum()}"),
        (bool(((found > ROUNDING) & (found < limits.min_weight - ROUNDING)).any()),
         f"0 or at least {limits.min_weight} a name, "
         f"found {found[found > ROUNDING].min(initial=1.0):.6f}"),
    )  # fmt: skip
    for broken, wanted in breaches:
        if broken:
            raise DataError(f"weights must be {wanted}")
    return np.maximum(found, 0.0)


def has_room(codes: Indices, limits: Limits) -> NDArray[np.bool_]:
    """Whether each name could be held if it were the only one of its sector, shape (n,)."""
    rooms = limits.rooms(int(codes.max(initial=-1)) + 1)
    fits: NDArray[np.bool_] = _gain(np.zeros(len(codes), np.int64), rooms[codes], limits) > 0
    return fits


def most_in_sector(codes: Indices, limits: Limits) -> Floats:
    """How many names of the least weight, above 0, fit into each name's sector, shape (n,)."""
    return _fit(limits.rooms(int(codes.max()) + 1)[codes], limits)


def _within(weights: Floats, codes: Indices, room: Floats) -> Floats:
    """Weights scaled down in each sector to the room it has."""
    held = np.bincount(codes, weights=weights, minlength=len(room))
    scaled: Floats = weights * np.where(held > room, room / np.maximum(held, 1e-300), 1.0)[codes]
    return scaled


def _sector_room(names: Indices | Floats, rooms: Floats, limits: Limits) -> Floats:
    """What so many names may hold in a sector that may hold `rooms`."""
    if limits.min_weight:
        names = np.minimum(names, _fit(rooms, limits))
    held: Floats = np.minimum(rooms, names * limits.max_weight)
    return held


def _fit(weight: float | Floats, limits: Limits) -> Floats:
    """How many names of the least weight fit into this."""
    return np.asarray(np.floor(weight / np.float64(limits.min_weight) + ROUNDING))


def _gain(names: Indices, rooms: Floats, limits: Limits) -> Floats:
    """What one more name adds to a sector of `names`."""
    return _sector_room(names + 1, rooms, limits) - _sector_room(names, rooms, limits)

"""How offered bars differ from the stored ones. Pure: the store reads, compares here, writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from astra import bars
from astra.errors import DataError
from astra.store import feeds
from astra.store.dialect import FIELDS, VERSION, Versions
from astra.store.feeds import Feed

KNOWN = FIELDS.index("known_from")
_VALUES = (*bars.PRICES, "volume")
_MOST_RUNS = 20  # more are read in one go


@dataclass(frozen=True, slots=True)
class Counts:
    """What a load changed; the three sum to the bars offered."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """Bars to be stored, as `feed` served them at `known_from`, the vendor's time."""

    frame: pd.DataFrame
    known_from: dt.datetime
    feed: Feed = "yahoo"


@dataclass(frozen=True, slots=True)
class Change:
    """How offered bars differ from the stored ones; by ts.

    `late` was seen before the stored version, which is `present`, and may only change the past.
    """

    inserted: Versions
    updated: Versions
    late: Versions
    present: Versions

    def __bool__(self) -> bool:
        return bool(self.inserted.size or self.updated.size or self.late.size)

    def __add__(self, other: Change) -> Change:
        return Change(
            np.concatenate([self.inserted, other.inserted]),
            np.concatenate([self.updated, other.updated]),
            np.concatenate([self.late, other.late]),
            np.concatenate([self.present, other.present]),
        )

    def runs(self, offered: Versions) -> list[Versions]:
        """The parts of `offered`, which was compared, that have something to be written."""
        written = np.concatenate([self.inserted["ts"], self.updated["ts"], self.late["ts"]])
        places = np.flatnonzero(np.isin(offered["ts"], written))
        breaks = np.flatnonzero(np.diff(places) > 1) + 1
        if len(breaks) >= _MOST_RUNS:
            return [offered[places[0] : places[-1] + 1]]
        return [offered[run[0] : run[-1] + 1] for run in np.split(places, breaks)]

    def staged(self) -> Versions:
        """What becomes current."""
        return np.concatenate([self.inserted, self.updated])


def compare(offered: Versions, current: Versions) -> Change:
    """Sort the offered bars of one ticker by what has to be done. Both ascend in ts.

    The same values from another feed are another version: a bar says truly where it comes from.
    """
    place = np.searchsorted(current["ts"], offered["ts"])
    inside = place < len(current)
    known = inside.copy()
    known[inside] = current["ts"][place[inside]] == offered["ts"][inside]
    stored = current[place[known]]
    met = offered[known]
    differs = np.zeros(len(met), np.bool_)
    for name in (*_VALUES, "feed"):
        differs |= met[name] != stored[name]
    late = met["known_from"] < stored["known_from"]
    return Change(offered[~known], met[differs & ~late], met[late], stored[late])


def timeline(versions: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Versions of one bar (in the order of `VERSION`) by `known_from`, equal neighbours merged.

    Of several seen in one second the last in `versions` stays. The earlier of two neighbours with
    equal values and feed stays: a version is known from when it was first seen.
    """
    by_second = {int(version[KNOWN]): version for version in versions}
    ordered: list[tuple[Any, ...]] = []
    for _, version in sorted(by_second.items()):
        if not ordered or _said(ordered[-1]) != _said(version):
            ordered.append(version)
    return ordered


def _said(version: tuple[Any, ...]) -> tuple[Any, ...]:
    """All but when it was said."""
    return version[:KNOWN] + version[KNOWN + 1 :]


def by_ticker(offers: Sequence[Offer]) -> list[tuple[str, Versions]]:
    """Valid bars ticker by ticker, both ascending."""
    parts: dict[str, list[Versions]] = {}
    for offer in offers:
        for ticker, part in _parts(offer):
            parts.setdefault(ticker, []).append(part)
    return [(ticker, _joined(ticker, parts[ticker])) for ticker in sorted(parts)]


def _parts(offer: Offer) -> Iterator[tuple[str, Versions]]:
    valid, rejected = bars.validate(offer.frame, offer.known_from)
    if rejected.total > rejected.duplicate:
        raise DataError(
            f"only bars closed at {offer.known_from.isoformat()} can be stored, "
            f"found {rejected.describe()}: clean them with astra.bars.validate"
        )
    offered = np.empty(len(valid), VERSION)
    for name in ("ts", *_VALUES):
        offered[name] = valid[name].to_numpy()
    offered["known_from"] = int(offer.known_from.timestamp())
    offered["feed"] = feeds.code(offer.feed)
    tickers = valid["ticker"].to_numpy()
    starts = np.flatnonzero(np.r_[len(valid) > 0, tickers[1:] != tickers[:-1]])
    for start, end in pairwise([*starts.tolist(), len(valid)]):
        yield str(tickers[start]), offered[start:end]


def _joined(ticker: str, parts: Sequence[Versions]) -> Versions:
    """The bars of several offers, by ts."""
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate(parts)
    joined = joined[np.argsort(joined["ts"], kind="stable")]
    if (joined["ts"][1:] == joined["ts"][:-1]).any():
        raise DataError(f"each bar may be offered once, found one of {ticker} in two offers")
    return joined


def counted(offered: Versions, change: Change | None) -> Counts:
    if change is None:
        return Counts(0, 0, len(offered))
    inserted, updated = len(change.inserted), len(change.updated)
    return Counts(inserted, updated, len(offered) - inserted - updated)

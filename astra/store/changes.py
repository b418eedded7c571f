"""How offered bars differ from the stored ones. Pure: the store reads, compares here, writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra import bars
from astra.errors import DataError
from astra.store import feeds
from astra.store.dialect import FIELDS, VERSION, Versions, Window
from astra.store.feeds import Feed

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

KNOWN = FIELDS.index("known_from")
_VALUES = (*bars.PRICES, "volume")
_TS_BITS = 34  # of a key; enough until the year 2514
_MOST_BETWEEN = 20  # bars read in vain cost less than another query


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


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Bars of several tickers, each bar once, sorted by (ticker, ts).

    Attributes:
        tickers: ascending; some may have no bar.
        keys: place of each bar's ticker in `tickers` times 2^34, plus its ts; shape (bars,).
        rows: shape (bars,).
    """

    tickers: Sequence[str]
    keys: NDArray[np.int64]
    rows: Versions

    def __getitem__(self, chosen: NDArray[Any]) -> Block:
        return Block(self.tickers, self.keys[chosen], self.rows[chosen])

    def parts(self) -> Iterator[tuple[str, Versions]]:
        """Ticker by ticker, those that have bars."""
        places = self.keys >> _TS_BITS
        ends = np.searchsorted(places, np.arange(len(self.tickers)), side="right")
        for ticker, (start, end) in zip(self.tickers, pairwise([0, *ends.tolist()]), strict=True):
            if start < end:
                yield ticker, self.rows[start:end]

    def counts(self) -> NDArray[np.int64]:
        """Bars of each ticker."""
        return np.bincount(self.keys >> _TS_BITS, minlength=len(self.tickers))

    def windows(self, chosen: NDArray[np.bool_]) -> list[Window]:
        """The stretches of time in which the chosen bars lie, in their order; a few bars that are
        not chosen may lie between."""
        places = np.flatnonzero(chosen)
        keys, ts = self.keys[places], self.rows["ts"][places]
        of_other = np.diff(keys >> _TS_BITS) > 0
        breaks = np.flatnonzero(of_other | (np.diff(places) > _MOST_BETWEEN)) + 1
        return [
            Window(self.tickers[keys[a] >> _TS_BITS], int(ts[a]), int(ts[b - 1]) + 1)
            for a, b in pairwise([0, *breaks.tolist(), len(places)])
            if a < b
        ]

    def stored(self, windows: Sequence[Window], found: Iterable[Versions]) -> Block:
        """What was found in `windows` of tickers of this block."""
        places = {ticker: place for place, ticker in enumerate(self.tickers)}
        parts = list(found)
        rows = np.concatenate([np.empty(0, VERSION), *parts], dtype=VERSION)
        firsts = np.array([places[window.ticker] << _TS_BITS for window in windows], np.int64)
        return Block(self.tickers, np.repeat(firsts, [len(p) for p in parts]) + rows["ts"], rows)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What has to be done with the `offered` bars; each of them is one of three, or as stored.

    What `is_late` was seen before the stored version, which is in `present`, one for each, and may
    only change the past.
    """

    offered: Block
    is_new: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]
    is_late: NDArray[np.bool_]
    present: Versions

    @property
    def is_any(self) -> NDArray[np.bool_]:
        return self.is_new | self.is_changed | self.is_late

    def late(self) -> Iterator[tuple[str, Versions, Versions]]:
        """Ticker by ticker: late bars, and the stored versions of the same."""
        start = 0
        for ticker, part in self.offered[self.is_late].parts():
            yield ticker, part, self.present[start : start + len(part)]
            start += len(part)


def compare(offered: Block, stored: Block) -> Change:
    """Sort the offered bars by what has to be done. Both blocks name the same tickers.

    The same values from another feed are another version: a bar says truly where it comes from.
    """
    place = np.searchsorted(stored.keys, offered.keys)
    known = place < len(stored.keys)
    known[known] = stored.keys[place[known]] == offered.keys[known]
    held, met = stored.rows[place[known]], offered.rows[known]
    differs = np.zeros(len(met), np.bool_)
    for name in (*_VALUES, "feed"):
        differs |= met[name] != held[name]
    late = met["known_from"] < held["known_from"]
    is_changed, is_late = np.zeros_like(known), np.zeros_like(known)
    is_changed[known], is_late[known] = differs & ~late, late
    return Change(offered, ~known, is_changed, is_late, held[late])


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


def gather(offers: Sequence[Offer]) -> Block:
    """The bars of all offers.

    Raises:
        DataError: a bar is not valid, or in two offers.
    """
    parts = [_rows(offer) for offer in offers]
    tickers = sorted({ticker for names, _, _ in parts for ticker in names})
    places = {ticker: place for place, ticker in enumerate(tickers)}
    firsts = [np.repeat([places[t] << _TS_BITS for t in names], n) for names, n, _ in parts]
    rows = np.concatenate([np.empty(0, VERSION), *(part for _, _, part in parts)], dtype=VERSION)
    keys = np.concatenate([np.empty(0, np.int64), *firsts]).astype(np.int64) + rows["ts"]
    if len(parts) > 1:
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        ticker = tickers[keys[twice[0]] >> _TS_BITS]
        raise DataError(f"each bar may be offered once, found one of {ticker} in two offers")
    return Block(tickers, keys, rows)


def _rows(offer: Offer) -> tuple[list[str], list[int], Versions]:
    """Tickers, ascending, the number of bars of each, and these."""
    valid, rejected = bars.validate(offer.frame, offer.known_from)
    if rejected.total > rejected.duplicate:
        raise DataError(
            f"only bars closed at {offer.known_from.isoformat()} can be stored, "
            f"found {rejected.describe()}: clean them with astra.bars.validate"
        )
    rows = np.empty(len(valid), VERSION)
    for name in ("ts", *_VALUES):
        rows[name] = valid[name].to_numpy()
    rows["known_from"] = int(offer.known_from.timestamp())
    rows["feed"] = feeds.code(offer.feed)
    tickers = valid["ticker"].to_numpy()
    starts = np.flatnonzero(np.r_[len(valid) > 0, tickers[1:] != tickers[:-1]])
    return [str(t) for t in tickers[starts]], np.diff([*starts, len(valid)]).tolist(), rows


def count(offered: Block, change: Change | None) -> dict[str, Counts]:
    """What became of the `offered` bars, by ticker; None: nothing had to be done."""
    total, none = offered.counts(), np.zeros(len(offered.tickers), np.int64)
    new = change.offered[change.is_new].counts() if change else none
    changed = change.offered[change.is_changed].counts() if change else none
    columns = np.stack([new, changed, total - new - changed], axis=1).tolist()
    return {t: Counts(*row) for t, row in zip(offered.tickers, columns, strict=True)}

"""When bars were stored: what quality is measured on. Reads times and marks, and prices only of
bars that have been replaced.

Arrays have a column for each of N tickers in the order asked for; times are int64 epoch seconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astra.bars import PRICES
from astra.quality import Flags, Integers
from astra.sessions import Session
from astra.store import Query, Store
from astra.store.feeds import FEEDS
from astra.store.rows import moment

NEVER = 2**62
NONE = -1
_VALUES = (*PRICES, "volume")


@dataclass(frozen=True, slots=True)
class Past:
    """D sessions.

    Attributes:
        counts: bars stored, shape (D, N).
        lengths: bars there are, shape (D,).
        last: start of the last bar, shape (N,); `NONE` if there is none.
    """

    counts: Integers
    lengths: Integers
    last: Integers


@dataclass(frozen=True, slots=True)
class Present:
    """Bars of one session.

    Attributes:
        ts: starts of those that have closed, shape (closed,).
        printed: which are stored, shape (closed, N).
        first_known: when the first version of each was known, shape (closed, N); `NEVER` if none.
        corrected: which have a replaced version, shape (closed, N).
        feed: place in `FEEDS`, shape (closed, N); `NONE` where no bar is.
    """

    ts: Integers
    printed: Flags
    first_known: Integers
    corrected: Flags
    feed: Integers

    def feeds(self, column: int) -> dict[str, int]:
        """Bars of a ticker by feed."""
        used = np.bincount(self.feed[:, column] + 1, minlength=len(FEEDS) + 1)[1:].tolist()
        return {name: count for name, count in zip(FEEDS, used, strict=True) if count}

    def last(self, column: int) -> int:
        """Start of a ticker's last bar, or `NONE`."""
        stored = np.flatnonzero(self.printed[:, column])
        return int(self.ts[stored[-1]]) if len(stored) else NONE


def read_past(
    store: Store, tickers: Sequence[str], sessions: Sequence[Session], known_at: dt.datetime | None
) -> Past:
    """`sessions`, which follow each other, as known at `known_at` (None: now)."""

    start, end = sessions[0].opens_at, sessions[-1].closes_at
    table = store.prices.read(tickers, start, end, known_at=known_at, columns=("ticker", "ts"))
    column, ts = _place(table["ticker"], tickers), _seconds(table["ts"])
    opens = np.array([s.opens_at.timestamp() for s in sessions], np.int64)
    row = np.searchsorted(opens, ts, side="right") - 1
    shape = len(sessions), len(tickers)
    counts = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
    last = np.full(shape[1], NONE)
    np.maximum.at(last, column, ts)
    return Past(counts, np.array([s.bars for s in sessions]), last)


def read_present(
    store: Store, tickers: Sequence[str], ts: Integers, known_at: dt.datetime | None
) -> Present:
    """The bars that start at `ts`, ascending, as known at `known_at` (None: now)."""
    shape = len(ts), len(tickers)
    printed, corrected = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    first_known, feed = np.full(shape, NEVER), np.full(shape, NONE)
    if len(ts):
        start, end = moment(int(ts[0])), moment(int(ts[-1]) + 1)
        columns = ("ticker", "ts", "known_from", "feed")
        table = store.prices.read(tickers, start, end, known_at=known_at, columns=columns)
        at = np.searchsorted(ts, _seconds(table["ts"])), _place(table["ticker"], tickers)
        printed[at], feed[at] = True, _place(table["feed"], FEEDS)
        first_known[at] = _seconds(table["known_from"])
        versions = ("ticker", "ts", *_VALUES, "known_from", "replaced_at")
        old = _until(
            store.dump(Query("price_revisions", versions, tickers, start=start, end=end)), known_at
        )
        at = np.searchsorted(ts, _seconds(old["ts"])), _place(old["ticker"], tickers)
        np.minimum.at(first_known, at, _seconds(old["known_from"]))
        differs = _differ(old, store, start, end, known_at)
        corrected[at[0][differs], at[1][differs]] = True
    return Present(ts, printed, first_known, corrected & printed, feed)


def _differ(
    old: pa.Table, store: Store, start: dt.datetime, end: dt.datetime, known_at: dt.datetime | None
) -> NDArray[np.bool_]:
    """Which replaced versions had other values than their bars have, and not only another feed."""
    keys = ["ticker", "ts"]
    revised = pc.unique(old["ticker"]).to_pylist()
    columns = (*keys, *_VALUES)
    now = store.prices.read(revised, start, end, known_at=known_at, columns=columns).to_pandas()
    was = old.select(columns).to_pandas()
    both = was[keys].merge(now, on=keys, how="left")
    found: NDArray[np.bool_] = (was[list(_VALUES)] != both[list(_VALUES)]).any(axis=1).to_numpy()
    return found


def read_first_known(
    store: Store, tickers: Sequence[str], session: Session, known_at: dt.datetime | None
) -> dict[str, int]:
    """When the first bar of `session` was known; tickers without bars are left out."""
    start, end, columns = session.opens_at, session.closes_at, ("ticker", "ts", "known_from")
    table = store.prices.read(tickers, start, end, known_at=known_at, columns=columns)
    found = table.group_by("ticker").aggregate([("known_from", "min")])
    known_from = _seconds(found["known_from_min"]).tolist()
    return dict(zip(found["ticker"].to_pylist(), known_from, strict=True))


def read_quarantined(
    store: Store, tickers: Sequence[str], session: Session, known_at: dt.datetime | None
) -> Integers:
    """Rows of the quarantine that lie in `session`, seen until `known_at` (None: now), (N,)."""
    columns = ("ticker", "seen_at")
    query = Query("quarantine", columns, tickers, start=session.opens_at, end=session.closes_at)
    table = _until(store.dump(query), known_at)
    return np.bincount(_place(table["ticker"], tickers), minlength=len(tickers))


def _until(reader: pa.RecordBatchReader, known_at: dt.datetime | None) -> pa.Table:
    """The rows whose last column is a time until `known_at`."""
    table = reader.read_all()
    if known_at is None:
        return table
    return table.filter(pc.less_equal(table[-1], pa.scalar(known_at, table.schema[-1].type)))


def _seconds(column: pa.ChunkedArray) -> Integers:
    found: Integers = column.cast(pa.int64()).to_numpy()
    return found


def _place(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.int64]:
    """Where each value stands in `names`."""
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    places: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return places

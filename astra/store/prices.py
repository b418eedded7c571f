"""The price store: bars in, bars out as they were known at any time.

Each bar has one current version and any number of replaced ones; a version is valid from the
vendor's time at which it was first seen until the next one's. Loads may come in any order: a load
that is older than what is stored is sorted into the past instead of overwriting the present.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from astra import bars
from astra.errors import DataError
from astra.sessions import BAR_SECONDS, last_closed_bars
from astra.store.rows import moment, seconds_or_none
from astra.store.sqlite import VERSION, Sqlite

SCHEMA = bars.ARROW_SCHEMA.append(pa.field("known_from", pa.timestamp("s", tz="UTC")))
BATCH_ROWS = 65_536
_VALUES = (*bars.PRICES, "volume")
_ALWAYS = 2**62


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


class Prices:
    """Tables `price_history` and `price_revisions`."""

    def __init__(self, dialect: Sqlite) -> None:
        self._dialect = dialect

    def upsert(self, frame: pd.DataFrame, known_from: dt.datetime) -> Counts:
        """Store bars as seen at `known_from`, the vendor's time, in one transaction.

        What differs from the window read back is staged in a temp table and merged as a set. Of
        two values seen in the same second the one that arrives later is kept.

        Raises:
            DataError: a bar is off the grid, not closed at `known_from`, incomplete or
                implausible; nothing was stored.
        """
        valid, rejected = bars.validate(frame, known_from)
        if rejected.total > rejected.duplicate:
            raise DataError(
                f"only bars closed at {known_from.isoformat()} can be stored, "
                f"found {rejected.describe()}: clean them with astra.bars.validate"
            )
        if valid.empty:
            return Counts()
        offered = np.empty(len(valid), VERSION)
        for name in ("ts", *_VALUES):
            offered[name] = valid[name].to_numpy()
        offered["known_from"] = int(known_from.timestamp())
        tickers = valid["ticker"].to_numpy()
        starts = np.flatnonzero(np.r_[True, tickers[1:] != tickers[:-1]])
        total = Counts()
        with self._dialect.writing() as connection:
            for start, end in pairwise([*starts.tolist(), len(valid)]):
                total += self._stage(connection, str(tickers[start]), offered[start:end])
            self._dialect.merge(connection)
        return total

    def _stage(self, connection: Connection, ticker: str, offered: NDArray[np.void]) -> Counts:
        first, end = int(offered["ts"][0]), int(offered["ts"][-1]) + 1
        current = self._dialect.window(connection, ticker, first, end)
        change = compare(offered, current)
        self._dialect.stage(connection, ticker, change.inserted.tolist())
        self._dialect.stage(connection, ticker, change.updated.tolist())
        if change.late.size:
            self._sort_in(connection, ticker, change.late, current)
        inserted, updated = len(change.inserted), len(change.updated)
        return Counts(inserted, updated, len(offered) - inserted - updated)

    def _sort_in(
        self,
        connection: Connection,
        ticker: str,
        late: NDArray[np.void],
        current: NDArray[np.void],
    ) -> None:
        first, end = int(late["ts"][0]), int(late["ts"][-1]) + 1
        past: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._dialect.revisions(connection, ticker, first, end).tolist():
            past.setdefault(row[0], []).append(row)
        present = current[np.searchsorted(current["ts"], late["ts"])].tolist()
        for row, newest in zip(late.tolist(), present, strict=True):
            known = [*past.get(row[0], []), newest]
            versions = timeline([*known, row])
            if versions == known:
                continue
            self._dialect.drop_revisions(connection, ticker, [row[0]])
            self._dialect.put(connection, ticker, versions[-1:])
            replaced = ((*old, new[-1]) for old, new in pairwise(versions))
            self._dialect.put_revisions(connection, ticker, replaced)

    def read(
        self,
        tickers: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        last: int | None = None,
        known_at: dt.datetime | None = None,
    ) -> pa.Table:
        """Bars with start <= ts < end, sorted by (ticker, ts), as `astra.bars.ARROW_SCHEMA`.

        Args:
            tickers: None = all that are stored; unknown ones have no rows.
            last: only the last `last` closed bars of the session grid, counted back from the
                earliest of `end`, `known_at` and the close of the last stored bar. A ticker with
                gaps has fewer.
            known_at: what the store knew then; None = now.

        Raises:
            DataError: `last` is not positive, or a time has no zone.
        """
        batches = self.batches(tickers, start, end, last, known_at)
        whole = pa.Table.from_batches(batches, SCHEMA)
        return whole.select(bars.ARROW_SCHEMA.names).combine_chunks()

    def batches(
        self,
        tickers: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        last: int | None = None,
        known_at: dt.datetime | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """As `read`, streamed from one snapshot as batches of `SCHEMA` (with `known_from`)."""
        if last is not None and last < 1:
            raise DataError(f"last must be at least 1 bar, found {last}")
        bounds = [seconds_or_none(t) for t in (start, end, known_at)]
        return self._stream(tickers, bounds[0], bounds[1], last, bounds[2])

    def _stream(
        self,
        tickers: Sequence[str] | None,
        start: int | None,
        end: int | None,
        last: int | None,
        known_at: int | None,
    ) -> Iterator[pa.RecordBatch]:
        low, high = -_ALWAYS if start is None else start, _ALWAYS if end is None else end
        with self._dialect.reading() as connection:
            stored = self._dialect.last_ts(connection) if tickers is None or last else {}
            if last:
                low, high = _last_window(last, low, high, known_at, stored)
            names: list[str] = []
            parts: list[NDArray[np.void]] = []
            held = 0
            for ticker in sorted(stored if tickers is None else set(tickers)):
                part = self._dialect.window(connection, ticker, low, high, known_at)
                names.append(ticker)
                parts.append(part)
                held += len(part)
                if held >= BATCH_ROWS:
                    yield _batch(names, parts)
                    names, parts, held = [], [], 0
            if names:
                yield _batch(names, parts)

    def last_ts(self, tickers: Sequence[str] | None = None) -> dict[str, int]:
        """Start of the last stored bar, epoch seconds; tickers without bars are left out."""
        with self._dialect.reading() as connection:
            stored = self._dialect.last_ts(connection)
        return stored if tickers is None else {t: stored[t] for t in tickers if t in stored}

    def stored_tickers(self) -> tuple[str, ...]:
        """Tickers that have at least one bar, ascending."""
        return tuple(self.last_ts())

    def as_of(self) -> dt.datetime | None:
        """Close of the last stored bar of any ticker; None in an empty store."""
        stored = self.last_ts()
        if not stored:
            return None
        return moment(max(stored.values()) + BAR_SECONDS)

    def count(self) -> int:
        """Number of current bars."""
        with self._dialect.reading() as connection:
            return self._dialect.count(connection)


@dataclass(frozen=True, slots=True)
class Change:
    """How offered bars differ from the stored ones; arrays of `VERSION`, by ts.

    `late` was seen before the stored version and may only change the past.
    """

    inserted: NDArray[np.void]
    updated: NDArray[np.void]
    late: NDArray[np.void]


def compare(offered: NDArray[np.void], current: NDArray[np.void]) -> Change:
    """Sort the offered bars of one ticker by what has to be done. Both ascend in ts."""
    place = np.searchsorted(current["ts"], offered["ts"])
    inside = place < len(current)
    known = inside.copy()
    known[inside] = current["ts"][place[inside]] == offered["ts"][inside]
    stored = current[place[known]]
    met = offered[known]
    differs = np.zeros(len(met), np.bool_)
    for name in _VALUES:
        differs |= met[name] != stored[name]
    late = met["known_from"] < stored["known_from"]
    now = differs & ~late
    return Change(offered[~known], met[now], met[late])


def timeline(versions: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Versions of one bar (in the order of `VERSION`) by `known_from`, equal neighbours merged.

    The earlier of two equal neighbours stays: a version is known from when it was first seen.
    """
    ordered: list[tuple[Any, ...]] = []
    for version in sorted(versions, key=lambda v: int(v[-1])):
        if not ordered or ordered[-1][:-1] != version[:-1]:
            ordered.append(version)
    return ordered


def _last_window(
    last: int, low: int, high: int, known_at: int | None, stored: dict[str, int]
) -> tuple[int, int]:
    if not stored:
        return low, low
    as_of = min(high, max(stored.values()) + BAR_SECONDS, _ALWAYS if known_at is None else known_at)
    grid = last_closed_bars(last, moment(as_of))
    return max(low, int(grid[0])), min(high, int(grid[-1]) + 1)


def _batch(names: Sequence[str], parts: Sequence[NDArray[np.void]]) -> pa.RecordBatch:
    rows = np.concatenate(parts)
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), [len(p) for p in parts])
    tickers = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
    columns = [tickers.cast(pa.string())]
    for field in list(SCHEMA)[1:]:
        values = pa.array(np.ascontiguousarray(rows[field.name]))
        columns.append(values if values.type == field.type else values.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

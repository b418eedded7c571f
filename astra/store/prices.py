"""The price store: bars in, bars out as they were known at any time.

Each bar has one current version and any number of replaced ones; a version is valid from the
vendor's time at which it was first seen until the next one's. Loads may come in any order: a load
that is older than what is stored is sorted into the past instead of overwriting the present.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from astra import bars
from astra.errors import DataError
from astra.sessions import BAR_SECONDS, last_closed_bars, last_sessions
from astra.store import schema
from astra.store.changes import (
    KNOWN,
    Block,
    Change,
    Counts,
    Offer,
    compare,
    count,
    gather,
    timeline,
)
from astra.store.dialect import FIELDS, Dialect, Versions, Window
from astra.store.feeds import FEEDS, Feed
from astra.store.rows import moment, seconds_or_none
from astra.store.versions import bump

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

SCHEMA = bars.ARROW_SCHEMA.append(pa.field("known_from", pa.timestamp("s", tz="UTC"))).append(
    pa.field("feed", pa.string())
)
BATCH_ROWS = 65_536
_ALWAYS = 2**62
_LOOK_BACKS = (1, 20, 10_000)  # sessions; the last is all that there are


class Prices:
    """Tables `price_history` and `price_revisions`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def upsert(self, frame: pd.DataFrame, known_from: dt.datetime, feed: Feed = "yahoo") -> Counts:
        """As `upsert_many`, for one offer; the counts of all its tickers together."""
        return sum(self.upsert_many([Offer(frame, known_from, feed)]).values(), Counts())

    def upsert_many(self, offers: Sequence[Offer]) -> dict[str, Counts]:
        """Store bars in one transaction; what it changed, by ticker.

        Only what differs from what is stored is written: a load that is mostly new by the
        database's bulk path, everything else staged in a temp table and merged as a set. Of two
        values seen in the same second the one that arrives later is kept.

        All is compared on a snapshot first, so that a load waits for other writers only if it has
        something to write, and then for as long as that takes: what differs is compared again
        under the lock. The rest counts as having come before whatever was written meanwhile.

        Raises:
            DataError: a bar is off the grid, not closed when it was seen, incomplete, implausible
                or offered twice; nothing was stored.
        """
        offered = gather(offers)
        with self._dialect.reading() as connection:
            change = self._compare(connection, offered, np.ones(len(offered.rows), np.bool_))
        if not change.is_any.any():
            return count(offered, None)
        with self._dialect.writing("prices") as connection:
            change = self._compare(connection, offered, change.is_any)
            self._write(connection, change, is_bulk=2 * change.is_new.sum() > len(offered.rows))
        return count(offered, change)

    def _compare(self, connection: Connection, offered: Block, chosen: NDArray[np.bool_]) -> Change:
        """The `chosen` ones of the offered bars against what is stored."""
        windows = offered.windows(chosen)
        stored = offered.stored(windows, self._dialect.windows(connection, windows))
        return compare(offered[chosen], stored)

    def _write(self, connection: Connection, change: Change, is_bulk: bool) -> None:
        offered, is_current = change.offered, change.is_new | change.is_changed
        if is_bulk:
            self._dialect.append(connection, offered[change.is_new].parts())
            self._dialect.merge(connection, offered[change.is_changed].parts())
        elif is_current.any():
            self._dialect.merge(connection, offered[is_current].parts())
        late = [self._sort_in(connection, *part) for part in change.late()]
        if is_current.any() or any(late):
            bump(connection, "prices")

    def _sort_in(
        self, connection: Connection, ticker: str, late: Versions, present: Versions
    ) -> bool:
        """Write what was seen before the stored version into the past; whether that changed it."""
        table = schema.price_revisions
        first, end = int(late["ts"][0]), int(late["ts"][-1]) + 1
        inside = (table.c.ticker == ticker) & (table.c.ts >= first) & (table.c.ts < end)
        columns = [table.c[name] for name in FIELDS]
        past: dict[int, list[tuple[Any, ...]]] = {}
        for row in connection.execute(select(*columns).where(inside).order_by(table.c.replaced_at)):
            past.setdefault(row.ts, []).append(tuple(row))
        is_changed = False
        for row, newest in zip(late.tolist(), present.tolist(), strict=True):
            known = [*past.get(row[0], []), newest]
            versions = timeline([*known, row])
            if versions == known:
                continue
            is_changed = True
            bar = (table.c.ticker == ticker) & (table.c.ts == row[0])
            connection.execute(table.delete().where(bar))
            self._dialect.upsert(connection, schema.price_history, [_row(ticker, versions[-1])])
            replaced = [
                {
                    "ticker": ticker,
                    **dict(zip(FIELDS, old, strict=True)),
                    "replaced_at": new[KNOWN],
                }
                for old, new in pairwise(versions)
            ]
            self._dialect.upsert(connection, table, replaced)
        return is_changed

    def read(
        self,
        tickers: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        last: int | None = None,
        known_at: dt.datetime | None = None,
        columns: Sequence[str] = bars.COLUMNS,
    ) -> pa.Table:
        """Bars with start <= ts < end, sorted by (ticker, ts), with the `columns` of `SCHEMA`.

        Args:
            tickers: None = all that are stored; unknown ones have no rows.
            last: only the last `last` closed bars of the session grid, counted back from `end` or
                the close of the last bar known then, whichever is earlier. A ticker with gaps has
                fewer.
            known_at: what the store knew then; None = now.

        Raises:
            DataError: `last` is not positive, or a time has no zone.
        """
        batches = self.batches(tickers, start, end, last, known_at, columns)
        return pa.Table.from_batches(batches, arrow_schema(columns)).combine_chunks()

    def batches(
        self,
        tickers: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        last: int | None = None,
        known_at: dt.datetime | None = None,
        columns: Sequence[str] = SCHEMA.names,
    ) -> Iterator[pa.RecordBatch]:
        """As `read`, streamed from one snapshot."""
        if last is not None and last < 1:
            raise DataError(f"last must be at least 1 bar, found {last}")
        bounds = [seconds_or_none(t) for t in (start, end, known_at)]
        return self._stream(tickers, bounds[0], bounds[1], last, bounds[2], columns)

    def _stream(
        self,
        tickers: Sequence[str] | None,
        start: int | None,
        end: int | None,
        last: int | None,
        known_at: int | None,
        columns: Sequence[str],
    ) -> Iterator[pa.RecordBatch]:
        low, high = -_ALWAYS if start is None else start, _ALWAYS if end is None else end
        fields = [name for name in columns if name != "ticker"] or ["ts"]
        with self._dialect.reading() as connection:
            stored = self._dialect.last_ts(connection) if tickers is None or last else {}
            if last:
                newest = max(stored.values(), default=None)
                if newest is not None and known_at is not None:
                    newest = self._last_known(connection, list(stored), newest, known_at)
                low, high = _last_window(last, low, high, newest)
            wanted = sorted(stored if tickers is None else set(tickers))
            windows = [Window(ticker, low, high) for ticker in wanted]
            names: list[str] = []
            parts: list[Versions] = []
            held = 0
            found = self._dialect.windows(connection, windows, known_at, fields)
            for ticker, part in zip(wanted, found, strict=True):
                names.append(ticker)
                parts.append(part)
                held += len(part)
                if held >= BATCH_ROWS:
                    yield _batch(names, parts, columns)
                    names, parts, held = [], [], 0
            if names:
                yield _batch(names, parts, columns)

    def _last_known(
        self, connection: Connection, tickers: Sequence[str], newest: int, known_at: int
    ) -> int | None:
        """Start of the last bar that any of the tickers had at `known_at`, looking ever further
        back: mostly there is one in the last session before."""
        end = min(newest + BAR_SECONDS, known_at)
        for sessions in _LOOK_BACKS:
            low = int(last_sessions(sessions, moment(end))[0].opens_at.timestamp())
            windows = [Window(ticker, low, end) for ticker in tickers]
            found = self._dialect.windows(connection, windows, known_at, ["ts"])
            last = max((int(part["ts"][-1]) for part in found if part.size), default=None)
            if last is not None:
                return last
        return None

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
        counted = select(func.count()).select_from(schema.price_history)
        with self._dialect.reading() as connection:
            return int(connection.scalar(counted) or 0)


def arrow_schema(columns: Sequence[str]) -> pa.Schema:
    """The `columns` of `SCHEMA`, in their order."""
    return pa.schema([SCHEMA.field(name) for name in columns])


def _row(ticker: str, version: tuple[Any, ...]) -> dict[str, Any]:
    return {"ticker": ticker, **dict(zip(FIELDS, version, strict=True))}


def _last_window(last: int, low: int, high: int, newest: int | None) -> tuple[int, int]:
    if newest is None:
        return low, low
    as_of = min(high, newest + BAR_SECONDS)
    grid = last_closed_bars(last, moment(as_of))
    return max(low, int(grid[0])), min(high, int(grid[-1]) + 1)


def _batch(
    names: Sequence[str], parts: Sequence[Versions], columns: Sequence[str]
) -> pa.RecordBatch:
    rows = np.concatenate(parts)
    arrays = []
    for field in arrow_schema(columns):
        if field.name == "ticker":
            lengths = [len(part) for part in parts]
            codes = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)
            arrays.append(_named(codes, names))
        elif field.name == "feed":
            arrays.append(_named(rows["feed"].astype(np.int32), FEEDS))
        else:
            values = pa.array(np.ascontiguousarray(rows[field.name]))
            arrays.append(values if values.type == field.type else values.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _named(codes: NDArray[np.int32], names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string())).cast(
        pa.string()
    )

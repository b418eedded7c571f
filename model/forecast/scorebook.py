"""The record of one bundle's forecasts as it is kept: a Parquet table, rows are only ever added.

    as_of, ticker, score, volatility, known_at

A row is what was forecast of a ticker at a decision time, made from the bars known at `known_at`.
Who writes a row first wins, and it never changes; so a past decision, asked for the rows known to
it, finds the same ones again, whatever was added since. Rows older than 400 days are let go.
"""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astra.errors import DataError
from model.forecast.record import Floats, ForecastRecord

_TIME = pa.timestamp("s", tz="UTC")
SCHEMA = pa.schema(
    [
        ("as_of", _TIME),
        ("ticker", pa.dictionary(pa.int32(), pa.string())),
        ("score", pa.float32()),  # NaN where the network had no say
        ("volatility", pa.float32()),
        ("known_at", _TIME),
    ]
)


@dataclass(frozen=True, slots=True)
class Scorebook:
    """A record whose cells know when they were made.

    Attributes:
        record: its numbers have the precision of a float32, as they are kept.
        known_at: epoch seconds, shape (D, N); 0 where there is no row.
    """

    record: ForecastRecord
    known_at: NDArray[np.int64]

    @classmethod
    def of(cls, record: ForecastRecord, known_at: dt.datetime) -> Scorebook:
        """Every cell of `record` as a row, also the NaN of a network that had no say."""
        at = np.full(record.score.shape, int(known_at.timestamp()), np.int64)
        return cls(record.as_kept(), at)

    def known(self, at: dt.datetime) -> Scorebook:
        """The rows that had been made before then. Those made on the very load of the store that
        a decision reads are a function of its bars: it makes them itself."""
        made = (self.known_at > 0) & (self.known_at < int(at.timestamp()))
        r = self.record
        score, volatility = (np.where(made, v, np.nan) for v in (r.score, r.volatility))
        shown = ForecastRecord(r.model_id, r.as_of, r.tickers, score, volatility)
        return Scorebook(shown, np.where(made, self.known_at, 0))

    def scored(self) -> Scorebook:
        """The times at which some ticker has a score: where none has, bars are late, and the time
        is made again when they have come."""
        return self._at(np.asarray(np.isfinite(self.record.score).any(axis=1)))

    def since(self, start: int) -> Scorebook:
        """The rows from `start` on, epoch seconds."""
        return self._at(self.record.as_of >= start)

    def _at(self, times: NDArray[np.bool_]) -> Scorebook:
        r = self.record
        shown = ForecastRecord(
            r.model_id, r.as_of[times], r.tickers, r.score[times], r.volatility[times]
        )
        return Scorebook(shown, self.known_at[times])

    def joined(self, others: Scorebook) -> Scorebook:
        """Our rows, and of `others` those that we don't have."""
        stamps = np.union1d(self.record.as_of, others.record.as_of)
        tickers = tuple(sorted({*self.record.tickers, *others.record.tickers}))
        ours, theirs = (book._spread(stamps, tickers) for book in (self, others))
        held = ours[2] > 0
        score, volatility, at = (np.where(held, a, b) for a, b in zip(ours, theirs, strict=True))
        whole = ForecastRecord(self.record.model_id, stamps, tickers, score, volatility)
        return Scorebook(whole, at.astype(np.int64))

    def of_tickers(self, tickers: tuple[str, ...], since: int) -> ForecastRecord:
        """The rows of `tickers` (ascending) from `since` on (epoch seconds), NaN where none is."""
        stamps = self.record.as_of[self.record.as_of >= since]
        score, volatility, _ = self._spread(stamps, tickers)
        return ForecastRecord(self.record.model_id, stamps, tickers, score, volatility)

    def complete(self, tickers: tuple[str, ...]) -> frozenset[int]:
        """The decision times at which each of `tickers` has a row, NaN or not."""
        _, _, at = self._spread(self.record.as_of, tickers)
        return frozenset(self.record.as_of[(at > 0).all(axis=1)].tolist())

    @property
    def rows(self) -> int:
        return int((self.known_at > 0).sum())

    def _spread(
        self, stamps: NDArray[np.int64], tickers: tuple[str, ...]
    ) -> tuple[Floats, Floats, Floats]:
        """Score, volatility and known_at on other axes; NaN, NaN and 0 where there is no row."""
        place = {t: k for k, t in enumerate(self.record.tickers)}
        mine = np.array([place.get(t, -1) for t in tickers], np.int64)
        row = np.searchsorted(self.record.as_of, stamps)
        row = np.where(np.isin(stamps, self.record.as_of), row, -1)
        rows, columns = np.flatnonzero(row >= 0), np.flatnonzero(mine >= 0)
        found = []
        for values, none in (
            (self.record.score, np.nan), (self.record.volatility, np.nan), (self.known_at, 0.0),
        ):  # fmt: skip
            out = np.full((len(stamps), len(tickers)), none)
            out[np.ix_(rows, columns)] = values[np.ix_(row[rows], mine[columns])]
            found.append(out)
        return found[0], found[1], found[2]


def empty(model_id: str) -> Scorebook:
    """A book without rows."""
    return _book(model_id, SCHEMA.empty_table())


def to_parquet(book: Scorebook) -> bytes:
    """The object's content: its rows in the order of time, then ticker."""
    row, column = np.nonzero(book.known_at)
    r = book.record
    arrays = [
        pa.array(r.as_of[row]).cast(_TIME),
        pa.DictionaryArray.from_arrays(column.astype(np.int32), pa.array(r.tickers, pa.string())),
        pa.array(r.score[row, column].astype(np.float32)),
        pa.array(r.volatility[row, column].astype(np.float32)),
        pa.array(book.known_at[row, column]).cast(_TIME),
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), out, compression="zstd")
    return out.getvalue()


def from_parquet(model_id: str, content: bytes) -> Scorebook:
    """The reverse of `to_parquet`.

    Raises:
        DataError: it is something else.
    """
    try:
        table = pq.read_table(io.BytesIO(content), read_dictionary=["ticker"]).cast(SCHEMA)
        return _book(model_id, table)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"the record of {model_id} must be a Parquet file with the columns "
            f"{', '.join(SCHEMA.names)}, found something else ({type(error).__name__}): delete "
            "it, and the next decision makes it again from the bars at hand"
        ) from error


def _book(model_id: str, table: pa.Table) -> Scorebook:
    coded = table.unify_dictionaries().combine_chunks()["ticker"].combine_chunks()
    names = np.array(coded.dictionary.to_pylist(), object)
    order = np.argsort(names)
    column = np.argsort(order)[coded.indices.to_numpy()]
    seconds = {name: table[name].cast(pa.int64()).to_numpy() for name in ("as_of", "known_at")}
    stamps, row = np.unique(seconds["as_of"], return_inverse=True)
    shape = (len(stamps), len(names))
    score, volatility = np.full(shape, np.nan), np.full(shape, np.nan)
    at = np.zeros(shape, np.int64)
    score[row, column] = table["score"].to_numpy()
    volatility[row, column] = table["volatility"].to_numpy()
    at[row, column] = seconds["known_at"]
    return Scorebook(ForecastRecord(model_id, stamps, tuple(names[order]), score, volatility), at)

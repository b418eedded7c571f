"""A stream of Arrow record batches as bytes: arrow, parquet, csv or json."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

MIME_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "json": "application/json",
}


Chunks = Generator[bytes, None, None]
_JSON_ROWS = 1_000  # a batch as Python objects would take fifty times its memory


def encode(reader: pa.RecordBatchReader, name: str) -> Chunks:
    """The batches in the format `name`, a key of `MIME_TYPES`, at least one chunk.

    An empty table keeps its header. In arrow, tickers and feeds are dictionaries; json is one
    array of objects, times are ISO 8601 with their zone, and numbers that are not finite null.
    """
    return _json(reader) if name == "json" else _written(reader, name)


class _Sink(io.RawIOBase):
    """A file that keeps what was written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        copy = bytes(part)
        self._parts.append(copy)
        self._at += len(copy)
        return len(copy)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


_Writer = Callable[[_Sink, pa.Schema], AbstractContextManager[Any]]


def _arrow(sink: _Sink, fields: pa.Schema) -> AbstractContextManager[Any]:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    return pa.ipc.new_stream(sink, fields, options=options)  # type: ignore[no-any-return]


def _parquet(sink: _Sink, fields: pa.Schema) -> AbstractContextManager[Any]:
    return pa.parquet.ParquetWriter(sink, fields, compression="zstd")  # type: ignore[no-any-return]


def _csv(sink: _Sink, fields: pa.Schema) -> AbstractContextManager[Any]:
    options = pa.csv.WriteOptions(quoting_header="none")
    return pa.csv.CSVWriter(sink, fields, write_options=options)  # type: ignore[no-any-return]


_WRITERS: dict[str, _Writer] = {"arrow": _arrow, "parquet": _parquet, "csv": _csv}
# What repeats from row to row; csv has no dictionaries, parquet makes its own.
_REPEATED = ("ticker", "feed")
_CODED = pa.dictionary(pa.int32(), pa.string())


def _written(reader: pa.RecordBatchReader, name: str) -> Chunks:
    kinds = {field.name: field.type for field in reader.schema}
    for repeated in kinds.keys() & _REPEATED:
        kinds[repeated] = _CODED if name == "arrow" else pa.string()
    fields = pa.schema(kinds)
    sink = _Sink()
    with _WRITERS[name](sink, fields) as stream:
        for batch in reader:
            stream.write_batch(batch.cast(fields))
            yield sink.take()
    yield sink.take()


def _json(reader: pa.RecordBatchReader) -> Chunks:
    before = "["
    for batch in reader:
        for start in range(0, len(batch), _JSON_ROWS):
            rows = batch.slice(start, _JSON_ROWS).to_pylist()
            plain = ({name: _plain(value) for name, value in row.items()} for row in rows)
            yield (before + ",\n".join(map(json.dumps, plain))).encode()
            before = ",\n"
    yield b"[]" if before == "[" else b"]"


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value

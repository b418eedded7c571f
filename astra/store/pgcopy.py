"""Bars in PostgreSQL's binary COPY format, written and read with numpy.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a header, then each
row as its number of fields (int16) and for each field its length (int32) and value, all big-endian.
An array is five int32 (dimensions, has nulls, type, elements, first index) and then its elements,
each with its length: `array_send` in PostgreSQL's arrayfuncs.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import psycopg

from astra.store.dialect import FIELDS, VERSION, Versions

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER = _SIGNATURE + bytes(8)
_END = b"\xff\xff"
_INT16, _INT32, _ARRAY_HEADER = 2, 4, 20


def write(
    connection: psycopg.Connection, table: str, parts: Iterable[tuple[str, Versions]]
) -> None:
    """Append bars, ticker by ticker, to a table with the columns of `price_history`."""
    columns = ", ".join(("ticker", *FIELDS))
    statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(_HEADER)
        for ticker, versions in parts:
            copy.write(_rows(ticker.encode(), versions))
        copy.write(_END)


def arrays(
    connection: psycopg.Connection, query: str, values: Mapping[str, Any], fields: Sequence[str]
) -> Iterator[Versions]:
    """Each row of a query whose columns are arrays of one length, as one structured array.

    Args:
        query: its columns are those of `fields`, in the order of `VERSION`; NULL = no elements.
        fields: of `VERSION`, in the order wanted.
    """
    wanted = VERSION[list(fields)]
    dtype = np.dtype([(name, wanted[name]) for name in fields])
    statement = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
    with connection.cursor() as cursor, cursor.copy(statement, values) as copy:
        for message in copy:  # one for each row, the first one after the header
            row = memoryview(message)
            if message[: len(_SIGNATURE)] == _SIGNATURE:
                row = row[len(_HEADER) :]
            if row != _END:
                yield _columns(row, dtype)


def _rows(ticker: bytes, versions: Versions) -> bytes:
    """The rows of one ticker: all of one width, so they are one array."""
    kinds: list[tuple[str, str | np.dtype[Any]]] = [
        ("width", ">i2"),
        ("ticker_length", ">i4"),
        ("ticker", f"S{len(ticker)}"),
    ]
    for name in FIELDS:
        kinds += [(f"{name}_length", ">i4"), (name, VERSION[name].newbyteorder(">"))]
    rows = np.empty(len(versions), np.dtype(kinds))
    rows["width"] = len(FIELDS) + 1
    rows["ticker_length"] = len(ticker)
    rows["ticker"] = ticker
    for name in FIELDS:
        rows[f"{name}_length"] = VERSION[name].itemsize
        rows[name] = versions[name]
    return rows.tobytes()


def _columns(row: memoryview, dtype: np.dtype[Any]) -> Versions:
    names = [name for name in FIELDS if name in (dtype.names or ())]
    length = int.from_bytes(row[_INT16 : _INT16 + _INT32], "big", signed=True)
    if length < 0:  # NULL: nothing was aggregated
        return np.empty(0, dtype)
    count = (length - _ARRAY_HEADER) // (_INT32 + dtype[names[0]].itemsize)
    found = np.empty(count, dtype)
    offset = _INT16
    for name in names:
        element = np.dtype([("length", ">i4"), ("value", dtype[name].newbyteorder(">"))])
        offset += _INT32 + _ARRAY_HEADER
        found[name] = np.frombuffer(row, element, count, offset)["value"]
        offset += count * element.itemsize
    return found

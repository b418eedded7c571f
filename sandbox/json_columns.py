"""Numbers as JSON text, a column at a time: Arrow writes a float seven times faster than `repr`."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sandbox.tape import Floats

_SHORT = 400  # fewer numbers than these are written faster one by one
_EXPONENTS = 1e10  # Arrow writes 1e+10, which needs no ".0"


def floats(values: Floats) -> pa.Array:
    """Each number, "null" for NaN; text for text as `json.dumps` writes it from 1e-4 to 1e10."""
    texts = pc.cast(pa.array(values), pa.string())
    whole = (values == np.rint(values)) & (np.abs(values) < _EXPONENTS)
    if whole.any():
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    missing = np.isnan(values)
    return pc.if_else(missing, "null", texts) if missing.any() else texts


def counts(values: NDArray[np.int64] | Floats) -> pa.Array:
    """Whole numbers, which may come as floats with NaN for "null"."""
    numbers = pa.array(values, from_pandas=True)
    return pc.fill_null(pc.cast(pc.cast(numbers, pa.int64()), pa.string()), "null")


def times(ts: NDArray[np.int64]) -> pa.Array:
    """Epoch seconds as RFC 3339 in UTC, without quotes."""
    stamps = pc.cast(pa.array(ts).cast(pa.timestamp("s", tz="UTC")), pa.string())
    return pc.replace_substring(stamps, " ", "T")


def listed(values: NDArray[np.int64] | Floats, *, whole: bool = False) -> str:
    """A JSON array of numbers, "null" for NaN; `whole` ones are written as such."""
    if len(values) < _SHORT:
        return _short(values, whole)
    texts = counts(values) if whole else floats(values.astype(np.float64, copy=False))
    rows = pa.LargeListArray.from_arrays([0, len(texts)], texts)
    return f"[{pc.binary_join(rows, ',')[0].as_py()}]"


def _short(values: NDArray[np.int64] | Floats, whole: bool) -> str:
    found = [None if value != value else value for value in values.tolist()]
    if whole:
        found = [None if value is None else int(value) for value in found]
    return json.dumps(found, separators=(",", ":"))

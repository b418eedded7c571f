"""What makes a bar valid, and the one shape in which bars travel between modules.

A *bars frame* is a pandas DataFrame with the columns of `COLUMNS`: ticker (str), ts (int64 epoch
seconds of the bar's start), open, high, low, close (float64 USD, split-adjusted), volume (int64);
sorted by (ticker, ts), no key twice, no NaN. On the wire it is the Arrow table of `ARROW_SCHEMA`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from astra.errors import DataError
from astra.sessions import BAR_SECONDS, is_on_grid

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

PRICES = ("open", "high", "low", "close")
COLUMNS = ("ticker", "ts", *PRICES, "volume")
ARROW_SCHEMA = pa.schema(
    [
        ("ticker", pa.string()),
        ("ts", pa.timestamp("s", tz="UTC")),
        *[(name, pa.float64()) for name in PRICES],
        ("volume", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many offered bars were left out, and why. Forming bars are normal; the rest is not."""

    forming: int = 0
    off_grid: int = 0
    missing: int = 0
    implausible: int = 0
    duplicate: int = 0

    @property
    def total(self) -> int:
        return self.forming + self.off_grid + self.missing + self.implausible + self.duplicate

    def describe(self) -> str:
        """For a person: "2 forming, 1 off the grid", or ""."""
        names = ("forming", "off the grid", "with missing values", "implausible", "duplicate")
        counts = (self.forming, self.off_grid, self.missing, self.implausible, self.duplicate)
        return ", ".join(f"{n} {name}" for n, name in zip(counts, names, strict=True) if n)


def empty() -> pd.DataFrame:
    """A bars frame without rows."""
    return from_arrow(ARROW_SCHEMA.empty_table())


def validate(frame: pd.DataFrame, now: dt.datetime) -> tuple[pd.DataFrame, Rejected]:
    """Keep the bars that may be stored, sorted and without duplicate keys; count the others.

    Kept: on the 5-minute grid of a regular session, closed at `now` (start + 5 minutes <= now),
    all values present, prices finite and above 0, low <= open, close <= high, 0 <= volume <
    2^53. Of two bars with one key the later in `frame` wins.

    Args:
        frame: columns as in `COLUMNS`, in any order; NaN allowed here and only here.
        now: the vendor's time.
    """
    lacking = [c for c in COLUMNS if c not in frame.columns]
    if lacking:
        raise DataError(f"bars need the columns {', '.join(COLUMNS)}: {', '.join(lacking)} missing")
    if frame.empty:
        return empty(), Rejected()
    forming, off_grid, missing, implausible = _faults(frame, now)
    kept = frame.loc[~(missing | off_grid | forming | implausible), list(COLUMNS)]
    unique = kept.drop_duplicates(["ticker", "ts"], keep="last").sort_values(["ticker", "ts"])
    rejected = Rejected(
        int(forming.sum()),
        int(off_grid.sum()),
        int(missing.sum()),
        int(implausible.sum()),
        len(kept) - len(unique),
    )
    types = {"ticker": "str", "ts": "int64", "volume": "int64"} | dict.fromkeys(PRICES, "float64")
    return unique.astype(types).reset_index(drop=True), rejected


def refused(frame: pd.DataFrame, now: dt.datetime) -> pd.DataFrame:
    """The closed bars that `validate` leaves out because they cannot be right, with their `reason`:
    off_grid, missing or implausible. Duplicates are not among them."""
    import pandas as pd

    _, *faults = _faults(frame, now)
    closed = frame["ts"].to_numpy(np.int64) + BAR_SECONDS <= int(now.timestamp())
    reasons = ("off_grid", "missing", "implausible")
    parts = [
        frame.loc[closed & fault, list(COLUMNS)].assign(reason=reason)
        for fault, reason in zip(faults, reasons, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _faults(
    frame: pd.DataFrame, now: dt.datetime
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which bars are forming, off the grid, with missing values, implausible; one fault each."""
    ts = frame["ts"].to_numpy(np.int64)
    prices = frame[list(PRICES)].to_numpy(np.float64)
    volume = frame["volume"].to_numpy(np.float64)
    o, h, low, c = prices.T
    missing = ~np.isfinite(prices).all(axis=1) | ~np.isfinite(volume)
    off_grid = ~missing & ~is_on_grid(ts)
    forming = ~missing & ~off_grid & (ts + BAR_SECONDS > int(now.timestamp()))
    tolerance = 1e-9 * np.abs(c)  # vendors round high and low apart from open and close
    sane = (low > 0) & (low <= np.minimum(o, c) + tolerance) & (h >= np.maximum(o, c) - tolerance)
    implausible = ~missing & ~off_grid & ~forming & ~(sane & (volume >= 0) & (volume < 2**53))
    return forming, off_grid, missing, implausible


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """A bars frame as an Arrow table of `ARROW_SCHEMA`."""
    arrays = [
        pa.array(frame["ts"].to_numpy(np.int64)).cast(field.type)
        if field.name == "ts"
        else pa.array(frame[field.name], type=field.type, from_pandas=True)
        for field in ARROW_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """An Arrow table with at least the columns of `ARROW_SCHEMA` as a bars frame."""
    import pandas as pd

    lacking = [c for c in COLUMNS if c not in table.column_names]
    if lacking:
        raise DataError(f"bars need the columns {', '.join(COLUMNS)}: {', '.join(lacking)} missing")
    cast = table.select(list(COLUMNS)).cast(ARROW_SCHEMA)
    columns = {name: cast[name].to_numpy() for name in COLUMNS if name not in ("ticker", "ts")}
    return pd.DataFrame(
        {
            "ticker": pd.Series(cast["ticker"].to_pandas(), dtype="str"),
            "ts": cast["ts"].cast(pa.int64()).to_numpy(),
            **columns,
        }
    )


def read_parquet(path: str) -> pd.DataFrame:
    """A recorded bars file as a bars frame, sorted; its times may be of any resolution.

    Raises:
        DataError: the file is missing, no Parquet, or lacks a column.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"a Parquet file of bars is required, {path} is not: {error}") from error
    return from_arrow(table).sort_values(["ticker", "ts"]).reset_index(drop=True)

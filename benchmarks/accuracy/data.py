"""The competitions' series: M4 Hourly and Weekly, M3, Tourism. Read from one file, never written.

A competition gives each series' past and asks for the `horizon` values after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.errors import DataError

Floats = NDArray[np.float64]

FILE = "forecast_benchmarks_m4hw_m3_tourism.parquet"
COLUMNS = ("dataset", "series", "split", "t", "y")
# Values a season, as the competitions count them: M4 scales its weekly series by one step.
PERIODS = {
    "m4_hourly": 24, "m4_weekly": 1,
    "m3_yearly": 1, "m3_quarterly": 4, "m3_monthly": 12, "m3_other": 1,
    "tourism_yearly": 1, "tourism_quarterly": 4, "tourism_monthly": 12,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """S series of one frequency, in the file's order.

    Attributes:
        period: values in a season, 1 if there is none.
        past: of each series, oldest first, lengths differ.
        future: what came next, shape (S, horizon).
    """

    name: str
    period: int
    past: tuple[Floats, ...]
    future: Floats

    @property
    def horizon(self) -> int:
        return int(self.future.shape[1])


def read(folder: Path, name: str) -> Series:
    """One data set of the file in `folder`, with the split the competition made.

    Raises:
        DataError: there is no such file or data set, or it is not complete.
    """
    path = folder / FILE
    try:
        frame = pd.read_parquet(path, columns=list(COLUMNS), filters=[("dataset", "==", name)])
    except (OSError, ValueError) as error:
        raise DataError(f"the accuracy bench needs {FILE} in {folder}: {error}") from error
    frame = frame.sort_values(["split", "t"], kind="stable")
    ordered = {
        split: [one["y"].to_numpy(np.float64) for _, one in of_split.groupby("series", sort=False)]
        for split, of_split in frame.groupby("split")
    }
    asked = {split: list(rows["series"].unique()) for split, rows in frame.groupby("split")}
    if set(ordered) != {"train", "test"} or asked["train"] != asked["test"]:
        raise DataError(f"{name} in {path} must give each series a train and a test part")
    return Series(name, PERIODS[name], tuple(ordered["train"]), _future(name, ordered["test"]))


def held_out(series: Series) -> Series:
    """The same task one horizon earlier, within the past: what choices are made on."""
    h = series.horizon
    return Series(
        series.name,
        series.period,
        tuple(one[:-h] for one in series.past),
        np.stack([one[-h:] for one in series.past]),
    )


def _future(name: str, parts: Sequence[Floats]) -> Floats:
    lengths = {len(part) for part in parts}
    if len(lengths) != 1:
        raise DataError(f"the test parts of {name} must be of one length, found {sorted(lengths)}")
    return np.stack(parts)

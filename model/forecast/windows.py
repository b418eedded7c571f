"""Training windows, gathered on the fly from one normalised panel: no copy per window is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.errors import InsufficientDataError
from model.forecast.target import Floats, Normalised, outcomes, path
from model.panel import Panel

Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """M (row, ticker) pairs of a panel with nothing missing in look-back and horizon.

    Attributes:
        rows: last bar of each look-back, shape (M,).
        columns: its ticker's column, shape (M,).
    """

    panel: Panel
    normalised: Normalised
    window: int
    horizon: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, which: NDArray[np.int64]) -> tuple[Single, Single]:
        """Paths (len(which), window) and outcomes (len(which), horizon) of some of the windows."""
        rows, columns = self.rows[which], self.columns[which]
        look_back = rows[:, None] + np.arange(1 - self.window, 1)
        paths = path(self.normalised.feature[look_back, columns[:, None]])
        found = outcomes(self.normalised, self.panel, rows, columns, self.horizon)
        return paths.astype(np.float32), found.astype(np.float32)

    def batches(self, size: int, steps: int, seed: int) -> Iterator[tuple[Single, Single]]:
        """`steps` batches of `size` windows drawn with replacement."""
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            yield self.taken(rng.integers(len(self), size=size))


def complete_windows(
    panel: Panel, normalised: Normalised, window: int, horizon: int, before: int
) -> Windows:
    """All windows of the panel whose horizon ends before row `before`, inside one session.

    Raises:
        InsufficientDataError: there is none.
    """
    bars = np.array([s.bars for s in panel.sessions])[panel.session]
    rows = np.arange(len(panel.ts))
    fits = (panel.slot + horizon < bars) & (rows >= window - 1) & (rows + horizon < before)
    origins = rows[fits]
    printed = _running_count(normalised.feature)
    whole = printed[origins + 1] - printed[origins + 1 - window] == window
    ahead = _running_count(normalised.residual)
    whole &= ahead[origins + 1 + horizon] - ahead[origins + 1] == horizon
    place, columns = np.nonzero(whole)
    if not len(place):
        raise InsufficientDataError(
            f"training needs windows of {window} bars and {horizon} ahead without a gap, "
            f"{len(panel.ts)} bars of {len(panel.tickers)} tickers have none: give it more history"
        )
    return Windows(panel, normalised, window, horizon, origins[place], columns)


def _running_count(values: Floats) -> NDArray[np.int64]:
    """How many finite values lie above each row, shape (T + 1, N)."""
    counts = np.zeros((len(values) + 1, values.shape[1]), np.int64)
    np.cumsum(np.isfinite(values), axis=0, out=counts[1:])
    return counts

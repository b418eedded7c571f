"""Training windows, gathered on the fly from one normalised panel: no copy per window is kept.

Training side: the panel lies on the device as tensors and is gathered there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from astra.errors import InsufficientDataError
from model.forecast.target import Floats, Normalised, horizon_scale
from model.panel import Panel


@dataclass(frozen=True, slots=True)
class Windows:
    """M (row, ticker) pairs of a panel with nothing missing in look-back and horizon.

    Attributes:
        feature: normalised returns, shape (N, T): a window is one piece of memory.
        residual: market-free log returns, shape (N, T).
        unit: `residual`'s volatility per bar, shape (N, T).
        scale: volatility of the next 1..horizon bars in units of one bar's, shape (T, horizon).
        rows: last bar of each look-back, shape (M,).
        columns: its ticker's column, shape (M,).
    """

    feature: torch.Tensor
    residual: torch.Tensor
    unit: torch.Tensor
    scale: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    window: int

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: str) -> Windows:
        """The same on another device."""
        names = ("feature", "residual", "unit", "scale", "rows", "columns")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def taken(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Paths (len(which), window) and outcomes (len(which), horizon) of some of the windows.

        What `target.path` and `target.outcomes` say of them, in single precision.
        """
        rows, columns = self.rows[which], self.columns[which]
        horizon = self.scale.shape[1]
        seen = self.feature.unfold(1, self.window, 1)[columns, rows - (self.window - 1)]
        paths = seen.flip(1).cumsum(1).flip(1) / -(self.window**0.5)
        ahead = self.residual.unfold(1, horizon, 1)[columns, rows + 1].cumsum(1)
        return paths, ahead / (self.unit[columns, rows][:, None] * self.scale[rows])

    def batches(
        self, size: int, steps: int, seed: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`steps` batches of `size` windows drawn with replacement, the same on every device."""
        drawn = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            which = torch.randint(len(self), (size,), generator=drawn)
            yield self.taken(which.to(self.rows.device))


def complete_windows(
    panel: Panel, normalised: Normalised, window: int, horizon: int, before: int, since: int = 0
) -> Windows:
    """All windows whose look-back ends in rows `since`.. and whose horizon ends before `before`.

    Raises:
        InsufficientDataError: there is none.
    """
    rows = np.arange(len(panel.ts))
    fits = panel.room(horizon) & (rows >= max(window - 1, since)) & (rows + horizon < before)
    origins = rows[fits]
    printed = _running_count(normalised.feature)
    whole = printed[origins + 1] - printed[origins + 1 - window] == window
    ahead = _running_count(normalised.residual)
    whole &= ahead[origins + 1 + horizon] - ahead[origins + 1] == horizon
    place, columns = np.nonzero(whole)
    if not len(place):
        raise InsufficientDataError(
            f"training needs windows of {window} bars and {horizon} ahead without a gap and with "
            f"prices that move, rows {since} to {before} of {len(panel.tickers)} tickers have "
            f"none: give it more history"
        )
    scale = np.full((len(panel.ts), horizon), np.nan)
    scale[origins] = horizon_scale(normalised.profile, panel, origins, horizon)
    return Windows(
        feature=_single(normalised.feature.T),
        residual=_single(normalised.residual.T),
        unit=_single(normalised.sigma.T),
        scale=_single(scale),
        rows=torch.from_numpy(origins[place]),
        columns=torch.from_numpy(columns),
        window=window,
    )


def _running_count(values: Floats) -> NDArray[np.int64]:
    """How many finite values lie above each row, shape (T + 1, N)."""
    counts = np.zeros((len(values) + 1, values.shape[1]), np.int64)
    np.cumsum(np.isfinite(values), axis=0, out=counts[1:])
    return counts


def _single(values: Floats) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))

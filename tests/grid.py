"""Small frames of bars on one grid of three sessions, and what a store holds of them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa

from astra.sessions import last_sessions
from astra.store import Store

NOW = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)  # a session's close
HOUR = dt.timedelta(hours=1)
GRID = np.concatenate([s.grid() for s in last_sessions(3, NOW)])


def frame(rows: list[tuple[str, int, float]]) -> pd.DataFrame:
    """Bars (ticker, number of the bar on the grid, close)."""
    closes = np.array([close for _, _, close in rows], np.float64)
    return pd.DataFrame(
        {
            "ticker": pd.Series([ticker for ticker, _, _ in rows], dtype="str"),
            "ts": np.array([GRID[i] for _, i, _ in rows], np.int64),
            "open": closes,
            "high": closes + 1,
            "low": closes - 1,
            "close": closes,
            "volume": np.full(len(rows), 100, np.int64),
        }
    )


def held(store: Store, known_at: dt.datetime | None = None) -> list[tuple[str, int, float]]:
    """The store's bars, as `frame` takes them."""
    table = store.prices.read(known_at=known_at)
    seconds = table["ts"].cast(pa.int64()).to_numpy()
    places = np.searchsorted(GRID, seconds).tolist()
    return list(zip(table["ticker"].to_pylist(), places, table["close"].to_pylist(), strict=True))

"""Seeded inputs of the size of the S&P 500. Nothing here comes from a market."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.sessions import Session, last_sessions

Floats = NDArray[np.float64]

SEED = 20_260_715
CLOSE = dt.datetime(2026, 7, 15, 20, 0, tzinfo=dt.UTC)  # of a full session
SECTORS, FACTORS = 11, 5


def names(count: int) -> tuple[str, ...]:
    """`count` tickers, ascending."""
    return tuple(f"T{i:04d}" for i in range(count))


def sessions(count: int) -> tuple[Session, ...]:
    """The last `count` sessions that have closed at `CLOSE`."""
    return last_sessions(count, CLOSE)


def bars(tickers: int, days: int, seed: int = SEED) -> pd.DataFrame:
    """A bars frame without gaps (`astra.bars.COLUMNS`): random walks with one common factor."""
    grid = np.concatenate([s.grid() for s in sessions(days)])
    rng = np.random.default_rng(seed)
    market = 4e-4 * rng.standard_t(5, len(grid))
    steps = market[:, None] + 8e-4 * rng.standard_t(5, (len(grid), tickers))
    closes = rng.uniform(20, 400, tickers) * np.exp(np.cumsum(steps, axis=0))
    opens = np.vstack([closes[:1], closes[:-1]])
    spread = 1 + 2e-4 * rng.random(closes.shape)
    columns = {
        "open": opens,
        "high": np.maximum(opens, closes) * spread,
        "low": np.minimum(opens, closes) / spread,
        "close": closes,
    }
    flat = {name: values.T.ravel().round(4) for name, values in columns.items()}
    volume = rng.integers(1_000, 1_000_000, closes.size)
    keys = {"ticker": np.repeat(names(tickers), len(grid)), "ts": np.tile(grid, tickers)}
    return pd.DataFrame({**keys, **flat, "volume": volume})


@dataclass(frozen=True, slots=True)
class Market:
    """Moments over one horizon: mean (n,), covariance R + diag(noise) (n, n), and n sectors."""

    mean: Floats
    covariance: Floats
    noise: Floats
    sectors: tuple[str, ...]


def market(count: int, seed: int = SEED) -> Market:
    """A factor market whose means are one premium for all plus scores worth an IC of 0.02."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 0.4, (count, FACTORS))
    loadings[:, 0] = rng.uniform(0.5, 1.5, count)
    noise = 1e-5 * rng.uniform(0.5, 3.0, count)
    covariance = 1e-5 * loadings @ loadings.T + np.diag(noise)
    mean = 3e-5 + 0.02 * np.sqrt(np.diag(covariance)) * rng.standard_normal(count)
    sectors = tuple(f"sector {i}" for i in rng.integers(0, SECTORS, count))
    return Market(mean, covariance, noise, sectors)

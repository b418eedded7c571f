"""The price store on its databases: first load, refresh, loads at once, reads, loads over HTTP."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.store import bulk, http, reads, refresh
from benchmarks.store.engines import Engine, fill, opened

# Speed-up of a refresh over the original's way.
TARGETS = {"SQLite": 50.0, "PostgreSQL": 60.0}


def measure(
    tickers: int = 500,
    days: int = 30,
    refreshed: int = 5,
    rounds: int = 3,
    over_http: bool = True,
) -> list[Row]:
    """Offer the last `refreshed` of `days` sessions again: a bar new and one changed a ticker."""
    history = inputs.bars(tickers, days)
    with TemporaryDirectory() as name, opened(Path(name)) as (sqlite, postgres):
        return [
            *bulk.sqlite(sqlite, history, rounds),
            *bulk.postgres(postgres, history, rounds),
            *_filled(sqlite, history, refreshed, rounds),
            *_filled(postgres, history, refreshed, rounds),
            *reads.dump(sqlite, rounds),
            *(http.refreshes(tickers) if over_http else []),
        ]


def _filled(engine: Engine, history: pd.DataFrame, refreshed: int, rounds: int) -> list[Row]:
    """What is done to the database `base`, which lacks the last bar of each ticker."""
    fill(engine, "base", history[history["ts"] < history["ts"].max()])
    offered = refresh.corrected(history, refreshed)
    return [
        *refresh.one_load(engine, offered, rounds, TARGETS[engine.name]),
        *refresh.many_loads(engine, offered, rounds),
        *reads.last_bars(engine, rounds),
    ]

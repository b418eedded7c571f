"""A sandbox at zero delay with a store that knows its bars, for what is measured on it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import request

from astra.allocation import allocation_id, build
from astra.gcs import Bucket
from astra.settings import Settings, load
from astra.store import Store, open_store
from sandbox.main import Personality, Sandbox
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars, simulated_market

SEED = 5
FIRST, DAY = dt.date(2026, 1, 5), dt.date(2026, 1, 12)
KEYS = {"alpaca_key": "key", "alpaca_secret": "secret"}
TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class House:
    """A sandbox, and a store and settings that meet it.

    Attributes:
        asked: every request that the broker met: wall time, method and path.
    """

    sandbox: Sandbox
    settings: Settings
    store: Store
    tickers: tuple[str, ...]
    asked: list[tuple[float, str, str]]

    @property
    def environment(self) -> dict[str, str]:
        """For a child process."""
        names = ("database_url", "storage_url", "alpaca_url", "alpaca_data_url", "var")
        found = {name: str(getattr(self.settings, name)) for name in names}
        return {f"ASTRA_{name.upper()}": value for name, value in {**found, **KEYS}.items()}

    def drop(self, weights: dict[str, float]) -> str:
        """Put an allocation as of the market's now in the bucket; its id."""
        bucket = Bucket.from_settings(self.settings)
        now = self.sandbox.market.clock.now()
        name, content, metadata = build(
            now, "0a1b2c3d", weights, policy="measured", model_id="m",
            metadata={"coverage": "1", "trained_until": TEN.isoformat()},
        )  # fmt: skip
        generation = bucket.create_once(name, content, "text/csv", metadata)
        return allocation_id(self.settings.bucket, name, generation)


@contextmanager
def opened(folder: Path, count: int, function_url: str | None = None) -> Iterator[House]:
    """`count` stocks at ten of a Monday after five sessions; orders fill at once."""
    tickers = default_tickers(count)[:count]
    market = simulated_market(tickers, seed=SEED, edge=0.0, start=FIRST, end=DAY, at=TEN)
    bars = simulated_bars(tickers, seed=SEED, edge=0.0, first=FIRST, last=DAY)
    store = open_store(f"sqlite:///{folder / 'astra.db'}")
    store.prices.upsert(bars[bars["ts"] + 300 <= TEN.timestamp()], TEN)
    unlimited = Personality(requests_per_minute=1_000_000)
    made = Sandbox(market, function_url=function_url, personality=unlimited)
    asked: list[tuple[float, str, str]] = []
    made.vendors["alpaca"].before_request(
        lambda: asked.append((time.perf_counter(), request.method, request.path))
    )
    with made as sandbox:
        urls = dict.fromkeys(("alpaca_url", "alpaca_data_url"), sandbox.urls.alpaca)
        settings = load(
            _env_file=None,
            var=folder,
            database_url=f"sqlite:///{folder / 'astra.db'}",
            storage_url=sandbox.urls.storage,
            **urls,
            **KEYS,
        )
        yield House(sandbox, settings, store, tickers, asked)
    store.close()

"""The real function beside a sandbox of its own: files are dropped, events posted, answers seen."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import functions_framework
from flask.testing import FlaskClient

from astra.settings import HOUSE
from astra.store import Store, open_store
from benchmarks.chaos.fuzz import AS_OF, BUCKET, SOUND
from benchmarks.chaos.plans import TICKERS
from sandbox.main import Personality, Sandbox
from sandbox.markets import simulated_market
from sandbox.objects import Conditions


class _Alarms(logging.Handler):
    """Errors that the function has logged with a trace: nobody expected them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.told.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@dataclass(frozen=True)
class Function:
    """The function and what it works on.

    Attributes:
        unexpected: what came out of it that is neither a plan nor a reason.
    """

    client: FlaskClient
    sandbox: Sandbox
    store: Store
    unexpected: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes, metadata: Mapping[str, str] | None = None) -> int:
        """Put an object into the bucket; its generation."""
        objects = self.sandbox.vendors["storage"].extensions["store"]
        given = {"metadata": dict(metadata or {})}
        return int(objects.put(BUCKET, name, content, given, Conditions()).generation)

    def deliver(self, name: str, generation: int) -> int:
        """Post the event of an object; the status answered."""
        body = {"bucket": BUCKET, "name": name, "generation": str(generation)}
        return self.post(json.dumps(body).encode(), SOUND)

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        return self.client.post("/", data=body, headers=dict(headers)).status_code

    def statuses(self) -> dict[str, str]:
        """The status of each allocation in the journal, by object and generation."""
        rows = self.store.books.read("allocations").to_pylist()
        return {f"{row['object']}#{row['generation']}": row["status"] for row in rows}

    def state(self) -> dict[str, Any]:
        """The broker's own view: positions, orders, cash."""
        found: dict[str, Any] = self.sandbox.vendors["alpaca"].extensions["state"]()
        return found


@contextlib.contextmanager
def opened(folder: Path, at: dt.datetime = AS_OF) -> Iterator[Function]:
    """The function with a sandbox of its own, its database in `folder`."""
    start, end = dt.date(2026, 1, 8), dt.date(2026, 1, 16)
    alarms, logger = _Alarms(), logging.getLogger("astra")
    market = simulated_market(TICKERS, seed=5, edge=0.0, start=start, end=end, at=at)
    with Sandbox(market, personality=Personality(requests_per_minute=10**6)) as sandbox:
        settings = {
            "DATABASE_URL": f"sqlite:///{folder / 'function.db'}",
            "STORAGE_URL": sandbox.urls.storage,
            "ALPACA_URL": sandbox.urls.alpaca,
            "ALPACA_DATA_URL": sandbox.urls.alpaca,
            "ALPACA_KEY": "key",
            "ALPACA_SECRET": "secret",
            "VENDOR_TIMEOUT": "2",
        } | dict.fromkeys(("MAX_ORDER_WEIGHT", "MAX_POSITION_WEIGHT"), "1")
        named = {f"ASTRA_{name}": value for name, value in settings.items()}
        logger.addHandler(alarms)
        store = open_store(settings["DATABASE_URL"])
        try:
            # Another folder: no .env of the person who runs this is read.
            with patch.dict(os.environ, named), contextlib.chdir(folder):
                app = functions_framework.create_app(
                    "rebalance", str(HOUSE / "rebalance_function" / "main.py"), "cloudevent"
                )
                yield Function(app.test_client(), sandbox, store, alarms.told)
        finally:
            logger.removeHandler(alarms)
            store.close()

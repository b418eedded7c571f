"""A sandbox broker that begins anew for each case.

The broker starts a case with the positions that an earlier allocation bought, restored from a
copy, and the store from a copied file: a case costs no set-up trades and no migration.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from flask import Flask

from astra.allocation import build
from astra.execution import Delivered
from astra.store import open_store
from benchmarks.chaos.lives import Life, Place
from benchmarks.chaos.plans import TICKERS
from sandbox.alpaca import create_app
from sandbox.broker import Broker
from sandbox.faults import Faults
from sandbox.markets import simulated_market
from sandbox.serving import Servers

BUCKET = "bucket"
OPENING = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)  # when the first allocation is traded
START = OPENING + dt.timedelta(minutes=30)  # when a case begins
CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
LEASE_OVER = 1_000.0  # seconds by which a restarted worker's wall clock is ahead of the last one's
_DUE = re.compile(r"the next slice of .* is due in (\d+) s of the market's time")

Weights = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The account and the store as they were when the first allocation had been traded."""

    broker: Mapping[str, Any]
    file: Path


def dropped(weights: Weights, as_of: dt.datetime, generation: int) -> Delivered:
    """An allocation file as the function hands it on."""
    name, content, metadata = build(
        as_of,
        f"{generation:08x}",
        weights,
        policy="measured",
        model_id="m",
        metadata={"coverage": "1.0", "trained_on": "simulated"},
    )
    return Delivered(BUCKET, name, generation, content, metadata)


class House:
    """One broker on a loopback port, in this process; a context manager.

    Args:
        is_at_hand: workers of this process call its app, without sockets in between; those that
            must not wait for an answer use the port all the same.

    Attributes:
        url: where it is.
        market, faults, broker: of the case under way.
    """

    def __init__(self, folder: Path, *, is_at_hand: bool = False) -> None:
        self._folder = folder
        self.market = simulated_market(
            TICKERS, seed=5, start=dt.date(2026, 1, 5), end=dt.date(2026, 1, 16), at=OPENING
        )
        self._stage = _Stage()
        self._servers = Servers({"alpaca": cast(Flask, self._stage)})
        self._is_at_hand = is_at_hand
        self._open()
        self._beginnings: dict[tuple[tuple[str, float], ...], Beginning] = {}
        self._cases = 0

    def __enter__(self) -> House:
        self.url = self._servers.start()["alpaca"]
        self._template = self._folder / "template.db"
        open_store(f"sqlite:///{self._template}").close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._servers.stop()

    def begin(self, held: Weights) -> Place:
        """A new case on an account that has bought `held`; where its workers find it.

        The clock stands at `START`, no fault is armed.
        """
        key = tuple(sorted(held.items()))
        if key not in self._beginnings:
            self._beginnings[key] = self._make(held)
        made = self._beginnings[key]
        self._begin(START)
        copied = copy.deepcopy(dict(made.broker), {id(self.market): self.market})
        vars(self.broker).update(copied)
        return self._place(made.file)

    def step(self, to: dt.datetime) -> None:
        self.market.clock.step_to(to)

    def step_to_slice(self, told: str) -> bool:
        """Go to when the next slice is due, if that is what a worker has told to wait for."""
        found = _DUE.search(told)
        if found is not None:
            seconds = max(1, int(found[1]))
            self.step(self.market.clock.now() + dt.timedelta(seconds=seconds))
        return found is not None

    def reset(self) -> None:
        """The account is replaced by a new one that opens now."""
        self._app.extensions["reset"]()

    def _make(self, held: Weights) -> Beginning:
        self._begin(OPENING)
        place = self._place(self._template)
        with Life(place) as life:
            row = life.executor.execute(dropped(held, OPENING, 1))
        if row.status != "done":
            raise RuntimeError(f"the first allocation must be traded, found {row}")
        self.step(START)
        with self._app.turn:
            self.broker.settle()
        return Beginning(
            copy.deepcopy(vars(self.broker), {id(self.market): self.market}), place.file
        )

    def renew(self) -> None:
        """Another app: requests that may still come, of workers that would not wait for them, find
        the one that they were sent to."""
        self._open()

    def _open(self) -> None:
        self.faults = Faults()
        self._app = cast(Any, create_app(self.market, self.faults, requests_per_minute=10**6))
        self.broker: Broker = self._app.extensions["broker"]
        self._stage.app = self._app

    def _begin(self, at: dt.datetime) -> None:
        self.faults.disarm()
        self._app.extensions["reset"](at)

    def _place(self, file: Path) -> Place:
        """With a copy of the database."""
        self._cases += 1
        new = self._folder / f"case-{self._cases}.db"
        shutil.copyfile(file, new)
        return Place(self.url, new, app=self._stage if self._is_at_hand else None)


class _Stage:
    """The server's app: that of the case under way."""

    app: Flask

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)

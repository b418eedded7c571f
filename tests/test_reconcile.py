"""Our books and journal against the broker's: what is equal, what differs, what is corrected."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest

from astra.allocation import build
from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor
from astra.execution.reconcile import reconcile
from astra.rebalance import Rules
from astra.records import Side, TradingState
from astra.risk import Limits
from astra.store import open_store

D = Decimal
HALVES = {"AAPL": 0.5, "JPM": 0.4}


@pytest.fixture
def sandbox() -> Iterator[trading.Desk]:
    with trading.opened() as opened:
        yield opened


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return Desk(
        sandbox.alpaca,
        open_store(f"sqlite:///{tmp_path / 'astra.db'}"),
        Rules(drift_band=0.001, min_order_usd=1.0),
        Limits(max_order_weight=0.6),
        max_names=20,
        capital=0.0,
        fill_timeout=5.0,
        doubt_seconds=0.2,
    )


def dropped(weights: dict[str, float], as_of: dt.datetime = trading.TEN) -> Delivered:
    name, content, metadata = build(
        as_of, "0a1b2c3d", weights, policy="measured", model_id="m", metadata={}
    )
    return Delivered("bucket", name, 1, content, metadata)


def buy(sandbox: trading.Desk, symbol: str, qty: str, name: str) -> None:
    sandbox.orders.submit(symbol, Side.BUY, D(qty), name)


def state(desk: Desk) -> TradingState:
    return desk.store.states.get(desk.broker.account().number).state


def test_books_equal_the_brokers_before_and_after_a_rebalance(desk: Desk) -> None:
    assert reconcile(desk).status == "equal"
    Executor(desk).execute(dropped(HALVES))
    again = reconcile(desk)
    assert again.status == "equal"
    assert again.found.message == "our books equal the broker's to the cent and the share"
    recorded = desk.store.reconciliations.latest(again.found.account)
    assert recorded == again.found

"""What tests of whole rebalances share: a desk at a sandbox broker, files, what was done."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import desk as trading
from limits import limits

from astra.allocation import build
from astra.execution.desk import Desk
from astra.execution.executor import Delivered
from astra.records import Side
from astra.settings import Settings
from astra.store import Store, open_store
from astra.store.journal import OrderRow

HALVES = {"AAPL": 0.5, "JPM": 0.4}
LIMITS = limits(max_order_weight=0.6, max_position_weight=1.0)


def opened_desk(sandbox: trading.Desk, where: Path | str, **changes: Any) -> Desk:
    """A desk with short waits and a store of its own: in a folder, or at a URL."""
    url = where if isinstance(where, str) else f"sqlite:///{where / 'astra.db'}"
    plain = Desk.of(sandbox.alpaca, open_store(url), Settings.model_construct())
    short = replace(plain, limits=LIMITS, fill_timeout=5.0, doubt_seconds=0.2)
    return replace(short, **changes)


def dropped(
    weights: dict[str, float],
    as_of: dt.datetime = trading.TEN,
    generation: int = 1,
    policy: str = "measured",
) -> Delivered:
    name, content, metadata = build(
        as_of,
        "0a1b2c3d",
        weights,
        policy=policy,
        model_id="m",
        metadata={"coverage": "1.0", "trained_on": "simulated"},
    )
    return Delivered("bucket", name, generation, content, metadata)


def shares(sandbox: trading.Desk) -> dict[str, Decimal]:
    """What the account holds."""
    return {p.symbol: p.qty for p in sandbox.alpaca.positions()}


def sent(sandbox: trading.Desk) -> list[str]:
    """The ids of all orders that the broker has seen."""
    return [o.client_order_id for o in sandbox.alpaca.orders("all")]


def journaled(store: Store, delivered: Delivered, symbol: str, side: Side) -> list[OrderRow]:
    """A line's orders by number."""
    found = [o for o in store.journal.orders(delivered.id) if (o.symbol, o.side) == (symbol, side)]
    return sorted(found, key=lambda o: o.attempt)


def status_of(store: Store, delivered: Delivered) -> tuple[str, str]:
    """Status and reason of an allocation."""
    row = store.journal.allocation(delivered.id)
    return ("", "") if row is None else (row.status, row.reason)

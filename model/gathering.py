"""What a decision is made from, read through the ETL service: bars, candidates, the account."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from astra import allocation
from astra.bars import from_arrow
from astra.errors import InsufficientDataError
from astra.fills import CENT
from astra.owned import managed_equity
from astra.services import Services
from astra.sessions import last_sessions
from model.decision import held_weights
from model.outlook import HISTORY
from model.panel import Panel, build

FRESH = allocation.LIFETIME
log = logging.getLogger("model")


@dataclass(frozen=True, slots=True)
class Owned:
    """The account as it was last saved: what its own orders hold of the equity that is managed, in
    weights, that equity in USD, and the broker's number of it; "" before the first time."""

    weights: Mapping[str, float]
    equity: Decimal = Decimal(0)
    account: str = ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the ETL service knew at `known_at`. Sectors name the candidates."""

    panel: Panel
    sectors: Mapping[str, str]
    held: Mapping[str, float]
    market: str
    known_at: dt.datetime


class Gatherer:
    """Reads; `capital` is the USD managed at most, 0 = all."""

    def __init__(self, services: Services, capital: float) -> None:
        self._services = services
        self._capital = capital

    def now(self) -> dt.datetime:
        """The vendor's time at the last load.

        Raises:
            InsufficientDataError: nothing was ever loaded.
        """
        now = self._services.dump("price_history", columns="ts", last=1).now
        if now is None:
            raise InsufficientDataError("the store has no bars: POST /load_price_history first")
        return now

    def bars(
        self, as_of: dt.datetime, known_at: dt.datetime, held: Mapping[str, float]
    ) -> Gathered:
        """The bars that a decision at `as_of` rests on and its candidates, as known then."""
        found = self._services.dump(
            "price_history",
            start=(as_of - HISTORY).isoformat(),
            end=as_of.isoformat(),
            known_at=known_at.isoformat(),
        )
        universe = self._services.dump("universe").table.to_pylist()
        sectors = {
            row["ticker"]: row["sector"]
            for row in universe
            if row["tradable"]
            and row["valid_from"] <= known_at
            and (row["valid_to"] is None or known_at < row["valid_to"])
        }
        return Gathered(build(from_arrow(found.table)), sectors, held, found.market, known_at)

    def account(self, as_of: dt.datetime) -> Owned:
        """As it was last saved; nothing before the first time."""
        rows = self._services.dump("account_summary").table.to_pylist()
        if not rows:
            return Owned({})
        last = max(rows, key=lambda row: row["at"])
        before = [t for s in last_sessions(2, as_of) for t in s.decision_times() if t < as_of]
        if before and last["at"] < before[-1]:
            saved = f"{last['at']:%Y-%m-%d %H:%M}"
            log.warning(
                "as_of=%s account=saved at %s UTC, before the last decision: what it traded since "
                "is not seen, POST /update_account first", as_of.isoformat(), saved,
            )  # fmt: skip
        return owned(last, self._capital)


def owned(saved: Mapping[str, Any], capital: float) -> Owned:
    """A row of account_summary, with `capital` USD managed at most, 0 = all.

    Counted as the plan counts: a person's own shares are no part of the equity.
    """
    own = {p["symbol"]: float(p["own_qty"]) * p["price"] for p in json.loads(saved["positions"])}
    cash, whole = float(saved["cash"]), float(saved["equity"])
    equity = managed_equity(cash, sum(own.values()), capital, whole)
    managed = Decimal(repr(equity)).quantize(CENT)
    return Owned(held_weights(own, equity, capital), managed, saved["account"])


def due(now: dt.datetime) -> dt.datetime:
    """The latest decision time, if it is fresh enough to be traded.

    Raises:
        InsufficientDataError: it is half an hour ago or more.
    """
    past = [t for s in last_sessions(2, now) for t in s.decision_times() if t <= now]
    if not past or now - past[-1] >= FRESH:
        last = f"{past[-1]:%Y-%m-%d %H:%M}" if past else "long ago"
        raise InsufficientDataError(
            f"no decision is due at {now:%Y-%m-%d %H:%M} UTC, the last one was at {last}: "
            "decide within half an hour after it, or name an as_of"
        )
    return past[-1]

"""Frozen nouns that cross the borders between modules.

Times are aware and in UTC. Money is USD. Quantities and cash are `Decimal`, because the books
must equal the broker's to the cent and the share; prices and weights are floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderStatus(StrEnum):
    """Where an order stands, in the words of our journal; the broker's words map onto these."""

    PLANNED = "planned"  # written down, not sent
    SENDING = "sending"  # about to leave or left: the outcome is unknown until looked up
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED}
)


@dataclass(frozen=True, slots=True)
class Bar:
    """Five minutes of one ticker, named by their start; prices are split-adjusted."""

    ticker: str
    ts: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


@dataclass(frozen=True, slots=True)
class Position:
    symbol: str
    qty: Decimal
    market_price: float
    average_entry_price: float
    qty_available: Decimal | None = None
    asset_id: str = ""  # the broker's; stays when the symbol changes


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One line of a plan: what to trade and why, before it has an id."""

    symbol: str
    side: Side
    qty: Decimal
    reference_price: float
    reason: str


@dataclass(frozen=True, slots=True)
class PlanLine:
    """Where a name of an allocation stood and what the plan made of it, traded or not.

    Weights are fractions of the equity managed. `price` is USD that the plan counted with, None if
    none was known; `decision_price` the last close at the allocation's as-of time. `parts` =
    {"limit", "rounding"} sum to `weight_planned - weight_target`. `reason` is "" for a line that
    is traded in full.
    """

    symbol: str
    price: float | None
    weight_before: float
    weight_target: float
    weight_planned: float
    parts: Mapping[str, float]
    reason: str = ""
    decision_price: float | None = None


SHARE, OPTION = "us_equity", "us_option"  # asset classes; an option's price is for 1 share of 100


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the broker knows it. `id` is the broker's, `client_order_id` ours.

    `notional` is the USD that were asked for, None where `qty` was. Only a person orders of another
    `asset_class` than `SHARE`.
    """

    id: str
    client_order_id: str
    symbol: str
    side: Side
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal
    filled_average_price: float | None
    submitted_at: datetime | None = None
    filled_at: datetime | None = None
    message: str = ""
    type: str = "market"
    limit_price: float | None = None
    notional: float | None = None
    asset_class: str = SHARE


@dataclass(frozen=True, slots=True)
class Account:
    """The broker's account. `equity` = cash + market value of all positions.

    `settled_cash` is what a cash account may spend, None on a margin account.
    """

    number: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    status: str = "ACTIVE"
    last_equity: Decimal | None = None
    trading_blocked: bool = False
    settled_cash: Decimal | None = None


# Lines of the record that we book ourselves have ids that begin with OWN; REVERSED stands before
# the id of one that is taken back.
OWN, REVERSED = "astra:", "astra:reversed:"


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of the broker's record: a fill, a fee, a dividend, a deposit or a split.

    `net_amount` is the change of cash (signed); for a FILL it follows from side, qty and price.
    `qty` is the change of shares (signed) where the line is one (FILL, SPLIT, NC, ...), else None.
    """

    id: str
    type: str
    at: datetime
    net_amount: Decimal
    symbol: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    side: Side | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The broker's clock: the only "now" that rebalance and monitor know."""

    now: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that the data feed has seen: USD a share."""

    price: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask that the data feed has seen, USD a share; 0 where a side is empty."""

    bid: float
    ask: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Asset:
    symbol: str
    name: str
    tradable: bool
    fractionable: bool
    id: str = ""


class TradingState(StrEnum):
    """What an account may do."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"  # sales only
    HALTED = "HALTED"

    def allows(self, side: Side) -> bool:
        """Whether an order of this side may leave."""
        return self is TradingState.ACTIVE or (self is TradingState.REDUCING and side is Side.SELL)

    def is_stricter_than(self, other: TradingState) -> bool:
        """Whether it allows less."""
        states = list(TradingState)
        return states.index(self) > states.index(other)

"""An order at the sandbox's broker: what a ticket may say, and the state of an order.

Checks here need the ticket alone; those that need the account are `sandbox.broker`'s. Codes and
sentences of the refusals are Alpaca's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

from astra.records import Side

BAD_REQUEST, UNPROCESSABLE, FORBIDDEN, NOT_FOUND = 40010001, 42210000, 40310000, 40410000
QTY_STEP = Decimal("1e-9")
MIN_ORDER_USD = Decimal(1)
# Alpaca values a market buy 3 % above the last price when it checks buying power.
COLLAR = Decimal("1.03")
_OPEN = ("new", "accepted", "partially_filled")

Tif = Literal["day", "gtc"]
OrderType = Literal["market", "limit"]


class Refusal(Exception):  # noqa: N818  a broker's answer, not a fault of ours
    """What the broker answers instead of doing as asked: HTTP status, its code, its sentence."""

    def __init__(self, status: int, code: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, object] = {"code": code, "message": message, **details}


@dataclass(frozen=True, slots=True)
class Ticket:
    """A well-formed request to trade; exactly one of `qty` (shares) and `notional` (USD) is set."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: Tif
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    client_order_id: str

    @property
    def is_fractional(self) -> bool:
        return self.qty is None or self.qty != self.qty.to_integral_value()


@dataclass(frozen=True, slots=True)
class Mishap:
    """What goes wrong with one order; the words are those of `sandbox.fault.Fault`."""

    partial_fill: float | None = None
    rest: Literal["wait", "cancel"] = "wait"
    reject: bool = False
    lag_s: float = 0.0
    lag_power_s: float = 0.0


@dataclass(slots=True, eq=False)
class Order:
    """A ticket at work. `accepted_at` is the market's time; `submitted_at` is made unique by
    microseconds, so that listings can be paged by it. `cursor`: bars that start at or before it
    have been looked at."""

    ticket: Ticket
    accepted_at: datetime
    cursor: datetime
    submitted_at: datetime
    expires_at: datetime | None
    reserve_price: Decimal
    most_qty: Decimal | None = None  # what a notional sale may sell at most
    first_fill: Decimal | None = None  # shares that fill first where a fault splits the order
    mishap: Mishap = field(default_factory=Mishap)
    record_name: str = ""  # of its symbol, which stays when the symbol changes
    replaces: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "accepted"
    filled_qty: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    replaced_by: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status in _OPEN

    @property
    def is_stuck(self) -> bool:
        """It will not trade any more: a fault has it rejected, or the rest of it cancelled."""
        return self.mishap.reject or (self.mishap.rest == "cancel" and self.filled_qty > 0)

    @property
    def leaves_qty(self) -> Decimal:
        """Shares still to trade; of a notional order at most, 0 where nothing bounds it."""
        qty = self.most_qty if self.ticket.qty is None else self.ticket.qty
        return Decimal(0) if qty is None or not self.is_open else qty - self.filled_qty

    @property
    def reserved(self) -> Decimal:
        """USD of buying power that the order holds back while it is open."""
        if self.ticket.side is Side.SELL:
            return Decimal(0)
        if self.ticket.notional is not None:
            return self.ticket.notional
        return self.leaves_qty * self.reserve_price

    @property
    def updated_at(self) -> datetime:
        times = (
            self.filled_at,
            self.canceled_at,
            self.expired_at,
            self.failed_at,
            self.replaced_at,
        )
        return max((t for t in times if t is not None), default=self.submitted_at)


def read_ticket(body: Mapping[str, Any]) -> Ticket:
    """The ticket of a POST body.

    Raises:
        Refusal: the first rule that it breaks, 422.
    """
    qty, notional = _number(body, "qty"), _number(body, "notional")
    limit = _number(body, "limit_price")
    kind, tif = str(body.get("type") or "market"), str(body.get("time_in_force") or "day")
    symbol, side = body.get("symbol"), str(body.get("side") or "")
    client_id = str(body.get("client_order_id") or uuid.uuid4())
    size = qty if notional is None else notional
    whole = qty is not None and qty == qty.to_integral_value()
    _check(
        (not symbol, BAD_REQUEST, "symbol is required"),
        (side not in ("buy", "sell"), BAD_REQUEST, "invalid side: buy or sell is required"),
        (kind not in ("market", "limit"), UNPROCESSABLE, f"invalid order type: {kind}"),
        (tif not in ("day", "gtc"), UNPROCESSABLE, f"invalid time_in_force: {tif}"),
        (
            str(body.get("order_class") or "simple") != "simple",
            UNPROCESSABLE,
            f"order_class {body.get('order_class')} is not allowed",
        ),
        (
            qty is not None and notional is not None,
            BAD_REQUEST,
            "only one of qty or notional is accepted",
        ),
        (size is None, BAD_REQUEST, "qty or notional is required"),
        (size is not None and size <= 0, BAD_REQUEST, "qty must be > 0"),
        (_decimals(qty) > 9, UNPROCESSABLE, "qty can have up to 9 decimal places"),
        (_decimals(notional) > 2, UNPROCESSABLE, "notional value must be limited to 2 decimals"),
        (not whole and tif != "day", UNPROCESSABLE, "fractional orders must be DAY orders"),
        (kind == "limit" and limit is None, BAD_REQUEST, "limit orders require a limit price"),
        (kind == "market" and limit is not None, BAD_REQUEST, "market orders have no limit price"),
        (limit is not None and limit <= 0, BAD_REQUEST, "limit price must be > 0"),
        (
            limit is not None and _decimals(limit) > (2 if limit >= 1 else 4),
            UNPROCESSABLE,
            f"invalid limit_price {limit}. sub-penny increment does not fulfill minimum "
            "pricing criteria",
        ),
        (bool(body.get("extended_hours")), UNPROCESSABLE, "extended hours are not open here"),
        (
            len(client_id) > 128,
            BAD_REQUEST,
            "client_order_id must be no more than 128 characters",
        ),
    )
    return Ticket(
        str(symbol), Side(side), cast(OrderType, kind), cast(Tif, tif), qty, notional, limit,
        client_id,
    )  # fmt: skip


def _check(*rules: tuple[bool, int, str]) -> None:
    for broken, code, message in rules:
        if broken:
            raise Refusal(422, code, message)


def _number(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A JSON number or its text, exactly."""
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise Refusal(422, BAD_REQUEST, f"invalid {name}: {value}")
    return number


def _decimals(number: Decimal | None) -> int:
    if number is None:
        return 0
    return max(0, -int(number.normalize().as_tuple().exponent))

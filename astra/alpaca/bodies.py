"""Alpaca's JSON bodies as our nouns: pure, and tolerant of fields that vanish or appear.

Alpaca removes account fields and adds states without notice, so only what no decision can do
without is required; everything else has a fallback. Which requests bring the bodies is
`astra.alpaca.account`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any

from astra.errors import DataError
from astra.records import (
    Account,
    Activity,
    Asset,
    MarketClock,
    Order,
    OrderStatus,
    Position,
    Side,
)
from astra.sessions import NEW_YORK, session_at

Body = Mapping[str, Any]

# Every other word (new, pending_new, held, stopped, done_for_day, pending_cancel, one we have
# never seen) means that the order may still trade.
_FINAL = {
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "replaced": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
}


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account's value at `at`, and its profit since the base; USD."""

    at: datetime
    equity: float
    profit_loss: float | None


def read_account(body: Body) -> Account:
    cash = _required(body, "cash", "account")
    equity = _first(body, "equity", "portfolio_value")
    if equity is None:
        equity = cash + (_decimal(body.get("long_market_value")) or Decimal(0))
    power = _first(body, "buying_power", "regt_buying_power", "non_marginable_buying_power")
    return Account(
        number=str(body.get("account_number") or body.get("id") or ""),
        cash=cash,
        equity=equity,
        buying_power=max(cash, Decimal(0)) if power is None else power,
        status=str(body.get("status") or "UNKNOWN"),
        last_equity=_decimal(body.get("last_equity")),
        trading_blocked=any(
            bool(body.get(name))
            for name in ("trading_blocked", "account_blocked", "trade_suspended_by_user")
        ),
    )


def read_position(body: Body) -> Position:
    """`market_price` falls back on market value per share, yesterday's price, then the cost."""
    qty = _required(body, "qty", "position")
    entry = _decimal(body.get("avg_entry_price"))
    value = _decimal(body.get("market_value"))
    price = _first(body, "current_price")
    if price is None and value is not None and qty:
        price = value / qty
    if price is None:
        price = _first(body, "lastday_price", "avg_entry_price")
    return Position(
        symbol=_symbol(body, "position"),
        qty=qty,
        market_price=math.nan if price is None else float(price),
        average_entry_price=math.nan if entry is None else float(entry),
        qty_available=_decimal(body.get("qty_available")),
    )


def read_order(body: Body) -> Order:
    """The order in the words of our journal; a notional order's `qty` is what was filled of it."""
    filled = _decimal(body.get("filled_qty")) or Decimal(0)
    qty = _decimal(body.get("qty"))
    average = _decimal(body.get("filled_avg_price"))
    word = str(body.get("status") or "")
    open_status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED
    return Order(
        id=str(body.get("id") or ""),
        client_order_id=str(body.get("client_order_id") or ""),
        symbol=_symbol(body, "order"),
        side=_side(body),
        status=_FINAL.get(word, open_status),
        qty=filled if qty is None else qty,
        filled_qty=filled,
        filled_average_price=float(average) if average else None,
        submitted_at=read_time(body.get("submitted_at") or body.get("created_at")),
        filled_at=read_time(body.get("filled_at")),
        message=str(body.get("reject_reason") or ("" if word in _FINAL else word)),
    )


def read_activity(body: Body) -> Activity:
    """A fill's cash is quantity times price, paid on a buy; other lines carry their amount."""
    kind = str(body.get("activity_type") or "")
    qty, price = _decimal(body.get("qty")), _decimal(body.get("price"))
    side, amount, change = None, _decimal(body.get("net_amount")) or Decimal(0), None
    if kind == "FILL":
        side = _side(body)
        if qty is None or price is None:
            raise DataError(f"a fill needs qty and price, Alpaca's {body.get('id')} lacks one")
        change = qty if side is Side.BUY else -qty
        amount = -change * price
    elif kind == "SPLIT":
        change = qty
    symbol = body.get("symbol")
    return Activity(
        id=str(body.get("id") or ""),
        type=kind,
        at=_activity_time(body),
        net_amount=amount,
        symbol=None if symbol is None else str(symbol),
        qty=change,
        price=price,
        side=side,
        order_id=None if body.get("order_id") is None else str(body["order_id"]),
    )


def read_clock(body: Body) -> MarketClock:
    now, opens, closes = (
        read_time(body.get(name)) for name in ("timestamp", "next_open", "next_close")
    )
    if now is None or opens is None or closes is None:
        raise DataError("Alpaca's clock needs timestamp, next_open and next_close; one is missing")
    return MarketClock(now, bool(body.get("is_open")), opens, closes)


def read_asset(body: Body) -> Asset:
    """An asset that does not say that it can be traded or split cannot."""
    active = body.get("status", "active") == "active"
    return Asset(
        symbol=_symbol(body, "asset"),
        name=str(body.get("name") or ""),
        tradable=bool(body.get("tradable", False)) and active,
        fractionable=bool(body.get("fractionable", False)),
    )


def read_history(body: Body, window: timedelta) -> tuple[EquityPoint, ...]:
    """Alpaca's parallel lists as points, without the windows that have no value.

    Alpaca names a window by its start and gives the value at its end; here a point is named by the
    time at which its value was true: the window's end, the session's close at the latest.
    """
    times, values = body.get("timestamp") or [], body.get("equity") or []
    gains = body.get("profit_loss") or []
    return tuple(
        EquityPoint(
            _window_end(datetime.fromtimestamp(int(at), UTC), window),
            float(value),
            None if gain is None else float(gain),
        )
        for at, value, gain in zip_longest(times, values, gains)
        if at is not None and value is not None
    )


def _window_end(start: datetime, window: timedelta) -> datetime:
    session = session_at(start)
    return start + window if session is None else min(start + window, session.closes_at)


def read_time(text: object) -> datetime | None:
    """RFC 3339 with up to nanoseconds, in UTC; None when missing."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"an RFC 3339 time is required from Alpaca, found {text!r}") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _activity_time(body: Body) -> datetime:
    """A fill's transaction time; other lines carry it, in New York time, before their id's "::".

    Example: `20190524113406977::8efc7b9a` is 11:34:06.977 in New York. Some ids hold only the day.
    """
    at = read_time(body.get("transaction_time"))
    if at is not None:
        return at
    digits = str(body.get("id") or "").partition("::")[0]
    if len(digits) == 17 and digits.isdigit():
        whole = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=NEW_YORK)
        return whole.replace(microsecond=1000 * int(digits[14:])).astimezone(UTC)
    day = body.get("date")
    if day is None:
        raise DataError(f"an activity needs a time, Alpaca's {body.get('id')} has none")
    return datetime.combine(date.fromisoformat(str(day)[:10]), time(), NEW_YORK).astimezone(UTC)


def _side(body: Body) -> Side:
    """`sell_short` (fills only) is a sell."""
    word = str(body.get("side") or "")
    if word == "buy":
        return Side.BUY
    if word.startswith("sell"):
        return Side.SELL
    raise DataError(f"a side of buy or sell is required from Alpaca, found {word!r}")


def _symbol(body: Body, noun: str) -> str:
    symbol = body.get("symbol")
    if not symbol:
        raise DataError(f"Alpaca's {noun} needs a symbol; it is missing")
    return str(symbol)


def _required(body: Body, name: str, noun: str) -> Decimal:
    value = _decimal(body.get(name))
    if value is None:
        raise DataError(f"Alpaca's {noun} needs {name}; it is missing")
    return value


def _first(body: Body, *names: str) -> Decimal | None:
    for name in names:
        value = _decimal(body.get(name))
        if value is not None:
            return value
    return None


def _decimal(value: object) -> Decimal | None:
    """A number or its text, exactly; None when missing or unreadable."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None

"""Alpaca's JSON bodies as our nouns: pure, and tolerant of fields that vanish or change type.

Alpaca removes account fields and adds states without notice, so only what no decision can do
without is required, a DataError where it is missing or unreadable; everything else has a fallback.
Which requests bring the bodies is `astra.alpaca.account`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import zip_longest

from astra.alpaca.values import (
    Body,
    as_decimal,
    as_text,
    as_time,
    first,
    named,
    optional,
    read_time,
    required,
    says,
)
from astra.errors import DataError
from astra.records import (
    SHARE,
    Account,
    Activity,
    Asset,
    MarketClock,
    Order,
    OrderStatus,
    Position,
    Quote,
    Side,
    Trade,
)
from astra.sessions import NEW_YORK, next_session, session_at

# Every other word (new, pending_new, held, stopped, done_for_day, pending_cancel, one we have
# never seen) means that the order may still trade.
_FINAL = {
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "replaced": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
}

# Lines whose quantity is a change of what is held (of a dividend it is what was paid for): splits,
# new names and symbols, mergers, spin-offs, shares that come from or go to another account.
_MOVING = frozenset(("SPLIT", "SSP", "NC", "SC", "MA", "REORG", "SPIN", "SSO", "ACATS", "JNLS"))
_UNTOUCHED = frozenset({"", "new", "accepted", "pending_new", "rejected"})
_LAST_SECOND = 4_102_444_800  # the year 2100; a time beyond it is in another unit


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account's value at `at`, and its profit since the base; USD."""

    at: datetime
    equity: float
    profit_loss: float | None


def read_account(body: Body) -> Account:
    """`settled_cash` is read unless `multiplier` says that the account may borrow.

    Books are kept by the account's number, so nothing else may stand in for it. Cash alone never
    stands in for the equity: an account that holds something would look as if it had lost it.

    Raises:
        DataError: a field is missing that nothing stands in for.
    """
    cash = required(body, "cash", "account")
    equity, held = first(body, "equity", "portfolio_value"), first(body, "long_market_value")
    if equity is None:
        if held is None:
            raise DataError(
                "Alpaca's account needs equity, portfolio_value or long_market_value; all of them "
                "are missing"
            )
        equity = cash + held
    multiplier = as_decimal(body.get("multiplier"))
    power = first(body, "buying_power", "regt_buying_power", "non_marginable_buying_power")
    return Account(
        number=named(body, "account_number", "account"),
        cash=cash,
        equity=equity,
        buying_power=max(cash, Decimal(0)) if power is None else power,
        status=as_text(body.get("status")) or "UNKNOWN",
        last_equity=as_decimal(body.get("last_equity")),
        trading_blocked=any(
            body.get(name) is not None and not says(False, body[name])
            for name in ("trading_blocked", "account_blocked", "trade_suspended_by_user")
        ),
        settled_cash=_settled(body, multiplier) if multiplier is None or multiplier <= 1 else None,
    )


def _settled(body: Body, multiplier: Decimal | None) -> Decimal:
    """What a cash account may spend, and one of which nobody knows whether it may borrow.

    The buying power of a cash account is settled cash too, of another it may be credit.
    """
    names = ("non_marginable_buying_power", "cash_withdrawable")
    found = first(body, *names if multiplier is None else (*names, "buying_power"))
    if found is None:
        raise DataError(
            "Alpaca's account needs multiplier above 1, non_marginable_buying_power or "
            f"cash_withdrawable to tell settled cash, found multiplier {body.get('multiplier')!r}"
        )
    return found


def read_position(body: Body) -> Position:
    """`market_price` falls back on market value per share, yesterday's price, then the cost.

    It is the market value of one of what is held first where that is no share: an option's price
    is quoted for one share of its hundred.
    """
    qty = required(body, "qty", "position")
    entry = as_decimal(body.get("avg_entry_price"))
    value = as_decimal(body.get("market_value"))
    price = first(body, "current_price")
    is_share = (as_text(body.get("asset_class")) or SHARE) == SHARE
    if (price is None or not is_share) and value is not None and qty:
        price = value / qty
    if price is None:
        price = first(body, "lastday_price", "avg_entry_price")
    if price is None:
        raise DataError(f"Alpaca's position needs a price, {body.get('symbol')} has none")
    return Position(
        symbol=named(body, "symbol", "position"),
        qty=qty,
        market_price=float(price),
        average_entry_price=math.nan if entry is None else float(entry),
        qty_available=as_decimal(body.get("qty_available")),
        asset_id=as_text(body.get("asset_id")),
    )


def read_order(body: Body) -> Order:
    """The order in the words of our journal; a notional order's `qty` is what was filled of it."""
    qty, word = as_decimal(body.get("qty")), as_text(body.get("status"))
    filled = _filled(body, qty, word)
    average, limit = as_decimal(body.get("filled_avg_price")), as_decimal(body.get("limit_price"))
    notional = as_decimal(body.get("notional"))
    open_status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED
    return Order(
        id=named(body, "id", "order"),
        client_order_id=as_text(body.get("client_order_id")),
        symbol=named(body, "symbol", "order"),
        side=_side(body),
        status=_FINAL.get(word, open_status),
        qty=filled if qty is None else qty,
        filled_qty=filled,
        filled_average_price=float(average) if average else None,
        submitted_at=as_time(body.get("submitted_at")) or as_time(body.get("created_at")),
        filled_at=as_time(body.get("filled_at")),
        message=as_text(body.get("reject_reason")) or ("" if word in _FINAL else word),
        type=as_text(body.get("type")) or as_text(body.get("order_type")) or "market",
        limit_price=None if limit is None else float(limit),
        notional=None if notional is None else float(notional),
        asset_class=as_text(body.get("asset_class")) or SHARE,
    )


def _filled(body: Body, qty: Decimal | None, word: str) -> Decimal:
    """Shares filled so far. Where the body does not say: all of a filled order, none of one that
    has just come or was refused, and of any other nobody knows."""
    filled = as_decimal(body.get("filled_qty"))
    if filled is not None:
        return filled
    if word == "filled" and qty is not None:
        return qty
    if word in _UNTOUCHED:
        return Decimal(0)
    raise DataError(f"Alpaca's order needs filled_qty once it is {word}; it is missing")


def read_activity(body: Body) -> Activity:
    """A fill's cash is quantity times price, paid on a buy; other lines carry their amount."""
    kind, key = named(body, "activity_type", "activity"), named(body, "id", "activity")
    qty, price = optional(body, "qty", "activity"), as_decimal(body.get("price"))
    side, amount, change = None, optional(body, "net_amount", "activity") or Decimal(0), None
    if kind == "FILL":
        side = _side(body)
        if qty is None or price is None:
            raise DataError(f"a fill needs qty and price, Alpaca's {key} lacks one")
        change = qty if side is Side.BUY else -qty
        amount = -change * price
    elif kind in _MOVING:
        change = qty
    return Activity(
        id=key,
        type=kind,
        at=_activity_time(body),
        net_amount=amount,
        symbol=as_text(body.get("symbol")) or None,
        qty=change,
        price=price,
        side=side,
        order_id=as_text(body.get("order_id")) or None,
    )


def says_what_moved(body: Body) -> bool:
    """Whether a line of the record tells cash or shares. One that doesn't may tell them when it is
    asked for again; booked without, it would stay without."""
    kind, tells_cash = as_text(body.get("activity_type")), body.get("net_amount") is not None
    return kind == "FILL" or tells_cash or (kind in _MOVING and body.get("qty") is not None)


def read_clock(body: Body) -> MarketClock:
    """A clock that doesn't say whether the market is open says it by what comes next."""
    now, opens, closes = (
        read_time(body.get(name)) for name in ("timestamp", "next_open", "next_close")
    )
    if now is None or opens is None or closes is None:
        raise DataError("Alpaca's clock needs timestamp, next_open and next_close; one is missing")
    told = body.get("is_open")
    is_open = says(True, told) or (not says(False, told) and closes < opens)
    return MarketClock(now, is_open, opens, closes)


def read_asset(body: Body) -> Asset:
    """An asset that does not say that it can be traded or split cannot."""
    active = (as_text(body.get("status")) or "active") == "active"
    return Asset(
        symbol=named(body, "symbol", "asset"),
        name=as_text(body.get("name")),
        tradable=says(True, body.get("tradable")) and active,
        fractionable=says(True, body.get("fractionable")),
        id=as_text(body.get("id")),
    )


def read_trade(body: Body) -> Trade | None:
    """None without a price or a time: such a trade is as good as none."""
    price, at = as_decimal(body.get("p")), as_time(body.get("t"))
    return None if price is None or price <= 0 or at is None else Trade(float(price), at)


def read_quote(body: Body) -> Quote | None:
    """None without a time; a side that is missing is empty."""
    bid, ask, at = as_decimal(body.get("bp")), as_decimal(body.get("ap")), as_time(body.get("t"))
    return None if at is None else Quote(float(bid or 0), float(ask or 0), at)


def read_earlier(body: Body) -> Trade | None:
    """A snapshot's close of the session before; its open of today where there was none."""
    for name, field in (("prevDailyBar", "c"), ("dailyBar", "o")):
        bar = body.get(name)
        if not isinstance(bar, Mapping):
            continue
        price, day = as_decimal(bar.get(field)), as_time(bar.get("t"))
        if price is None or price <= 0 or day is None:
            continue
        with suppress(DataError):  # a day that no calendar has
            session = next_session(day)  # a day is named by its midnight
            return Trade(float(price), session.closes_at if field == "c" else session.opens_at)
    return None


def read_history(body: Body, window: timedelta) -> tuple[EquityPoint, ...]:
    """Alpaca's parallel lists as points, without the windows that have no value.

    Alpaca names a window by its start and gives the value at its end; here a point is named by the
    time at which its value was true: the window's end, the session's close at the latest.
    """
    times, values, gains = (
        [as_decimal(value) for value in found] if isinstance(found := body.get(name), list) else []
        for name in ("timestamp", "equity", "profit_loss")
    )
    return tuple(
        EquityPoint(
            _window_end(datetime.fromtimestamp(int(at), UTC), window),
            float(value),
            None if gain is None else float(gain),
        )
        for at, value, gain in zip_longest(times, values, gains)
        if at is not None and value is not None and 0 <= at < _LAST_SECOND
    )


def _window_end(start: datetime, window: timedelta) -> datetime:
    session = session_at(start)
    return start + window if session is None else min(start + window, session.closes_at)


def _activity_time(body: Body) -> datetime:
    """A fill's transaction time; other lines carry it, in New York time, before their id's "::".

    Example: `20190524113406977::8efc7b9a` is 11:34:06.977 in New York. Some ids hold only the day.
    """
    if (at := as_time(body.get("transaction_time"))) is not None:
        return at
    key = as_text(body.get("id"))
    digits = key.partition("::")[0]
    try:
        if len(digits) == 17 and digits.isdigit():
            whole = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=NEW_YORK)
            return whole.replace(microsecond=1000 * int(digits[14:])).astimezone(UTC)
        day = date.fromisoformat(as_text(body.get("date"))[:10])
    except ValueError as error:
        raise DataError(f"an activity needs a time, Alpaca's {key} has none") from error
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _side(body: Body) -> Side:
    """`sell_short` (fills only) is a sell."""
    word = as_text(body.get("side"))
    if word == "buy":
        return Side.BUY
    if word.startswith("sell"):
        return Side.SELL
    raise DataError(f"a side of buy or sell is required from Alpaca, found {word!r}")

"""The sandbox's orders, positions, account and activities in Alpaca's JSON: numbers are text."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from astra.records import MarketClock
from astra.sessions import NEW_YORK, Session
from sandbox.admission import CENT
from sandbox.books import Line
from sandbox.broker import Broker
from sandbox.orders import BAD_REQUEST, Order, Refusal
from sandbox.valuation import Lot

Body = dict[str, object]


def account_body(broker: Broker) -> Body:
    now, on_margin = broker.balances(), broker.terms.account_type == "margin"
    cash_only = max(Decimal(0), now.settled_cash - now.reserved)
    margin = now.long_market_value if not on_margin else now.long_market_value / 2
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, broker.account_number)),
        "account_number": broker.account_number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": _usd(now.cash),
        "cash_withdrawable": _usd(max(Decimal(0), now.settled_cash)),
        "buying_power": _usd(now.buying_power),
        "regt_buying_power": _usd(now.buying_power),
        "non_marginable_buying_power": _usd(cash_only),
        "portfolio_value": _usd(now.equity),
        "equity": _usd(now.equity),
        "last_equity": _usd(now.last_equity),
        "long_market_value": _usd(now.long_market_value),
        "short_market_value": "0",
        "initial_margin": _usd(margin),
        "maintenance_margin": _usd(margin / 2 if on_margin else margin),
        "multiplier": "2" if on_margin else "1",
        "accrued_fees": "0",
        "shorting_enabled": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "created_at": rfc3339(broker.opened_at),
    }


def order_body(order: Order) -> Body:
    ticket = order.ticket
    average = None
    if order.filled_qty:
        average = (order.filled_value / order.filled_qty).quantize(Decimal("1e-6"))
    return {
        "id": order.id,
        "client_order_id": ticket.client_order_id,
        "created_at": rfc3339(order.submitted_at),
        "updated_at": rfc3339(order.updated_at),
        "submitted_at": rfc3339(order.submitted_at),
        "filled_at": _at(order.filled_at if order.status == "filled" else None),
        "expired_at": _at(order.expired_at),
        "expires_at": _at(order.expires_at),
        "canceled_at": _at(order.canceled_at),
        "failed_at": _at(order.failed_at),
        "replaced_at": _at(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.record_name),
        "symbol": ticket.symbol,
        "asset_class": "us_equity",
        "notional": _text(ticket.notional),
        "qty": _text(ticket.qty),
        "filled_qty": _text(order.filled_qty),
        "filled_avg_price": _text(average),
        "order_class": "simple",
        "order_type": ticket.type,
        "type": ticket.type,
        "side": ticket.side.value,
        "time_in_force": ticket.time_in_force,
        "limit_price": _text(ticket.limit_price),
        "stop_price": None,
        "status": order.status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": f"{ticket.side.value}_to_{'open' if ticket.side == 'buy' else 'close'}",
    }


def position_body(lot: Lot) -> Body:
    value = lot.qty * lot.price
    gain, today = value - lot.cost, lot.qty * (lot.price - lot.last_close)
    return {
        "asset_id": asset_id(lot.record_name),
        "symbol": lot.symbol,
        "exchange": "NYSE",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": _text(lot.qty),
        "qty_available": _text(lot.available),
        "avg_entry_price": _text((lot.cost / lot.qty).quantize(Decimal("1e-6"))),
        "side": "long",
        "market_value": _usd(value),
        "cost_basis": _usd(lot.cost),
        "unrealized_pl": _usd(gain),
        "unrealized_plpc": _ratio(gain, lot.cost),
        "unrealized_intraday_pl": _usd(today),
        "unrealized_intraday_plpc": _ratio(today, lot.qty * lot.last_close),
        "current_price": _text(lot.price),
        "lastday_price": _text(lot.last_close),
        "change_today": _ratio(lot.price - lot.last_close, lot.last_close),
    }


def activity_body(line: Line) -> Body:
    """Trades carry their time, everything else its day (and its time in the id), as at Alpaca."""
    body: Body = {"id": line.id, "activity_type": line.kind}
    if line.order is not None:
        done = line.order.ticket.qty is None or line.cum_qty == line.order.ticket.qty
        leaves = None if line.order.ticket.qty is None else line.order.ticket.qty - line.cum_qty
        return body | {
            "transaction_time": rfc3339(line.at),
            "type": "fill" if done else "partial_fill",
            "price": _text(line.price),
            "qty": _text(abs(line.shares)),
            "side": line.side.value,
            "symbol": line.symbol,
            "leaves_qty": _text(leaves or Decimal(0)),
            "order_id": line.order.id,
            "cum_qty": _text(line.cum_qty),
            "order_status": "filled" if done else "partially_filled",
        }
    body |= {
        "date": line.at.astimezone(NEW_YORK).date().isoformat(),
        "net_amount": _text(line.cash),
        "description": line.description,
        "status": "executed",
    }
    if line.symbol is not None:
        body["symbol"] = line.symbol
    if line.shares:
        body["qty"] = _text(line.shares)
    if line.price is not None:
        body["per_share_amount"] = _text(line.price)
    return body


def asset_body(broker: Broker, symbol: str) -> Body:
    is_listed = broker.market.has(symbol)
    return {
        "id": asset_id(broker.market.record_name(symbol)),
        "class": "us_equity",
        "exchange": "NYSE",
        "symbol": symbol,
        "name": broker.market.name(symbol),
        "status": "active" if is_listed else "inactive",
        "tradable": is_listed,
        "marginable": broker.terms.account_type == "margin",
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": symbol not in broker.terms.whole_shares_only,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


def clock_body(clock: MarketClock) -> Body:
    return {
        "timestamp": rfc3339(clock.now),
        "is_open": clock.is_open,
        "next_open": rfc3339(clock.next_open),
        "next_close": rfc3339(clock.next_close),
    }


def calendar_body(session: Session) -> Body:
    return {
        "date": session.date.isoformat(),
        "open": f"{session.opens_at.astimezone(NEW_YORK):%H:%M}",
        "close": f"{session.closes_at.astimezone(NEW_YORK):%H:%M}",
        "session_open": "0400",
        "session_close": "2000",
    }


def asset_id(record_name: str) -> str:
    """The same in every sandbox, and for a ticker by each of its names."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, record_name))


def rfc3339(t: datetime) -> str:
    return t.astimezone(UTC).isoformat().replace("+00:00", "Z")


def new_york_midnight(day: date) -> datetime:
    """Where Alpaca's dates begin, in UTC."""
    return datetime.combine(day, datetime.min.time(), NEW_YORK).astimezone(UTC)


def read_time(text: str | None) -> datetime | None:
    """A query's RFC 3339 time or date (midnight in New York), in UTC.

    Raises:
        Refusal: 422.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise Refusal(422, BAD_REQUEST, f"invalid time: {text}") from error
    if len(text) == 10:
        return new_york_midnight(found.date())
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _at(t: datetime | None) -> str | None:
    return None if t is None else rfc3339(t)


def _usd(amount: Decimal) -> str:
    return format(amount.quantize(CENT, ROUND_HALF_EVEN), "f")


def _text(number: Decimal | None) -> str | None:
    """Exactly, without trailing zeros or exponents."""
    if number is None:
        return None
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _ratio(part: Decimal, whole: Decimal) -> str:
    return format((part / whole).quantize(Decimal("1e-6")), "f") if whole else "0"

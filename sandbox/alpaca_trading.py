"""The routes of the sandbox's Alpaca trading API; the account's rules are `sandbox.broker`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from astra.records import MarketClock, Side
from astra.sessions import next_session, session_at, sessions_between
from sandbox.alpaca_bodies import (
    account_body,
    asset_body,
    asset_id,
    calendar_body,
    clock_body,
    order_body,
    position_body,
    read_time,
)
from sandbox.broker import Broker
from sandbox.fault import ON_ORDER, Fault
from sandbox.faults import Faults
from sandbox.orders import BAD_REQUEST, NOT_FOUND, QTY_STEP, Mishap, Order, Refusal, read_ticket
from sandbox.valuation import Lot

trading_api = Blueprint("trading", __name__, url_prefix="/v2")


@trading_api.get("/account")
def account() -> ResponseReturnValue:
    return jsonify(account_body(_broker()))


@trading_api.get("/positions")
def positions() -> ResponseReturnValue:
    return jsonify([position_body(lot) for lot in _broker().lots()])


@trading_api.get("/positions/<symbol>")
def position(symbol: str) -> ResponseReturnValue:
    return jsonify(position_body(_lot(symbol)))


@trading_api.delete("/positions/<symbol>")
def close_position(symbol: str) -> ResponseReturnValue:
    lot = _lot(symbol)
    share, asked = _decimal_argument("percentage"), _decimal_argument("qty")
    qty = lot.qty if asked is None else asked
    if share is not None:
        qty = lot.qty * share / 100 // QTY_STEP * QTY_STEP
    return jsonify(order_body(_close(lot.symbol, qty)))


@trading_api.delete("/positions")
def close_all_positions() -> ResponseReturnValue:
    broker = _broker()
    if request.args.get("cancel_orders", "").lower() == "true":
        for order in broker.open_orders():
            broker.cancel(order.id)
    answers = []
    for lot in broker.lots():
        try:
            status, body = 200, order_body(_close(lot.symbol, lot.qty))
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        answers.append({"symbol": lot.symbol, "status": status, "body": body})
    return jsonify(answers), 207


@trading_api.post("/orders")
def submit() -> ResponseReturnValue:
    ticket = read_ticket(_body())
    faults: Faults = current_app.extensions["faults"]
    fault = faults.take("alpaca", "POST", request.path, ON_ORDER)
    return jsonify(order_body(_broker().submit(ticket, _mishap(fault))))


@trading_api.get("/orders")
def orders() -> ResponseReturnValue:
    args = request.args
    after, until = read_time(args.get("after")), read_time(args.get("until"))
    status, symbols = args.get("status", "open"), args.get("symbols", "")
    wanted = {s.strip() for s in symbols.split(",")} - {""}
    found = [
        order
        for order in _broker().orders.values()
        if (status == "all" or order.is_open == (status == "open"))
        and (after is None or order.submitted_at > after)
        and (until is None or order.submitted_at < until)
        and (not wanted or order.ticket.symbol in wanted)
        and args.get("side", order.ticket.side) == order.ticket.side
    ]
    if args.get("direction", "desc") == "desc":
        found.reverse()
    limit = max(1, min(args.get("limit", 50, int), 500))
    return jsonify([order_body(order) for order in found[:limit]])


@trading_api.delete("/orders")
def cancel_all() -> ResponseReturnValue:
    broker = _broker()
    open_orders = broker.open_orders()
    for order in open_orders:
        broker.cancel(order.id)
    return jsonify([{"id": order.id, "status": 200} for order in open_orders]), 207


@trading_api.get("/orders:by_client_order_id")
def order_by_client_id() -> ResponseReturnValue:
    asked = request.args.get("client_order_id", "")
    return jsonify(order_body(_broker().order_by_client_id(asked)))


@trading_api.get("/orders/<order_id>")
def order_by_id(order_id: str) -> ResponseReturnValue:
    return jsonify(order_body(_broker().order(order_id)))


@trading_api.delete("/orders/<order_id>")
def cancel(order_id: str) -> ResponseReturnValue:
    _broker().cancel(order_id)
    return "", 204


@trading_api.patch("/orders/<order_id>")
def replace(order_id: str) -> ResponseReturnValue:
    broker, changes = _broker(), _body()
    old = broker.order(order_id).ticket
    kept = {"symbol": old.symbol, "side": old.side.value, "type": old.type, "qty": old.qty,
            "notional": old.notional, "time_in_force": old.time_in_force,
            "limit_price": old.limit_price}  # fmt: skip
    named = {name: value for name, value in changes.items() if value is not None}
    return jsonify(order_body(broker.replace(order_id, read_ticket(kept | named))))


@trading_api.get("/clock")
def clock() -> ResponseReturnValue:
    now = _broker().market.clock.now()
    session = next_session(now)
    is_open = session_at(now) is not None
    opens_at = next_session(session.closes_at).opens_at if is_open else session.opens_at
    return jsonify(clock_body(MarketClock(now, is_open, opens_at, session.closes_at)))


@trading_api.get("/calendar")
def calendar() -> ResponseReturnValue:
    now = _broker().market.clock.now()
    start = read_time(request.args.get("start")) or now - timedelta(days=365)
    end = read_time(request.args.get("end")) or now + timedelta(days=365)
    sessions = sessions_between(start, end + timedelta(days=1))
    return jsonify([calendar_body(session) for session in sessions])


@trading_api.get("/assets")
def assets() -> ResponseReturnValue:
    broker, status = _broker(), request.args.get("status", "")
    bodies = (asset_body(broker, symbol) for symbol in broker.market.known)
    return jsonify([body for body in bodies if status in ("", body["status"])])


@trading_api.get("/assets/<name>")
def asset(name: str) -> ResponseReturnValue:
    symbol = _symbol_named(name)
    if symbol is None:
        raise Refusal(404, NOT_FOUND, f"asset not found for {name}")
    return jsonify(asset_body(_broker(), symbol))


def _broker() -> Broker:
    return cast(Broker, current_app.extensions["broker"])


def _body() -> Mapping[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise Refusal(400, BAD_REQUEST, "request body format is invalid")
    return body


def _decimal_argument(name: str) -> Decimal | None:
    text = request.args.get(name)
    try:
        return Decimal(text) if text else None
    except InvalidOperation as error:
        raise Refusal(422, BAD_REQUEST, f"invalid {name}: {text}") from error


def _symbol_named(name: str) -> str | None:
    """By symbol or by asset id; those that have left included."""
    market = _broker().market
    if name in market.known:
        return name
    return next((s for s in market.known if asset_id(market.record_name(s)) == name), None)


def _lot(name: str) -> Lot:
    symbol = _symbol_named(name)
    for lot in _broker().lots():
        if lot.symbol == symbol:
            return lot
    raise Refusal(404, NOT_FOUND, "position does not exist")


def _mishap(fault: Fault | None) -> Mishap:
    if fault is None:
        return Mishap()
    return Mishap(**{field.name: getattr(fault, field.name) for field in fields(Mishap)})


def _close(symbol: str, qty: Decimal) -> Order:
    ticket = {"symbol": symbol, "side": Side.SELL.value, "qty": qty, "type": "market"}
    return _broker().submit(read_ticket(ticket))

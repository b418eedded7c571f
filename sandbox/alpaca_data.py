"""The sandbox's Alpaca market data API: bars, latest trades, quotes and snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date

from astra.sessions import last_sessions
from sandbox.alpaca_bars import DAY, Query, body, merged, page, text
from sandbox.alpaca_bodies import Body, rfc3339
from sandbox.alpaca_feed import DataFeed, Feed
from sandbox.orders import BAD_REQUEST, Refusal
from sandbox.tape import Bars

data_api = Blueprint("data", __name__, url_prefix="/v2/stocks")


@data_api.get("/<kind>/latest")
def latest(kind: str) -> ResponseReturnValue:
    symbols = _symbols()
    feed = _feed().chosen(request.args.get("feed"), None)
    found = {s: body for s in symbols if (body := _latest_body(kind, s, feed)) is not None}
    return jsonify({kind: found, "currency": "USD"})


@data_api.get("/<symbol>/<kind>/latest")
def latest_of_one(symbol: str, kind: str) -> ResponseReturnValue:
    feed = _feed().chosen(request.args.get("feed"), None)
    body = _latest_body(kind, symbol, feed)
    if body is None:
        raise Refusal(404, 40410000, f"no {kind} found for {symbol}")
    return jsonify({"symbol": symbol, kind.removesuffix("s"): body})


@data_api.get("/snapshots")
def snapshots() -> ResponseReturnValue:
    feed = _feed().chosen(request.args.get("feed"), None)
    return jsonify({s: body for s in _symbols() if (body := _snapshot_body(s, feed)) is not None})


@data_api.get("/<symbol>/snapshot")
def snapshot_of_one(symbol: str) -> ResponseReturnValue:
    body = _snapshot_body(symbol, _feed().chosen(request.args.get("feed"), None))
    if body is None:
        raise Refusal(404, 40410000, f"no snapshot found for {symbol}")
    return jsonify({"symbol": symbol, **body})


@data_api.get("/bars")
def bars() -> ResponseReturnValue:
    feed = _feed().frozen()
    found, token = page(feed, _symbols(), Query.read(request.args, feed))
    series = ",".join(f"{json.dumps(symbol)}:{rows}" for symbol, rows in text(found).items())
    return _dated(feed, f'{{"bars":{{{series}}},"next_page_token":{json.dumps(token)}}}')


@data_api.get("/<symbol>/bars")
def bars_of_one(symbol: str) -> ResponseReturnValue:
    feed = _feed().frozen()
    found, token = page(feed, [symbol], Query.read(request.args, feed))
    rest = json.dumps({"symbol": symbol, "next_page_token": token}).removeprefix("{")
    return _dated(feed, f'{{"bars":{text(found).get(symbol, "[]")},{rest}')


def _dated(feed: DataFeed, body: str) -> Response:
    """An answer at the time that it is of: on a fast clock its end may lie bars later."""
    answer = Response(body, mimetype="application/json")
    answer.headers["Date"] = http_date(feed.market.clock.now())
    return answer


def _latest_body(kind: str, symbol: str, feed: Feed) -> Body | None:
    source = _feed()
    if kind == "bars":
        rows = _recent(symbol, feed)
        return body(rows, -1) if len(rows.ts) else None
    if kind not in ("trades", "quotes"):
        raise Refusal(404, 40410000, "endpoint not found.")
    if kind == "quotes":
        quote = source.quote(symbol, feed)
        if quote is None:
            return None
        return {
            "t": rfc3339(quote[0]), "ax": "V", "ap": round(quote[2], 4), "as": 1,
            "bx": "V", "bp": round(quote[1], 4), "bs": 1, "c": ["R"], "z": "C",
        }  # fmt: skip
    last = source.last_trade(symbol, feed)
    if last is None:
        return None
    return {"t": rfc3339(last[0]), "x": "V", "p": last[1], "s": 100, "c": ["@"], "i": 1, "z": "C"}


def _snapshot_body(symbol: str, feed: Feed) -> Body | None:
    trade = _latest_body("trades", symbol, feed)
    if trade is None:
        return None
    rows = _recent(symbol, feed)
    days = merged(rows, DAY)
    count = len(days.ts)
    return {
        "latestTrade": trade,
        "latestQuote": _latest_body("quotes", symbol, feed),
        "minuteBar": body(rows, -1) if count else None,
        "dailyBar": body(days, -1) if count else None,
        "prevDailyBar": body(days, -2) if count > 1 else None,
    }


def _recent(symbol: str, feed: Feed) -> Bars:
    source = _feed()
    now = source.market.clock.now()
    since = last_sessions(2, now)[0].opens_at
    return source.bars(symbol, int(since.timestamp()), int(now.timestamp()), feed)


def _symbols() -> list[str]:
    found: Iterable[str] = (request.args.get("symbols") or "").split(",")
    symbols = sorted({s.strip() for s in found} - {""})
    if not symbols:
        raise Refusal(400, BAD_REQUEST, "symbols is required")
    return symbols


def _feed() -> DataFeed:
    return cast(DataFeed, current_app.extensions["feed"])

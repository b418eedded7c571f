"""The sandbox's Alpaca market data API: bars, latest trades, quotes and snapshots.

Nothing of a bar that has not closed is served but the last price. The `iex` feed is thin: about
2.5 % of the volume, and bars without one of its trades are missing. Trade counts and prices by
volume, which the market's record lacks, are estimates.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import numpy as np
from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from numpy.typing import NDArray

from astra.sessions import BAR_SECONDS, NEW_YORK, last_sessions
from sandbox.alpaca_bodies import Body, new_york_midnight, rfc3339
from sandbox.market import Bars, Market
from sandbox.orders import BAD_REQUEST, Refusal

Feed = Literal["sip", "iex"]
data_api = Blueprint("data", __name__, url_prefix="/v2/stocks")
_IEX_SHARE = 0.025  # of the volume of all exchanges
_IEX_GAPS = 0.15  # of bars without any of its trades
_RECENT = timedelta(minutes=15)
_PAGE, _LARGEST_PAGE = 1000, 10_000
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class DataFeed:
    """What an account's subscription shows of the market; `half_spread` as a fraction."""

    market: Market
    entitled: Feed
    half_spread: float

    def chosen(self, asked: str | None, end: datetime | None) -> Feed:
        """The feed to serve; `end` is the last time asked for, None = now.

        Raises:
            Refusal: 400 unknown; 403 recent SIP data without the subscription.
        """
        if asked not in (None, "", "sip", "iex"):
            raise Refusal(400, BAD_REQUEST, f"invalid feed: {asked}")
        now = self.market.clock.now()
        recent = end is None or end > now - _RECENT
        if asked == "sip" and self.entitled == "iex" and recent:
            text = "subscription does not permit querying recent SIP data"
            raise Refusal(403, 42210000, text)
        return cast(Feed, asked or self.entitled)

    def bars(self, symbol: str, start: int, end: int, feed: Feed) -> Bars:
        """Closed 5-minute bars with start <= ts < end; none of a symbol that is not listed."""
        if not self.market.has(symbol):
            none = np.empty(0)
            return Bars(np.empty(0, np.int64), none, none, none, none, np.empty(0, np.int64))
        bars = self.market.history(symbol, start, end)
        if feed == "sip":
            return bars
        volume = (bars.volume * _IEX_SHARE).astype(np.int64)
        mixed = (bars.ts // BAR_SECONDS * 2_654_435_761 + zlib.crc32(symbol.encode())) % 2**32
        return _rows(bars, (volume > 0) & (mixed >= _IEX_GAPS * 2**32), volume)

    def last_trade(self, symbol: str, feed: Feed) -> tuple[datetime, float] | None:
        """Time and price, USD."""
        if not self.market.has(symbol):
            return None
        if feed == "sip":
            return self.market.last_price(symbol)
        now = self.market.clock.now()
        since = last_sessions(2, now)[0].opens_at
        bars = self.bars(symbol, int(since.timestamp()), int(now.timestamp()), feed)
        if not len(bars.ts):
            return None
        closed_at = datetime.fromtimestamp(int(bars.ts[-1]) + BAR_SECONDS, UTC)
        return closed_at, float(bars.close[-1])


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
    found, token = _bars_page(_symbols())
    return jsonify(bars=found, next_page_token=token)


@data_api.get("/<symbol>/bars")
def bars_of_one(symbol: str) -> ResponseReturnValue:
    found, token = _bars_page([symbol])
    return jsonify(bars=found.get(symbol, []), symbol=symbol, next_page_token=token)


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


def _bars_page(symbols: list[str]) -> tuple[dict[str, list[Body]], str | None]:
    """One page, symbol by symbol, and the token of the next."""
    args, feed = request.args, _feed()
    now = feed.market.clock.now()
    start = read_time(args.get("start")) or new_york_midnight(now.astimezone(NEW_YORK).date())
    asked_end = read_time(args.get("end"))
    chosen = feed.chosen(args.get("feed"), asked_end)
    end = int((asked_end or now).timestamp()) + 1
    step = _timeframe(args.get("timeframe", ""))
    limit = max(1, min(int(args.get("limit") or _PAGE), _LARGEST_PAGE))
    first, after = _read_token(args.get("page_token"))
    backwards = args.get("sort") == "desc"
    found: dict[str, list[Body]] = {}
    room = limit
    for symbol in (s for s in symbols if s >= first):
        rows = feed.bars(symbol, int(start.timestamp()), end, chosen)
        if args.get("adjustment", "raw") == "raw":
            rows = _unadjusted(feed.market, symbol, rows)
        rows = _merged(rows, step)
        order = np.arange(len(rows.ts))[:: -1 if backwards else 1]
        if symbol == first and after is not None:
            order = order[(rows.ts[order] < after) if backwards else (rows.ts[order] > after)]
        if len(order):
            found[symbol] = [_bar_body(rows, int(i)) for i in order[:room]]
        if len(order) > room or (len(order) == room and symbol != symbols[-1]):
            return found, _token(symbol, int(rows.ts[order[room - 1]]))
        room -= len(order)
    return found, None


def _latest_body(kind: str, symbol: str, feed: Feed) -> Body | None:
    source = _feed()
    if kind == "bars":
        rows = _recent(symbol, feed)
        return _bar_body(rows, -1) if len(rows.ts) else None
    if kind not in ("trades", "quotes"):
        raise Refusal(404, 40410000, "endpoint not found.")
    last = source.last_trade(symbol, feed)
    if last is None:
        return None
    at, price = rfc3339(last[0]), last[1]
    if kind == "trades":
        return {"t": at, "x": "V", "p": price, "s": 100, "c": ["@"], "i": 1, "z": "C"}
    bid, ask = price * (1 - source.half_spread), price * (1 + source.half_spread)
    return {
        "t": at, "ax": "V", "ap": round(ask, 4), "as": 1,
        "bx": "V", "bp": round(bid, 4), "bs": 1, "c": ["R"], "z": "C",
    }  # fmt: skip


def _snapshot_body(symbol: str, feed: Feed) -> Body | None:
    trade = _latest_body("trades", symbol, feed)
    if trade is None:
        return None
    rows = _recent(symbol, feed)
    days = _merged(rows, _DAY)
    count = len(days.ts)
    return {
        "latestTrade": trade,
        "latestQuote": _latest_body("quotes", symbol, feed),
        "minuteBar": _bar_body(rows, -1) if count else None,
        "dailyBar": _bar_body(days, -1) if count else None,
        "prevDailyBar": _bar_body(days, -2) if count > 1 else None,
    }


def _recent(symbol: str, feed: Feed) -> Bars:
    source = _feed()
    now = source.market.clock.now()
    since = last_sessions(2, now)[0].opens_at
    return source.bars(symbol, int(since.timestamp()), int(now.timestamp()), feed)


def _timeframe(text: str) -> int:
    """Seconds; 5-minute bars are the finest."""
    match = re.fullmatch(r"(\d+)(Min|T|Hour|H|Day|D)", text)
    seconds = 0
    if match:
        seconds = int(match[1]) * {"M": 60, "T": 60, "H": 3600, "D": _DAY}[match[2][0]]
    if seconds % BAR_SECONDS or not (0 < seconds <= 3600 or seconds == _DAY):
        raise Refusal(400, BAD_REQUEST, f"invalid timeframe: {text}")
    return seconds


def _merged(bars: Bars, step: int) -> Bars:
    """Bars of `step` seconds; a day is named by its midnight in New York."""
    if step == BAR_SECONDS or not len(bars.ts):
        return bars
    bucket, first = np.unique(bars.ts // step, return_index=True)
    names = bucket * step
    if step == _DAY:  # a session lies within one day of UTC
        days = (datetime.fromtimestamp(int(t), UTC).date() for t in names)
        names = np.array([int(new_york_midnight(day).timestamp()) for day in days], np.int64)
    last = np.append(first[1:], len(bars.ts)) - 1
    return Bars(
        names,
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )


def _unadjusted(market: Market, symbol: str, bars: Bars) -> Bars:
    """Prices and volumes as they were on the day, before the splits since."""
    if not market.has(symbol):
        return bars
    factor = np.ones(len(bars.ts))
    for action in market.actions(symbol):
        if action.kind == "split":
            factor = np.where(bars.ts < action.at.timestamp(), factor * action.value, factor)
    volume = (bars.volume / factor).astype(np.int64)
    o, h, low, c = (p * factor for p in (bars.open, bars.high, bars.low, bars.close))
    return Bars(bars.ts, o, h, low, c, volume)


def _rows(bars: Bars, keep: NDArray[np.bool_], volume: NDArray[np.int64]) -> Bars:
    o, h, low, c = (p[keep] for p in (bars.open, bars.high, bars.low, bars.close))
    return Bars(bars.ts[keep], o, h, low, c, volume[keep])


def _bar_body(bars: Bars, i: int) -> Body:
    o, h, low, c = (float(p[i]) for p in (bars.open, bars.high, bars.low, bars.close))
    volume = int(bars.volume[i])
    return {
        "t": rfc3339(datetime.fromtimestamp(int(bars.ts[i]), UTC)),
        "o": o, "h": h, "l": low, "c": c, "v": volume,
        "n": max(1, volume // 100), "vw": round((h + low + c) / 3, 6),
    }  # fmt: skip


def _token(symbol: str, ts: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{ts}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int | None]:
    """The symbol to go on with, and the time of its last bar served."""
    if not token:
        return "", None
    try:
        symbol, _, ts = base64.urlsafe_b64decode(token).decode().partition("|")
        return symbol, int(ts)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, BAD_REQUEST, "invalid page_token") from error


def _symbols() -> list[str]:
    found: Iterable[str] = (request.args.get("symbols") or "").split(",")
    symbols = sorted({s.strip() for s in found} - {""})
    if not symbols:
        raise Refusal(400, BAD_REQUEST, "symbols is required")
    return symbols


def _feed() -> DataFeed:
    return cast(DataFeed, current_app.extensions["feed"])

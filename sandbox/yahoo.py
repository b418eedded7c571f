"""Yahoo's chart API over the sandbox's market, with the traits that hurt its clients.

The forming bar and, after it, a live point off the 5-minute grid; nulls inside of the arrays for
some tickers and left-out times for others; a point at the close once the session is over; history
rewritten by a split; 5-minute bars for the last 60 days only; the market's time as `Date`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from werkzeug.http import http_date

from astra.sessions import (
    NEW_YORK,
    Session,
    last_sessions,
    next_session,
    sessions_between,
)
from sandbox import faults as faulty
from sandbox.faults import Faults
from sandbox.json_columns import listed
from sandbox.listing import ETFS
from sandbox.market import Market
from sandbox.serving import date_answers, name_market
from sandbox.tape import CorporateAction, Floats
from sandbox.view import VendorView
from sandbox.yahoo_rows import Live, Window, daily, intraday

_VALID_RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_INTERVALS = ("5m", "1d")
_INTRADAY_DAYS = 60
_DAYS = {"d": 1, "wk": 7, "mo": 30, "y": 365}
_FIELDS = ("open", "high", "low", "close", "volume")


class _ChartError(Exception):
    """Answered in the chart API's own shape."""

    def __init__(self, status: HTTPStatus, description: str) -> None:
        super().__init__(description)
        self.status = status


def create_app(market: Market, faults: Faults) -> Flask:
    """The vendor's app; `extensions["state"]()` tells what it has served."""
    market = VendorView(market, "yahoo")
    app = Flask("sandbox.yahoo")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    crumb, served = secrets.token_urlsafe(8), {"charts": 0}
    app.extensions["state"] = lambda: dict(served)
    app.extensions["stop"] = lambda: None

    # Registered before the faults, so that they run after them and stamp their answers too.
    date_answers(app, market.clock.now)
    name_market(app, market.identity)
    faulty.install(app, "yahoo", faults)

    @app.get("/")
    def _cookie() -> Response:
        answer = Response("", HTTPStatus.NOT_FOUND, mimetype="text/html")  # as fc.yahoo.com does
        answer.set_cookie("A3", f"d={crumb}", max_age=31_536_000, httponly=True)
        return answer

    @app.get("/v1/test/getcrumb")
    def _crumb() -> Response | tuple[Response, int]:
        if "A3" in request.cookies:
            return Response(crumb, mimetype="text/plain")
        error = {"code": "Unauthorized", "description": "Invalid Cookie"}
        return jsonify(finance={"result": None, "error": error}), HTTPStatus.UNAUTHORIZED

    @app.get("/v8/finance/chart/<symbol>")
    def _chart(symbol: str) -> Response:
        served["charts"] += 1
        moment = market.frozen()
        found = chart(moment, symbol, request.args)
        body = f'{{"chart":{{"result":[{found}],"error":null}}}}'
        answer = Response(body, mimetype="application/json")
        # On a fast clock the end of the request may lie bars after what it shows.
        answer.headers["Date"] = http_date(moment.clock.now())
        return answer

    @app.errorhandler(_ChartError)
    def _refused(error: _ChartError) -> tuple[Response, int]:
        body = {"code": error.status.phrase, "description": str(error)}
        return jsonify(chart={"result": None, "error": body}), error.status

    @app.errorhandler(HTTPStatus.NOT_FOUND)
    def _unknown(_: Exception) -> tuple[Response, int]:
        error = {"code": "Not Found", "description": f"No service at {request.path}"}
        return jsonify(finance={"result": None, "error": error}), HTTPStatus.NOT_FOUND

    return app


def chart(market: Market, symbol: str, query: Mapping[str, str]) -> str:
    """One element of a chart answer's `result`, as JSON.

    Args:
        symbol: in Yahoo's form, BRK-B.
        query: `interval` 5m or 1d (default), `range` or `period1` and `period2`, `events`.
    """
    ticker = symbol.upper().replace("-", ".")
    if "." in symbol or not market.has(ticker):
        raise _ChartError(HTTPStatus.NOT_FOUND, "No data found, symbol may be delisted")
    window, live = _window(query, market), Live.of(market, ticker)
    if window.interval == "5m":
        ts, columns = intraday(market, ticker, window, live)
    else:
        ts, columns = daily(market, ticker, window)
    parts = {"meta": _json(_meta(market, ticker, symbol.upper(), window, live))}
    if not len(ts):
        return _joined(parts | {"indicators": '{"quote":[{}]}'})
    parts["timestamp"] = listed(ts, whole=True)
    events = _events(market, ticker, window, query.get("events", ""))
    if events:
        parts["events"] = _json(events)
    return _joined(parts | {"indicators": _indicators(columns)})


def _indicators(columns: list[Floats]) -> str:
    """Open, high, low, close, volume and, on daily rows, the adjusted close."""
    fields = {name: listed(c) for name, c in zip(_FIELDS[:4], columns, strict=False)}
    quote = _joined(fields | {"volume": listed(columns[4], whole=True)})
    found = {"quote": f"[{quote}]"}
    for adjusted in columns[5:]:
        found["adjclose"] = f'[{{"adjclose":{listed(adjusted)}}}]'
    return _joined(found)


def _joined(parts: Mapping[str, str]) -> str:
    """A JSON object of JSON texts."""
    return f"{{{','.join(f'{_json(name)}:{text}' for name, text in parts.items())}}}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _window(query: Mapping[str, str], market: Market) -> Window:
    now = int(market.clock.now().timestamp())
    interval, label = query.get("interval", "1d"), query.get("range", "")
    if interval not in _INTERVALS:
        raise _ChartError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"Invalid input - interval={interval} is not supported. "
            f"Valid intervals: [{', '.join(_INTERVALS)}]",
        )
    if "period1" in query:
        try:
            start, end = int(query["period1"]), int(query.get("period2", now))
        except ValueError as error:
            reason = "Invalid input - period1 and period2 are epoch seconds"
            raise _ChartError(HTTPStatus.BAD_REQUEST, reason) from error
        label = ""
    else:
        label = label or "1d"
        start, end = _range_start(label, market), now + 1
    if start >= end:
        reason = f"Invalid input - start date cannot be after end date. startDate = {start}"
        raise _ChartError(HTTPStatus.BAD_REQUEST, reason)
    if interval == "5m" and start < now - _INTRADAY_DAYS * 86_400:
        raise _ChartError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"5m data not available for startTime={start} and endTime={end}. "
            f"The requested range must be within the last {_INTRADAY_DAYS} days.",
        )
    return Window(start, end, interval, label)


def _range_start(label: str, market: Market) -> int:
    now = market.clock.now()
    if label == "max":
        return market.first_ts
    if label == "ytd":
        return int(dt.datetime(now.year, 1, 1, tzinfo=NEW_YORK).timestamp())
    found = re.fullmatch(r"([1-9]\d{0,3})(d|wk|mo|y)", label)
    if not found:
        raise _ChartError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"Invalid input - range={label} is not supported. "
            f"Valid ranges: [{', '.join(_VALID_RANGES)}]",
        )
    count, unit = int(found[1]), found[2]
    if unit == "d" and count <= 5:  # short ranges count sessions, long ones calendar days
        return int(last_sessions(count, now)[0].opens_at.timestamp())
    return int(now.timestamp()) - count * _DAYS[unit] * 86_400


def _events(market: Market, ticker: str, window: Window, asked: str) -> dict[str, object]:
    found: dict[str, dict[str, object]] = {}
    for action in market.actions(ticker):
        at = int(action.at.timestamp())
        if not window.start <= at < window.end or action.kind[:3] not in asked:
            continue
        event = {"amount": action.value, "date": at}
        found.setdefault(f"{action.kind}s", {})[str(at)] = (
            _split_event(action) if action.kind == "split" else event
        )
    return dict(found)


def _split_event(action: CorporateAction) -> dict[str, object]:
    new, old = Fraction(action.value).limit_denominator(1000).as_integer_ratio()
    return {
        "date": int(action.at.timestamp()),
        "numerator": float(new),
        "denominator": float(old),
        "splitRatio": f"{new}:{old}",
    }


def _meta(
    market: Market, ticker: str, symbol: str, window: Window, live: Live
) -> dict[str, object]:
    now = market.clock.now()
    today = _today(now)
    fund = ticker in ETFS
    at, price = live.last or (now, None)
    forming = live.forming
    is_live = market.session_open() and market.reach(ticker) == now
    meta: dict[str, object] = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "PCX" if fund else "NYQ",
        "fullExchangeName": "NYSEArca" if fund else "NYSE",
        "instrumentType": "ETF" if fund else "EQUITY",
        "firstTradeDate": market.first_trade(ticker),
        "regularMarketTime": int((now if is_live else at).timestamp()),
        "hasPrePostMarketData": True,
        "gmtoffset": _offset(now),
        "timezone": now.astimezone(NEW_YORK).tzname(),
        "exchangeTimezoneName": NEW_YORK.key,
        "regularMarketPrice": forming.close if forming else price,
        "longName": market.name(ticker),
        "shortName": market.name(ticker),
        "chartPreviousClose": _previous_close(market, ticker, window.start),
        "priceHint": 2,
        "currentTradingPeriod": {
            "pre": _period(today.opens_at - dt.timedelta(hours=5, minutes=30), today.opens_at),
            "regular": _period(today.opens_at, today.closes_at),
            "post": _period(today.closes_at, today.closes_at + dt.timedelta(hours=4)),
        },
        "dataGranularity": window.interval,
        "range": window.label,
        "validRanges": list(_VALID_RANGES),
    }
    if window.interval == "5m":
        begin, end = (dt.datetime.fromtimestamp(t, dt.UTC) for t in (window.start, window.end))
        sessions = sessions_between(begin, min(end, now + dt.timedelta(seconds=1)))
        meta["tradingPeriods"] = [[_period(s.opens_at, s.closes_at)] for s in sessions]
    return meta


def _previous_close(market: Market, ticker: str, start: int) -> float | None:
    before = market.history(ticker, start - 7 * 86_400, start)
    return float(before.close[-1]) if len(before) else None


@lru_cache(maxsize=1024)
def _period(start: dt.datetime, end: dt.datetime) -> dict[str, object]:
    return {
        "timezone": start.astimezone(NEW_YORK).tzname(),
        "start": int(start.timestamp()),
        "end": int(end.timestamp()),
        "gmtoffset": _offset(start),
    }


def _offset(t: dt.datetime) -> int:
    offset = t.astimezone(NEW_YORK).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _today(now: dt.datetime) -> Session:
    """Today's session, be it over or yet to come; on other days the next one."""
    latest = last_sessions(1, now)[0]
    return latest if latest.date == now.astimezone(NEW_YORK).date() else next_session(now)

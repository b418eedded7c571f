"""The sandbox's account record at Alpaca's routes: activities, and the history of the equity."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import cast

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from astra.sessions import last_sessions
from sandbox.alpaca_bodies import activity_body, read_time
from sandbox.books import Line
from sandbox.broker import Broker
from sandbox.orders import BAD_REQUEST, Refusal

record_api = Blueprint("record", __name__, url_prefix="/v2/account")
_STEPS = {
    "5Min": timedelta(minutes=5),
    "15Min": timedelta(minutes=15),
    "1H": timedelta(hours=1),
    "1D": None,
}
_DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}


@record_api.get("/activities")
def activities() -> ResponseReturnValue:
    return _page(request.args.get("activity_types", ""))


@record_api.get("/activities/<kinds>")
def activities_of(kinds: str) -> ResponseReturnValue:
    return _page(kinds)


@record_api.get("/portfolio/history")
def portfolio_history() -> ResponseReturnValue:
    """Each window by its start, with the equity at its end and the profit since the first start."""
    broker = _broker()
    now = broker.market.clock.now()
    period = request.args.get("period", "1M")
    start = read_time(request.args.get("start")) or _period_start(period, now, broker.opened_at)
    end = min(read_time(request.args.get("end")) or now, now)
    days = (end - start).days
    default = "5Min" if days < 7 else "15Min" if days < 30 else "1D"
    timeframe = request.args.get("timeframe") or default
    if timeframe not in _STEPS:
        raise Refusal(422, BAD_REQUEST, f"invalid timeframe: {timeframe}")
    starts, values, base = broker.valuation.equity_history(start, end, _STEPS[timeframe])
    return jsonify(
        timestamp=starts.tolist(),
        equity=[round(v, 2) for v in values.tolist()],
        profit_loss=[round(v - base, 2) for v in values.tolist()],
        profit_loss_pct=[round(v / base - 1, 6) if base else None for v in values.tolist()],
        base_value=round(base, 2),
        timeframe=timeframe,
    )


def _page(kinds: str) -> ResponseReturnValue:
    args, broker = request.args, _broker()
    wanted = {kind.strip() for kind in kinds.split(",")} - {""}
    lines = _since(broker.books.lines, read_time(args.get("after")))
    until = read_time(args.get("until"))
    lines = [
        line
        for line in lines
        if (not wanted or line.kind in wanted) and (until is None or line.at < until)
    ]
    if args.get("direction", "desc") == "desc":
        lines.reverse()
    token = args.get("page_token")
    if token:
        places = [i for i, line in enumerate(lines) if line.id == token]
        if not places:
            raise Refusal(422, BAD_REQUEST, f"invalid page_token: {token}")
        lines = lines[places[0] + 1 :]
    size = max(1, min(args.get("page_size", 100, int), 100))
    return jsonify([activity_body(line) for line in lines[:size]])


def _since(lines: list[Line], after: datetime | None) -> list[Line]:
    """From the first line later than `after` on, in the order of booking.

    On the stepped clock a fill is stamped ahead of its booking, so a later line may carry an
    earlier time; whoever goes on from the latest time seen still gets it.
    """
    if after is None:
        return list(lines)
    first = next((i for i, line in enumerate(lines) if line.at > after), len(lines))
    return lines[first:]


def _period_start(period: str, now: datetime, opened_at: datetime) -> datetime:
    if period == "all":
        return opened_at
    match = re.fullmatch(r"(\d+)([DWMA])", period)
    if match is None:
        raise Refusal(422, BAD_REQUEST, f"invalid period: {period}")
    count, unit = int(match[1]), match[2]
    if unit == "D":
        return last_sessions(count, now)[0].opens_at
    return now - timedelta(days=count * _DAYS[unit])


def _broker() -> Broker:
    return cast(Broker, current_app.extensions["broker"])

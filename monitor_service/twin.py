"""Yesterday beside its twin: what happened from the store, the replay from the model service, the
difference explained and written down once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, jsonify, request

from astra.errors import AstraError, DataError, InsufficientDataError
from astra.execution.desk import Desk
from astra.execution.reconciling.look import catch_up
from astra.fills import price_at
from astra.records import Activity, Side
from astra.services import Services
from astra.sessions import Session, last_sessions
from astra.store.twins import COMPARED, NEW_ACCOUNT, NO_BARS, NO_DECISION, Twin
from astra.twin import Fill, Replay, Step, explain, told
from monitor_service.day import Decided, Record, decided_in, fills_of, lived

Run = Callable[[str], AbstractContextManager[None]]


def routes(desk: Desk, services: Services, run: Run) -> Blueprint:
    """Route /twin; `run` notes a job and how it ended."""
    found = Blueprint("twin", __name__)

    @found.post("/twin")
    def _twin() -> Response:
        with run("twin"):
            now = desk.broker.clock().now
            return jsonify(_shown(compare(desk, services, session_of(_day(), now), now)))

    return found


def compare(desk: Desk, services: Services, session: Session, now: dt.datetime) -> Twin:
    """A session of the broker's account beside its twin, written down; one that is, is read back.

    Raises:
        TemporaryError: broker or model service are down.
    """
    account = desk.broker.account().number
    standing = desk.store.twins.get(account, session.opens_at)
    if standing is not None and standing.status == COMPARED:
        return standing
    catch_up(desk, account)
    decided = _decided(desk, account, session)
    lines = desk.store.books.activities(account)
    record = Record.of(lines, desk.store.journal.fills(account), desk.adopt)

    def lacking(status: str, message: str) -> Twin:
        return desk.store.twins.record(Twin(account, session.opens_at, now, status, message))

    if not decided:
        return lacking(NO_DECISION, f"nothing was decided for this account on {session.date}")
    if not record.is_known_at(decided[0].as_of, session):
        return lacking(NEW_ACCOUNT, f"the books of this account began on {session.date}")
    fills = fills_of(decided, record)
    try:
        answer = services.post("model", "/twin", _question(decided, record, fills))
    except InsufficientDataError as error:
        return lacking(NO_BARS, str(error))
    then, again = (_replay(answer[name], answer["half_spread_bp"]) for name in ("then", "now"))
    expected = _expected(fills, answer["opens"], again.half_spread_bp)
    found = explain(lived(session, decided, record, expected), then, again)
    message = told(found) + _made_again(desk, services, session)
    return desk.store.twins.record(
        Twin(
            account, session.opens_at, now, COMPARED, message,
            found.live, found.twin, found.parts, found.lines,
        )
    )  # fmt: skip


def session_of(day: dt.date | None, now: dt.datetime) -> Session:
    """The session of a day, by default the last one that is over.

    Raises:
        DataError: there was none that day, or it is not over.
    """
    over = [s for s in last_sessions(2, now) if s.closes_at <= now]
    if day is None:
        return over[-1]
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    found = last_sessions(1, midnight + dt.timedelta(days=1))
    if not found or found[0].date != day or found[0].closes_at > now:
        raise DataError(f"day must be that of a session that is over, found {day}")
    return found[0]


def _day() -> dt.date | None:
    text = request.args.get("day")
    try:
        return dt.date.fromisoformat(text) if text is not None else None
    except ValueError as error:
        raise DataError(f"day must be a date such as 2026-01-12, found {text!r}") from error


def _decided(desk: Desk, account: str, session: Session) -> tuple[Decided, ...]:
    read = desk.store.books.read
    since = read("allocations", account=account, start=session.opens_at).to_pylist()
    rows = [row for row in since if row["as_of"] is not None and row["as_of"] < session.closes_at]
    rows.sort(key=lambda row: (row["as_of"], row["generation"]))
    decisions = read("decisions", start=session.opens_at, end=session.closes_at).to_pylist()
    orders = {row["id"]: desk.store.journal.orders(row["id"]) for row in rows}
    return decided_in(session, rows, decisions, orders)


def _made_again(desk: Desk, services: Services, session: Session) -> str:
    """Whether the day's decisions are the same when they are made again from what was known; ""
    without any."""
    read = desk.store.books.read("decisions", start=session.opens_at, end=session.closes_at)
    times = sorted(set(read["as_of"].to_pylist()))
    same, others = 0, []
    for as_of in times:
        try:
            answer = services.post("model", "/replay", {"as_of": as_of.isoformat()})
        except AstraError as error:
            others.append(f"{as_of:%H:%M} UTC cannot be made again ({error})")
            continue
        same += answer["same_weights"]
        if not answer["same_weights"]:
            others.append(f"{as_of:%H:%M} UTC: {answer['message']}")
    if not times:
        return ""
    first = f", not so {others[0]}" if others else ""
    return f"; {same} of {len(times)} decisions are the same when made again{first}"


def _question(
    decided: Sequence[Decided], record: Record, fills: Sequence[Activity]
) -> dict[str, Any]:
    book = record.book(decided[0].as_of)
    return {
        "book": {
            "cash": format(book.cash, "f"),
            "shares": {symbol: format(qty, "f") for symbol, qty in book.shares.items()},
        },
        "decisions": [
            {
                "as_of": d.as_of.isoformat(),
                "known_at": d.known_at.isoformat(),
                "weights": dict(d.weights),
                "keep": list(d.keep),
            }
            for d in decided
        ],
        "fills": [[fill.symbol, fill.at.isoformat()] for fill in fills],
    }


def _expected(
    fills: Sequence[Activity], opens: Sequence[float | None], half_spread_bp: Decimal
) -> dict[str, Decimal]:
    """USD a share by the twin's rule in the bars of the fills, by their ids, where they printed."""
    return {
        fill.id: price_at(price, fill.side or Side.BUY, half_spread_bp)
        for fill, price in zip(fills, opens, strict=True)
        if price is not None
    }


def _replay(told: Mapping[str, Any], half_spread_bp: float) -> Replay:
    steps = tuple(
        Step(_exact(step["opens"]), tuple(map(_fill, step["fills"]))) for step in told["steps"]
    )
    spread = Decimal(repr(half_spread_bp))
    return Replay(_exact(told["opening"]), _exact(told["closing"]), steps, spread)


def _fill(told: Mapping[str, str]) -> Fill:
    qty, price, fee = (Decimal(told[name]) for name in ("qty", "price", "fee"))
    return Fill(told["symbol"], Side(told["side"]), qty, price, fee)


def _exact(prices: Mapping[str, float]) -> dict[str, Decimal]:
    return {symbol: Decimal(repr(price)) for symbol, price in prices.items()}


def _shown(found: Twin) -> dict[str, Any]:
    return {
        "account": found.account,
        "session": found.session.isoformat(),
        "made_at": found.made_at.isoformat(),
        "status": found.status,
        "live": str(found.live),
        "twin": str(found.twin),
        "parts": {part: str(usd) for part, usd in found.parts.items()},
        "message": found.message,
    }

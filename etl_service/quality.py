"""`/quality`: the stored bars of a session against what its tickers usually print."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from astra.errors import DataError, InsufficientDataError
from astra.measured import Quality, TickerQuality, measure, summary
from astra.quality import VERDICTS
from astra.sessions import Session, last_sessions, next_session
from astra.store import Query, Store
from etl_service.dump import about
from etl_service.parameters import parameters, read_time
from etl_service.universe import parse_tickers

__all__ = ["routes", "summary"]

_PARAMETERS = ("date", "ticker", "known_at")


def routes(store: Store) -> Blueprint:
    """The blueprint that serves `store`."""
    blueprint = Blueprint("quality", __name__)

    @blueprint.get("/quality")
    def _quality() -> Response:
        asked = parameters(_PARAMETERS)
        now = store.now()
        if now is None:
            raise InsufficientDataError("the store has no bars: POST /load_price_history first")
        known_at = read_time(asked, "known_at")
        now = min(now, known_at) if known_at else now
        session = _session(asked.get("date"), now)
        tickers = _tickers(store, asked.get("ticker"), min(now, session.closes_at))
        answer = jsonify(_document(store, measure(store, tickers, session, now, known_at)))
        answer.headers.update(about(store))
        return answer

    return blueprint


def _session(date: str | None, now: dt.datetime) -> Session:
    """The session of `date`, or the last one that has opened at `now`.

    Raises:
        DataError: `date` is none, holds no session, or its session has not opened.
    """
    last = last_sessions(1, now)[0]
    if date is None:
        return last
    try:
        midnight = dt.datetime.combine(dt.date.fromisoformat(date), dt.time(), dt.UTC)
    except ValueError as error:
        raise DataError(f"a date looks like 2026-07-15, found {date!r}") from error
    session = next_session(midnight)
    if session.date != midnight.date():
        before = last_sessions(1, midnight)[0]
        raise DataError(
            f"the exchange is closed on {date}: the session before is {before.date}, "
            f"the next one {session.date}"
        )
    if session.opens_at > now:
        raise DataError(
            f"the session of {date} opens at {session.opens_at:%Y-%m-%d %H:%M} UTC, found "
            f"{now:%Y-%m-%d %H:%M} UTC: the last that has opened is {last.date}"
        )
    return session


def _tickers(store: Store, asked: str | None, at: dt.datetime) -> tuple[str, ...]:
    """The universe at `at`, or the tickers asked for.

    Raises:
        DataError: one of them was never a member, and never loaded.
    """
    if asked is None:
        return tuple(member.ticker for member in store.books.universe(at))
    tickers = parse_tickers(asked)
    loaded = set(store.prices.last_ts(tickers))
    for table in ("universe", "ticker_status"):
        loaded |= set(_read(store, table, ("ticker",), tickers)["ticker"])
    unknown = [ticker for ticker in tickers if ticker not in loaded]
    if unknown:
        raise DataError(
            f"tickers of the universe, or loaded ones, are required, found {', '.join(unknown)}: "
            "load them with /load_price_history"
        )
    return tickers


def _read(
    store: Store, table: str, columns: Sequence[str], tickers: Sequence[str]
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = store.dump(Query(table, columns, tickers)).read_all().to_pydict()
    return found


def _document(store: Store, found: Quality) -> dict[str, Any]:
    session, names = found.session, list(found.tickers)
    said = _read(store, "ticker_status", ("ticker", "status", "message"), names)
    status = dict(
        zip(said["ticker"], zip(said["status"], said["message"], strict=True), strict=True)
    )
    verdicts = Counter(one.verdict for one in found.tickers.values())
    return {
        "date": session.date.isoformat(),
        "opens_at": session.opens_at.isoformat(),
        "closes_at": session.closes_at.isoformat(),
        "bars": session.bars,
        "closed": found.closed,
        "now": found.now.isoformat(),
        "coverage": None if found.coverage is None else round(found.coverage, 4),
        "total": asdict(found.total) | {"verdicts": {name: verdicts[name] for name in VERDICTS}},
        "tickers": {
            ticker: _ticker_document(one, *status.get(ticker, (None, "")))
            for ticker, one in found.tickers.items()
        },
    }


def _ticker_document(one: TickerQuality, status: str | None, message: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        **asdict(one.figures),
        "verdict": one.verdict,
        "last_bar": one.last_bar.isoformat() if one.last_bar else None,
        "status": status,
        "message": message,
    }
    return document | {"feeds": dict(one.feeds)} if len(one.feeds) > 1 else document

"""`/quality`: the stored bars of a session against what its tickers usually print.

Gathers and shows; the rules are in `astra.quality`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify

from astra import quality
from astra.errors import DataError, InsufficientDataError
from astra.quality import USUAL_SESSIONS, VERDICTS, Figures, Verdict
from astra.sessions import Session, closed_grid, last_sessions, next_session
from astra.store import Query, Store
from astra.store.rows import moment
from etl_service.bar_times import NONE, Past, Present, read_past, read_present, read_quarantined
from etl_service.dump import about
from etl_service.parameters import parameters, read_time
from etl_service.universe import parse_tickers

_PARAMETERS = ("date", "ticker", "known_at")


@dataclass(frozen=True, slots=True)
class TickerQuality:
    """A ticker's session.

    `feeds` counts its bars by where they come from; `last_bar` is the start of the last one up to
    now, None if there is none in this session or the 20 before.
    """

    figures: Figures
    verdict: Verdict
    feeds: Mapping[str, int]
    last_bar: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of `session` at `now`, when `closed` of its bars had closed."""

    session: Session
    now: dt.datetime
    closed: int
    tickers: Mapping[str, TickerQuality]

    @property
    def total(self) -> Figures:
        return quality.total(one.figures for one in self.tickers.values())

    @property
    def coverage(self) -> float | None:
        return quality.coverage(one.figures for one in self.tickers.values())


def summary(store: Store, tickers: Sequence[str], now: dt.datetime) -> Quality:
    """The session of `now`, the vendor's time, for the tickers of a load.

    `.total` sums up and `.tickers[name].figures` is a ticker's; `dataclasses.asdict` of either
    belongs in the load's answer.
    """
    return measure(store, tickers, last_sessions(1, now)[0], now)


def measure(
    store: Store,
    tickers: Sequence[str],
    session: Session,
    now: dt.datetime,
    known_at: dt.datetime | None = None,
) -> Quality:
    """The figures of `tickers` in `session` at `now`, or as they were known at `known_at`.

    What had not closed by then is not expected.
    """
    now = min(now, known_at) if known_at else now
    names = sorted(set(tickers))
    before = last_sessions(USUAL_SESSIONS + 1, session.opens_at)[:-1]
    past = read_past(store, names, before, known_at)
    present = read_present(store, names, closed_grid(now, [session]), known_at)
    quarantined = read_quarantined(store, names, session, known_at)
    figures, fresh = _figures(past, present, quarantined, next_session(session.closes_at))
    found = {}
    for i, (ticker, one) in enumerate(zip(names, figures, strict=True)):
        last = max(int(past.last[i]), present.last(i))
        found[ticker] = TickerQuality(
            one,
            quality.judge(one.expected, one.present, fresh[i]),
            present.feeds(i),
            None if last == NONE else moment(last),
        )
    return Quality(session, now, len(present.ts), found)


def _figures(
    past: Past, present: Present, quarantined: quality.Integers, following: Session
) -> tuple[list[Figures], list[bool]]:
    """The figures of each ticker, and whether it is fresh."""
    closed, stored = len(present.ts), present.printed
    usual = quality.usual_shares(past.counts, past.lengths)
    late, backfilled = quality.count_delays(
        present.ts,
        np.where(stored, present.first_known, NONE),
        np.minimum(past.first_known, present.first_known.min(axis=0, initial=2**62)),
        int(following.opens_at.timestamp()),
    )
    columns = zip(
        [_expected(share, closed) for share in usual.tolist()],
        stored.sum(axis=0).tolist(),
        late.tolist(),
        backfilled.tolist(),
        (present.corrected & stored).sum(axis=0).tolist(),
        quarantined.tolist(),
        strict=True,
    )
    return [Figures(*row) for row in columns], quality.is_fresh(stored).tolist()


def _expected(share: float, closed: int) -> int | None:
    if closed == 0:
        return 0
    return None if np.isnan(share) else round(share * closed)


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

"""The twin of a day: its decisions traded again by the backtest's plan and fill rule.

`POST /twin` asks for it: the shares and the cash at the first decision and what each decision
wanted, in weights. The answer has the day twice, on bars as they were known then and on bars as
they are known now; and the opens of the bars in which something was filled, null where there is
none. Nothing is decided, nothing is dropped.

    {"book": {"cash": "100000", "shares": {"AAPL": "3"}},
     "decisions": [{"as_of": ISO, "known_at": ISO, "weights": {"AAPL": 0.1}, "keep": []}],
     "fills": [["AAPL", ISO]]}
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from astra.bars import from_arrow
from astra.errors import DataError, InsufficientDataError
from astra.ledger import Book
from astra.services import Services
from astra.sessions import Session, next_bar_start, session_at
from astra.settings import Settings
from model.backtest.fills import Costs, Filled, Tape, move
from model.books import SPLIT, costs_of
from model.outlook import HISTORY
from model.panel import Panel, build

# The last bars of a session are loaded within the hour after it; what comes later, comes late.
SETTLED = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a decision wanted: weights of equity; `known_at` is when it was about to be traded."""

    as_of: dt.datetime
    known_at: dt.datetime
    weights: Mapping[str, float]
    keep: frozenset[str]


@dataclass(frozen=True, slots=True)
class Day:
    """What is to be traded again; at least one decision, ascending, all of one session; `fills` are
    symbols with the times at which they were filled."""

    book: Book
    decisions: tuple[Wanted, ...]
    session: Session
    fills: tuple[tuple[str, dt.datetime], ...] = ()

    @property
    def symbols(self) -> tuple[str, ...]:
        weights = (decision.weights for decision in self.decisions)
        return tuple(sorted({*self.book.shares, *(s for of_one in weights for s in of_one)}))


def routes(settings: Settings) -> Blueprint:
    """Route /twin."""
    found, services, costs = Blueprint("twin", __name__), Services(settings), costs_of(settings)

    @found.post("/twin")
    def _twin() -> Response:
        day = read_day(request.get_data())
        return jsonify(answer(day, services, costs, settings.capital))

    return found


def answer(day: Day, services: Services, costs: Costs, capital: float) -> dict[str, Any]:
    """The day traded again, `then` and `now`.

    Args:
        capital: USD managed at most, 0 = all.

    Raises:
        InsufficientDataError: the store lacks bars of the day, or a price of what was held.
        TemporaryError: the ETL service is down.
    """
    settled = day.session.closes_at + SETTLED
    sights = [
        Tape(_bars(services, day, decision.known_at, decision.as_of)) for decision in day.decisions
    ]
    known = _bars(services, day, settled)
    late = on_its_scale(_bars(services, day), known)
    tape = Tape(late)
    return {
        "half_spread_bp": costs.half_spread_bp,
        "then": replay(day, sights, Tape(known), costs, capital),
        "now": replay(day, [tape] * len(sights), tape, costs, capital),
        "opens": [open_at(late, symbol, at) for symbol, at in day.fills],
    }


def replay(
    day: Day, sights: Sequence[Tape], tape: Tape, costs: Costs, capital: float = 0.0
) -> dict[str, Any]:
    """One walk through the day: prices by symbol, and each decision's fills.

    Args:
        sights: what each decision saw: its plan counts with their closes.
        tape: what was printed, at whose opens orders are filled.

    Raises:
        InsufficientDataError: something held has no price.
    """
    book, steps = day.book, []
    for decision, sight in zip(day.decisions, sights, strict=True):
        t, marks = decision.as_of, sight.marks(decision.as_of)
        _require(marks, book, t)
        opens = tape.opens(t) if next_bar_start(t) < day.session.closes_at else {}
        managed, after = _managed(book, marks, capital), partial(tape.opens, t)
        moved = move(managed, decision.weights, opens, marks, costs, after, decision.keep)
        book = Book(book.cash + moved.book.cash - managed.cash, moved.book.shares)
        steps.append({"opens": opens, "fills": list(map(_shown, moved.fills))})
    opening, closing = sights[0].marks(day.decisions[0].as_of), tape.marks(day.session.closes_at)
    _require(closing, book, day.session.closes_at)
    return {"opening": opening, "closing": closing, "steps": steps}


def open_at(panel: Panel, symbol: str, at: dt.datetime) -> float | None:
    """The open of the bar that holds a time, USD; None if there is no such bar."""
    row = int(np.searchsorted(panel.ts, int(at.timestamp()), "right")) - 1
    if symbol not in panel.tickers or row < 0 or at.timestamp() >= panel.end(row):
        return None
    found = float(panel.open[row, panel.tickers.index(symbol)])
    return found if math.isfinite(found) else None


def on_its_scale(panel: Panel, known: Panel) -> Panel:
    """`panel` with the prices of what was split since `known` as they were before.

    A split restates a name's closes; one restated by more than a tenth counts as that.
    """
    scale = np.ones(len(panel.tickers))
    _, ours, theirs = np.intersect1d(panel.ts, known.ts, return_indices=True)
    for i, ticker in enumerate(panel.tickers):
        if ticker not in known.tickers or not len(ours):
            continue
        now = panel.close[ours, i]
        then = known.close[theirs, known.tickers.index(ticker)]
        both = np.flatnonzero(np.isfinite(now) & np.isfinite(then))
        if len(both) and abs(then[both[-1]] / now[both[-1]] - 1.0) > SPLIT:
            scale[i] = then[both[-1]] / now[both[-1]]
    return replace(panel, open=panel.open * scale, close=panel.close * scale)


def read_day(raw: bytes) -> Day:
    """The request's body.

    Raises:
        DataError: it is something else.
    """
    try:
        body = json.loads(raw)
        shares = {str(s): Decimal(q) for s, q in body["book"]["shares"].items()}
        book = Book(Decimal(body["book"]["cash"]), shares)
        decisions = tuple(map(_wanted, body["decisions"]))
        fills = tuple((str(s), _time(at)) for s, at in body["fills"])
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise DataError(
            'a twin needs a "book" of cash and shares, "decisions", each with as_of, known_at, '
            f'weights and keep, and "fills"; found something else: {error!r}'
        ) from error
    sessions = {session_at(decision.as_of) for decision in decisions}
    session = sessions.pop() if len(sessions) == 1 else None
    times = [decision.as_of for decision in decisions]
    if session is None or times != sorted(times):
        raise DataError(
            f"a twin needs ascending decisions of one session, found {len(times)}: ask for one day"
        )
    return Day(book, decisions, session, fills)


def _wanted(told: Mapping[str, Any]) -> Wanted:
    as_of, known_at = _time(told["as_of"]), _time(told["known_at"])
    weights = {str(s): float(w) for s, w in told["weights"].items()}
    return Wanted(as_of, known_at, weights, frozenset(told["keep"]))


def _time(told: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(told)
    if found.tzinfo is None:
        raise ValueError(f"{told} needs a zone")
    return found


def _bars(
    services: Services,
    day: Day,
    known_at: dt.datetime | None = None,
    end: dt.datetime | None = None,
) -> Panel:
    """The bars up to `end` (the session's close if left out) as known then (None = now)."""
    session, asked = day.session, {}
    if known_at is not None:
        asked["known_at"] = known_at.isoformat()
    found = services.dump(
        "price_history",
        ticker="|".join(day.symbols),
        start=(session.opens_at - HISTORY).isoformat(),
        end=(end or session.closes_at).isoformat(),
        **asked,
    )
    panel = build(from_arrow(found.table))
    if end is None and panel.sessions[-1].date < session.date:
        raise InsufficientDataError(
            f"bars of {session.date} are required to trade it again, the store has none that was "
            "known then: load them"
        )
    return panel


def _managed(book: Book, marks: Mapping[str, float], capital: float) -> Book:
    """The book with so much of the cash as is managed, as a plan counts it."""
    if not capital:
        return book
    invested = sum((q * Decimal(repr(marks[s])) for s, q in book.shares.items()), Decimal(0))
    return Book(min(book.cash, Decimal(repr(capital)) - invested), book.shares)


def _require(marks: Mapping[str, float], book: Book, at: dt.datetime) -> None:
    lacking = sorted(book.shares.keys() - marks.keys())
    if lacking:
        raise InsufficientDataError(
            f"a close of all that is held is required, {', '.join(lacking)} had none by "
            f"{at:%Y-%m-%d %H:%M} UTC: load its bars"
        )


def _shown(filled: Filled) -> dict[str, str]:
    return {
        "symbol": filled.symbol,
        "side": filled.side.value,
        "qty": format(filled.qty, "f"),
        "price": format(filled.price, "f"),
        "fee": format(filled.fee, "f"),
    }

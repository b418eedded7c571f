"""Shadow books: what each policy would own had it traded the account from some day on. Pure.

Each decision's document carries them as they stood before its trades, with what each policy decided
from what its own book held. The next decision fills that at the prices that followed, by the
backtest's rule, and goes on from there; so the documents in the bucket are all the memory there is.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from astra.errors import DataError
from astra.ledger import Book
from astra.moves import FRACTION
from astra.settings import Settings
from model.backtest.fills import (
    Costs,
    Tape,
    booked,
    closed_out,
    equity_of,
    held_weights,
    move,
)
from model.holdings import Settled
from model.panel import Panel

SPLIT = 0.10  # a bar's close restated by more than this is a split, by less a correction
ALIKE = 0.01  # a split restates all bars before it alike; two ratios differ by their rounding
ROUNDED = 1e-3  # a ratio this near to one of small whole numbers is that ratio


@dataclass(frozen=True, slots=True)
class Noted:
    """The last close of a symbol that was known: the start of its bar, epoch seconds, and USD.

    `before` is the same of the session before, or None if it has none.
    """

    ts: int
    close: float
    before: tuple[int, float] | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The books of all policies at a decision time, before its trades.

    Attributes:
        account: the broker's number of the account they stand beside.
        since: when they began, with that account's equity in cash.
        note: one sentence about why they began then.
        books: by policy.
        closes: of every symbol held.
    """

    at: dt.datetime
    account: str
    since: dt.datetime
    note: str
    books: Mapping[str, Book]
    closes: Mapping[str, Noted]

    @property
    def marks(self) -> dict[str, float]:
        return {symbol: noted.close for symbol, noted in self.closes.items()}

    def weights(self) -> dict[str, dict[str, float]]:
        """What each book holds, in weights of its equity, by policy and symbol."""
        return {policy: held_weights(book, self.marks) for policy, book in self.books.items()}

    def equity(self) -> dict[str, Decimal]:
        """USD to the cent, by policy."""
        return {policy: equity_of(book, self.marks) for policy, book in self.books.items()}


def costs_of(settings: Settings) -> Costs:
    """What the books pay for a trade, and which trades are worth an order: as the account."""
    return Costs(
        half_spread_bp=settings.half_spread_bp,
        fee_bp=settings.fee_bp,
        drift_band=settings.drift_band,
        min_order_usd=settings.min_order_usd,
        max_order_weight=settings.max_order_weight,
        max_position_weight=settings.max_position_weight,
        cash_buffer=settings.cash_buffer,
        hold=frozenset(settings.on_hold),
        max_turnover=settings.max_turnover,
    )


def begin(
    at: dt.datetime, account: str, equity: Decimal, policies: Iterable[str], note: str
) -> Shelf:
    """New books, all in cash."""
    return Shelf(at, account, at, note, {policy: Book(equity, {}) for policy in policies}, {})


def carried(document: Mapping[str, Any], panel: Panel, at: dt.datetime, costs: Costs) -> Shelf:
    """The books of an earlier decision's document at `at`, its trades filled.

    Shares of a symbol whose noted bars have been restated since by more than a tenth, all alike,
    are rescaled: it was split. A bar that was corrected changes what a book is worth, not what was
    decided: orders are planned at the closes that were noted. What has no bar for some sessions is
    closed at its last close, as in a backtest.

    Args:
        panel: bars up to `at`, from before the document's decision on.

    Raises:
        DataError: the document has no books, or the bars do not cover the prices that followed.
    """
    before, decided = read(document)
    known, tape = panel.known_at(at), Tape(panel.known_at(at))
    ratios = {s: _ratio(known, s, noted) for s, noted in before.closes.items()}
    noted = {s: noted.close / float(ratios[s]) for s, noted in before.closes.items()}
    marks, opens = {**tape.marks(before.at), **noted}, tape.opens(before.at)
    after = partial(tape.opens, before.at)
    books = {}
    for policy, book in before.books.items():
        shares = {s: _times(q, ratios[s]) for s, q in book.shares.items()}
        held = Book(book.cash, shares)
        keep = document["books"][policy].get("kept", ())
        books[policy] = move(held, decided[policy], opens, marks, costs, after, keep).book
    now = {**noted, **tape.marks(at)}
    books = {
        policy: _closed_out(book, known, tape, at, now, costs) for policy, book in books.items()
    }
    return Shelf(
        at, before.account, before.since, before.note, books,
        _noted(known, {s for b in books.values() for s in b.shares}, before.closes, noted),
    )  # fmt: skip


def write(shelf: Shelf, settled: Mapping[str, Settled], panel: Panel) -> dict[str, Any]:
    """The document's part: the books, and what each policy decided from what its own held."""
    symbols = {s for made in settled.values() for s in made.weights}
    closes = _noted(panel.known_at(shelf.at), symbols - shelf.closes.keys(), {}, {})
    equity = shelf.equity()
    return {
        "books": {
            policy: {
                "equity": str(equity[policy]),
                "cash": str(book.cash),
                "shares": {s: str(q) for s, q in sorted(book.shares.items())},
                "weights": settled[policy].weights,
                "kept": sorted(settled[policy].kept),
                "tau": settled[policy].decision.trade.tau,
                "reason": settled[policy].decision.trade.reason,
            }
            for policy, book in shelf.books.items()
        },
        "books_of": {
            "account": shelf.account,
            "since": shelf.since.isoformat(),
            "note": shelf.note,
            "closes": {
                s: [n.ts, n.close, *(n.before or ())]
                for s, n in sorted({**shelf.closes, **closes}.items())
            },
        },
    }


def read(document: Mapping[str, Any]) -> tuple[Shelf, dict[str, dict[str, float]]]:
    """The books of a document as they were before its trades, and the weights decided by policy.

    `closes` also has the symbols that were to be bought.

    Raises:
        DataError: there are none, or they are malformed.
    """
    try:
        told, books = document["books_of"], document["books"]
        closes = {s: _read_close(*numbers) for s, numbers in told["closes"].items()}
        shelf = Shelf(
            at=dt.datetime.fromisoformat(document["as_of"]),
            account=str(told["account"]),
            since=dt.datetime.fromisoformat(told["since"]),
            note=str(told["note"]),
            books={
                policy: Book(
                    Decimal(book["cash"]), {s: Decimal(q) for s, q in book["shares"].items()}
                )
                for policy, book in books.items()
            },
            closes=closes,
        )
        weights = {
            policy: {s: float(w) for s, w in book["weights"].items()}
            for policy, book in books.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise DataError(
            f"the books of an earlier decision are required, found none that can be read: {error!r}"
        ) from error
    numbers: list[float | Decimal] = [
        *(noted.close for noted in closes.values()),
        *(q for book in shelf.books.values() for q in (book.cash, *book.shares.values())),
        *(w for of_one in weights.values() for w in of_one.values()),
    ]
    if not all(map(math.isfinite, numbers)) or shelf.at.tzinfo is None:
        raise DataError("books need finite numbers and a time with its zone, found others")
    if any(n.close <= 0 or (n.before and not n.before[1] > 0) for n in closes.values()):
        raise DataError("books need closes above 0, found others")
    lacking = {s for book in shelf.books.values() for s in book.shares} - closes.keys()
    if lacking or not shelf.books:
        raise DataError(f"books need a close of each share held, {sorted(lacking)} have none")
    return shelf, weights


def _read_close(ts: Any, close: Any, *before: Any) -> Noted:
    """A close as `write` notes it, with that of the session before or without."""
    if not before:
        return Noted(int(ts), float(close))
    earlier, its = before
    return Noted(int(ts), float(close), (int(earlier), float(its)))


def _ratio(panel: Panel, symbol: str, noted: Noted) -> Fraction:
    """New shares for one old: 1 unless the noted bars have been restated by a split since."""
    now = _close(panel, symbol, noted.ts)
    if now is None or abs(noted.close / now - 1.0) <= SPLIT:
        return Fraction(1)
    exact = Fraction(noted.close / now)
    if noted.before is not None:
        ts, close = noted.before
        earlier = _close(panel, symbol, ts)
        if earlier is not None and abs(close / earlier / float(exact) - 1.0) > ALIKE:
            return Fraction(1)
    simple = exact.limit_denominator(20)
    return simple if simple > 0 and abs(float(simple / exact) - 1.0) <= ROUNDED else exact


def _times(qty: Decimal, ratio: Fraction) -> Decimal:
    if ratio == 1:
        return qty
    return (qty * ratio.numerator / ratio.denominator).quantize(FRACTION)


def _close(panel: Panel, symbol: str, ts: int) -> float | None:
    """The close of one bar as it stands now; None if there is none."""
    row = int(np.searchsorted(panel.ts, ts))
    if symbol not in panel.tickers or row == len(panel.ts) or panel.ts[row] != ts:
        return None
    close = float(panel.close[row, panel.tickers.index(symbol)])
    return close if close > 0 else None


def _closed_out(
    book: Book, panel: Panel, tape: Tape, at: dt.datetime, marks: Mapping[str, float], costs: Costs
) -> Book:
    for symbol in tape.gone(at, [s for s in book.shares if s in panel.tickers]):
        book = booked(book, closed_out(symbol, book.shares[symbol], marks[symbol], costs))
    return book


def _noted(
    panel: Panel, symbols: Iterable[str], before: Mapping[str, Noted], prices: Mapping[str, float]
) -> dict[str, Noted]:
    """The last close of each symbol; without a bar the one noted before, at today's scale."""
    found = {}
    for symbol in symbols:
        if symbol in panel.tickers:
            column = panel.close[:, panel.tickers.index(symbol)]
            rows = np.flatnonzero(np.isfinite(column))
            if len(rows):
                last, sessions = rows[-1], panel.session[rows]
                earlier = rows[sessions < sessions[-1]][-1:]
                past = [(int(panel.ts[row]), float(column[row])) for row in earlier]
                found[symbol] = Noted(int(panel.ts[last]), float(column[last]), *past)
                continue
        if symbol in before:
            old, now = before[symbol], prices[symbol]
            past = [(old.before[0], old.before[1] * now / old.close)] if old.before else []
            found[symbol] = Noted(old.ts, now, *past)
    return found

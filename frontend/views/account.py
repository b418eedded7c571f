"""The account: what it is worth, how that moved beside a benchmark, what it holds."""

from __future__ import annotations

import datetime as dt

import numpy as np

from astra.cash import Kind, kind_of
from astra.equity_curve import Curve, curve_of
from astra.risk import FLOWS
from astra.store import Store
from frontend import account
from frontend.account import Books
from frontend.page import Page
from frontend.sections import asked, months, performance, positions, risk, worth

_REACH = dt.timedelta(days=6)  # back over a long weekend to a close before the account's start


def show(page: Page) -> None:
    made = page.own_decision()
    latest = page.table("account_summary", account=page.account, start=page.recorded_at())
    targets = None if made is None else made.weights
    held = account.holdings(latest, page.universe(), targets, page.settings.capital)
    decided_at = None if made is None else made.as_of
    books = page.reader.read(books_of, page.account)
    worth.show(held, books.curve)
    if books.curve is None or len(books.curve.times) < 2:
        performance.missing()
        positions.show(held, decided_at)
        return
    first, benchmark = asked.show(books.curve, page.settings.benchmarks)
    curve = beside(page, books.curve, benchmark)
    span = account.span(books, curve, first)
    if is_shown := len(span.curve.times) > 1:
        performance.show(span, benchmark)
        risk.show(span, benchmark)
    else:
        performance.nothing_since()
    positions.show(held, decided_at)
    months.show(curve, benchmark)
    if is_shown:
        performance.underwater(span, benchmark)


def books_of(store: Store, number: str) -> Books:
    """What is recorded of the account's past."""
    equity = store.equity
    saved = equity.summaries(number)
    flows = equity.flows(number, FLOWS)
    booked = equity.booked(number)
    fees = [
        (day, -usd) for kind in booked if kind_of(kind) is Kind.FEES for day, usd in booked[kind]
    ]
    return Books(
        curve=curve_of(equity.history(number), [(at, usd) for at, usd, _ in saved], flows),
        invested=tuple((at, 1 - cash / usd) for at, usd, cash in saved if usd > 0),
        traded=tuple(equity.traded(number)),
        cost=(*fees, *equity.slipped(number)),
    )


def beside(page: Page, curve: Curve, benchmark: str) -> Curve:
    """The curve beside a benchmark's closes; "" = none."""
    if not benchmark:
        return curve
    prices = page.table(
        "price_history", tickers=(benchmark,), columns=("ts", "close"),
        start=curve.times[0] - _REACH,
    )  # fmt: skip
    starts = prices["ts"].to_numpy("datetime64[s]").astype(np.int64)
    return curve.beside(starts, prices["close"].to_numpy(np.float64))

"""One book of a backtest on its walk: what it holds, what that cost, and what was done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import partial

import numpy as np

from astra.ledger import Book
from astra.records import Side
from model.backtest.fills import GONE_SESSIONS, Costs, Filled, Tape, booked, closed_out, move
from model.backtest.records import COSTS, Closing, Curve, Step, Traded
from model.portfolio.trade import Trade

Prices = Mapping[str, float]


class Account:
    """One book on its walk: cash, shares, what the shares cost, and what was done."""

    def __init__(self, capital: float, costs: Costs) -> None:
        self.book = Book(Decimal(str(capital)), {})
        self.steps: list[Step] = []
        self.trades: list[Traded] = []
        self.closings: list[Closing] = []
        self.equity = [capital]
        self._costs = costs
        self._paid: dict[str, Decimal] = {}

    def trade(
        self,
        weights: Mapping[str, float],
        trade: Trade,
        tape: Tape,
        t: dt.datetime,
        marks: Prices,
        opens: Prices,
        keep: Collection[str] = (),
    ) -> None:
        """Do what was decided at `marks`, at `opens`; the shares of `keep` stay as they are."""
        after = partial(tape.opens, t)
        moved = move(self.book, weights, opens, marks, self._costs, after, keep)
        equity = self.book.value(marks)
        sold, bought = (
            [f.symbol for f in moved.fills if f.side is side] for side in (Side.SELL, Side.BUY)
        )
        starts = {
            Side.SELL: tape.opens_at(t, sold),
            Side.BUY: tape.opens_at(t, bought, sold),
        }
        for filled in moved.fills:
            self._book(filled, starts[filled.side][filled.symbol])
        self.steps.append(
            Step(
                as_of=t,
                weights=weights,
                tau=trade.tau,
                reason=trade.reason,
                turnover=moved.traded / equity,
                cost_bp=1e4 * moved.cost / equity,
            )
        )

    def close_out(self, tape: Tape, t: dt.datetime, marks: Prices) -> None:
        """Sell what trades no more."""
        for symbol in tape.gone(t, self.book.shares):
            equity, qty = self.book.value(marks), self.book.shares[symbol]
            filled = closed_out(symbol, qty, marks[symbol], self._costs)
            value, got = float(qty) * marks[symbol], float(qty * filled.price - filled.fee)
            self.closings.append(Closing(t, value / equity, 1e4 * (value - got) / equity))
            self._book(filled, t, f"no bar for {GONE_SESSIONS} sessions: closed at its last close")

    def mark(self, marks: Prices) -> None:
        """Note what the book is worth."""
        self.equity.append(self.book.value(marks))

    def _book(self, filled: Filled, at: dt.datetime, reason: str = "") -> None:
        held, paid = self.book.shares.get(filled.symbol, Decimal(0)), self._paid
        value, before = filled.qty * filled.price, paid.get(filled.symbol, Decimal(0))
        gain = None
        if filled.side is Side.BUY:
            paid[filled.symbol] = before + value
        else:
            cost = before * filled.qty / held
            gain = value - filled.fee - cost
            paid[filled.symbol] = before - cost
        self.book = booked(self.book, filled)
        f, side = filled, filled.side
        self.trades.append(Traded(at, f.symbol, side, f.qty, f.price, f.fee, gain, reason))


def curve_of(policy: str, books: Sequence[Account]) -> Curve:
    """What became of a policy's books, one for each of `COSTS` in their order."""
    by_cost = {
        multiple: np.array(account.equity) for multiple, account in zip(COSTS, books, strict=True)
    }
    assumed = books[COSTS.index(1.0)]
    return Curve(
        policy, tuple(assumed.steps), by_cost[1.0], by_cost, tuple(assumed.trades),
        tuple(assumed.closings),
    )  # fmt: skip

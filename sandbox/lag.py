"""Books that learn of fills late, in wall time: what a broker answers that lags behind itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sandbox.books import Books, Line
from sandbox.market import Market
from sandbox.orders import Order
from sandbox.valuation import Balances, Valuation


class LateBooks:
    """The lines of `books`, in their order, each some seconds after it was booked there.

    A line that is not late itself still waits for those before it.
    """

    def __init__(self, books: Books, lag: Callable[[Line], float]) -> None:
        self.late = Books()
        self._books = books
        self._lag = lag

    def is_behind(self) -> bool:
        """Whether `late` still lacks a line, after it has learnt of those that are due."""
        now, lines = time.monotonic(), self._books.lines
        for line, booked_at in zip(
            lines[len(self.late.lines) :],
            self._books.booked_at[len(self.late.lines) :],
            strict=True,
        ):
            if (lag := self._lag(line)) and now < booked_at + lag:
                return True
            self.late.book(line)
        return False


def _of_account(line: Line) -> float:
    """Seconds by which the account and the positions learn of a line."""
    return line.order.mishap.lag_s if line.order else 0.0


def _of_power(line: Line) -> float:
    """Seconds by which the buying power learns of it."""
    return max(line.order.mishap.lag_s, line.order.mishap.lag_power_s) if line.order else 0.0


class Told:
    """What the account answers while fills are late: positions and cash lag by one measure, what
    may be bought and what has settled by another."""

    def __init__(self, market: Market, books: Books, valuation: Valuation) -> None:
        self._valuation = valuation  # of `books`, which lag behind nothing
        self._seen = LateBooks(books, _of_account)
        self._power = LateBooks(books, _of_power)
        self._valuation_seen = Valuation(market, self._seen.late)
        self._valuation_power = Valuation(market, self._power.late)

    def valuation(self) -> Valuation:
        """Of what account and positions tell."""
        return self._valuation_seen if self._seen.is_behind() else self._valuation

    def balances(self, orders: Sequence[Order], *, on_margin: bool) -> Balances:
        """With the open `orders`; without the fills that are not taken in yet."""
        told = self.valuation().balances(orders, on_margin=on_margin)
        if not self._power.is_behind():
            return told
        power = self._valuation_power.balances(orders, on_margin=on_margin)
        return replace(told, buying_power=power.buying_power, settled_cash=power.settled_cash)

"""Shadow books: what the targets of every policy would have made, traded fully each hour."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from astra.ledger import Book
from model.backtest.fills import Costs, Tape, move
from model.panel import build


def shadow_equity(
    decisions: Sequence[Mapping[str, Any]], bars: pd.DataFrame, capital: float, costs: Costs
) -> dict[str, float]:
    """Equity in USD by policy at the last close of `bars`, rounded to cents.

    Args:
        decisions: documents with `as_of` and, by policy, `targets`, ascending; from a first one
            with cash alone each book moves all the way to its target at every one of them.
        bars: a bars frame that reaches beyond the hour of the last decision.

    Raises:
        DataError: the bars end before a decision could be traded.
    """
    if not decisions:
        return {}
    tape = Tape(build(bars))
    books = dict.fromkeys(decisions[0]["targets"], Book(Decimal(str(capital)), {}))
    for decision in decisions:
        t = dt.datetime.fromisoformat(decision["as_of"])
        opens, marks = tape.opens(t), tape.marks(t)
        for policy, weights in decision["targets"].items():
            books[policy] = move(books[policy], weights, opens, marks, costs).book
    end = dt.datetime.fromtimestamp(int(bars["ts"].max()), dt.UTC) + dt.timedelta(days=1)
    last = tape.marks(end)
    return {policy: round(book.value(last), 2) for policy, book in books.items()}

"""What a decision costs in a book: the fill rule that walk and shadow books share.

As the sandbox's broker: at the open of the first bar that starts strictly after the decision, half
a spread against us, a fee on sales.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from astra.errors import DataError
from astra.ledger import Book, trade_to
from astra.sessions import BAR_SECONDS, next_bar_start
from model.panel import Panel


@dataclass(frozen=True, slots=True)
class Costs:
    """Basis points of a side's value, and the fraction of equity below which a drift is left."""

    half_spread_bp: float
    fee_bp: float
    drift_band: float = 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """A book after its trades; USD traded, buys and sales together, and USD lost to costs."""

    book: Book
    traded: float
    cost: float


class Tape:
    """A panel's prices by time: the last close known, and the first open that can be traded."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._last = pd.DataFrame(panel.close).ffill().to_numpy(np.float64)

    def marks(self, t: dt.datetime) -> dict[str, float]:
        """The last close of each ticker that had printed one by `t`, USD."""
        row = int(np.searchsorted(self._panel.ts, int(t.timestamp()) - BAR_SECONDS, "right")) - 1
        return self._named(self._last[row]) if row >= 0 else {}

    def opens(self, t: dt.datetime) -> dict[str, float]:
        """Opens of the first bar strictly after `t`, of the tickers that printed it, USD.

        Raises:
            DataError: the panel ends before that bar.
        """
        start = next_bar_start(t)
        row = int(np.searchsorted(self._panel.ts, int(start.timestamp())))
        if row == len(self._panel.ts) or self._panel.ts[row] != int(start.timestamp()):
            raise DataError(
                f"a trade at {t:%Y-%m-%d %H:%M} UTC needs the bar of {start:%H:%M}, which the "
                "panel doesn't cover: end earlier or load more bars"
            )
        return self._named(self._panel.open[row])

    def _named(self, prices: np.ndarray) -> dict[str, float]:
        found = zip(self._panel.tickers, prices.tolist(), strict=True)
        return {ticker: price for ticker, price in found if np.isfinite(price)}


def held_weights(book: Book, marks: Mapping[str, float]) -> dict[str, float]:
    """Weights of equity by symbol at `marks`, which must name every symbol held."""
    equity = book.value(marks)
    return {s: float(q) * marks[s] / equity for s, q in book.shares.items()}


def move(
    book: Book,
    weights: Mapping[str, float],
    opens: Mapping[str, float],
    marks: Mapping[str, float],
    costs: Costs,
) -> Moved:
    """Trade to weights of equity at `opens`, each name that has one; the others keep their shares.

    What cannot be sold leaves less room for the other names, so that no more than the sum of
    `weights` is invested. A weight closer to what is held at `marks` than the drift band is left
    alone, a weight of 0 never is.
    """
    held, prices = held_weights(book, marks), {**marks, **opens}
    moving = {
        s: opens[s]
        for s in sorted(held.keys() | weights.keys())
        if s in opens and _differs(weights.get(s, 0.0), held.get(s, 0.0), costs.drift_band)
    }
    staying = {s: q for s, q in book.shares.items() if s not in moving}
    stuck = sum(float(q) * prices[s] for s, q in staying.items())
    equity = book.value(prices)
    tradable = equity - stuck
    if not moving or tradable <= 0:
        return Moved(book, 0.0, 0.0)
    wanted = {s: weights[s] for s in moving if weights.get(s, 0.0) > 0}
    room = max(0.0, sum(weights.values()) - stuck / equity)
    scale = min(1.0, room / sum(wanted.values())) if wanted else 0.0
    after = trade_to(
        book,  # its rule leaves what has no price out of the equity that weights are counted of
        {s: w * scale * equity / tradable for s, w in wanted.items()},
        moving,
        half_spread_bp=costs.half_spread_bp,
        fee_bp=costs.fee_bp,
    )
    traded = sum(
        abs(float(after.shares.get(s, 0)) - float(book.shares.get(s, 0))) * p
        for s, p in moving.items()
    )
    return Moved(after, traded, equity - after.value(prices))


def _differs(weight: float, held: float, band: float) -> bool:
    return abs(weight - held) > band or (weight == 0.0 and held > 0.0)

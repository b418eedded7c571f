"""Forecasts as the page shows them: one decision's ranking, one name's fan and what came. Pure."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from astra.sessions import NEW_YORK
from frontend.words import UNKNOWN, money, percent

LATEST = ""  # chosen as long as nobody chooses: the next decision takes its place


def by_session(times: Sequence[dt.datetime]) -> dict[str, list[dt.datetime]]:
    """Decision times by session (ISO date of New York), the newest first in both."""
    found: dict[str, list[dt.datetime]] = {}
    for t in sorted(set(times), reverse=True):
        found.setdefault(t.astimezone(NEW_YORK).date().isoformat(), []).append(t)
    return found


def ranking(fans: pd.DataFrame, prices: pd.DataFrame) -> pd.DataFrame:
    """Expected moves over the whole horizon, highest first.

    Args:
        fans: ticker, step, close, q05, q95 of one as_of.
        prices: ticker, ts, close up to that as_of; tickers without any are left out.

    Returns:
        ticker, price (USD, the last close), move, low, high (fractions of price; low and high are
        the 5 % and 95 % quantiles at the last step).
    """
    ends = fans.sort_values("step").groupby("ticker").last()
    price = prices.sort_values("ts").groupby("ticker")["close"].last()
    joined = ends.join(price.rename("price"), how="inner")
    table = pd.DataFrame({"price": joined["price"]})
    for name, column in (("move", "close"), ("low", "q05"), ("high", "q95")):
        table[name] = joined[column] / joined["price"] - 1.0
    return table.sort_values("move", ascending=False).reset_index()


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one name's forecast.

    Attributes:
        closes: of the forecast bars there are.
        inside: of them in the 90 % band.
        at: start of the last of these bars. close, forecast: USD at it.
        last: the last close before the decision, NaN if none is known.
    """

    closes: int
    inside: int
    at: dt.datetime
    close: float
    forecast: float
    last: float


def came(fan: pd.DataFrame, bars: pd.DataFrame, as_of: dt.datetime) -> Came | None:
    """What the bars say of a fan (step, ts, close, q05, q95); None before the first of them."""
    both = fan.merge(bars[["ts", "close"]], on="ts", suffixes=("", "_came")).sort_values("ts")
    if both.empty:
        return None
    inside = (both["close_came"] >= both["q05"]) & (both["close_came"] <= both["q95"])
    before = bars[bars["ts"] < pd.Timestamp(as_of)].sort_values("ts")["close"]
    end = both.iloc[-1]
    return Came(
        closes=len(both),
        inside=int(inside.sum()),
        at=end["ts"].to_pydatetime(),
        close=float(end["close_came"]),
        forecast=float(end["close"]),
        last=float(before.iloc[-1]) if len(before) else math.nan,
    )


def came_sentence(found: Came | None, steps: int) -> str:
    """What came, in a sentence or two; of a forecast over `steps` bars."""
    if found is None:
        return "None of the bars forecast has come yet."
    came_all = found.closes >= steps
    so_far = f"All {steps} closes" if came_all else f"{found.closes} of the {steps} closes"
    moved, expected = (_moved(price, found.last) for price in (found.close, found.forecast))
    return (
        f"{so_far} forecast came, {found.inside} inside the 90% band. The last was "
        f"{money(found.close)} ({moved}); the forecast was {money(found.forecast)} ({expected})."
    )


def _moved(price: float, last: float) -> str:
    return percent(price / last - 1.0, signed=True) if math.isfinite(last) else UNKNOWN

"""Forecasts as the page shows them: the latest fan of one ticker, the ranking of all. Pure."""

from __future__ import annotations

import pandas as pd

QUANTILES = ("q05", "q25", "q50", "q75", "q95")


def latest(forecasts: pd.DataFrame) -> pd.DataFrame:
    """The rows of the newest as_of; of several models at it, those of one."""
    if forecasts.empty:
        return forecasts
    newest = forecasts[forecasts["as_of"] == forecasts["as_of"].max()]
    chosen: pd.DataFrame = newest[newest["model_id"] == newest["model_id"].iloc[-1]]
    return chosen


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

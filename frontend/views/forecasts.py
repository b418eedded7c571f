"""The latest forecast: one ticker's fan, and the highest and lowest of all."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import streamlit as st

from frontend.charts.forecast import fan_chart
from frontend.outlook import latest, ranking
from frontend.page import Page
from frontend.tables import SIGNED_SHARE, Column, height, styled
from frontend.words import new_york

_SHOWN = 10
_BEFORE = dt.timedelta(minutes=30)  # six bars, in which every usable ticker has printed
_PAST = dt.timedelta(days=5)
_BARS = 60
_COLUMNS = {
    "ticker": Column("Ticker"),
    "name": Column("Name"),
    "move": Column("Forecast", SIGNED_SHARE, tinted=True),
    "low": Column("5% low", SIGNED_SHARE),
    "high": Column("95% high", SIGNED_SHARE),
}


def show(page: Page) -> None:
    st.header("Latest forecast", anchor=False)
    known = page.table("forecasts", **_newest(page))
    fans = latest(known)
    if fans.empty:
        st.caption("No forecast yet: the first decision (`astra allocate`) records one.")
        return
    as_of = fans["as_of"].iloc[0].to_pydatetime()
    before = page.table(
        "price_history",
        columns=("ticker", "ts", "close"),
        start=(as_of - _BEFORE),
        end=as_of,
    )
    ranked = ranking(fans, before)
    ranked["name"] = ranked["ticker"].map(page.names()).fillna("")
    horizon = int(fans["step"].max())
    st.caption(f"Made {new_york(as_of)}, over the next {horizon} bars of 5 minutes.")
    chart, tables = st.columns([6, 5], gap="medium")
    with chart:
        _fan(page, fans, ranked, as_of)
    with tables:
        high, low = st.tabs(["Highest", "Lowest"])
        count = min(_SHOWN, len(ranked))
        high.dataframe(styled(ranked.head(count), _COLUMNS), hide_index=True, height=height(count))
        lowest = ranked.tail(count).iloc[::-1]
        low.dataframe(styled(lowest, _COLUMNS), hide_index=True, height=height(count))


def _newest(page: Page) -> dict[str, dt.datetime]:
    """A filter that spares the record of all forecasts: they come with the decisions."""
    made = page.latest_decision()
    return {} if made is None else {"start": made.as_of}


def _fan(page: Page, fans: pd.DataFrame, ranked: pd.DataFrame, as_of: dt.datetime) -> None:
    tickers = sorted(fans["ticker"].unique())
    first = ranked["ticker"].iloc[0] if len(ranked) else tickers[0]
    names = page.names()
    ticker = st.selectbox(
        "Ticker",
        tickers,
        index=tickers.index(first),
        format_func=lambda t: f"{t}, {names[t]}" if names.get(t) else str(t),
        key="forecast_ticker",
    )
    fan = fans[fans["ticker"] == ticker]
    end = fan["ts"].max().to_pydatetime() + dt.timedelta(seconds=1)
    bars = page.table(
        "price_history",
        tickers=(ticker,),
        columns=("ticker", "ts", "close"),
        start=(as_of - _PAST),
        end=end,
    )
    past = bars[bars["ts"] < pd.Timestamp(as_of)].tail(_BARS)
    later = bars[bars["ts"] >= pd.Timestamp(as_of)]
    st.plotly_chart(
        fan_chart(pd.concat([past, later]), fan, as_of),
        key="fan",
        config={"displayModeBar": False},
    )

"""One decision's forecasts: one name's fan beside what came, and the highest and lowest of all."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import streamlit as st

from astra.quality import FRESH_BARS
from astra.sessions import BAR
from astra.store import Store
from frontend.charts.forecast import fan_chart
from frontend.outlook import LATEST, by_session, came, came_sentence, ranking
from frontend.page import Page
from frontend.tables import SIGNED_SHARE, Column, height, styled
from frontend.words import count, hover, new_york, plain

_SHOWN = 10
_BEFORE = FRESH_BARS * BAR  # in which every usable ticker has printed
_PAST = dt.timedelta(days=5)
_BARS = 60
_COLUMNS = {
    "ticker": Column("Ticker"),
    "bp": Column("Forecast, bp", "{:+.1f}", tinted=True),
    "low": Column("5% low", SIGNED_SHARE),
    "high": Column("95% high", SIGNED_SHARE),
    "name": Column("Name"),
}


def show(page: Page, decided: pd.DataFrame) -> None:
    """`decided`: as_of and model_id of all decisions, at least one."""
    st.header("Forecasts of a decision", anchor=False)
    times: list[dt.datetime] = [t.to_pydatetime() for t in decided["as_of"]]
    models = dict(zip(times, map(str, decided["model_id"]), strict=True))
    choices = st.columns([2, 2, 3])
    as_of = _chosen(choices[0], choices[1], times)
    fans = page.reader.read(made, models[as_of], as_of)
    if fans.empty:
        st.caption(
            f"The forecasts of {hover(as_of, new_york(as_of))} are not in the store: the monitor "
            "records them from the bucket (`astra monitor`).",
            unsafe_allow_html=True,
        )
        return
    before = page.table(
        "price_history", columns=("ticker", "ts", "close"), start=as_of - _BEFORE, end=as_of
    )
    ranked = ranking(fans, before)
    ranked["bp"] = 1e4 * ranked["move"]
    names = page.names()
    ranked["name"] = [names.get(t, "") for t in ranked["ticker"]]
    with choices[2]:
        ticker = _ticker(page, fans, ranked)
    horizon = int(fans["step"].max())
    st.caption(
        f"Made {hover(as_of, new_york(as_of))} by {plain(models[as_of])}, of "
        f"{count(fans['ticker'].nunique(), 'name')} over the next {horizon} bars of 5 minutes.",
        unsafe_allow_html=True,
    )
    chart, tables = st.columns(2, gap="medium")
    with chart:
        _fan(page, fans[fans["ticker"] == ticker], ticker, as_of)
    with tables:
        _ranking(ranked)


def made(store: Store, model_id: str, as_of: dt.datetime) -> pd.DataFrame:
    """All forecasts of one decision."""
    return store.forecasts.made(model_id, as_of)


def _chosen(first: st.delta_generator.DeltaGenerator, second: st.delta_generator.DeltaGenerator,
            times: list[dt.datetime]) -> dt.datetime:  # fmt: skip
    """The decision looked at: the latest, unless a person chose a session and a time in it."""
    sessions = by_session(times)
    day = first.selectbox(
        "Session", [LATEST, *sessions], key="forecast_session", persist_state="session",
        format_func=lambda d: f"{dt.date.fromisoformat(d):%a %d %b %Y}" if d else "The latest",
    )  # fmt: skip
    if not day:
        second.selectbox("Decided at", ["The latest"], disabled=True, key="forecast_time_latest")
        return max(times)
    found: dt.datetime = second.selectbox(
        "Decided at", sessions[day], key=f"forecast_time_{day}", persist_state="session",
        format_func=lambda t: new_york(t).partition(", ")[2],
    )  # fmt: skip
    return found


def _ticker(page: Page, fans: pd.DataFrame, ranked: pd.DataFrame) -> str:
    tickers = sorted(fans["ticker"].unique())
    first = ranked["ticker"].iloc[0] if len(ranked) else tickers[0]
    names = page.names()
    found: str = st.selectbox(
        "Ticker", tickers, index=tickers.index(first), key="forecast_ticker",
        persist_state="session",
        format_func=lambda t: f"{t}, {names[t]}" if names.get(t) else str(t),
    )  # fmt: skip
    return found


def _fan(page: Page, fan: pd.DataFrame, ticker: str, as_of: dt.datetime) -> None:
    end = fan["ts"].max().to_pydatetime() + dt.timedelta(seconds=1)
    bars = page.table(
        "price_history",
        tickers=(ticker,),
        columns=("ticker", "ts", "close"),
        start=as_of - _PAST,
        end=end,
    )
    past = bars[bars["ts"] < pd.Timestamp(as_of)].tail(_BARS)
    later = bars[bars["ts"] >= pd.Timestamp(as_of)]
    st.plotly_chart(
        fan_chart(pd.concat([past, later]), fan, as_of),
        key="fan",
        config={"displayModeBar": False},
        alt=f"Closes of {ticker}, the forecast with its bands, and what came",
    )
    st.markdown(plain(came_sentence(came(fan, bars, as_of), len(fan))))


def _ranking(ranked: pd.DataFrame) -> None:
    high, low = st.tabs(["Highest", "Lowest"])
    count_shown = min(_SHOWN, len(ranked))
    for tab, rows, told in (
        (high, ranked.head(count_shown), "highest"),
        (low, ranked.tail(count_shown).iloc[::-1], "lowest"),
    ):
        tab.dataframe(
            styled(rows, _COLUMNS), hide_index=True, height=height(count_shown),
            key=f"forecast_{told}", alt=f"The {told} forecasts with their 5% and 95% bands",
        )  # fmt: skip
    st.caption(
        "Expected move over the whole horizon, from the last close. An expectation is not a "
        "promise: the bands are how far it is usually off."
    )

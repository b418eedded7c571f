"""The record behind the forecasts: skill over time, calibration, error against the last price."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from astra.scoring import Calibration, Ratio, against_last_value, calibration
from astra.store import Store
from frontend import skill
from frontend.charts.skill import calibration_chart, error_chart, skill_chart
from frontend.page import Page
from frontend.tables import Column, height, styled
from frontend.words import count, plain

_SESSIONS, _NAMES = 20, 60  # more days say more, more names hardly do: they miss together
_POINTS = 250  # decisions, or sessions, of the skill chart
_QUIET = {"displayModeBar": False}
_SHARES = {
    "where": Column("Closes"),
    "nominal": Column("Promised", "{:.0%}"),
    "share": Column("Came", "{:.1%}"),
    "error": Column("Binomial error"),
    "interval": Column("95% interval over days"),
}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of one network's last sessions; `names` of the `of` that it forecasts.

    Where nothing has come yet, `bands` is None and `ratios` empty.
    """

    bands: Calibration | None
    ratios: Sequence[Ratio]
    names: int
    of: int


def outcomes(
    page: Page, model_id: str, sessions: Mapping[str, Sequence[dt.datetime]], latest: dt.datetime
) -> Outcomes:
    """What came of the network's decisions in the newest of `sessions`."""
    asked = tuple(t for day in list(sessions)[:_SESSIONS] for t in sessions[day])
    return page.reader.read(counted, model_id, asked, latest)


def counted(
    store: Store, model_id: str, times: tuple[dt.datetime, ...], latest: dt.datetime
) -> Outcomes:
    """Of the names forecast at `latest`, evenly spaced ones."""
    forecast = list(store.forecasts.made(model_id, latest)["ticker"].unique())
    names = skill.spread_out(forecast, _NAMES)
    found = store.forecasts.tallies(model_id, times, names)
    return Outcomes(calibration(found), against_last_value(found), len(names), len(forecast))


def documents(store: Store, objects: tuple[str, ...]) -> pd.DataFrame:
    """Skill as the decisions of these names had measured it."""
    found = (store.books.decision(name) for name in objects)
    told: list[dict[str, Any]] = [document for document in found if document is not None]
    return skill.history(told)


def show(page: Page, decided: pd.DataFrame, found: Outcomes) -> None:
    st.header("Skill over time", anchor=False)
    _skill(page, decided)
    st.header("Calibration and error", anchor=False)
    if found.bands is None:
        st.caption(
            "No outcome yet: the first close that counts comes ten minutes after a decision, with "
            "the next load of bars."
        )
        return
    _outcomes(found, found.bands)


def _skill(page: Page, decided: pd.DataFrame) -> None:
    shown = skill.last_of_sessions(decided, _POINTS)
    measured = page.reader.read(documents, tuple(shown["object"]))
    if not np.isfinite(measured["t"]).any():
        st.caption(
            "No skill has been measured yet: that takes forecasts after the training whose hour "
            "is over, at two sessions or more."
        )
        return
    each = "each decision" if len(shown) == len(decided) else "the last decision of each session"
    st.caption(
        f"As {each} had measured it, over the sessions at hand then. The forecast goes on at "
        "t = 2 (from the 30th day), and off below t = 1; an alarm of its health turns it off too."
    )
    st.plotly_chart(
        skill_chart(measured), key="skill", config=_QUIET,
        alt="Measured IC with two standard errors, its t and whether the forecast was on",
    )  # fmt: skip


def _outcomes(found: Outcomes, bands: Calibration) -> None:
    whom = f"all {count(found.of, 'name')}"
    if found.names < found.of:
        whom = f"{found.names} of {found.of:,} names, evenly spaced by ticker"
    st.caption(
        plain(
            f"{count(bands.cases, 'close')} after {count(bands.decisions, 'decision')} with this "
            f"network, of its last {count(bands.days, 'session')}, {whom}. Bars count from the "
            "first that begins after the decision: nobody can trade on a forecast before."
        )
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Do the bands hold?", anchor=False)
        st.plotly_chart(
            calibration_chart(bands), key="calibration", config=_QUIET,
            alt="Share of closes at or below each quantile against what was promised",
        )  # fmt: skip
        st.markdown(plain(skill.calibration_sentence(bands)))
    with right:
        st.subheader("Is it closer than the last price?", anchor=False)
        st.plotly_chart(
            error_chart(found.ratios), key="error", config=_QUIET,
            alt="Mean absolute error over that of the last price, by minutes ahead",
        )  # fmt: skip
        st.markdown(plain(skill.error_sentence(found.ratios[0])))
    with st.expander("All shares"):
        rows = skill.shares_table(bands)
        st.dataframe(
            styled(rows, _SHARES), hide_index=True, height=height(len(rows)), key="shares",
            alt="Shares of closes inside the bands and below the quantiles",
        )  # fmt: skip
        st.caption(
            "The binomial error takes every close for independent, which those of one hour are "
            "not: it is the least that the error can be. The interval draws whole days."
        )

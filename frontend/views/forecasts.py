"""The forecasts: whether they deserve trust, one name's fan, the record behind it, the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from astra.scoring import LEAST_DAYS, Calibration, Ratio
from frontend.decision import Decision, forecast_sentence
from frontend.outlook import by_session
from frontend.page import Page
from frontend.sections import fan, network, record
from frontend.words import UNKNOWN, count, hover, new_york, percent, plain

SKILL_HELP = (
    "Mean rank correlation of forecasts and what came, from the first price that could be traded; "
    "measured on sessions after the training. On at t ≥ 2 from the 30th day, off below t = 1."
)
USED_HELP = (
    "What the policy `measured` reckons with: the measured IC less what chance may have added, "
    "0 while off. Other policies take forecasts at face value or not at all."
)
BAND_HELP = (
    "Share of closes inside the 90% band, of the sessions told of below, with its 95% interval "
    "over days."
)
ERROR_HELP = (
    "Mean absolute error over that of the last price before the decision, with its 95% interval; "
    "below 1 is closer. Even a useful forecast hardly moves it: what it offers is the order of "
    "names and the bands."
)


def show(page: Page) -> None:
    made = page.latest_decision()
    if made is None:
        st.header("Do they deserve trust?", anchor=False)
        st.caption("No forecast yet: the first decision (`astra allocate`) records one.")
        return
    decided = page.table("decisions", columns=("object", "as_of", "model_id"))
    own = decided[decided["model_id"] == made.model_id]
    times = by_session([t.to_pydatetime() for t in own["as_of"]])
    outcomes = record.outcomes(page, made.model_id, times, made.as_of)
    _trust(made, outcomes)
    fan.show(page, decided)
    record.show(page, decided, outcomes)
    network.show(made)


def _trust(made: Decision, outcomes: record.Outcomes) -> None:
    st.header("Do they deserve trust?", anchor=False)
    st.caption(
        f"As of the decision of {hover(made.as_of, new_york(made.as_of))} · model "
        f"{plain(made.model_id)}",
        unsafe_allow_html=True,
    )
    skill, bands, ratios = made.skill, outcomes.bands, outcomes.ratios
    measured = skill.days > 0 and math.isfinite(skill.t)
    used = (made.document.get("skill") or {}).get("used")
    state = "on" if skill.on else "off"
    figures: tuple[tuple[str, str, str | None, str], ...] = (
        (
            "Skill (IC)", f"{skill.ic:.3f}" if measured else UNKNOWN,
            f"t = {skill.t:.1f}, {state}" if measured else "no record yet", SKILL_HELP,
        ),
        (
            "IC in use", UNKNOWN if used is None else f"{used:.3f}",
            f"over {count(skill.days, 'day')}", USED_HELP,
        ),
        (
            "Inside the 90% band",
            percent(bands.bands[-1].share, digits=1) if bands else UNKNOWN,
            _band_note(bands), BAND_HELP,
        ),
        (
            "Error / last price's", f"{ratios[0].ratio:.3f}" if ratios else UNKNOWN,
            _error_note(ratios), ERROR_HELP,
        ),
        ("Health", *_health(made.document, skill.alarms)),
    )  # fmt: skip
    with st.container(key="metrics_forecasts"):
        for column, (label, value, below, told) in zip(
            st.columns(len(figures)), figures, strict=True
        ):
            column.metric(label, value, below, delta_color="off", delta_arrow="off", help=told)
    st.markdown(plain(forecast_sentence(made)))
    if reason := (made.document.get("skill") or {}).get("reason"):
        st.caption(plain(f"The gate, as it was written down: {reason}."))


def _band_note(bands: Calibration | None) -> str:
    if bands is None:
        return "no outcomes yet"
    if bands.days < LEAST_DAYS:
        return f"too few: {count(bands.days, 'session')}"
    return f"{percent(bands.bands[-1].low, digits=1)} to {percent(bands.bands[-1].high, digits=1)}"


def _error_note(ratios: Sequence[Ratio]) -> str:
    if not ratios:
        return "no outcomes yet"
    whole = ratios[0]
    return (
        f"{whole.low:.3f} to {whole.high:.3f}" if math.isfinite(whole.low) else "too few sessions"
    )


def _health(document: Mapping[str, Any], alarms: tuple[str, ...]) -> tuple[str, str, str]:
    told = "Inputs and errors like those of the training, and the network's age; see below."
    if not document.get("health"):
        return UNKNOWN, "not recorded by that release", told
    age = document["health"].get("age_days")
    old = "" if age is None else f"{count(int(age), 'day')} old"
    return (count(len(alarms), "alarm") if alarms else "no alarm"), old, told

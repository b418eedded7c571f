"""What the page says of skill, calibration and the network, and how it draws them."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from astra.predictions import QUANTILES
from astra.scoring import Ratio, Tally, calibration
from frontend import skill
from frontend.charts.skill import calibration_chart, error_chart, skill_chart

TEN = dt.datetime(2026, 11, 2, 15, tzinfo=dt.UTC)  # a Monday
DAY = dt.timedelta(days=1)


def document(
    at: dt.datetime, ic: float, t: float, on: bool = False, days: int = 30
) -> dict[str, Any]:
    told = {"ic": ic, "t": t, "days": days, "on": on, "used": ic if on else 0.0}
    return {"as_of": at.isoformat(), "model_id": "m", "skill": told}


def test_the_standard_error_is_what_makes_the_t() -> None:
    found = skill.history([document(TEN + DAY, 0.02, 2.5, on=True), document(TEN, 0.01, 0.5)])
    assert found["as_of"].is_monotonic_increasing
    assert found["error"].tolist() == pytest.approx([0.02, 0.008])
    assert found["on"].tolist() == [False, True] and found["used"].tolist() == [0.0, 0.02]


@pytest.mark.parametrize("told", [{}, {"skill": None}, {"skill": {"ic": 0, "t": 0, "days": 0}}])
def test_a_decision_without_a_record_has_no_skill(told: dict[str, Any]) -> None:
    found = skill.history([{"as_of": TEN.isoformat(), **told}])
    assert math.isnan(found["ic"][0]) and math.isnan(found["t"][0]) and not found["on"][0]


def test_no_documents_make_no_rows() -> None:
    assert skill.history([]).empty


def test_of_many_decisions_the_last_of_each_session_is_shown() -> None:
    times = [TEN + d * DAY + h * dt.timedelta(hours=1) for d in range(4) for h in range(6)]
    decided = pd.DataFrame({"object": [f"d{i:02d}" for i in range(24)], "as_of": times})
    decided["as_of"] = pd.to_datetime(decided["as_of"], utc=True)
    assert len(skill.last_of_sessions(decided, 24)) == 24
    assert skill.last_of_sessions(decided[::-1], 3)["object"].tolist() == ["d11", "d17", "d23"]


def counted(shares: tuple[float, ...], days: int) -> list[Tally]:
    rng = np.random.default_rng(4)
    return [
        Tally(
            TEN + d * DAY, 2, 1000,
            tuple(round(1000 * (p + off)) for p in shares), 1.0, 1.0,
        )
        for d, off in enumerate(rng.normal(0, 0.004, days))
    ]  # fmt: skip


NARROW = (0.10, 0.17, 0.30, 0.50, 0.70, 0.83, 0.90)


@pytest.mark.parametrize(
    ("shares", "days", "said"),
    [
        (QUANTILES, 3, "90.0% of 3,000 closes lay inside the 90% band, over 3 sessions: names of"),
        (NARROW, 1, "over 1 session: names of one session miss together"),
        (NARROW, 20, "the bands are too narrow, by more than 20 sessions explain"),
        ((0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99), 20, "the bands are too wide"),
    ],
)
def test_bands_are_judged_only_on_enough_sessions(
    shares: tuple[float, ...], days: int, said: str
) -> None:
    found = calibration(counted(shares, days))
    assert found is not None and said in skill.calibration_sentence(found)


def test_bands_that_hold_are_said_to() -> None:
    off = [0.90 + 0.02 * (-1) ** d for d in range(20)]
    found = calibration(
        [
            Tally(TEN + d * DAY, 2, 1000, (50, 100, 250, 500, 750, 900, round(50 + 1000 * o)), 1, 1)
            for d, o in enumerate(off)
        ]
    )
    assert found is not None
    assert "as promised, as far as 20 sessions can tell" in skill.calibration_sentence(found)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "said"),
    [
        (1.001, math.nan, math.nan, "1.0010 times that of the last price; fewer than 10 sessions"),
        (1.001, 0.999, 1.003, "not to be told from it"),
        (0.99, 0.98, 0.995, ": closer."),
        (1.02, 1.01, 1.03, ": further off."),
        (math.nan, math.nan, math.nan, "No price moved"),
    ],
)
def test_the_error_is_compared_as_far_as_it_can_be(
    ratio: float, low: float, high: float, said: str
) -> None:
    assert said in skill.error_sentence(Ratio(0, ratio, low, high, 10))


def test_all_shares_are_told_with_both_errors() -> None:
    found = calibration(counted(NARROW, 20))
    assert found is not None
    table = skill.shares_table(found)
    assert table["where"].tolist()[:4] == [
        "inside the 50% band", "inside the 80% band", "inside the 90% band",
        "at or below the 5% quantile",
    ]  # fmt: skip
    assert table["share"].tolist() == [s.share for s in (*found.bands, *found.quantiles)]
    assert table["error"][2] == f"± {100 * math.sqrt(0.8 * 0.2 / 20_000):.1f}%"
    few = calibration(counted(NARROW, 2))
    assert few is not None and set(skill.shares_table(few)["interval"]) == {"n/a"}


def test_an_older_release_recorded_no_card_and_the_page_says_so() -> None:
    found = skill.card_rows({"model_id": "m", "trained_on": "real"})
    assert found["Model"] == "m" and found["Learned from"] == "real prices"
    lacking = {name for name, told in found.items() if told == skill.NOT_RECORDED}
    assert lacking == {
        "Network", "Forecasts", "Until", "On days held out", "Inputs (PSI)", "Errors (CUSUM)",
        "Alarms", "Versions",
    }  # fmt: skip
    assert skill.bundles_table({}).empty


def test_health_is_told_with_its_limits_and_alarms() -> None:
    health = {"psi": None, "cusum": 6.13, "cusum_limit": 5.0, "age_days": 1, "alarms": ["a", "b"]}
    found = skill.card_rows({"health": health, "trained_until": TEN.isoformat()})
    assert found["Inputs (PSI)"].startswith("could not be measured")
    assert found["Errors (CUSUM)"] == "6.1, alarm above 5"
    assert found["Until"] == "2 Nov 2026, 1 day before this decision"
    assert found["Alarms"] == "a; b"


def test_a_bundle_that_measured_nothing_is_told_of_without_figures() -> None:
    one = {"id": "b", "role": "withdrawn", "since": None, "metrics": {}, "why": "forced"}
    row = skill.bundles_table({"bundles": [one]}).iloc[0]
    assert (row["role"], row["since"], row["ic"], row["ratio"]) == ("withdrawn", "", "n/a", "n/a")


@pytest.mark.parametrize(
    ("count", "most", "kept"), [(5, 5, 5), (6, 5, 3), (503, 60, 56), (0, 5, 0)]
)
def test_names_are_taken_evenly(count: int, most: int, kept: int) -> None:
    names = [f"N{i:03d}" for i in range(count)]
    found = skill.spread_out(names, most)
    assert len(found) == kept <= most and list(found) == sorted(found)


def test_the_skill_chart_has_its_thresholds_and_clears_zero_where_t_is_two() -> None:
    measured = skill.history(
        [document(TEN + d * DAY, 0.01, t, on=t >= 2) for d, t in enumerate((0.5, 2.0, 3.0))]
    )
    figure = skill_chart(measured)
    traces = {trace.name: trace for trace in figure.data}
    assert traces["Skill (IC)"].y.tolist() == [0.01] * 3
    lower = traces["± 2 standard errors"].y[3:][::-1]
    assert lower == pytest.approx([0.01 - 0.04, 0.0, 0.01 - 2 * 0.01 / 3])
    assert (len(traces["On"].x), len(traces["Off"].x)) == (2, 1)
    assert {s.y0 for s in figure.layout.shapes} == {0, 1, 2}


def test_a_new_network_is_marked_and_times_without_skill_are_left_out() -> None:
    documents = [document(TEN + d * DAY, 0.01, 1.0) for d in range(4)]
    documents[3]["model_id"] = "n"
    documents[0]["skill"] = {"days": 0}
    figure = skill_chart(skill.history(documents))
    assert len({t.name: t for t in figure.data}["t"].x) == 3
    assert [a.text for a in figure.layout.annotations].count("another network") == 1


def test_the_calibration_chart_shows_points_off_and_intervals_only_where_there_are_any() -> None:
    few, many = (calibration(counted(NARROW, days)) for days in (2, 20))
    assert few is not None and many is not None
    names = {t.name for t in calibration_chart(few).data}
    assert "95% interval over days" not in names and "± 2 binomial errors" in names
    traces = {t.name: t for t in calibration_chart(many).data}
    assert "95% interval over days" in traces
    points = traces["Came less promised"]
    off = dict(zip(points.y, points.x, strict=True))
    assert off["inside 90%"] == pytest.approx(-10, abs=0.5)
    assert off["below 5%"] == pytest.approx(5, abs=0.5)


def test_the_error_chart_keeps_one_in_the_middle_and_leaves_the_total_out() -> None:
    ratios = (Ratio(0, 1.0, 0.9, 1.1, 30), Ratio(2, 1.001, 0.999, 1.002, 10),
              Ratio(3, 1.02, 1.0, 1.04, 10))  # fmt: skip
    figure = error_chart(ratios)
    (line,) = figure.data
    assert line.x == (10, 15) and line.y == (1.001, 1.02)
    low, high = figure.layout.yaxis.range
    assert low + high == pytest.approx(2) and high > 1.04
    narrow = error_chart((Ratio(2, 1.0001, math.nan, math.nan, 10),))
    assert narrow.layout.yaxis.range == (0.995, 1.005)

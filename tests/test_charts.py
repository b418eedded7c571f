"""Figures: the data they carry and where they put it."""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from astra.predictions import QUANTILE_COLUMNS
from astra.records import Side
from astra.sessions import NEW_YORK
from frontend.charts.account import (
    DRAWN,
    account_chart,
    sector_chart,
    thinned,
    underwater_chart,
)
from frontend.charts.axes import trading_clock
from frontend.charts.forecast import fan_chart
from frontend.charts.trades import order_chart
from frontend.order_story import Fill


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    """A time of November 2026 in New York."""
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=NEW_YORK).astimezone(dt.UTC)


def test_nights_weekends_and_holidays_take_no_room() -> None:
    # Wed 25th noon, Thanksgiving, the half day's middle, Monday's open
    x, sessions = trading_clock([at(25, 12, 45), at(26, 12), at(27, 11, 15), at(30, 9, 30)])
    assert x.tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert [s.date.day for s in sessions] == [25, 27, 30]


def test_the_clock_never_runs_backwards() -> None:
    times = [at(20, 4) + dt.timedelta(minutes=37 * i) for i in range(400)]
    x, _ = trading_clock(times)
    assert (np.diff(x) >= 0).all() and x[-1] > 5


def test_a_single_time_after_the_close_has_a_place() -> None:
    x, sessions = trading_clock([at(20, 20)])
    assert x.tolist() == [1.0] and sessions[0].date.day == 20


def test_no_times_have_no_places() -> None:
    x, sessions = trading_clock([])
    assert (len(x), sessions) == (0, ())


def test_the_account_chart_shows_both_values() -> None:
    times = [at(18, 10), at(18, 11), at(19, 10), at(20, 10)]
    equity = np.array([100.0, 110.0, 99.0, 104.5])
    figure = account_chart(times, equity, np.array([100.0, 101.0, 102.0, 103.0]), "QQQ")
    lines = {trace.name: trace for trace in figure.data}
    assert set(lines) == {"QQQ", "Account"}
    assert lines["Account"].y.tolist() == equity.tolist()
    assert lines["QQQ"].y.tolist() == [100.0, 101.0, 102.0, 103.0]
    assert figure.layout.xaxis.ticktext == ("18 Nov", "19 Nov", "20 Nov")
    assert lines["Account"].customdata[0] == "Wed 18 Nov 2026, 10:00 New York (15:00 UTC)"


def test_without_a_benchmark_the_account_stands_alone() -> None:
    for chart in (account_chart, underwater_chart):
        figure = chart([at(18, 10), at(18, 11)], np.array([1.0, 2.0]), None, "SPY")
        assert [t.name for t in figure.data] == ["Account"]


@pytest.mark.parametrize(
    ("low", "ticks", "form"),
    [
        (99.99, [0, -0.00002, -0.00004, -0.00006, -0.00008, -0.0001], ".3%"),
        (99.4, [0, -0.002, -0.004, -0.006], ".1%"),
        (80.0, [0, -0.05, -0.1, -0.15, -0.2], ".0%"),
        (100.0, [0], ".0%"),
    ],
)
def test_depths_below_the_peak_have_ticks_that_can_be_told_apart(
    low: float, ticks: list[float], form: str
) -> None:
    figure = underwater_chart([at(18, 10), at(18, 11)], np.array([100.0, low]), None, "SPY")
    assert figure.layout.yaxis.tickvals == pytest.approx(ticks)
    assert figure.layout.yaxis.tickformat == form
    assert figure.data[0].y.tolist() == pytest.approx([0, low / 100 - 1])
    assert figure.layout.yaxis.range[0] < min(ticks) and figure.layout.yaxis.range[1] > 0


def test_the_benchmark_is_under_water_by_its_own_peak() -> None:
    times = [at(18, 10), at(18, 11), at(19, 10)]
    beside = np.array([100.0, 120.0, 90.0])
    figure = underwater_chart(times, np.array([100.0, 99.0, 101.0]), beside, "SPY")
    lines = {trace.name: trace for trace in figure.data}
    assert lines["SPY"].y.tolist() == pytest.approx([0, 0, -0.25])
    assert lines["Account"].y.tolist() == pytest.approx([0, -0.01, 0])
    assert figure.layout.yaxis.range[0] < -0.25


def test_a_benchmark_that_is_not_known_throughout_is_drawn_where_it_is() -> None:
    beside = np.array([100.0, 120.0, np.nan, 90.0, np.nan])
    times = [at(18, 10 + i) for i in range(5)]
    figure = underwater_chart(times, np.linspace(100, 101, 5), beside, "SPY")
    assert figure.data[0].y.tolist() == pytest.approx([0, 0, np.nan, -0.25, np.nan], nan_ok=True)
    assert figure.layout.yaxis.range[0] < -0.25
    walk = np.cumsum(np.random.default_rng(3).normal(size=19_657))
    walk[15_000:] = np.nan
    assert {np.nanargmax(walk), np.nanargmin(walk)} <= set(thinned(walk))


def test_a_year_of_values_is_drawn_by_its_highs_and_lows() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=(2, 19_657)), axis=1)
    kept = thinned(*walk)
    assert len(kept) <= DRAWN + 2 and (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, 19_656)
    for values in walk:
        for day in np.split(np.arange(19_656), 252):  # a stretch is shorter than a day
            assert len(np.intersect1d(day, kept)) > 0
        assert {values.argmax(), values.argmin()} <= set(kept)
    assert thinned(walk[0][:DRAWN]).tolist() == list(range(DRAWN))


def test_many_sessions_get_few_ticks() -> None:
    times = [at(2, 10) + dt.timedelta(days=i) for i in range(28)]
    figure = account_chart(times, np.linspace(100, 101, 28), None, "SPY")
    assert 4 <= len(figure.layout.xaxis.tickvals) <= 7


def test_a_chart_within_one_day_names_its_hours() -> None:
    figure = account_chart([at(20, 10), at(20, 15)], np.array([1.0, 2.0]), None, "SPY")
    names = figure.layout.xaxis.ticktext
    assert names and all(name.endswith("<br>20 Nov") and ":" in name for name in names)


def fan(as_of: dt.datetime, price: float) -> pd.DataFrame:
    steps = np.arange(1, 13)
    times = [as_of + dt.timedelta(minutes=5 * (int(s) - 1)) for s in steps]
    frame: dict[str, Any] = {"step": steps, "ts": times, "close": price + 0.1 * steps}
    shifts = (-1.0, -0.8, -0.4, 0.0, 0.4, 0.8, 1.0)
    wide = dict(zip(QUANTILE_COLUMNS, shifts, strict=True))
    return pd.DataFrame(frame | {q: frame["close"] + z * np.sqrt(steps) for q, z in wide.items()})


def bars(first: dt.datetime, closes: list[float]) -> pd.DataFrame:
    times = [first + dt.timedelta(minutes=5 * i) for i in range(len(closes))]
    return pd.DataFrame({"ts": pd.to_datetime(times), "close": closes})


def test_the_forecast_starts_from_the_last_close_known_when_it_was_made() -> None:
    as_of = at(20, 10)
    seen = bars(at(20, 9, 30), [50.0, 50.5, 51.0, 50.0, 49.5, 49.0, 77.0])  # the last came after
    figure = fan_chart(seen, fan(as_of, 49.0), as_of)
    lines = {trace.name: trace for trace in figure.data}
    assert lines["Forecast"].y[0] == 49.0 and len(lines["Forecast"].y) == 13
    assert lines["Close"].y[-1] == 77.0
    assert lines["Close"].x[-1] == pytest.approx(lines["Forecast"].x[1])


def test_the_wide_band_holds_the_narrow_one() -> None:
    as_of = at(20, 10)
    figure = fan_chart(bars(at(20, 9, 30), [49.0] * 6), fan(as_of, 49.0), as_of)
    bands = {t.name: np.asarray(t.y) for t in figure.data if t.fill == "toself"}
    wide, narrow = bands["90% of outcomes"], bands["50% of outcomes"]
    upper, lower = slice(1, 13), slice(13, 25)
    assert (wide[upper] > narrow[upper]).all() and (wide[lower] < narrow[lower]).all()


def test_a_forecast_without_any_bar_is_still_drawn() -> None:
    as_of = at(20, 10)
    figure = fan_chart(bars(as_of, []), fan(as_of, 49.0), as_of)
    assert len({t.name: t for t in figure.data}["Forecast"].y) == 12


def test_a_fill_is_pointed_at_with_its_shares_and_its_time_said_once() -> None:
    fills = [Fill(at(20, 10, 7), 3.0, 49.5)]
    figure = order_chart(bars(at(20, 9, 30), [49.0] * 12), at(20, 10), 49.2, fills, Side.BUY)
    drawn = {t.name: t for t in figure.data}["Bought"]
    assert drawn.customdata == ("3 shares<br>Fri 20 Nov 2026, 10:07 New York (15:07 UTC)",)
    assert list(drawn.y) == [49.5]


PAGES = Path(__file__).resolve().parent.parent / "frontend"


def test_every_chart_and_table_says_what_it_shows_to_who_cannot_see_it() -> None:
    calls = [
        (f"{file.relative_to(PAGES)}:{node.lineno}", {k.arg for k in node.keywords})
        for file in sorted(PAGES.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("plotly_chart", "dataframe")
    ]
    assert len(calls) > 20
    assert [place for place, named in calls if "alt" not in named] == []


@pytest.mark.parametrize(("target", "names"), [(0.3, ["Weight", "Target"]), (np.nan, ["Weight"])])
def test_sectors_show_their_targets_where_there_are_any(target: float, names: list[str]) -> None:
    sectors = pd.DataFrame({"sector": ["Energy"], "weight": [0.25], "target": [target]})
    assert [t.name for t in sector_chart(sectors).data] == names

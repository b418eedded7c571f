"""Forecasts as the page tells of them: sessions, the ranking, one name's fan and what came."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import pytest

from astra.sessions import NEW_YORK
from frontend import outlook

TEN = dt.datetime(2026, 11, 20, 10, tzinfo=NEW_YORK).astimezone(dt.UTC)
HOUR, BAR = dt.timedelta(hours=1), dt.timedelta(minutes=5)


def test_decisions_are_found_by_session_the_newest_first() -> None:
    earlier = TEN - dt.timedelta(days=1)
    found = outlook.by_session([TEN, earlier, TEN + HOUR, TEN])
    assert list(found.items()) == [("2026-11-20", [TEN + HOUR, TEN]), ("2026-11-19", [earlier])]


def test_the_ranking_compares_the_last_step_with_the_last_close_before() -> None:
    fans = pd.DataFrame(
        {"ticker": ["KO", "KO", "OXY", "OXY", "NEW"], "step": [2, 1, 1, 2, 2],
         "close": [99.0, 150.0, 50.0, 51.0, 7.0], "q05": 48.0, "q95": 105.0}
    )  # fmt: skip
    prices = pd.DataFrame(
        {"ticker": ["KO", "OXY", "OXY"], "ts": [1, 2, 1], "close": [100.0, 50.0, 1.0]}
    )
    ranked = outlook.ranking(fans, prices)
    assert ranked["ticker"].tolist() == ["OXY", "KO"]
    assert ranked["move"].tolist() == pytest.approx([0.02, -0.01])
    assert ranked["low"].tolist() == pytest.approx([-0.04, -0.52])


def fan() -> pd.DataFrame:
    """Three bars forecast at 101, with a band from 100 to 102."""
    times = [TEN + i * BAR for i in range(3)]
    return pd.DataFrame(
        {"step": [1, 2, 3], "ts": pd.to_datetime(times), "close": 101.0, "q05": 100.0, "q95": 102.0}
    )


def bars(closes: list[float]) -> pd.DataFrame:
    """Bars from the last one before the decision on."""
    times = [TEN + (i - 1) * BAR for i in range(len(closes))]
    return pd.DataFrame({"ts": pd.to_datetime(times), "close": closes})


def test_what_came_is_counted_against_the_band() -> None:
    found = outlook.came(fan(), bars([100.0, 101.5, 103.0, 102.0]), TEN)
    assert found == outlook.Came(3, 2, TEN + 2 * BAR, 102.0, 101.0, 100.0)
    assert outlook.came_sentence(found, 3) == (
        "All 3 closes forecast came, 2 inside the 90% band. The last was $102.00 (+2.00%); the "
        "forecast was $101.00 (+1.00%)."
    )


def test_what_has_not_come_yet_is_said() -> None:
    some = outlook.came(fan(), bars([100.0, 101.5]), TEN)
    assert outlook.came_sentence(some, 3).startswith("1 of the 3 closes forecast came, 1 inside")
    assert outlook.came(fan(), bars([100.0]), TEN) is None
    assert outlook.came_sentence(None, 3) == "None of the bars forecast has come yet."


def test_without_a_close_before_the_move_is_not_known() -> None:
    found = outlook.came(fan(), bars([100.0, 101.5])[1:], TEN)
    assert found is not None and math.isnan(found.last)
    assert "$101.50 (n/a)" in outlook.came_sentence(found, 3)

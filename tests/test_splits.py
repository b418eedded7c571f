"""Splits found on the overlap of stored and offered bars, and what becomes of older ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_service.loading import splits
from etl_service.loading.splits import Closes

TS = 300 * np.arange(200, dtype=np.int64)
CLOSE = 50 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.002, len(TS))))
RATIOS = [2.0, 3.0, 4.0, 10.0, 20.0, 1.5, 1.05, 0.1, 0.05, 1 / 3]


def bars(ts: np.ndarray, close: np.ndarray, volume: int = 1200) -> pd.DataFrame:
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return pd.DataFrame({"ticker": "OXY", "ts": ts, **prices, "volume": volume, "feed": "yahoo"})


@pytest.mark.parametrize("split", RATIOS)
def test_a_constant_ratio_is_a_split_and_comes_out_exactly(split: float) -> None:
    offered = Closes(TS[50:], np.round(CLOSE[50:] / split, 4))
    found = splits.ratio(Closes(TS[:150], CLOSE[:150]), offered)
    assert found == pytest.approx(split, rel=1e-4)
    assert splits.ratio(Closes(TS[:150], CLOSE[:150]), offered, told=split) == split


def test_nothing_but_noise_between_feeds_is_no_split() -> None:
    noise = 1 + np.random.default_rng(1).normal(0, 0.001, len(CLOSE))
    assert splits.ratio(Closes(TS, CLOSE), Closes(TS, CLOSE * noise)) is None


@given(st.sets(st.integers(0, 77), max_size=7), st.floats(0.2, 5))
def test_a_correction_of_a_few_bars_is_no_split(places: set[int], factor: float) -> None:
    corrected = CLOSE.copy()
    corrected[list(places)] *= factor
    assert splits.ratio(Closes(TS, CLOSE), Closes(TS, corrected)) is None


def test_the_oldest_bars_tell_even_where_newer_ones_are_on_the_new_scale() -> None:
    stored = CLOSE.copy()
    stored[100:] /= 4  # the vendor restated its past later than it split
    assert splits.ratio(Closes(TS, stored), Closes(TS, CLOSE / 4)) == 4


def test_bars_already_on_the_new_scale_are_left_although_the_vendor_tells_of_a_split() -> None:
    assert splits.ratio(Closes(TS, CLOSE / 4), Closes(TS, CLOSE / 4), told=4.0) is None


@pytest.mark.parametrize(("scale", "found"), [(1.0, 4.0), (4.0, None)])
def test_without_overlap_the_vendors_word_counts_if_prices_bear_it_out(
    scale: float, found: float | None
) -> None:
    stored = Closes(TS[:100], CLOSE[:100] / scale)
    assert splits.ratio(stored, Closes(TS[100:], CLOSE[100:] / 4), told=4.0) == found
    assert splits.ratio(stored, Closes(TS[100:], CLOSE[100:] / 4)) is None


@given(st.sampled_from(RATIOS), st.integers(0, 150), st.sets(st.integers(0, 199), max_size=20))
def test_after_restating_the_series_has_one_scale(split: float, first: int, gaps: set[int]) -> None:
    """`gaps` are stored bars that the vendor does not offer any more."""
    kept = np.array([i for i in range(first, 200) if i not in gaps])
    offered = Closes(TS[kept], CLOSE[kept] / split)
    old = splits.restated(bars(TS, CLOSE), offered, split, offered.ts)
    series = dict(zip(offered.ts.tolist(), offered.close.tolist(), strict=True))
    assert not series.keys() & set(old["ts"])
    series |= dict(zip(old["ts"].tolist(), old["close"].tolist(), strict=True))
    assert [series[t] for t in TS.tolist()] == pytest.approx((CLOSE / split).tolist(), rel=1e-12)
    assert set(old["volume"]) <= {int(np.rint(1200 * split))}


def test_restating_again_finds_nothing_to_do() -> None:
    offered = Closes(TS[120:], CLOSE[120:] / 4)
    assert splits.ratio(Closes(TS, CLOSE / 4), offered) is None
    assert splits.restated(bars(TS, CLOSE / 4), offered, 4.0, offered.ts).empty


@pytest.mark.parametrize(("split", "words"), [(4.0, "4:1 split"), (0.1, "1:10 split")])
def test_a_split_is_written_as_people_do(split: float, words: str) -> None:
    assert splits.describe(split) == words


def test_restating_twice_without_a_bar_in_common_changes_nothing() -> None:
    offered = Closes(TS[120:], CLOSE[120:] / 4)
    held = bars(TS[:100], CLOSE[:100])
    once = splits.restated(held, offered, 4.0, offered.ts)
    assert once["close"].tolist() == (CLOSE[:100] / 4).tolist()
    assert splits.restated(once, offered, 4.0, offered.ts).empty

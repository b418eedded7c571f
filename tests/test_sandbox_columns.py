"""Numbers written a column at a time say what `json.dumps` says."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.json_columns import counts, floats, listed, times

PRICES = st.floats(1e-4, 9e9) | st.decimals(1, 10_000, places=4).map(float) | st.just(float("nan"))


@given(st.lists(PRICES, max_size=8))
@example([120.0, 0.1 + 0.2, 1 / 3, 9_999_999_999.0])
def test_a_price_is_written_as_json_writes_it(prices: list[float]) -> None:
    expected = ["null" if price != price else json.dumps(price) for price in prices]
    assert floats(np.array(prices)).to_pylist() == expected


@pytest.mark.parametrize("price", [1e10, 1.5e300, 1e-7, 123456789012345.0])
def test_a_price_beyond_all_reason_is_still_the_same_number(price: float) -> None:
    assert json.loads(floats(np.array([price]))[0].as_py()) == price


@given(st.lists(st.integers(0, 2**53) | st.none(), max_size=8))
def test_a_volume_is_written_without_a_point(volumes: list[int | None]) -> None:
    column = np.array([np.nan if volume is None else volume for volume in volumes], np.float64)
    assert counts(column).to_pylist() == [json.dumps(volume) for volume in volumes]


@pytest.mark.parametrize("count", [0, 1, 399, 400, 3000])
def test_a_column_of_any_length_is_one_array(count: int) -> None:
    prices = np.round(np.arange(count) * 1.01 + 1, 4)
    prices[::7] = np.nan
    expected = [None if price != price else price for price in prices.tolist()]
    assert json.loads(listed(prices)) == expected
    assert listed(prices) == json.dumps(expected, separators=(",", ":"))
    ts = 1_789_000_000 + 300 * np.arange(count)
    assert listed(ts, whole=True) == json.dumps(ts.tolist(), separators=(",", ":"))
    rounded = [None if value is None else round(value) for value in expected]
    assert json.loads(listed(np.rint(prices), whole=True)) == rounded


@given(st.integers(0, 4_000_000_000))
def test_a_time_is_rfc_3339_in_utc(ts: int) -> None:
    expected = dt.datetime.fromtimestamp(ts, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert times(np.array([ts])).to_pylist() == [expected]

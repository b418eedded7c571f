"""Prices and quantities of orders, however they are sent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.records import Side
from astra.tactics import Style, limit_price, slices, span_of

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
prices = st.floats(0.001, 5_000, allow_nan=False)


@pytest.mark.parametrize(
    ("side", "price", "limit"),
    [
        (Side.BUY, 100.0, "100.20"),
        (Side.SELL, 100.0, "99.80"),
        (Side.BUY, 100.019, "100.21"),  # 100.2190, towards the last price
        (Side.SELL, 100.019, "99.82"),  # 99.8190
        (Side.BUY, 1.5, "1.51"),  # 1.503 would be no price beyond the last one
        (Side.SELL, 1.5, "1.49"),
        (Side.BUY, 0.5, "0.501"),
        (Side.SELL, 1.0, "0.99"),
        (Side.BUY, 0.9999, "1.00"),
        (Side.SELL, 0.0001, "0.0001"),
    ],
)
def test_a_limit_lies_within_the_collar_and_a_step_beyond_the_last_price(
    side: Side, price: float, limit: str
) -> None:
    assert limit_price(side, price, 20.0) == Decimal(limit)


@given(side=st.sampled_from(Side), price=prices, collar=st.floats(0.1, 500))
def test_a_limit_is_a_price_the_exchange_takes(side: Side, price: float, collar: float) -> None:
    limit = limit_price(side, price, collar)
    assert limit > 0
    decimals = -int(limit.normalize().as_tuple().exponent)
    assert decimals <= (2 if limit >= 1 else 4)
    step = 0.0101 if price >= 0.99 else 0.000101
    far = max(price * collar / 10_000, step) * (1 + 1e-9)
    assert abs(float(limit) - price) <= far


def test_slices_are_even_and_due_one_after_the_other() -> None:
    found = slices(Decimal(7), 100.0, 5 * MINUTE, 1.0, 99)
    assert [s.qty for s in found] == [1, 1, 2, 1, 2]
    assert [s.after for s in found] == [i * MINUTE for i in range(5)]


@pytest.mark.parametrize(
    ("qty", "price", "count"),
    [("3", 100.0, 3), ("0.025", 100.0, 2), ("0.004", 100.0, 1), ("0.5", 100.0, 10), ("1", 9.0, 1)],
)
def test_a_small_order_has_fewer_slices(qty: str, price: float, count: int) -> None:
    assert len(slices(Decimal(qty), price, 10 * MINUTE, 1.0, 10)) == count


@given(
    qty=st.decimals("0.000000001", "100000", places=9),
    price=prices,
    minutes=st.integers(0, 25),
    least=st.floats(1, 100),
    most=st.integers(0, 20),
)
def test_slices_sum_to_the_order_and_none_is_below_the_minimum(
    qty: Decimal, price: float, minutes: int, least: float, most: int
) -> None:
    found = slices(qty, price, minutes * MINUTE, least, most)
    assert len(found) <= max(most, 1)
    assert sum(s.qty for s in found) == qty
    assert all(s.qty > 0 for s in found)
    assert [s.after for s in found] == sorted({s.after for s in found})
    assert len(found) == 1 or all(float(s.qty) * price >= least * (1 - 1e-9) for s in found)
    assert found[0].after == dt.timedelta(0)
    assert found[-1].after < max(minutes, 1) * MINUTE


def test_slices_end_before_the_allocation_does() -> None:
    style = Style("twap", 20.0, 20)
    assert span_of(style, TEN, TEN + 60 * MINUTE, 2) == 20 * MINUTE
    assert span_of(style, TEN, TEN + 25 * MINUTE, 2) == 12.5 * MINUTE
    assert span_of(style, TEN, TEN - MINUTE, 1) == 0 * MINUTE

"""Which price a plan counts with."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.pricing import open_moment, references
from astra.records import Quote, Trade

NOON = dt.datetime(2026, 6, 15, 16, 0, tzinfo=dt.UTC)
TIGHT = Quote(99.95, 100.05, NOON)


def ago(seconds: float) -> dt.datetime:
    return NOON - dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("trade", "quote", "close", "found"),
    [
        (Trade(101.0, ago(900)), TIGHT, 99.0, (101.0, "trade")),
        (Trade(101.0, ago(901)), TIGHT, 99.0, (100.0, "quote")),
        (None, TIGHT, 99.0, (100.0, "quote")),
        (None, Quote(99.95, 100.05, ago(61)), 99.0, (99.0, "close")),
        (None, Quote(99.8, 100.2, NOON), 99.0, (99.0, "close")),  # 40 bp wide
        (None, Quote(100.1, 100.0, NOON), 99.0, (99.0, "close")),  # crossed
        (None, Quote(0.0, 100.0, NOON), 99.0, (99.0, "close")),  # one side is empty
        (Trade(0.0, NOON), None, 99.0, (99.0, "close")),
        (Trade(float("nan"), NOON), None, 99.0, (99.0, "close")),
        (Trade(101.0, ago(7200)), None, None, None),
    ],
)
def test_the_last_trade_then_a_tight_quote_then_the_last_close_then_none(
    trade: Trade | None, quote: Quote | None, close: float | None, found: tuple[float, str] | None
) -> None:
    trades = {} if trade is None else {"A": trade}
    quotes = {} if quote is None else {"A": quote}
    closes = {} if close is None else {"A": close}
    known = references(["A"], NOON, trades, quotes, closes)
    if found is None:
        assert known == {}
    else:
        assert known["A"].price == pytest.approx(found[0])
        assert known["A"].source == found[1]


@pytest.mark.parametrize(
    ("now", "counted_from"),
    [
        ("2026-06-15T16:00", "2026-06-15T16:00"),
        ("2026-06-15T22:00", "2026-06-15T20:00"),  # after the close
        ("2026-06-14T16:00", "2026-06-12T20:00"),  # a Sunday
        ("2026-06-15T13:30", "2026-06-15T13:30"),  # at the open the last session's trades are old
    ],
)
def test_ages_are_counted_from_when_the_exchange_was_open(now: str, counted_from: str) -> None:
    then, since = (dt.datetime.fromisoformat(t).replace(tzinfo=dt.UTC) for t in (now, counted_from))
    assert open_moment(then) == since


prices = st.floats(allow_nan=True, allow_infinity=True)
seconds = st.integers(-60, 100_000).map(ago)


@given(prices, prices, prices, prices, seconds, seconds)
def test_whatever_is_quoted_a_price_is_above_zero_and_finite(
    price: float, bid: float, ask: float, close: float, traded: dt.datetime, quoted: dt.datetime
) -> None:
    trades, quotes = {"A": Trade(price, traded)}, {"A": Quote(bid, ask, quoted)}
    for found in references(["A"], NOON, trades, quotes, {"A": close}).values():
        assert 0 < found.price < float("inf")
        assert found.price in (price, close) or bid <= found.price <= ask

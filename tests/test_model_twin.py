"""A day traded again on bars: what is asked for, and which prices it goes by."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from astra.errors import DataError, InsufficientDataError
from astra.sessions import sessions_between
from model.backtest.fills import Costs, Tape
from model.panel import Panel, build
from model.twin import on_its_scale, open_at, read_day, replay

(SESSION,) = sessions_between(
    dt.datetime(2026, 1, 12, tzinfo=dt.UTC), dt.datetime(2026, 1, 13, tzinfo=dt.UTC)
)
TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
COSTS = Costs(half_spread_bp=2.0, fee_bp=0.3, max_order_weight=1.0)


def a_panel(**prices: float) -> Panel:
    """A session in which each name's open and close are one price, but for the last bar: 1 more."""
    frames = [
        pd.DataFrame({"ticker": name, "ts": SESSION.grid(), "open": price, "close": price})
        for name, price in prices.items()
    ]
    found = build(pd.concat(frames))
    found.close[-1] += 1.0
    return found


def question(**changes: Any) -> dict[str, Any]:
    at = TEN.isoformat()
    wanted = {"as_of": at, "known_at": at, "weights": {"AAPL": 0.5}, "keep": []}
    book = {"cash": "1000.00", "shares": {"JPM": "2"}}
    return {"book": book, "decisions": [wanted | changes], "fills": [["AAPL", at]]}


def asked(**changes: Any) -> bytes:
    return json.dumps(question(**changes)).encode()


def test_a_day_is_bought_at_the_next_open_half_a_spread_above() -> None:
    tape = Tape(a_panel(AAPL=100.0, JPM=50.0))
    found = replay(read_day(asked(keep=["JPM"])), [tape], tape, COSTS)
    assert found["opening"] == {"AAPL": 100.0, "JPM": 50.0}
    assert found["closing"] == {"AAPL": 101.0, "JPM": 51.0}
    (step,) = found["steps"]
    assert step["fills"] == [
        {"symbol": "AAPL", "side": "buy", "qty": "5.500000000", "price": "100.020000", "fee": "0"}
    ]


def test_what_a_decision_saw_counts_in_its_plan_and_not_in_its_fills() -> None:
    seen, printed = Tape(a_panel(AAPL=110.0, JPM=50.0)), Tape(a_panel(AAPL=100.0, JPM=50.0))
    (step,) = replay(read_day(asked(keep=["JPM"])), [seen], printed, COSTS)["steps"]
    (fill,) = step["fills"]
    assert (fill["qty"], fill["price"]) == ("5.000000000", "100.020000")


def test_of_a_larger_account_the_capital_is_managed() -> None:
    tape = Tape(a_panel(AAPL=100.0, JPM=50.0))
    (step,) = replay(read_day(asked(keep=["JPM"])), [tape], tape, COSTS, capital=400.0)["steps"]
    assert [fill["qty"] for fill in step["fills"]] == ["2.000000000"]


def test_a_file_in_the_last_five_minutes_trades_nothing_more() -> None:
    tape = Tape(a_panel(AAPL=100.0, JPM=50.0))
    late = (SESSION.closes_at - dt.timedelta(minutes=1)).isoformat()
    (step,) = replay(read_day(asked(as_of=late)), [tape], tape, COSTS)["steps"]
    assert step["fills"] == []


def test_a_holding_without_a_price_is_told_by_name() -> None:
    tape = Tape(a_panel(AAPL=100.0))
    with pytest.raises(InsufficientDataError, match="JPM had none by 2026-01-12 15:00"):
        replay(read_day(asked()), [tape], tape, COSTS)


def test_prices_that_a_split_has_restated_since_are_counted_as_they_were() -> None:
    then, now = a_panel(AAPL=100.0, JPM=50.0), a_panel(AAPL=24.25, JPM=50.5)
    found = on_its_scale(now, then)
    assert found.close[-1] == pytest.approx([101.0, 51.5])  # JPM was corrected, AAPL split
    assert found.open[0] == pytest.approx([24.25 * 101.0 / 25.25, 50.5])
    assert np.array_equal(on_its_scale(then, then).close, then.close)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps(question() | {"book": {"cash": "much", "shares": {}}}).encode(),
        json.dumps(question() | {"decisions": []}).encode(),
        asked(as_of="2026-01-12T15:00:00"),
        asked(as_of="2026-01-11T15:00:00+00:00"),
        asked(weights=[1]),
        json.dumps(question() | {"fills": [["AAPL", "noon"]]}).encode(),
    ],
)
def test_a_question_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(DataError, match="a twin needs"):
        read_day(raw)


def test_decisions_of_two_days_or_out_of_order_are_refused() -> None:
    first = question()["decisions"][0]
    for hours in (24, -1):
        other = first | {"as_of": (TEN + dt.timedelta(hours=hours)).isoformat()}
        body = question() | {"decisions": [first, other]}
        with pytest.raises(DataError, match="found 2: ask for one day"):
            read_day(json.dumps(body).encode())


def test_the_open_of_the_bar_of_a_fill_is_told_where_there_is_one() -> None:
    panel = a_panel(AAPL=100.0, JPM=50.0)
    panel.open[6] = [102.0, np.nan]
    for minutes, expected in ((0, 102.0), (4.9, 102.0), (5, 100.0)):
        assert open_at(panel, "AAPL", TEN + dt.timedelta(minutes=minutes)) == expected
    assert open_at(panel, "JPM", TEN) is None
    assert open_at(panel, "XOM", TEN) is None
    assert open_at(panel, "AAPL", SESSION.closes_at) is None
    assert open_at(panel, "AAPL", SESSION.opens_at - dt.timedelta(seconds=1)) is None


def test_shares_are_exact() -> None:
    assert read_day(asked()).book.shares == {"JPM": Decimal(2)}
    assert read_day(asked()).symbols == ("AAPL", "JPM")

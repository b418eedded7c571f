"""The risk gate's rules: each has a code, a limit, and something just inside it that passes."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import limits

from astra.records import PlannedOrder, Side, TradingState
from astra.risk import (
    RULES,
    UNKNOWN,
    Limits,
    Mark,
    Situation,
    denied_by_state,
    deny,
    fallen,
    growth,
    mark_of,
)
from astra.risk.__main__ import page
from astra.risk.mark import NIGHT_BARS, bars_since
from astra.settings import HOUSE, Settings

NOW = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
DAY, MINUTE, SECOND = dt.timedelta(days=1), dt.timedelta(minutes=1), dt.timedelta(seconds=1)
BUY = PlannedOrder("A", Side.BUY, Decimal(10), 100.0, "")
SELL = replace(BUY, side=Side.SELL)
LIMITS = limits(max_position_weight=0.3, max_order_usd=2000.0)
# An account of 10,000 USD, 2,000 of it in A at about 100 USD, on a quiet morning.
CALM = Situation(
    equity=10_000.0,
    gross=2_000.0,
    now=NOW,
    closes_at=CLOSE,
    expires_at=NOW + 30 * MINUTE,
    trained_until=NOW - 30 * DAY,
    coverage=0.9,
    position=2_000.0,
    held=Decimal(25),
    cash=8_000.0,
    mark=Mark(100.0, 0.01),
    orders=3,
    orders_today=40,
    day_return=0.001,
    drawdown=0.01,
    reject_rate=0.0,
)
TOO_FAR = 100 * math.exp(0.0801)  # eight deviations of 1 % and a little
NEAR = 100 * math.exp(0.0799)
# code, an order and what differs from the calm: beyond the limit, and just inside it
EDGES: list[tuple[str, PlannedOrder, dict[str, Any], PlannedOrder, dict[str, Any]]] = [
    ("NO_VALUE", replace(BUY, qty=Decimal(0)), {}, replace(BUY, qty=Decimal("1e-9")), {}),
    ("NO_VALUE", replace(SELL, reference_price=math.nan), {}, SELL, {}),
    ("HALTED", SELL, {"state": TradingState.HALTED}, SELL, {"state": TradingState.REDUCING}),
    ("REDUCING", BUY, {"state": TradingState.REDUCING}, BUY, {"state": TradingState.ACTIVE}),
    ("ACCOUNT_BLOCKED", SELL, {"is_blocked": True}, SELL, {"is_blocked": False}),
    ("MARKET_CLOSED", SELL, {"is_open": False}, SELL, {"is_open": True}),
    (
        "MARKET_CLOSING", SELL, {"closes_at": NOW + 5 * MINUTE},
        SELL, {"closes_at": NOW + 5 * MINUTE + SECOND},
    ),
    ("STALE_ALLOCATION", SELL, {"expires_at": NOW}, SELL, {"expires_at": NOW + SECOND}),
    ("NO_EQUITY", SELL, {"equity": 0.0}, SELL, {"equity": 0.01}),
    (
        "MODEL_AGE", BUY, {"trained_until": NOW - 366 * DAY},
        BUY, {"trained_until": NOW - 366 * DAY + SECOND},
    ),
    ("COVERAGE", BUY, {"coverage": 0.4999}, BUY, {"coverage": 0.5}),
    ("COVERAGE", BUY, {"coverage": math.nan}, BUY, {"coverage": None}),
    ("DAILY_LOSS", BUY, {"day_return": -0.0501}, BUY, {"day_return": -0.05}),
    ("DAILY_LOSS", BUY, {"day_return": math.nan}, BUY, {"day_return": None}),
    ("DRAWDOWN", BUY, {"drawdown": 0.2001}, BUY, {"drawdown": 0.2}),
    ("REJECT_RATE", SELL, {"reject_rate": 0.51}, SELL, {"reject_rate": 0.5}),
    ("ORDERS_REBALANCE", SELL, {"orders": 200}, SELL, {"orders": 199}),
    ("ORDERS_DAY", SELL, {"orders_today": 1000}, SELL, {"orders_today": 999}),
    (
        "PRICE_COLLAR", replace(BUY, reference_price=TOO_FAR), {},
        replace(BUY, reference_price=NEAR), {"position": 0.0},
    ),
    ("PRICE_COLLAR", SELL, {"mark": Mark(62.4, 0.01)}, SELL, {"mark": Mark(62.6, 0.01)}),
    ("PRICE_COLLAR", SELL, {"mark": Mark(166.7, 0.01)}, SELL, {"mark": Mark(166.6, 0.01)}),
    ("PRICE_COLLAR", SELL, {"mark": Mark(50.0, 9.0)}, SELL, {"mark": UNKNOWN}),
    ("PRICE_COLLAR", BUY, {"mark": UNKNOWN}, BUY, {"mark": None}),
    (
        "ORDER_VALUE", BUY, {"equity": 3_999.0, "position": 0.0},
        BUY, {"equity": 4_000.0, "position": 0.0},
    ),
    (
        "ORDER_VALUE", replace(BUY, qty=Decimal("20.01")), {"position": 0.0},
        replace(BUY, qty=Decimal(20)), {"position": 0.0},
    ),
    ("POSITION_WEIGHT", BUY, {"position": 2_000.01}, BUY, {"position": 2_000.0}),
    ("GROSS_EXPOSURE", BUY, {"gross": 9_000.01}, BUY, {"gross": 9_000.0}),
    ("OVERSOLD", SELL, {"held": Decimal("9.999999999")}, SELL, {"held": Decimal(10)}),
    ("CASH", BUY, {"cash": 999.99}, BUY, {"cash": 1_000.0}),
    ("CASH", BUY, {"unpriced": "the open order 1 to buy B"}, BUY, {"unpriced": ""}),
]  # fmt: skip
# What sales pass because they lower the risk.
FREE_FOR_SALES = {
    "REDUCING", "MODEL_AGE", "COVERAGE", "DAILY_LOSS", "DRAWDOWN", "ORDER_VALUE",
    "POSITION_WEIGHT", "GROSS_EXPOSURE", "CASH",
}  # fmt: skip


def code_of(order: PlannedOrder, situation: Situation, limits: Limits = LIMITS) -> str | None:
    denial = deny(order, situation, limits)
    return denial.code.removeprefix("RISK_") if denial else None


@pytest.mark.parametrize(("code", "order", "change", "inside", "calm"), EDGES)
def test_beyond_a_limit_an_order_is_denied_and_just_inside_it_passes(
    code: str,
    order: PlannedOrder,
    change: dict[str, Any],
    inside: PlannedOrder,
    calm: dict[str, Any],
) -> None:
    assert code_of(order, replace(CALM, **change)) == code
    assert code_of(inside, replace(CALM, **calm)) is None


def test_every_rule_has_its_own_code_and_an_edge_that_is_tested() -> None:
    codes = [rule.code.removeprefix("RISK_") for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert {edge[0] for edge in EDGES} == set(codes)
    assert all(rule.code.startswith("RISK_") for rule in RULES)


@pytest.mark.parametrize(("code", "order", "change"), [edge[:3] for edge in EDGES])
def test_sales_that_lower_the_risk_pass_and_others_do_not(
    code: str, order: PlannedOrder, change: dict[str, Any]
) -> None:
    if code in FREE_FOR_SALES:
        assert code_of(replace(order, side=Side.SELL), replace(CALM, **change)) is None
    rule = next(rule for rule in RULES if rule.code == f"RISK_{code}")
    assert rule.sells == (code not in FREE_FOR_SALES)


def test_a_denial_names_the_symbol_and_the_figures() -> None:
    denial = deny(BUY, replace(CALM, day_return=-0.0731), LIMITS)
    assert denial is not None
    assert denial.reason == "A: the day has lost 7.31%, over 5.00%"


def test_the_accounts_state_alone_is_asked_by_the_same_rules() -> None:
    for state in TradingState:
        for order in (BUY, SELL):
            alone = denied_by_state(order, state)
            assert alone == deny(order, replace(CALM, state=state), LIMITS)
            assert (alone is None) == state.allows(order.side)


def test_a_sale_is_not_kept_from_a_falling_market_and_a_purchase_is() -> None:
    fallen = replace(CALM, mark=Mark(140.0, 0.01))
    assert code_of(SELL, fallen) is None
    assert code_of(BUY, fallen) == "PRICE_COLLAR"
    split = deny(SELL, replace(CALM, mark=Mark(200.0, 0.01)), LIMITS)
    assert split is not None
    assert split.reason == (
        "A: 100.0000 USD is 0.50 times the last close 200.0000: a split, or wrong"
    )


def test_an_allocation_without_a_model_has_neither_age_nor_coverage() -> None:
    assert code_of(BUY, replace(CALM, trained_until=None, coverage=None)) is None
    ancient = replace(CALM, trained_until=NOW - 4000 * DAY)
    assert code_of(BUY, ancient, replace(LIMITS, model_max_age_days=0)) is None


def test_a_backtest_asks_with_equity_and_positions_alone() -> None:
    assert code_of(BUY, Situation(10_000.0, 0.0), limits()) is None
    assert code_of(BUY, Situation(10_000.0, 9_500.0), limits()) == "GROSS_EXPOSURE"
    assert code_of(BUY, Situation(3_000.0, 0.0), limits()) == "ORDER_VALUE"
    assert code_of(SELL, Situation(10_000.0, 12_000.0), limits()) is None


def test_the_settings_name_every_limit() -> None:
    assert set(Limits.__slots__) <= set(Settings.model_fields)
    read = {name for rule in RULES for name in rule.settings}
    assert read == set(Limits.__slots__)


def test_the_page_of_the_rules_is_up_to_date() -> None:
    written = (HOUSE / "docs" / "risk.md").read_text()
    assert written == page(), "write it again: python -m astra.risk > docs/risk.md"


odd = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, -0.0, 5e-324, 1e308]),
    st.floats(-1e5, 1e5),
)
odd_or_none = st.none() | odd
odd_qty = st.sampled_from(
    [Decimal(text) for text in ("NaN", "sNaN", "Infinity", "-Infinity", "0", "-5", "1e400")]
) | st.decimals("0.001", "500", places=3)
times = st.none() | st.datetimes(timezones=st.just(dt.UTC))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    return Situation(
        equity=draw(odd),
        gross=draw(odd),
        is_open=draw(st.sampled_from([True, True, True, False])),
        state=draw(st.sampled_from([TradingState.ACTIVE, *TradingState])),
        now=draw(times),
        closes_at=draw(times),
        expires_at=draw(times),
        trained_until=draw(times),
        coverage=draw(odd_or_none),
        position=draw(odd_or_none),
        held=draw(st.none() | odd_qty),
        cash=draw(odd_or_none),
        mark=draw(st.none() | st.builds(Mark, odd, odd)),
        orders=draw(st.none() | st.integers(-5, 2000)),
        orders_today=draw(st.none() | st.integers(-5, 2000)),
        day_return=draw(odd_or_none),
        drawdown=draw(odd_or_none),
        reject_rate=draw(odd_or_none),
    )


@given(st.sampled_from(Side), odd_qty, odd, situations())
def test_whatever_the_situation_the_gate_answers_and_lets_nothing_unknown_be_bought(
    side: Side, qty: Decimal, price: float, situation: Situation
) -> None:
    order = PlannedOrder("A", side, qty, price, "")
    denial = deny(order, situation, LIMITS)
    if denial is not None:
        assert denial.code.startswith("RISK_")
        assert denial.reason.startswith("A: ")
        return
    assert qty.is_finite()
    assert qty > 0
    assert 0 < price < math.inf
    assert 0 < situation.equity < math.inf
    assert situation.state.allows(side)
    value = float(qty) * price
    if side is Side.SELL:
        assert situation.held is None or qty <= situation.held
        return
    assert value <= LIMITS.max_order_weight * situation.equity
    assert situation.gross + value <= situation.equity
    assert situation.cash is None or value <= situation.cash
    known = (situation.position, situation.day_return, situation.drawdown, situation.coverage)
    assert not any(x is not None and math.isnan(x) for x in known)
    assert situation.mark is None or situation.mark.sigmas(price) <= LIMITS.price_collar_sigmas


@given(st.sampled_from(["equity", "gross", "position", "cash", "day_return", "drawdown"]))
def test_what_should_be_known_and_is_not_denies_a_purchase(name: str) -> None:
    assert deny(BUY, CALM, LIMITS) is None
    assert deny(BUY, replace(CALM, **{name: math.nan}), LIMITS) is not None  # type: ignore[arg-type]


def grid(start: dt.datetime, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return int(start.timestamp()) + 300 * np.arange(count)


def test_the_deviation_is_that_of_the_five_minute_returns_times_the_root_of_the_time() -> None:
    moves = np.tile([0.002, -0.002], 30)
    closes = 100 * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))
    ts = grid(dt.datetime(2026, 1, 12, 14, 30, tzinfo=dt.UTC), 61)
    last_close_at = dt.datetime.fromtimestamp(int(ts[-1]) + 300, dt.UTC)
    assert mark_of(ts, closes, last_close_at).deviation == pytest.approx(0.002)
    later = mark_of(ts, closes, last_close_at + 45 * MINUTE)
    assert later.deviation == pytest.approx(0.002 * 3)
    assert later.close == pytest.approx(100.0)
    # to the close are 78 - 61 bars, then a night, then half an hour of Tuesday
    overnight = mark_of(ts, closes, dt.datetime(2026, 1, 13, 15, 0, tzinfo=dt.UTC))
    assert overnight.deviation == pytest.approx(0.002 * math.sqrt(17 + NIGHT_BARS + 6))


def test_a_night_or_a_hole_between_two_bars_is_no_return_of_five_minutes() -> None:
    monday = grid(dt.datetime(2026, 1, 12, 20, 30, tzinfo=dt.UTC), 6)
    tuesday = grid(dt.datetime(2026, 1, 13, 14, 30, tzinfo=dt.UTC), 30)
    wobble = np.tile([1.0, 1.003], 18)
    closes = np.concatenate([np.full(6, 100.0), np.full(30, 150.0)]) * wobble
    now = dt.datetime.fromtimestamp(int(tuesday[-1]) + 300, dt.UTC)
    found = mark_of(np.concatenate([monday, tuesday]), closes, now)
    assert found.deviation == pytest.approx(math.log(1.003), rel=1e-6)


def test_no_bars_are_an_unknown_mark_and_few_have_the_usual_deviation() -> None:
    none = mark_of(np.empty(0, np.int64), np.empty(0), NOW)
    assert math.isnan(none.close)
    two = mark_of(grid(NOW - 10 * MINUTE, 2), np.array([math.nan, 50.0]), NOW)
    assert two == Mark(50.0, 0.003)


def test_a_weekend_is_one_night() -> None:
    friday = dt.datetime(2026, 1, 9, 21, 0, tzinfo=dt.UTC)
    assert bars_since(friday, NOW) == NIGHT_BARS + 6


def test_deposits_and_withdrawals_are_no_gains_and_no_losses() -> None:
    assert growth(100.0, 150.0, 50.0) == 0.0
    assert growth(100.0, 30.0, -70.0) == 0.0
    assert growth(100.0, 90.0, 0.0) == pytest.approx(-0.1)
    assert growth(0.0, 100.0, 0.0) is None
    day = [NOW + i * DAY for i in range(5)]
    values = list(zip(day, [100.0, 80.0, 180.0, 90.0, 99.0], strict=True))
    flows = [(day[2] - MINUTE, 100.0), (day[3], -90.0)]
    found = fallen(values, flows)
    assert found is not None
    assert found.share == pytest.approx(1 - 0.8 * 1.1)
    assert fallen(values[:1], flows) is None


@given(st.lists(st.floats(0.5, 1.5), min_size=1, max_size=8), st.data())
def test_the_drawdown_is_that_of_the_returns_whatever_is_paid_in_or_out_between(
    steps: list[float], data: st.DataObject
) -> None:
    values, flows, equity, index = [(NOW, 1000.0)], [], 1000.0, [1.0]
    for i, step in enumerate(steps, start=1):
        equity *= step
        index.append(index[-1] * step)
        out = data.draw(st.floats(0.0, 0.5)) * equity  # gone at the end of the step
        equity -= out
        flows.append((NOW + i * DAY, -out))
        values.append((NOW + i * DAY, equity))
    found = fallen(values, flows)
    assert found is not None
    peak = max(1.0, *map(min, pairwise(index[1:])), index[-1])  # confirmed by the day after
    assert found.share == pytest.approx(1 - index[-1] / peak, abs=1e-9)

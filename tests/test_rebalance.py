"""Plans: what is sold, what is bought, what is left alone; and the gate."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import limits

from astra.phases import after_sells, lines_of_buys, plan_both
from astra.rebalance import Holdings, Plan, Rules, drift, plan_orders
from astra.records import Asset, PlanLine, PlannedOrder, Position, Side
from astra.risk import Situation, deny

RULES = Rules(drift_band=0.001, min_order_usd=1.0)


def holdings(
    cash: float,
    positions: dict[str, tuple[str, float]] | None = None,
    prices: dict[str, float] | None = None,
    fractionable: bool = True,
    untradable: frozenset[str] = frozenset(),
) -> Holdings:
    held = [Position(s, Decimal(q), p, p) for s, (q, p) in (positions or {}).items()]
    known = {**{p.symbol: p.market_price for p in held}, **(prices or {})}
    assets = {s: Asset(s, s, s not in untradable, fractionable) for s in known}
    equity = cash + sum(float(p.qty) * p.market_price for p in held)
    return Holdings(held, known, assets, equity, cash, cash)


def orders(plan: Plan) -> list[tuple[str, str, float]]:
    return [(o.symbol, o.side.value, float(o.qty)) for o in (*plan.sells, *plan.buys)]


def test_an_empty_account_buys_its_targets() -> None:
    plan = plan_orders({"A": 0.5, "B": 0.25}, holdings(1000, prices={"A": 100, "B": 40}), RULES)
    assert orders(plan) == [("A", "buy", 5.0), ("B", "buy", 6.25)]


def test_whole_shares_where_fractions_are_not_allowed() -> None:
    start = holdings(1000, prices={"A": 300}, fractionable=False)
    assert orders(plan_orders({"A": 0.8}, start, RULES)) == [("A", "buy", 2.0)]


def test_a_holding_without_a_target_is_sold_out_to_the_last_fraction() -> None:
    start = holdings(0, {"A": ("1.123456789", 100)})
    assert orders(plan_orders({}, start, RULES)) == [("A", "sell", 1.123456789)]


def test_small_differences_are_left_alone_and_said_so() -> None:
    start = holdings(500, {"A": ("5", 100)})
    plan = plan_orders({"A": 0.5005}, start, RULES)
    assert orders(plan) == []
    assert "under 1.00" in plan.lines[0].reason


def test_sells_come_first_and_buys_spend_only_the_cash_that_is_there() -> None:
    start = holdings(20, {"A": ("10", 100)}, {"B": 50})
    plan = plan_orders({"B": 0.98}, start, RULES)
    assert [o.side for o in plan.sells] == [Side.SELL]
    assert sum(float(o.qty) * o.reference_price for o in plan.buys) <= 20


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (holdings(1000), "unknown to the broker"),
        (holdings(1000, prices={"A": 10}, untradable=frozenset({"A"})), "not tradable"),
        (holdings(1000, prices={"A": 0.0}), "no price"),
    ],
)
def test_what_cannot_be_traded_is_skipped_and_its_weight_stays_cash(
    start: Holdings, reason: str
) -> None:
    plan = plan_orders({"A": 0.5}, start, RULES)
    assert orders(plan) == []
    assert reason in plan.lines[0].reason


def test_a_sale_of_the_last_dust_is_no_order_too_small() -> None:
    plan = plan_orders({}, holdings(100, {"A": ("0.000000003", 100)}), RULES)
    assert [(o.symbol, o.qty) for o in plan.sells] == [("A", Decimal("0.000000003"))]


def test_quantities_have_nine_decimals() -> None:
    plan = plan_orders({"A": 0.5}, holdings(1000, prices={"A": 300}), RULES)
    assert [o.qty for o in plan.buys] == [Decimal("1.666666666")]


def test_whole_shares_overshoot_neither_up_nor_down() -> None:
    start = holdings(1000, {"A": ("5", 100), "B": ("9", 100)}, fractionable=False)
    plan = plan_orders({"A": 0.2499, "B": 0.2}, start, RULES)  # 5.9976 and 4.8 shares
    assert orders(plan) == [("B", "sell", 4.0)]
    assert {line.symbol: line.reason for line in plan.lines} == {
        "A": "difference of less than a share", "B": "",
    }  # fmt: skip


def test_each_name_is_traded_by_its_own_asset() -> None:
    start = holdings(1000, prices={"A": 300.0, "B": 300.0})
    assets = {"A": Asset("A", "A", True, True), "B": Asset("B", "B", True, False)}
    plan = plan_orders({"A": 0.4, "B": 0.4}, replace(start, assets=assets), RULES)
    assert orders(plan) == [("A", "buy", 1.333333333), ("B", "buy", 1.0)]


def test_shares_held_by_open_orders_are_not_sold() -> None:
    position = Position("A", Decimal(10), 100.0, 100.0, qty_available=Decimal("2.5"))
    start = replace(holdings(0, {"A": ("10", 100)}), positions=[position])
    plan = plan_orders({}, start, RULES)
    assert orders(plan) == [("A", "sell", 2.5)]
    (line,) = plan.lines
    assert line.parts["limit"] == pytest.approx(0.75)
    assert line.reason == "only 2.5 shares are free to sell"


def test_sells_and_buys_keep_the_turnover_and_are_scaled_alike() -> None:
    rules = replace(RULES, max_turnover=0.6, cash_buffer=0.0)
    start = replace(holdings(0, {"A": ("10", 100)}, {"B": 50.0}), buying_power=1000.0)
    first = plan_orders({"B": 1.0}, start, rules)  # 2 x 1000 USD are wanted, 600 are allowed
    assert orders(first) == [("A", "sell", 3.0)]
    second = plan_orders({"B": 1.0}, after_sells(start, first.sells), rules)
    assert second.sells == ()
    assert orders(second) == [("B", "buy", 6.0)]
    assert "scaled by 0.300 to the turnover" in second.buys[0].reason


def test_what_whole_shares_leave_of_a_sell_out_stays_and_is_said() -> None:
    start = holdings(1000, {"A": ("7.5", 100), "B": ("0.5", 100)}, fractionable=False)
    plan = plan_orders({}, start, RULES)
    assert [(o.symbol, o.side, str(o.qty)) for o in plan.sells] == [("A", Side.SELL, "7")]
    kept = "0.5 of a share stays: only whole ones can be traded"
    assert {line.symbol: line.reason for line in plan.lines} == {"A": kept, "B": kept}
    assert kept in plan.sells[0].reason


def test_a_target_above_what_one_position_may_weigh_is_cut_to_it() -> None:
    rules = replace(RULES, max_position_weight=0.25, cash_buffer=0.0)
    start = holdings(4000, {"OVER": ("30", 100), "AT": ("25", 100)}, {"NEW": 100.0})
    start = replace(start, equity=10_000.0)
    plan = plan_orders({"OVER": 0.3, "AT": 0.28, "NEW": 0.3}, start, rules)
    assert orders(plan) == [("OVER", "sell", 5.0), ("NEW", "buy", 24.875)]
    for line in plan.lines:
        assert line.reason == "limited to 25% of equity"
        limited, rounding = line.parts["limit"], line.parts["rounding"]
        assert line.weight_planned == pytest.approx(line.weight_target + limited + rounding)
        assert rounding == pytest.approx(0.0, abs=1e-9)
    assert "to 30.00% of equity, limited to 25% of equity" in plan.buys[0].reason


def test_a_purchase_is_cut_to_what_may_be_in_one_order() -> None:
    start = holdings(10_000, prices={"A": 100.0})
    by_weight = replace(RULES, max_order_weight=0.1)
    assert orders(plan_orders({"A": 0.3}, start, by_weight)) == [("A", "buy", 9.95)]
    by_usd = replace(by_weight, max_order_usd=500.0)
    (line,) = plan_orders({"A": 0.3}, start, by_usd).lines
    assert line.weight_planned == pytest.approx(0.04975)
    assert line.reason == "limited to 500.00 USD in one order"


def test_a_sale_is_not_cut_to_what_may_be_in_one_order() -> None:
    start = holdings(0, {"A": ("100", 100)})
    assert orders(plan_orders({}, start, replace(RULES, max_order_weight=0.1)))[0][2] == 100.0


@given(
    prices=st.lists(st.floats(0.5, 900.0), min_size=3, max_size=3),
    held=st.lists(st.integers(0, 60), min_size=3, max_size=3),
    weights=st.lists(st.floats(0.0, 0.33), min_size=3, max_size=3),
    drift=st.floats(0.999, 1.001),
    is_fractionable=st.booleans(),
    position=st.sampled_from([0.1, 0.25, 1.0]),
    order=st.sampled_from([0.05, 0.25, 1.0]),
    usd=st.sampled_from([0.0, 777.7]),
    collar=st.sampled_from([0.0, 0.002]),
)
def test_no_purchase_is_planned_that_the_gate_denies_for_its_size(
    prices: list[float],
    held: list[int],
    weights: list[float],
    drift: float,
    is_fractionable: bool,
    position: float,
    order: float,
    usd: float,
    collar: float,
) -> None:
    names = ("A", "B", "C")
    known = dict(zip(names, prices, strict=True))
    have = {n: (str(q), known[n] * drift) for n, q in zip(names, held, strict=True) if q}
    start = holdings(50_000, have, known, is_fractionable)
    rules = replace(
        RULES,
        collar=collar,
        max_position_weight=position,
        max_order_weight=order,
        max_order_usd=usd,
    )
    allowed = limits(max_position_weight=position, max_order_weight=order, max_order_usd=usd)
    values = {p.symbol: float(p.qty) * p.market_price for p in start.positions}
    plan = plan_orders(dict(zip(names, weights, strict=True)), start, rules)
    for bought in plan.buys:
        sent = replace(bought, reference_price=bought.reference_price * (1 + collar))
        there = values.get(bought.symbol, 0.0)
        assert deny(sent, Situation(start.equity * 0.999, 0.0, position=there), allowed) is None


def test_on_a_cash_account_what_is_sold_buys_nothing_yet() -> None:
    start = replace(holdings(100, {"A": ("10", 100)}, {"B": 50.0}), settles_later=True)
    plan = plan_both({"B": 0.9}, start, RULES)
    assert orders(plan)[0] == ("A", "sell", 10.0)
    assert sum(float(o.qty) * o.reference_price for o in plan.buys) <= 100.0
    freed = after_sells(start, plan.sells)
    assert (freed.cash, freed.buying_power, freed.sold) == (100.0, 100.0, 1000.0)


def test_what_rounding_leaves_of_scarce_cash_buys_what_is_furthest_from_its_target() -> None:
    start = holdings(1000, prices={"A": 400.0, "B": 30.0}, fractionable=False)
    start = replace(start, buying_power=2000.0)
    plan = plan_orders({"A": 0.8, "B": 0.6}, start, replace(RULES, cash_buffer=0.0))
    assert orders(plan) == [("A", "buy", 1.0), ("B", "buy", 20.0)]  # 14 of B, and 6 for the rest


def test_a_line_tells_where_each_name_goes_and_why_no_further() -> None:
    start = holdings(1000, {"A": ("5", 100), "OFF": ("5", 100)}, {"B": 40.0, "C": 100.0})
    start = replace(start, buying_power=2000.0, decision_prices={"B": 41.0})
    rules = replace(RULES, hold=frozenset({"OFF"}))
    plan = plan_orders({"A": 0.25, "B": 0.6, "C": 0.0001, "?": 0.1}, start, rules)
    found = {line.symbol: line for line in plan.lines}
    assert list(found) == ["?", "A", "B", "C", "OFF"]
    assert found["?"] == PlanLine(
        "?", None, 0.0, 0.1, 0.0, {"limit": -0.1, "rounding": 0.0},
        "unknown to the broker: its weight stays cash",
    )  # fmt: skip
    assert (found["A"].reason, found["A"].weight_planned) == ("", 0.25)
    assert found["B"].decision_price == 41.0
    assert found["B"].weight_planned == pytest.approx(0.49)  # the cash less the buffer
    assert found["B"].parts == {"limit": pytest.approx(-0.11), "rounding": pytest.approx(0)}
    assert found["C"].parts == {"limit": 0.0, "rounding": -0.0001}
    assert found["OFF"].parts == {"limit": 0.25, "rounding": 0.0}


def test_buys_leave_room_for_a_limit_order_that_fills_at_its_limit() -> None:
    start = replace(holdings(1000, prices={"A": 100.0}), buying_power=2000.0)
    rules = replace(RULES, cash_buffer=0.0, collar=0.05)
    (order,) = plan_orders({"A": 1.0}, start, rules).buys
    assert float(order.qty) * 105.0 == pytest.approx(1000.0)


def test_both_phases_at_once_buy_with_what_the_sells_raise() -> None:
    start = holdings(0, {"A": ("10", 100)}, {"B": 50.0})
    plan = plan_both({"B": 0.9}, start, RULES)
    assert orders(plan) == [("A", "sell", 10.0), ("B", "buy", 18.0)]
    assert [(ln.symbol, ln.weight_planned) for ln in plan.lines] == [("A", 0.0), ("B", 0.9)]


def test_the_second_phase_leaves_the_line_of_a_sale_and_sells_nothing_more() -> None:
    start = holdings(1000, {"A": ("5", 100), "B": ("5", 100)}, {"C": 50.0})
    plan = plan_orders({"B": 0.1, "C": 0.5}, start, RULES)
    late, bought = lines_of_buys(plan, {"A"})
    assert (late.symbol, late.weight_planned, late.parts["limit"]) == ("B", 0.25, 0.15)
    assert late.reason.startswith("above its target since the sales were planned")
    assert bought == plan.lines[-1]


def test_an_order_says_what_its_price_is_unless_a_fresh_trade() -> None:
    start = replace(holdings(1000, prices={"A": 100.0}), sources={"A": "a quote"})
    (order,) = plan_orders({"A": 0.5}, start, RULES).buys
    assert order.reason == "to 50.00% of equity, priced by a quote"


@pytest.mark.parametrize(
    ("held", "wanted", "moved"),
    [({}, {"A": 0.6}, 0.6), ({"A": 0.6}, {"B": 0.5}, 0.6), ({"A": 0.5}, {"A": 0.4}, 0.1)],
)
def test_drift_is_the_share_of_equity_out_of_its_place(
    held: dict[str, float], wanted: dict[str, float], moved: float
) -> None:
    assert drift(held, wanted) == pytest.approx(moved)
    assert drift(wanted, held) == pytest.approx(moved)
    assert drift(held, held) == 0


NAMES = "ABCDEFGH"
price_list = st.lists(st.floats(0.5, 2000), min_size=8, max_size=8)


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, float], Holdings, Rules]:
    """An account on margin, so that its cash binds; some names in whole shares, some on hold."""
    prices = dict(zip(NAMES, draw(price_list), strict=True))
    named = st.sampled_from(NAMES)
    part = st.integers(1, 400_000_000_000).map(lambda n: Decimal(n).scaleb(-9))
    held = draw(st.dictionaries(named, st.one_of(part, st.integers(1, 400).map(Decimal))))
    wanted = draw(st.dictionaries(named, st.floats(0.0, 1.0), max_size=6))
    total = max(1.0, sum(wanted.values()))
    whole = draw(st.frozensets(named))
    cash = draw(st.one_of(st.floats(0, 100_000), st.just(0.0)))
    positions = [Position(s, q, prices[s], prices[s]) for s, q in held.items()]
    value = sum(float(q) * prices[s] for s, q in held.items())
    start = Holdings(
        positions=positions,
        prices=prices,
        assets={s: Asset(s, s, True, s not in whole) for s in NAMES},
        equity=cash + value,
        cash=cash,
        buying_power=2 * cash + value,
    )
    rules = Rules(
        drift_band=draw(st.sampled_from([0.0, 0.001, 0.01])),
        min_order_usd=1.0,
        hold=draw(st.frozensets(named, max_size=2)),
        cash_buffer=draw(st.sampled_from([0.0, 0.01, 0.05])),
        max_turnover=draw(st.sampled_from([2.0, 2.0, 0.5, 0.05])),
    )
    return {s: w / total for s, w in wanted.items()}, start, rules


def filled(start: Holdings, traded: Sequence[PlannedOrder]) -> Holdings:
    """The account once the orders have filled at their prices."""
    qty = {p.symbol: p.qty for p in start.positions}
    cash = start.cash
    for order in traded:
        sign = 1 if order.side is Side.BUY else -1
        qty[order.symbol] = qty.get(order.symbol, Decimal(0)) + sign * order.qty
        cash -= sign * float(order.qty) * order.reference_price
    assert all(q >= 0 for q in qty.values()), "more was sold than held"
    prices = start.prices
    positions = [Position(s, q, prices[s], prices[s]) for s, q in qty.items() if q > 0]
    value = sum(float(p.qty) * p.market_price for p in positions)
    sold = sum(float(o.qty) * o.reference_price for o in traded if o.side is Side.SELL)
    return replace(
        start,
        positions=positions,
        equity=cash + value,
        cash=cash,
        buying_power=2 * cash + value,
        sold=start.sold + sold,
    )


def worth(traded: Sequence[PlannedOrder]) -> float:
    return sum(float(order.qty) * order.reference_price for order in traded)


@settings(max_examples=400, deadline=None)
@given(situations())
def test_no_more_is_spent_than_the_cash_and_replanning_after_the_fills_is_empty(
    given_: tuple[dict[str, float], Holdings, Rules],
) -> None:
    targets, start, rules = given_
    first = plan_orders(targets, start, rules)
    after = filled(start, first.sells)
    second = plan_orders(targets, after, rules)
    assert worth(second.buys) <= max(0.0, after.cash - rules.cash_buffer * after.equity) + 1e-6
    done = filled(after, second.buys)
    assert worth(first.sells) + worth(second.buys) <= rules.max_turnover * start.equity + 1e-3
    for order in (*first.sells, *second.buys):
        assert order.symbol not in rules.hold
        is_last = order.side is Side.SELL and not targets.get(order.symbol)
        assert worth([order]) >= rules.min_order_usd or is_last
        if not start.assets[order.symbol].fractionable and not is_last:
            assert order.qty == order.qty.to_integral_value()
    if rules.max_turnover == 2.0:
        assert second.sells == ()
        third = plan_orders(targets, done, rules)
        assert orders(third) == []


@settings(max_examples=400, deadline=None)
@given(situations())
def test_every_name_has_a_line_whose_parts_sum_and_whose_plan_is_where_the_fills_lead(
    given_: tuple[dict[str, float], Holdings, Rules],
) -> None:
    targets, start, rules = given_
    held = {p.symbol for p in start.positions}
    plan = plan_orders(targets, start, rules)
    assert [line.symbol for line in plan.lines] == sorted(held | targets.keys())
    reached = {
        p.symbol: float(p.qty) * p.market_price / start.equity if start.equity else 0.0
        for p in filled(start, (*plan.sells, *plan.buys)).positions
    }
    for line in plan.lines:
        assert sum(line.parts.values()) == pytest.approx(
            line.weight_planned - line.weight_target, abs=1e-12
        )
        assert line.weight_planned == pytest.approx(reached.get(line.symbol, 0.0), abs=1e-9)
        low, high = sorted((line.weight_before, line.weight_target))
        assert low - 1e-9 <= line.weight_planned <= high + 1e-9, "no trade overshoots"


@settings(max_examples=400, deadline=None)
@given(situations())
def test_weights_are_reached_within_rounding_and_the_drift_band_where_no_limit_binds(
    given_: tuple[dict[str, float], Holdings, Rules],
) -> None:
    targets, start, rules = given_
    rules = replace(rules, max_turnover=2.0, hold=frozenset(), cash_buffer=0.0)
    plan = plan_both({s: 0.9 * w for s, w in targets.items()}, start, rules)
    for line in plan.lines:
        fractionable = start.assets[line.symbol].fractionable
        step = start.prices[line.symbol] * (1e-9 if fractionable else 1.0)
        allowed = max(rules.drift_band * start.equity, rules.min_order_usd) + step
        assert "scaled" in line.reason or (
            abs(line.weight_planned - line.weight_target) * start.equity <= allowed + 1e-6
        )

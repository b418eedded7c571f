"""Plans: what is sold, what is bought, what is left alone; and the gate."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.rebalance import (
    Holdings,
    Plan,
    Rules,
    plan_orders,
)
from astra.records import Asset, Position, Side

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
    assert "under 1.00" in plan.skipped[0].reason


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
    assert reason in plan.skipped[0].reason


weights = st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(0.0, 0.2), max_size=5)
shares = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 400), max_size=5)
price_list = st.lists(st.floats(5, 500), min_size=8, max_size=8)


@settings(max_examples=200, deadline=None)
@given(weights, shares, price_list, st.floats(0, 100_000), st.booleans())
def test_a_plan_never_spends_more_than_the_cash_and_replanning_after_its_fills_is_empty(
    targets: dict[str, float], held: dict[str, int], listed: list[float], cash: float, frac: bool
) -> None:
    prices = dict(zip("ABCDEFGH", listed, strict=True))
    positions = {s: (str(q), prices[s]) for s, q in held.items()}
    start = holdings(cash, positions, prices, fractionable=frac)
    plan = plan_orders(targets, start, RULES)
    spent = sum(float(o.qty) * o.reference_price for o in plan.buys)
    assert spent <= max(0.0, cash - RULES.cash_buffer * start.equity) + 1e-6
    for order in plan.sells:
        assert order.qty <= Decimal(held[order.symbol])

    qty = {s: Decimal(q) for s, q in held.items()}
    for order in plan.sells:
        qty[order.symbol] -= order.qty
        cash += float(order.qty) * order.reference_price
    after_sells = holdings(cash, _held(qty, prices), prices, fractionable=frac)
    after_sells = Holdings(
        after_sells.positions, prices, start.assets, after_sells.equity, cash, 2 * cash
    )
    second = plan_orders(targets, after_sells, RULES)
    assert second.sells == ()
    for order in second.buys:
        qty[order.symbol] = qty.get(order.symbol, Decimal(0)) + order.qty
        cash -= float(order.qty) * order.reference_price
    assert cash >= -1e-6
    done = holdings(cash, _held(qty, prices), prices, fractionable=frac)
    done = Holdings(done.positions, prices, start.assets, done.equity, cash, 2 * cash)
    assert orders(plan_orders(targets, done, RULES)) == []


def _held(qty: dict[str, Decimal], prices: dict[str, float]) -> dict[str, tuple[str, float]]:
    return {s: (str(q), prices[s]) for s, q in qty.items() if q > 0}

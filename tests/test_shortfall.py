"""Implementation shortfall: a worked example, parts that sum, and what is not known."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.records import Activity, Side
from astra.shortfall import Shortfall, fees_by_order, of_all, of_line

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
prices = st.floats(0.01, 10_000)
shares = st.floats(0, 1e6)


def bought() -> Shortfall:
    """1,000 shares decided at 100.00, planned at 100.10, 800 of them filled at 100.25, then 101."""
    return of_line(
        Side.BUY, 1000, 800, 12.0, decision_price=100, price=100.1, average_price=100.25,
        last_price=101,
    )  # fmt: skip


def sold() -> Shortfall:
    """200 shares decided at 50.00, planned at 49.90, all sold at 49.80."""
    return of_line(
        Side.SELL, 200, 200, 3.0, decision_price=50, price=49.9, average_price=49.8, last_price=None
    )


def test_the_worked_example_of_a_purchase() -> None:
    found = bought()
    assert found.delay == pytest.approx(1000 * 0.10)
    assert found.execution == pytest.approx(800 * 0.15)
    assert found.fees == 12
    assert found.opportunity == pytest.approx(200 * 0.90)
    assert found.total == pytest.approx(412)
    assert found.bp(found.total) == pytest.approx(41.2)  # of 100,000 USD on paper


def test_a_sale_below_the_decisions_price_costs() -> None:
    found = sold()
    assert found.delay == found.execution == pytest.approx(20)
    assert found.opportunity == 0
    assert found.total == pytest.approx(43)
    assert found.bp(found.total) == pytest.approx(43)  # of 10,000 USD on paper


def test_an_allocation_is_the_sum_of_its_lines() -> None:
    found = of_all([bought(), sold()])
    assert found.value == pytest.approx(110_000)
    assert found.total == pytest.approx(455)
    assert found.bp(found.total) == pytest.approx(455 / 11)
    assert found.left_out == 0


def test_nothing_traded_costs_nothing_and_has_no_basis_points() -> None:
    found = of_all([])
    assert (found.total, found.value, found.bp(found.total)) == (0, 0, None)


@pytest.mark.parametrize("missing", [None, math.nan, 0.0, -1.0, math.inf])
def test_what_is_not_known_is_none_and_the_sum_leaves_it_out(missing: float | None) -> None:
    known = {"decision_price": 100.0, "price": 100.1, "average_price": 100.2, "last_price": 101.0}
    for name, lacking in {
        "decision_price": {"value", "delay"},
        "price": {"delay", "execution", "opportunity"},
        "average_price": {"execution"},
        "last_price": {"opportunity"},
    }.items():
        found = of_line(Side.BUY, 10, 8, 0.0, **{**known, name: missing})
        names = ("value", "delay", "execution", "fees", "opportunity")
        assert {n for n in names if getattr(found, n) is None} == lacking
        assert found.total is None
        whole = of_all([bought(), found])
        assert whole.total == pytest.approx(412)
        assert whole.left_out == 1


def test_what_needs_no_price_is_known_without_one() -> None:
    unfilled = of_line(
        Side.BUY, 10, 0, 0.0, decision_price=100, price=101, average_price=None, last_price=103
    )
    assert unfilled.execution == 0
    assert unfilled.total == pytest.approx(30)


@given(st.sampled_from(Side), shares, shares, prices, prices, prices, prices, st.floats(0, 1e3))
def test_the_parts_sum_to_what_was_paid_less_what_paper_pays(
    side: Side, one: float, other: float, decision: float, plan: float, fill: float, last: float,
    fees: float,
) -> None:  # fmt: skip
    ordered, filled = max(one, other), min(one, other)
    found = of_line(
        side, ordered, filled, fees, decision_price=decision, price=plan, average_price=fill,
        last_price=last,
    )  # fmt: skip
    sign = 1 if side is Side.BUY else -1
    on_paper = sign * ordered * (last - decision)
    earned = sign * filled * (last - fill) - fees
    scale = ordered * max(decision, plan, fill, last) + fees
    assert found.total == pytest.approx(on_paper - earned, abs=1e-9 * max(1.0, scale))


def activity(
    name: str, kind: str, amount: str, order: str | None = None, **more: object
) -> Activity:
    at = TEN + dt.timedelta(minutes=int(str(more.get("minute", 0))))
    side = Side(str(more["side"])) if "side" in more else None
    return Activity(name, kind, at, Decimal(amount), "AAPL", side=side, order_id=order)


def test_a_fee_without_an_order_is_shared_by_the_sales_of_its_instant() -> None:
    found = fees_by_order(
        [
            activity("1", "FILL", "300", "a", side="sell"),
            activity("2", "FILL", "100", "b", side="sell"),
            activity("3", "FILL", "-500", "c", side="buy"),
            activity("4", "FILL", "100", "d", side="sell", minute=5),
            activity("5", "FEE", "-0.04"),
            activity("5", "FEE", "-0.04"),
            activity("6", "FEE", "-1.00", minute=9),
            activity("7", "FEE", "-0.50", "c"),
        ]
    )
    assert found == {"a": Decimal("0.03"), "b": Decimal("0.01"), "c": Decimal("0.50")}

"""Closed trades: hand-worked cases, then what must hold for any record of fills."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import DataError
from astra.records import Activity, Side
from astra.trades import closed_trades, match

MONDAY = dt.datetime(2026, 11, 16, 15, 0, tzinfo=dt.UTC)


def fill(
    n: int, side: str, qty: str, price: str, symbol: str = "OXY", order: str | None = None
) -> Activity:
    shares = Decimal(qty) if side == "buy" else -Decimal(qty)
    return Activity(
        id=f"{n:06d}",
        type="FILL",
        at=MONDAY + dt.timedelta(minutes=n),
        net_amount=-shares * Decimal(price),
        symbol=symbol,
        qty=shares,
        price=Decimal(price),
        side=Side(side),
        order_id=order,
    )


def test_a_sale_of_everything_closes_one_trade_with_its_profit_and_holding_time() -> None:
    (trade,) = closed_trades([fill(0, "buy", "10", "50.00"), fill(90, "sell", "10", "51.25")])
    assert (trade.symbol, trade.qty, trade.profit) == ("OXY", Decimal(10), Decimal("12.50"))
    assert trade.profit_share == pytest.approx(0.025)
    assert trade.held_for == dt.timedelta(minutes=90)


def test_the_oldest_shares_are_sold_first() -> None:
    first, second = closed_trades(
        [
            fill(0, "buy", "10", "50"),
            fill(1, "buy", "10", "60"),
            fill(2, "sell", "15", "70"),
        ]
    )
    assert (first.qty, first.profit) == (Decimal(10), Decimal(200))
    assert (second.qty, second.profit) == (Decimal(5), Decimal(50))


def test_a_part_of_a_lot_carries_its_part_of_the_cost_and_the_rest_stays_open() -> None:
    found = match([fill(0, "buy", "3", "100"), fill(1, "sell", "0.5", "90")])
    assert [t.profit for t in found.closed] == [Decimal(-5)]
    assert found.open_cost == {"OXY": Decimal(250)}


def test_the_fills_of_one_order_are_one_trade() -> None:
    (trade,) = closed_trades(
        [
            fill(0, "buy", "4", "10.00", order="in"),
            fill(1, "buy", "6", "10.10", order="in"),
            fill(2, "sell", "7", "11.00", order="out"),
            fill(3, "sell", "3", "10.90", order="out"),
        ]
    )
    assert (trade.qty, trade.cost, trade.proceeds) == (
        Decimal(10), Decimal("100.60"), Decimal("109.70")
    )  # fmt: skip
    assert trade.held_for == dt.timedelta(minutes=3)


def test_a_split_changes_the_shares_but_not_what_they_cost() -> None:
    split = Activity("000001", "SPLIT", MONDAY + dt.timedelta(minutes=1), Decimal(0), "OXY",
                     qty=Decimal(30))  # fmt: skip
    (trade,) = closed_trades([fill(0, "buy", "10", "400"), split, fill(2, "sell", "40", "101")])
    assert (trade.cost, trade.profit) == (Decimal(4000), Decimal(40))


def test_shares_sold_without_a_purchase_on_record_are_reported_and_not_priced() -> None:
    found = match([fill(0, "buy", "2", "10"), fill(1, "sell", "5", "11")])
    assert [t.qty for t in found.closed] == [Decimal(2)]
    assert found.unmatched == {"OXY": Decimal(3)}


def test_a_fill_told_twice_counts_once() -> None:
    bought, sold = fill(0, "buy", "2", "10"), fill(1, "sell", "1", "11")
    assert len(closed_trades([bought, bought, sold, sold])) == 1


def test_lines_that_are_no_fills_are_passed_over() -> None:
    fee = Activity("000009", "FEE", MONDAY, Decimal("-0.02"))
    assert closed_trades([fee]) == ()


def test_a_fill_without_a_price_is_refused_by_its_id() -> None:
    with pytest.raises(DataError, match="000007"):
        closed_trades(
            [Activity("000007", "FILL", MONDAY, Decimal(0), "OXY", Decimal(1), None, Side.BUY)]
        )


@st.composite
def records(draw: st.DrawFn) -> list[Activity]:
    """Fills of two symbols that never sell more than is held."""
    held = {"OXY": Decimal(0), "PARA": Decimal(0)}
    lines = []
    for n in range(draw(st.integers(1, 25))):
        symbol = draw(st.sampled_from(sorted(held)))
        price = draw(st.decimals("0.01", "900", places=4))
        qty = draw(st.decimals("0.000000001", "50", places=9))
        sells = held[symbol] > 0 and draw(st.booleans())
        qty = min(qty, held[symbol]) if sells else qty
        held[symbol] += -qty if sells else qty
        order = f"order-{draw(st.integers(0, 5))}"
        lines.append(fill(n, "sell" if sells else "buy", str(qty), str(price), symbol, order))
    return lines


@given(records(), st.randoms(use_true_random=False))
def test_profits_and_open_cost_account_for_every_cent_in_any_order_of_lines(
    lines: list[Activity], order: random.Random
) -> None:
    found = match(lines)
    profit = sum((t.profit for t in found.closed), Decimal(0))
    cash = sum((a.net_amount for a in lines), Decimal(0))
    assert profit - sum(found.open_cost.values(), Decimal(0)) == cash
    assert all(t.held_for >= dt.timedelta(0) and t.qty > 0 for t in found.closed)
    shuffled = lines.copy()
    order.shuffle(shuffled)
    assert match(shuffled) == found

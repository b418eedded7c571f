"""Closed trades: hand-worked cases, then what must hold for any record of fills."""

from __future__ import annotations

import datetime as dt
import math
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra import cash
from astra.cash import Kind
from astra.errors import DataError
from astra.ledger import replay
from astra.matching import match
from astra.records import OWN, REVERSED, Activity, Side
from astra.trades import ClosedTrade, Matching, statistics
from astra.untold import OPENED, TOLD

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


def match_closed(lines: list[Activity]) -> tuple[ClosedTrade, ...]:
    return match(lines).closed


def costs(found: Matching) -> dict[str, Decimal]:
    """What the open lots cost, by symbol."""
    sums: dict[str, Decimal] = {}
    for lot in found.lots:
        sums[lot.symbol] = sums.get(lot.symbol, Decimal(0)) + (lot.cost or Decimal(0))
    return sums


def moved(n: int, kind: str, symbol: str, qty: str, cash: str = "0", id: str = "") -> Activity:
    """A line that moves shares without a trade, at minute `n`."""
    at = MONDAY + dt.timedelta(minutes=n)
    return Activity(id or f"{n:06d}{kind}{qty}", kind, at, Decimal(cash), symbol, Decimal(qty))


def test_a_sale_of_everything_closes_one_trade_with_its_profit_and_holding_time() -> None:
    (trade,) = match_closed([fill(0, "buy", "10", "50.00"), fill(90, "sell", "10", "51.25")])
    assert (trade.symbol, trade.qty, trade.profit) == ("OXY", Decimal(10), Decimal("12.50"))
    assert trade.profit_share == pytest.approx(0.025)
    assert trade.held_for == dt.timedelta(minutes=90)


def test_the_oldest_shares_are_sold_first() -> None:
    first, second = match_closed(
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
    assert costs(found) == {"OXY": Decimal(250)}


def test_the_fills_of_one_order_are_one_trade() -> None:
    (trade,) = match_closed(
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
    (trade,) = match_closed([fill(0, "buy", "10", "400"), split, fill(2, "sell", "40", "101")])
    assert (trade.cost, trade.profit) == (Decimal(4000), Decimal(40))


def test_shares_sold_without_a_purchase_on_record_are_reported_and_not_priced() -> None:
    found = match([fill(0, "buy", "2", "10"), fill(1, "sell", "5", "11")])
    assert [t.qty for t in found.closed] == [Decimal(2)]
    (sale,) = found.unmatched
    assert (sale.symbol, sale.qty, sale.proceeds) == ("OXY", Decimal(3), Decimal(33))


def test_shares_sold_short_are_bought_back_before_any_are_held() -> None:
    lines = [fill(0, "sell", "10", "100"), fill(1, "buy", "12", "90"), fill(2, "sell", "2", "95")]
    found = match(lines)
    assert [(t.qty, t.profit) for t in found.closed] == [(2, 10)] and not found.lots
    (sale,), (cover,) = found.unmatched, found.covers
    assert (sale.qty, sale.proceeds) == (10, 1000)
    assert (cover.symbol, cover.qty, cover.cost, cover.at) == ("OXY", 10, 900, lines[1].at)


def test_trades_after_a_short_sale_have_their_own_profit() -> None:
    lines = [fill(0, "sell", "10", "100"), fill(1, "buy", "10", "90"), fill(2, "buy", "10", "200"),
             fill(3, "sell", "10", "210")]  # fmt: skip
    found = match(lines)
    assert [t.profit for t in found.closed] == [100] and not found.lots
    sums = cash.totals(cash.movements(lines, found))
    assert sums == {Kind.REALISED: 100, Kind.UNMATCHED: 100}


def test_of_one_instant_the_purchase_comes_before_the_sale_whatever_their_ids() -> None:
    at = MONDAY
    sold, bought = (
        replace(fill(0, "sell", "10", "91"), at=at),
        replace(fill(1, "buy", "10", "90"), at=at),
    )
    found = match([sold, bought])
    assert [t.profit for t in found.closed] == [10] and not found.unmatched and not found.lots


@pytest.mark.parametrize(
    "befell",
    [
        [moved(1, "SPLIT", "OXY", "-10")],  # two for one: 20 are owed
        [moved(1, "NC", "OXY", "10"), moved(1, "NC", "NEW", "-10")],
        [moved(1, "MA", "OXY", "10"), moved(1, "MA", "NEW", "-4")],
    ],
)
def test_shares_owed_go_through_splits_and_new_names(befell: list[Activity]) -> None:
    sold = fill(0, "sell", "10", "100")
    ((symbol, owed),) = replay([sold, *befell]).shares.items()
    back = fill(2, "buy", str(1 - owed), "10", symbol)
    found = match([sold, *befell, back])
    assert [(lot.symbol, lot.qty, lot.cost) for lot in found.lots] == [(symbol, 1, 10)]
    assert [(cover.symbol, cover.qty) for cover in found.covers] == [(symbol, -owed)]


def test_shares_that_come_late_for_a_sale_are_not_held() -> None:
    sold, there = fill(0, "sell", "10", "12"), moved(1, "OPENING", "OXY", "10", id=f"{OPENED}OXY")
    found = match([sold, there])
    assert not found.lots and not found.covers and [s.proceeds for s in found.unmatched] == [120]


def test_lots_that_take_a_name_of_which_shares_are_owed_give_their_cost_to_them() -> None:
    lines = [fill(0, "sell", "4", "50", "NEW"), fill(1, "buy", "10", "20", "OLD"),
             moved(2, "NC", "OLD", "-10"), moved(2, "NC", "NEW", "10")]  # fmt: skip
    found = match(lines)
    assert [(lot.symbol, lot.qty, lot.cost) for lot in found.lots] == [("NEW", 6, 120)]
    assert [(cover.symbol, cover.qty, cover.cost) for cover in found.covers] == [("NEW", 4, 80)]


def test_a_fill_told_twice_counts_once() -> None:
    bought, sold = fill(0, "buy", "2", "10"), fill(1, "sell", "1", "11")
    assert len(match_closed([bought, bought, sold, sold])) == 1


def test_lines_that_are_no_fills_are_passed_over() -> None:
    fee = Activity("000009", "FEE", MONDAY, Decimal("-0.02"))
    assert match_closed([fee]) == ()


def test_a_fill_without_a_price_is_refused_by_its_id() -> None:
    with pytest.raises(DataError, match="000007"):
        match_closed(
            [Activity("000007", "FILL", MONDAY, Decimal(0), "OXY", Decimal(1), None, Side.BUY)]
        )


def test_shares_still_held_know_what_they_cost_and_what_they_have_gained() -> None:
    lines = [fill(0, "buy", "3", "10", order="a"), fill(1, "buy", "5", "10", order="a"),
             fill(2, "buy", "4", "20", order="b"), fill(3, "sell", "6", "30")]  # fmt: skip
    first, second = match(lines).lots
    assert (first.qty, first.cost, first.opened_at) == (2, 20, MONDAY + dt.timedelta(minutes=1))
    assert (second.qty, second.profit(Decimal("19.5"))) == (4, -2)


def test_a_sale_under_a_new_name_finds_its_purchase() -> None:
    out, into = moved(1, "NC", "FB", "-10"), moved(1, "NC", "META", "10")
    lines = [fill(0, "buy", "10", "50", "FB"), out, into, fill(2, "sell", "4", "60", "META")]
    found = match(lines)
    (trade,) = found.closed
    assert (trade.symbol, trade.profit, trade.opened_at) == ("META", 40, MONDAY)
    assert costs(found) == {"META": Decimal(300)} and not found.unmatched


def test_a_merger_into_other_shares_keeps_the_cost_and_the_age() -> None:
    out, into = moved(5, "MA", "OLD", "-10"), moved(5, "MA", "NEW", "4")
    lines = [fill(0, "buy", "10", "50", "OLD"), fill(3, "buy", "1", "140", "NEW"), out, into,
             fill(9, "sell", "4", "150", "NEW")]  # fmt: skip
    found = match(lines)
    assert [t.profit for t in found.closed] == [100]
    assert costs(found) == {"NEW": Decimal(140)}


def test_a_name_taken_back_was_never_changed() -> None:
    out, into = moved(1, "NC", "A", "-5", id=f"{OWN}x:out"), moved(1, "NC", "B", "5", id=f"{OWN}x")
    back = [moved(2, "NC", "A", "5", id=f"{REVERSED}{OWN}x:out"),
            moved(2, "NC", "B", "-5", id=f"{REVERSED}{OWN}x")]  # fmt: skip
    lines = [fill(0, "buy", "5", "10", "A"), out, into, *back, fill(3, "sell", "5", "12", "A")]
    assert [t.profit for t in match(lines).closed] == [10]


def test_shares_that_were_there_before_are_sold_first_and_not_priced() -> None:
    there = moved(0, "OPENING", "OXY", "4", id=f"{OPENED}OXY")
    found = match([there, fill(1, "buy", "2", "10"), fill(2, "sell", "5", "12")])
    assert [(s.qty, s.proceeds) for s in found.unmatched] == [(4, 48)]
    assert [t.profit for t in found.closed] == [2]


def test_a_purchase_told_late_takes_the_place_of_shares_that_were_there() -> None:
    there = moved(5, "OPENING", "OXY", "4", id=f"{OPENED}OXY")
    told = moved(1, "OPENING", "OXY", "-4", id=f"{TOLD}1")
    found = match([there, told, fill(1, "buy", "4", "10"), fill(9, "sell", "4", "12")])
    assert [t.profit for t in found.closed] == [8] and not found.unmatched


def test_shares_merged_for_cash_take_their_cost_with_them() -> None:
    lines = [fill(0, "buy", "10", "50"), moved(1, "MA", "OXY", "-10", cash="520")]
    found = match(lines)
    (gone,) = found.removed
    assert (gone.type, gone.cost, found.lots) == ("REORG", 500, ())
    assert cash.totals(cash.movements(lines, found)) == {Kind.ACTIONS: Decimal(20)}


def test_statistics_of_trades_won_lost_and_even() -> None:
    bought = [fill(n, "buy", "1", "10", order=f"b{n}") for n in range(4)]
    sold = [
        fill(10 + n, "sell", "1", p, order=f"s{n}") for n, p in enumerate(("13", "10", "8", "9"))
    ]
    found = statistics(match([*bought, *sold]).closed)
    assert (found.count, found.won, found.lost) == (4, 1, 2)
    assert (found.gains, found.losses, found.profit) == (3, 3, 0)
    assert (found.win_rate, found.profit_factor) == (0.25, 1.0)
    assert found.mean_held == dt.timedelta(minutes=10)
    assert found.best is not None and found.best.profit == 3
    assert found.worst is not None and found.worst.profit == -2


def test_what_no_trade_tells_is_not_known() -> None:
    found = statistics([])
    assert math.isnan(found.win_rate) and math.isnan(found.profit_factor)
    assert (found.count, found.profit, found.mean_held, found.best) == (0, 0, None, None)
    won = statistics(match([fill(0, "buy", "1", "1"), fill(1, "sell", "1", "2")]).closed)
    assert won.win_rate == 1.0 and math.isnan(won.profit_factor)


def test_shares_that_cost_nothing_have_no_return() -> None:
    (trade,) = match([fill(0, "buy", "1", "0"), fill(1, "sell", "1", "2")]).closed
    assert math.isnan(trade.profit_share)


@st.composite
def records(draw: st.DrawFn, *, short: bool = False) -> list[Activity]:
    """Fills of two symbols; unless `short`, they never sell more than is held."""
    held = {"OXY": Decimal(0), "PARA": Decimal(0)}
    lines = []
    for n in range(draw(st.integers(1, 25))):
        symbol = draw(st.sampled_from(sorted(held)))
        price = draw(st.decimals("0.01", "900", places=4))
        qty = draw(st.decimals("0.000000001", "50", places=9))
        sells = (short or held[symbol] > 0) and draw(st.booleans())
        qty = min(qty, held[symbol]) if sells and not short else qty
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
    assert profit - sum(costs(found).values(), Decimal(0)) == cash
    assert all(t.held_for >= dt.timedelta(0) and t.qty > 0 for t in found.closed)
    shuffled = lines.copy()
    order.shuffle(shuffled)
    assert match(shuffled) == found


OTHERS = ("DIV", "DIVNRA", "INT", "FEE", "CSD", "CSW", "CIL", "VOF")


@st.composite
def whole_records(draw: st.DrawFn) -> list[Activity]:
    """Trades among dividends, fees, flows, splits, new names and transfers."""
    lines = draw(records())
    amounts = st.decimals("-500", "500", places=2)
    for n in range(draw(st.integers(0, 12))):
        at = MONDAY + dt.timedelta(minutes=draw(st.integers(0, 60)), seconds=30)
        kind, key = draw(st.sampled_from(OTHERS)), f"other-{n}"
        lines.append(Activity(key, kind, at, draw(amounts), draw(st.sampled_from((None, "OXY")))))
    for minute, ratio in draw(
        st.lists(st.tuples(st.integers(0, 60), st.integers(2, 4)), max_size=2)
    ):
        at = MONDAY + dt.timedelta(minutes=minute, seconds=10)
        held = replay([a for a in lines if a.at < at]).shares.get("OXY", Decimal(0))
        if held > 0:
            lines.append(Activity(f"split-{minute}", "SPLIT", at, Decimal(0), "OXY", held * ratio))
    if draw(st.booleans()):
        lines.append(moved(draw(st.integers(0, 60)), "ACATS", "PARA", "7", id="in"))
    if held := replay(lines).shares.get("PARA"):
        kind, into = draw(
            st.sampled_from((("NC", "PSKY"), ("MA", "PSKY"), ("MA", ""), ("ACATS", "")))
        )
        lines.append(moved(100, kind, "PARA", str(-held), "1.23", id="out"))
        if into:
            lines.append(moved(100, kind, into, str(held if kind == "NC" else held * 2), id="into"))
    return lines


@given(whole_records(), st.fixed_dictionaries(dict.fromkeys(
    ("OXY", "PARA", "PSKY"), st.decimals("0.01", "900", places=4)
)))  # fmt: skip
def test_profit_income_costs_and_flows_are_the_change_of_what_the_account_is_worth(
    lines: list[Activity], prices: dict[str, Decimal]
) -> None:
    found = match(lines)
    assert match(lines[::-1]) == found
    moves = cash.movements(lines, found)
    worth = cash.worth(cash.totals(moves), found.lots, prices)
    book = replay(lines)
    value = book.cash + sum(q * prices[s] for s, q in book.shares.items())
    assert abs(worth.equity - value) < Decimal("0.000001")
    months = cash.by_month(moves)
    for kind in Kind:
        parts = [month.get(kind, Decimal(0)) for month in months.values()]
        assert sum(parts, Decimal(0)) == worth.totals.get(kind, Decimal(0))


@given(records(short=True), st.sampled_from(("none", "split", "NC", "MA")), st.integers(0, 24))
def test_open_lots_are_the_shares_in_the_book_whatever_was_sold_short(
    lines: list[Activity], befell: str, minute: int
) -> None:
    at = MONDAY + dt.timedelta(minutes=minute, seconds=30)
    if held := replay([a for a in lines if a.at < at]).shares.get("OXY"):
        if befell == "split":
            lines.append(Activity("split", "SPLIT", at, Decimal(0), "OXY", held))
        elif befell != "none":
            new = held if befell == "NC" else 2 * held
            lines.append(Activity("out", befell, at, Decimal(0), "OXY", -held))
            lines.append(Activity("in", befell, at, Decimal(0), "PARA", new))
    found, book = match(lines), replay(lines)
    lots: dict[str, Decimal] = {}
    for lot in found.lots:
        lots[lot.symbol] = lots.get(lot.symbol, Decimal(0)) + lot.qty
    assert lots == {s: q for s, q in book.shares.items() if q > 0}
    sums = cash.totals(cash.movements(lines, found))
    worth = cash.worth(sums, found.lots, dict.fromkeys(lots, Decimal(30)))
    value = book.cash + sum(30 * q for q in lots.values())
    assert abs(worth.equity - value) < Decimal("0.000001")


def test_each_kind_of_line_has_its_place() -> None:
    at = MONDAY
    lines = [
        Activity("1", "CSD", at, Decimal(1000)), Activity("2", "CSW", at, Decimal(-100)),
        Activity("3", "DIV", at, Decimal(5)), Activity("4", "DIVNRA", at, Decimal(-1), "OXY"),
        Activity("5", "INT", at, Decimal(2)), Activity("6", "FEE", at, Decimal("-0.03")),
        Activity("7", "CIL", at, Decimal("0.4"), "OXY"), Activity("8", "NEWWORD", at, Decimal(3)),
        fill(0, "buy", "2", "10"), fill(1, "sell", "1", "12"), fill(2, "sell", "1", "9", "PARA"),
    ]  # fmt: skip
    found = match(lines)
    sums = cash.totals(cash.movements(lines, found))
    worth = cash.worth(sums, found.lots, {"OXY": Decimal(11)})
    assert {kind.name: float(usd) for kind, usd in worth.totals.items()} == {
        "FLOWS": 900, "DIVIDENDS": 4, "INTEREST": 2, "FEES": -0.03, "ACTIONS": 0.4, "OTHER": 3,
        "REALISED": 2, "UNMATCHED": 9,
    }  # fmt: skip
    assert worth.unrealised == 1 and worth.without_price == ()


def test_a_share_without_a_price_counts_for_nothing_gained_and_is_named() -> None:
    found = match([fill(0, "buy", "2", "10")])
    worth = cash.worth({}, found.lots, {})
    assert (worth.unrealised, worth.without_price) == (0, ("OXY",))


def test_a_sale_counts_in_the_month_it_has_in_new_york() -> None:
    late = dt.datetime(2026, 12, 1, 2, tzinfo=dt.UTC)
    lines = [Activity("1", "INT", late, Decimal(1))]
    assert list(cash.by_month(cash.movements(lines, match(lines)))) == [dt.date(2026, 11, 1)]

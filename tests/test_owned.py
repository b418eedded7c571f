"""Our part of the account's positions."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.owned import Fill, managed, managed_equity, own_shares, renamed
from astra.records import REVERSED, Activity, Position, Side

D = Decimal
TUESDAY = dt.datetime(2026, 6, 16, 4, tzinfo=dt.UTC)
MIDNIGHT = dt.datetime(
    2026, 6, 15, 4, tzinfo=dt.UTC
)  # in New York: a day's lines that have no time


def bought(symbol: str, qty: int, minute: int, id: str) -> Activity:
    at = MIDNIGHT - dt.timedelta(days=1) + dt.timedelta(minutes=minute)
    return Activity(id, "FILL", at, D(-qty), symbol, D(qty), D(1), Side.BUY, f"order-{id}")


def line(id: str, kind: str, symbol: str, qty: str) -> Activity:
    return Activity(id, kind, MIDNIGHT, D(0), symbol, D(qty))


# The account has 10 A, of which 6 are ours, and 5 B, of which all are ours.
RECORD = [bought("A", 6, 1, "1"), bought("A", 4, 2, "2"), bought("B", 5, 3, "3")]
FILLS = [Fill("A", D(6), RECORD[0].at, "order-1"), Fill("B", D(5), RECORD[2].at, "order-3")]


def test_only_what_our_own_orders_opened_is_ours() -> None:
    theirs = [Position("A", Decimal(10), 5.0, 5.0), Position("B", Decimal(3), 5.0, 5.0)]
    kept = managed(theirs, {"A": Decimal(4), "C": Decimal(9)})
    assert [(p.symbol, p.qty) for p in kept] == [("A", Decimal(4))]


def test_a_split_multiplies_our_part_as_it_multiplies_the_whole() -> None:
    def at(minute: int) -> dt.datetime:
        return dt.datetime(2026, 6, 15, 14, minute, tzinfo=dt.UTC)

    fills = [Fill("A", Decimal(10), at(0), "o1"), Fill("A", Decimal(-4), at(30), "o2")]
    record = [
        Activity("1", "FILL", at(0), Decimal(-100), "A", Decimal(10), Decimal(10), Side.BUY, "o1"),
        Activity("2", "FILL", at(1), Decimal(-50), "A", Decimal(5), Decimal(10), Side.BUY),
        Activity("3", "SPLIT", at(2), Decimal(0), "A", Decimal(15)),
        Activity("4", "FILL", at(30), Decimal(20), "A", Decimal(-4), Decimal(5), Side.SELL, "o2"),
    ]
    assert own_shares(fills, record) == {"A": Decimal(16)}
    assert own_shares(fills, record[:2]) == {"A": Decimal(6)}


def test_a_position_keeps_its_asset_and_what_is_free_of_our_part() -> None:
    theirs = Position("A", D(10), 5.0, 5.0, D(2), "asset-a")
    (kept,) = managed([theirs], {"A": D(4)})
    assert (kept.qty, kept.qty_available, kept.asset_id) == (D(4), D(2), "asset-a")


def test_a_split_written_as_old_shares_out_and_new_ones_in_is_one_split() -> None:
    split = [line("4", "SPLIT", "A", "-10"), line("5", "SPLIT", "A", "40")]
    assert own_shares(FILLS, [*RECORD, *split]) == {"A": D(24), "B": D(5)}


def test_a_new_symbol_takes_our_part_with_it() -> None:
    named = [line("4", "NC", "A", "-10"), line("5", "NC", "AA", "10")]
    assert own_shares(FILLS, [*RECORD, *named]) == {"A": D(0), "AA": D(6), "B": D(5)}
    assert renamed(named) == {"A": "AA"}
    again = [
        replace(line("6", "NC", "AA", "-10"), at=TUESDAY),
        replace(line("7", "NC", "C", "10"), at=TUESDAY),
    ]
    assert renamed([*named, *again]) == {"A": "C", "AA": "C"}
    assert renamed([*named, *again], TUESDAY) == {"AA": "C"}
    back = [
        replace(line("6", "NC", "AA", "-10"), at=TUESDAY),
        replace(line("7", "NC", "A", "10"), at=TUESDAY),
    ]
    assert renamed([*named, *back]) == {"AA": "A"}


def test_new_symbols_of_one_day_are_told_apart_by_their_quantity() -> None:
    named = [
        line("4", "NC", "B", "-5"), line("5", "NC", "A", "-10"),
        line("6", "NC", "AA", "10"), line("7", "NC", "BB", "5"),
    ]  # fmt: skip
    found = own_shares(FILLS, [*RECORD, *named])
    assert found == {"A": D(0), "AA": D(6), "B": D(0), "BB": D(5)}


def test_a_merger_pays_in_other_shares_or_in_cash_alone() -> None:
    swapped = [line("4", "MA", "A", "-10"), line("5", "MA", "C", "5")]
    assert own_shares(FILLS, [*RECORD, *swapped]) == {"A": D(0), "C": D(3), "B": D(5)}
    assert own_shares(FILLS, [*RECORD, swapped[0]]) == {"A": D(0), "B": D(5)}
    assert renamed(swapped) == {}


def test_shares_that_come_without_an_order_are_not_ours() -> None:
    given = [line("4", "JNLS", "A", "7"), line("5", "SPIN", "C", "3"), line("6", "NC", "E", "1")]
    assert own_shares(FILLS, [*RECORD, *given]) == {"A": D(6), "B": D(5)}


def sold(qty: int, minute: int, id: str) -> Activity:
    bought_then = bought("A", qty, minute, id)
    return replace(bought_then, qty=D(-qty), net_amount=D(qty), side=Side.SELL)


def test_what_a_person_sells_beyond_his_own_is_ours_no_more() -> None:
    assert own_shares(FILLS, [*RECORD, sold(4, 4, "4")])["A"] == 6
    gone = [*RECORD, sold(8, 4, "4"), bought("A", 30, 5, "5")]
    assert own_shares(FILLS, gone)["A"] == 2
    assert own_shares(FILLS, [*RECORD, sold(10, 4, "4"), bought("A", 30, 5, "5")])["A"] == 0
    at_once = [*RECORD, sold(30, 5, "4"), bought("A", 30, 5, "5")]
    assert own_shares(FILLS, at_once)["A"] == 6


def test_our_own_sales_are_taken_off_once_however_late_journal_or_record_know_of_them() -> None:
    parts = [replace(sold(qty, 4 + qty, str(qty)), order_id="o9") for qty in (2, 4)]
    late = Fill("A", D(-6), MIDNIGHT, "o9")
    record = [bought("A", 6, 1, "1"), *parts]
    assert own_shares([FILLS[0], late], record)["A"] == 0
    assert own_shares([FILLS[0], late], record[:2])["A"] == 0, "half of it is not told yet"
    assert own_shares([FILLS[0], late], record[:1])["A"] == 0
    assert own_shares([FILLS[0]], record)["A"] == 0, "not noted yet"


def test_a_line_of_our_own_that_was_taken_back_counts_for_nothing() -> None:
    ours = [line("astra:x:out", "NC", "A", "-10"), line("astra:x:in", "NC", "AA", "10")]
    back = [
        line(f"{REVERSED}astra:x:out", "NC", "A", "10"),
        line(f"{REVERSED}astra:x:in", "NC", "AA", "-10"),
    ]
    theirs = [line("4", "NC", "A", "-10"), line("5", "NC", "AA", "10")]
    once = own_shares(FILLS, [*RECORD, *theirs])
    assert own_shares(FILLS, [*RECORD, *ours, *back, *theirs]) == once
    assert own_shares(FILLS, [*RECORD, *ours, *theirs]) == once, "told twice, moved once"


@given(st.data())
def test_the_order_of_lines_and_lines_told_twice_do_not_matter(data: st.DataObject) -> None:
    acted = [line("4", "SPLIT", "A", "10"), line("5", "NC", "B", "-5"), line("6", "NC", "C", "5")]
    record = [*RECORD, *acted]
    extra = data.draw(st.lists(st.sampled_from(record), max_size=6))
    shuffled = data.draw(st.permutations([*record, *extra]))
    assert own_shares(data.draw(st.permutations(FILLS)), shuffled) == own_shares(FILLS, record)


def test_managed_equity_is_cash_and_our_positions_and_the_capital_at_most() -> None:
    assert managed_equity(60_000.0, 30_000.0, 0.0) == 90_000.0
    assert managed_equity(60_000.0, 30_000.0, 10_000.0) == 10_000.0
    assert managed_equity(5_000.0, 3_000.0, 10_000.0) == 8_000.0


def test_where_all_is_ours_the_brokers_own_equity_is_taken_to_the_cent() -> None:
    assert managed_equity(60_000.01, 30_000.004, 0.0, 90_000.02) == 90_000.02
    assert managed_equity(60_000.01, 30_000.004, 0.0, 95_000.0) == pytest.approx(90_000.014)

"""Shares and cash, counted with decimals."""

import datetime as dt
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from astra.ledger import Book, Differences, compare, less, replay
from astra.records import Account, Activity, Position, Side

T = dt.datetime(2026, 6, 15, 14, 5, tzinfo=dt.UTC)
D = Decimal


def fill(id: str, side: Side, qty: str, price: str) -> Activity:
    sign = 1 if side is Side.BUY else -1
    return Activity(id, "FILL", T, -sign * D(qty) * D(price), "A", sign * D(qty), D(price), side)


RECORD = [
    Activity("1", "CSD", T, D(1000)),
    fill("2", Side.BUY, "3.5", "100.10"),
    fill("3", Side.SELL, "1.5", "101"),
    Activity("4", "FEE", T, D("-0.01"), "A"),
    Activity("5", "DIV", T, D("0.44"), "A"),
    Activity("6", "SPLIT", T, D(0), "A", D(2)),
]


def test_a_record_by_hand() -> None:
    book = replay(RECORD)
    assert book.cash == D("1000") - D("350.35") + D("151.5") - D("0.01") + D("0.44")
    assert book.shares == {"A": D("4.0")}


@given(st.lists(st.sampled_from(RECORD), max_size=12), st.permutations(RECORD))
def test_order_and_repetition_do_not_matter(extra: list[Activity], order: list[Activity]) -> None:
    assert replay([*order, *extra]) == replay(RECORD)


def test_books_are_compared_to_the_cent_and_the_share() -> None:
    book = Book(D("801.584"), {"A": D("4")})
    account = Account("1", D("801.58"), D("1200"), D("0"))
    assert compare(book, account, [Position("A", D("4.000"), 100, 100)]).are_none
    found = compare(book, account, [Position("A", D("3.9"), 100, 100), Position("B", D(1), 1, 1)])
    assert found.shares == {"A": D("0.1"), "B": D("-1")}
    assert compare(Book(D("801.57"), {}), account, []).cash == D("-0.01")


def test_a_known_difference_is_taken_off_and_one_that_shrinks_is_none() -> None:
    known = Differences(D(900), {"A": D(-9), "B": D(2)})
    found = Differences(D(900), {"A": D(-9), "B": D(2)})
    assert less(found, known).are_none
    grown = less(Differences(D("900.01"), {"A": D(-10), "B": D(1), "C": D(1)}), known)
    assert grown == Differences(D("0.01"), {"A": D(-1), "C": D(1)})
    assert less(Differences(D(-5), {"A": D(4)}), known) == Differences(D(-5), {"A": D(4)})

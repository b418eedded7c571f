"""Shares and cash, counted with decimals."""

import datetime as dt
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from astra.ledger import (
    Book,
    Differences,
    Held,
    compare,
    less,
    offset,
    opening,
    replay,
    reversal,
    untold,
)
from astra.records import REVERSED, Account, Activity, Position, Side

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


def test_a_record_is_opened_with_what_it_does_not_tell() -> None:
    book = Book(D("-100.5"), {"A": D(1)})
    account = Account("1", D("900.25"), D("1200"), D("0"))
    positions = [Position("A", D(3), 100, 100), Position("B", D(2), 100, 100)]
    lines = opening(book, account, positions, T)
    assert [(x.type, x.symbol, x.qty, x.net_amount) for x in lines] == [
        ("OPENING", "A", D(2), D(0)),
        ("OPENING", "B", D(2), D(0)),
        ("OPENING", None, None, D("1000.75")),
    ]
    assert opening(book, account, [], T) == (), "fewer shares than the record tells: no answer"


def test_shares_under_a_new_symbol_of_the_same_asset_are_moved_there() -> None:
    found = Differences(D(0), {"FB": D(10), "META": D(-10), "X": D(1)})
    theirs = [Position("META", D(10), 1.0, 1.0, asset_id="a"), Position("Y", D(1), 1.0, 1.0)]
    book, before = Book(D(0), {"FB": D(10), "X": D(1)}), {"FB": Held("a", 1.0), "X": Held("x")}
    out, into = untold(book, found, theirs, before, T)
    assert [(x.symbol, x.qty, x.type) for x in (out, into)] == [
        ("FB", D(-10), "NC"),
        ("META", D(10), "NC"),
    ]
    assert untold(book, found, theirs, {"FB": Held("b")}, T) == ()
    sold = Differences(D(0), {"FB": D(10), "META": D(-9)})
    assert untold(book, sold, theirs, before, T) == (), "the quantities are not the same"


def test_a_move_that_the_record_tells_as_well_is_taken_back_once() -> None:
    found = Differences(D(0), {"FB": D(10), "META": D(-10)})
    theirs = [Position("META", D(10), 1.0, 1.0, asset_id="a")]
    ours = untold(Book(D(0), {"FB": D(10)}), found, theirs, {"FB": Held("a")}, T)
    twice = Differences(D(0), {"FB": D(-10), "META": D(10)})
    back = reversal(twice, ours, T)
    assert [x.id for x in back] == [REVERSED + x.id for x in ours]
    assert replay([*ours, *back]) == Book(D(0), {})
    assert reversal(twice, [*ours, *back], T) == ()
    other = Differences(D("0.07"), {**twice.shares, "X": D(3)})
    assert reversal(other, ours, T) == back, "whatever else differs"
    assert reversal(Differences(D(0), {"FB": D(-9), "META": D(9)}), ours, T) == ()


def test_two_that_the_record_tells_at_once_are_taken_back_together_and_one_alone() -> None:
    name = [
        Activity("astra:untold:FB:META:1:out", "NC", T, D(0), "FB", D(-10)),
        Activity("astra:untold:FB:META:1:in", "NC", T, D(0), "META", D(10)),
    ]
    split = Activity("astra:untold:META:split:2", "SPLIT", T, D(0), "META", D(30))
    ours = [*name, split]
    both = Differences(D(0), {"FB": D(-10), "META": D(40)})
    assert {x.id for x in reversal(both, ours, T)} == {REVERSED + x.id for x in ours}
    alone = Differences(D(0), {"META": D(30)})
    assert [x.id for x in reversal(alone, ours, T)] == [REVERSED + split.id]


def test_what_an_opening_did_not_have_is_not_taken_out_of_it() -> None:
    line = Activity("7", "DIV", T, D("12.345"))
    out = offset(line)
    assert replay([line, out]) == Book(D(0), {})
    (back,) = reversal(Differences(D("-12.35"), {"X": D(1)}), [out], T)
    assert replay([line, out, back]) == replay([line])
    assert reversal(Differences(D("-12.40"), {}), [out], T) == ()


def test_a_known_difference_is_taken_off_and_one_that_shrinks_is_none() -> None:
    known = Differences(D(900), {"A": D(-9), "B": D(2)})
    found = Differences(D(900), {"A": D(-9), "B": D(2)})
    assert less(found, known).are_none
    grown = less(Differences(D("900.01"), {"A": D(-10), "B": D(1), "C": D(1)}), known)
    assert grown == Differences(D("0.01"), {"A": D(-1), "C": D(1)})
    assert less(Differences(D(-5), {"A": D(4)}), known) == Differences(D(-5), {"A": D(4)})


def test_other_shares_of_the_same_worth_are_a_split_and_nothing_else_is() -> None:
    book = Book(D(0), {"A": D(10)})

    def booked(qty: str, price: float, before: float | None = 100.0) -> list[Decimal | None]:
        found = compare(book, Account("1", D(0), D(0), D(0)), [Position("A", D(qty), price, 1.0)])
        theirs = [Position("A", D(qty), price, 1.0)]
        return [x.qty for x in untold(book, found, theirs, {"A": Held("a", before)}, T)]

    assert booked("40", 26.0) == [D(30)]
    assert booked("1", 950.0) == [D(-9)], "a reverse split"
    assert booked("5", 100.0) == [], "half of it was sold"
    assert booked("20", 100.0) == [], "as many were bought"
    assert booked("15", 70.0) == [D(5)], "3 for 2"
    assert booked("15", 100.0) == [], "half as many were bought"
    assert booked("12", 100.0) == [], "a fifth as many were bought"
    assert booked("12", 83.0) == [], "too little to tell from a purchase"
    assert booked("40", 26.0, None) == [], "the price before is not known"

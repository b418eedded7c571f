"""What the broker's record does not tell is booked, and taken back once it does."""

import datetime as dt
from decimal import Decimal

from astra.ledger import Book, Differences, compare, replay
from astra.records import REVERSED, Account, Activity, Position
from astra.untold import LastHeld, offset, opening, renames_and_splits, reversal

T = dt.datetime(2026, 6, 15, 14, 5, tzinfo=dt.UTC)
D = Decimal


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
    book, before = (
        Book(D(0), {"FB": D(10), "X": D(1)}),
        {"FB": LastHeld("a", 1.0), "X": LastHeld("x")},
    )
    out, into = renames_and_splits(book, found, theirs, before, T)
    assert [(x.symbol, x.qty, x.type) for x in (out, into)] == [
        ("FB", D(-10), "NC"),
        ("META", D(10), "NC"),
    ]
    assert renames_and_splits(book, found, theirs, {"FB": LastHeld("b")}, T) == ()
    sold = Differences(D(0), {"FB": D(10), "META": D(-9)})
    assert renames_and_splits(book, sold, theirs, before, T) == (), (
        "the quantities are not the same"
    )


def test_a_move_that_the_record_tells_as_well_is_taken_back_once() -> None:
    found = Differences(D(0), {"FB": D(10), "META": D(-10)})
    theirs = [Position("META", D(10), 1.0, 1.0, asset_id="a")]
    ours = renames_and_splits(Book(D(0), {"FB": D(10)}), found, theirs, {"FB": LastHeld("a")}, T)
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


def test_other_shares_of_the_same_worth_are_a_split_and_nothing_else_is() -> None:
    book = Book(D(0), {"A": D(10)})

    def booked(qty: str, price: float, before: float | None = 100.0) -> list[Decimal | None]:
        found = compare(book, Account("1", D(0), D(0), D(0)), [Position("A", D(qty), price, 1.0)])
        theirs = [Position("A", D(qty), price, 1.0)]
        return [
            x.qty for x in renames_and_splits(book, found, theirs, {"A": LastHeld("a", before)}, T)
        ]

    assert booked("40", 26.0) == [D(30)]
    assert booked("1", 950.0) == [D(-9)], "a reverse split"
    assert booked("5", 100.0) == [], "half of it was sold"
    assert booked("20", 100.0) == [], "as many were bought"
    assert booked("15", 70.0) == [D(5)], "3 for 2"
    assert booked("15", 100.0) == [], "half as many were bought"
    assert booked("12", 100.0) == [], "a fifth as many were bought"
    assert booked("12", 83.0) == [], "too little to tell from a purchase"
    assert booked("40", 26.0, None) == [], "the price before is not known"

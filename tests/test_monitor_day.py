"""What happened in a session to what is managed: from the record and the journal to a day."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from astra.owned import Fill
from astra.records import Activity, OrderStatus, Side
from astra.sessions import sessions_between
from astra.store.journal import OrderRow
from astra.twin import Moved, Traded
from monitor_service.day import Decided, Record, decided_in, end_of, fills_of, lived

(SESSION,) = sessions_between(
    dt.datetime(2026, 1, 12, tzinfo=dt.UTC), dt.datetime(2026, 1, 13, tzinfo=dt.UTC)
)
TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
D = Decimal
ALL: frozenset[str] = frozenset()


def a_file(name: str, as_of: dt.datetime = TEN, **other: Any) -> dict[str, Any]:
    found = {"id": name, "as_of": as_of, "received_at": as_of, "status": "done", "keep": None}
    return found | {"weights": json.dumps({"AAPL": 0.1})} | other


def a_decision(as_of: dt.datetime = TEN, **other: Any) -> dict[str, Any]:
    told = {"object": "target.csv", "weights": {"JPM": 0.2}, "kept": ["XOM"], "hold": []}
    return {"as_of": as_of, "document": json.dumps(told | other)}


def an_order(symbol: str, qty: str, broker_id: str, **other: Any) -> OrderRow:
    row = OrderRow(
        f"a-{symbol}-buy-1", "a", "PA1", symbol, Side.BUY, 1, D(qty), 100.0, "", TEN, TEN,
        status=OrderStatus.FILLED, filled_qty=D(qty), broker_id=broker_id,
    )  # fmt: skip
    return replace(row, **other)


def a_line(kind: str, net: str, minutes: int = 5, **other: Any) -> Activity:
    at = TEN + dt.timedelta(minutes=minutes)
    return Activity(f"{kind}{net}{minutes}{other}", kind, at, D(net), **other)


def a_fill(symbol: str, qty: str, net: str, order: str, minutes: int = 5) -> Activity:
    return a_line("FILL", net, minutes, symbol=symbol, qty=D(qty), order_id=order,
                  side=Side.BUY if D(qty) > 0 else Side.SELL)  # fmt: skip


DEPOSIT = a_line("CSD", "10000", minutes=-60)
BOUGHT = a_fill("AAPL", "10", "-1000.50", "b1")
DECIDED = Decided(TEN, TEN, {"AAPL": 0.1}, (), (an_order("AAPL", "10", "b1"),), is_complete=True)


def a_record(*lines: Activity, ours: tuple[str, ...] = ("b1",), adopt: Any = ALL) -> Record:
    fills = [Fill("AAPL", D(10), TEN, order) for order in ours]
    return Record.of((DEPOSIT, *lines), fills, adopt)


def test_files_and_decisions_without_a_file_come_in_the_order_of_their_time() -> None:
    files = [a_file("late", TEN + 2 * HOUR), a_file("first", received_at=TEN + HOUR / 20)]
    decisions = [a_decision(TEN + HOUR), a_decision(TEN)]
    found = decided_in(SESSION, files, decisions, {"first": DECIDED.orders})
    assert [d.as_of for d in found] == [TEN, TEN + HOUR, TEN + 2 * HOUR]
    assert [d.is_complete for d in found] == [True, False, True]
    assert found[0].known_at == TEN + HOUR / 20
    assert (found[0].orders, found[1].orders) == (DECIDED.orders, ())
    assert (found[1].weights, found[1].keep) == ({"JPM": 0.2}, ("XOM",))


@pytest.mark.parametrize(
    ("files", "decisions"),
    [
        ([a_file("a", None)], []),
        ([a_file("a", SESSION.opens_at - HOUR), a_file("b", SESSION.closes_at)], []),
        ([a_file("a", status="held")], [a_decision()]),
        ([], [a_decision(object=None), a_decision(of_settings=False)]),
    ],
)
def test_what_was_not_to_be_traded_that_day_is_left_out(files: Any, decisions: Any) -> None:
    files = [file | {"received_at": TEN} for file in files]
    assert decided_in(SESSION, files, decisions, {}) == ()


def test_a_file_that_could_not_be_read_leaves_its_decision_to_be_missed() -> None:
    broken = a_file("a", status="refused", weights="{}")
    (found,) = decided_in(SESSION, [broken], [a_decision()], {})
    assert (found.weights, found.is_complete) == ({"JPM": 0.2}, False)


def test_of_two_files_of_one_time_the_one_that_was_traded_counts() -> None:
    taken_over, refused = (a_file(n, status=s) for n, s in (("a", "superseded"), ("b", "refused")))
    done = a_file("c", weights='{"JPM": 0.5}')
    (found,) = decided_in(SESSION, [taken_over, done, refused], [], {})
    assert found.weights == {"JPM": 0.5}
    (found,) = decided_in(SESSION, [taken_over, refused], [], {})
    assert not found.is_complete
    half = {"a": (an_order("AAPL", "10", "b1", filled_qty=D(4)),)}
    assert len(decided_in(SESSION, [taken_over, done], [], half)) == 2


def test_a_day_has_its_orders_with_what_was_filled_and_expected_of_them() -> None:
    again = an_order("AAPL", "4", "b2", attempt=2, id="a-AAPL-buy-2")
    decided = replace(DECIDED, orders=(*DECIDED.orders, again))
    one, two = a_fill("AAPL", "6", "-600.30", "b1"), a_fill("AAPL", "4", "-401", "b2", 9)
    record = a_record(one, two, a_fill("AAPL", "1", "-99", "hand"), ours=("b1", "b2"))
    assert fills_of([decided], record) == (one, two)
    found = lived(SESSION, [decided], record, {two.id: D("100.20")})
    assert found.executed[0].traded == (
        Traded("AAPL", Side.BUY, D(10), D(10), D("1001.30"), D("1001.10")),
    )
    assert (found.shares, found.fees, found.other) == ({}, 0, ())


def test_the_day_begins_with_our_part_of_the_shares_and_all_cash() -> None:
    before = (a_fill("AAPL", "10", "-1000", "b0", -90), a_fill("AAPL", "5", "-500", "hand", -80))
    record = a_record(*before, ours=("b0", "b1"))
    book = record.book(TEN)
    assert (book.cash, book.shares) == (8500, {"AAPL": 10})
    assert a_record(*before, ours=("b0", "b1"), adopt=None).book(TEN).shares == {"AAPL": 15}
    assert record.book(TEN - 2 * HOUR).shares == {}


def test_deposits_and_other_peoples_own_shares_are_no_gain() -> None:
    record = a_record(
        BOUGHT,
        a_line("CSD", "500", 30),
        a_fill("TSLA", "3", "-900", "hand", 40),
        a_line("DIV", "7", 50, symbol="TSLA"),
    )
    assert lived(SESSION, [DECIDED], record, {}).other == ()


def test_dividends_interest_fees_and_orders_of_another_day_are_told() -> None:
    record = a_record(
        BOUGHT,
        a_line("DIV", "2.40", 30, symbol="AAPL"),
        a_line("INT", "0.10", 40),
        a_fill("JPM", "-2", "300", "b9", 20),
        a_line("FEE", "-0.04", 60),
        a_line("FEE", "-0.02", -600),  # by its day alone
        ours=("b1", "b9"),
    )
    found = lived(SESSION, [DECIDED], record, {})
    assert found.fees == D("0.06")
    assert set(found.other) == {
        Moved("JPM", D(-2), D(300)), Moved("AAPL", D(0), D("2.40")), Moved("", D(0), D("0.10"))
    }  # fmt: skip


def test_shares_of_ours_that_a_person_sold_left_at_their_price_after_its_fee() -> None:
    sale = a_fill("AAPL", "-4", "410", "hand", 30)
    record = a_record(BOUGHT, sale, a_line("FEE", "-0.02", 30, order_id="hand"))
    found = lived(SESSION, [DECIDED], record, {})
    assert found.other == (Moved("AAPL", D(-4), D("409.98")),)
    assert found.fees == 0


def test_books_that_began_after_the_first_decision_do_not_know_its_account() -> None:
    assert a_record(BOUGHT).is_known_at(TEN, SESSION)
    assert not a_record(BOUGHT).is_known_at(TEN - 2 * HOUR, SESSION)
    opened = replace(a_line("OPENING", "100", 3), id="astra:opening:cash")
    assert not a_record(opened).is_known_at(TEN, SESSION)


def test_a_day_ends_at_midnight_in_new_york() -> None:
    assert end_of(SESSION) == dt.datetime(2026, 1, 13, 5, 0, tzinfo=dt.UTC)

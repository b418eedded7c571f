"""The record of an account in the store: sums that are remembered, and what they must equal."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.ledger import replay
from astra.owned import own_shares
from astra.records import OWN, Account, Activity, OrderStatus, Position, Side
from astra.store import Store, open_store
from astra.store.journal import AllocationRow, OrderRow
from astra.untold import LastHeld

D = Decimal
_numbers = itertools.count()
T = dt.datetime(2026, 6, 15, 14, 5, tzinfo=dt.UTC)


def a_line(i: int, days: float, symbol: str | None, qty: int, amount: int) -> Activity:
    change = None if symbol is None else D(qty) / 8
    return Activity(str(i), "X", T + dt.timedelta(days=days), D(amount) / 7, symbol, change)


amounts = st.tuples(
    st.floats(-20, 20), st.sampled_from(["A", "B", None]), st.integers(-9, 9), st.integers(-99, 99)
)
lines = st.lists(amounts, max_size=12).map(
    lambda found: [a_line(i, *values) for i, values in enumerate(found)]
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(f"sqlite:///{tmp_path_factory.mktemp('record') / 'astra.db'}")


@settings(max_examples=40)
@given(record=lines, data=st.data())
def test_whatever_the_order_and_repetition_of_lines_the_book_is_their_replay(
    many: Store, record: list[Activity], data: st.DataObject
) -> None:
    account, store = f"PA{next(_numbers)}", many
    told = data.draw(st.permutations(record + record[:3]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(told)], strict=True):
        store.books.record_activities(account, told[start:end])
        known = replay(told[:end])
        found = store.books.replayed(account)
        assert (round(found.cash, 20), found.shares) == (round(known.cash, 20), known.shares)


def test_lines_of_our_own_are_not_the_last_that_the_broker_told(store: Store) -> None:
    assert store.books.last_activity("PA1") is None
    ours = Activity(f"{OWN}opening:cash", "OPENING", T + dt.timedelta(hours=1), D(5))
    store.books.record_activities("PA1", [a_line(1, 0, None, 0, 7), ours])
    assert store.books.last_activity("PA1") == T


def test_only_symbols_that_were_acted_on_are_read_for_our_part(store: Store) -> None:
    split = Activity("4", "SPLIT", T, D(0), "A", D(10))
    store.books.record_activities(
        "PA1", [a_line(1, -1, "A", 8, 0), a_line(2, -1, "B", 8, 0), a_line(3, 0, None, 0, 1)]
    )
    assert store.books.acted("PA1") == ()
    store.books.record_activities("PA1", [split])
    assert [line.id for line in store.books.acted("PA1")] == ["1", "4"]


def test_only_symbols_that_others_have_moved_too_are_read_for_our_part(store: Store) -> None:
    journal, at = store.journal, T
    row = AllocationRow(
        id="0123456789abcdef", account="PA", bucket="b", object="o", generation=1, as_of=at,
        expires_at=at, policy="", model_id="", weights={}, received_at=at,
    )  # fmt: skip
    fence = journal.take_lease(journal.receive(row).id, 60) or 0
    for symbol in ("A", "B", "C"):
        order = OrderRow(
            id=f"{row.id}-{symbol}-buy-1", allocation_id=row.id, account="PA", symbol=symbol,
            side=Side.BUY, attempt=1, qty=D(5), reference_price=1.0, reason="", planned_at=at,
            updated_at=at,
        )  # fmt: skip
        journal.plan_orders(row.id, fence, [order])
        done = {"broker_id": f"of-{symbol}", "filled_qty": D(5)}
        journal.mark(order.id, fence, OrderStatus.FILLED, at, **done)
    later, told = at + dt.timedelta(hours=1), []
    for symbol in ("A", "B", "C"):
        told.append(
            Activity(f"1{symbol}", "FILL", at, D(-5), symbol, D(5), order_id=f"of-{symbol}")
        )
    told.append(Activity("2B", "FILL", later, D(3), "B", D(-3), order_id="by-hand"))
    told.append(Activity("2C", "SPLIT", later, D(0), "C", D(5)))
    told.append(Activity("2A", "DIV", later, D(1), "A"))
    store.books.record_activities("PA", told)
    read = store.books.moved_by_others("PA")
    assert {line.id for line in read} == {"1B", "2B", "1C", "2C"}
    fills = store.journal.fills("PA")
    assert own_shares(fills, read) == own_shares(fills, told) == {"A": 5, "B": 2, "C": 10}


def test_a_symbol_is_remembered_as_it_was_last_held(store: Store) -> None:
    account = Account("PA1", D(1), D(1), D(1))
    seen = [("FB", 1, 9.0, "old"), ("FB", 1, 8.0, "a"), ("FB", 4, 2.0, ""), ("X", 1, 5.0, "")]
    for hours, (symbol, qty, price, asset) in enumerate(seen):
        held = [Position(symbol, D(qty), price, 1.0, asset_id=asset)]
        store.books.record_account_summary(account, held, T + dt.timedelta(hours=hours))
    found = store.books.last_held("PA1", {"FB": D(1), "X": D(2), "never": D(1)})
    assert found == {"FB": LastHeld("a", 8.0), "X": LastHeld(), "never": LastHeld()}

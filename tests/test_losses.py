"""What an account lost: flows found on the right side of a day's last value, and its peak."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pytest
from execution_desk import opened_desk
from hypothesis import given
from hypothesis import strategies as st

from astra import cash
from astra.cash import Kind
from astra.equity_curve import curve_of
from astra.execution.figures import figures_of
from astra.matching import match
from astra.records import Account, Activity
from astra.risk import FLOWS, fallen, placed
from astra.store import Store

CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
MIDNIGHT = dt.datetime(2026, 1, 12, 5, 0, tzinfo=dt.UTC)  # the 12th in New York
usd = st.floats(1_000, 1_000_000)


def days(*values: float) -> list[tuple[dt.datetime, float]]:
    """Closes, of which the second is that of the 12th."""
    return [(CLOSE + (i - 1) * DAY, value) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "flow", "expected"),
    [
        ((100, 75, 75), -25, [-25, 0]),  # before the last value of its day
        ((100, 100, 75), -25, [0, -25]),  # after it
        ((100, 125, 125), 25, [25, 0]),
        ((100, 100, 125), 25, [0, 25]),
        ((100, 97, 71), -25, [0, -25]),  # the account moved too
        ((100, 72, 74), -25, [-25, 0]),
    ],
)
def test_a_flow_dated_by_its_day_counts_where_the_value_moved(
    values: tuple[float, ...], flow: float, expected: list[float]
) -> None:
    assert placed(days(*values), [(MIDNIGHT, flow)]) == expected


def test_a_flow_of_the_first_values_day_counts_after_it_only_if_the_value_moved_then() -> None:
    assert placed(days(9, 100, 75)[1:], [(MIDNIGHT, -25.0)]) == [-25]
    assert placed(days(9, 100, 100)[1:], [(MIDNIGHT, -25.0)]) == [0]


def test_a_flow_with_a_time_counts_where_it_stands() -> None:
    assert placed(days(100, 100, 75), [(MIDNIGHT + MINUTE, -25.0)]) == [-25, 0]
    assert placed(days(100, 75, 75), [(CLOSE + MINUTE, -25.0)]) == [0, -25]


def test_two_flows_of_one_day_are_both_found() -> None:
    flows = [(MIDNIGHT, -25.0), (MIDNIGHT, -20.0)]
    assert placed(days(100, 100, 55), flows) == [0, -45]
    assert placed(days(100, 55, 55), flows) == [-45, 0]


@given(usd, st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.floats(0.1, 0.8), st.booleans())
def test_a_withdrawal_far_larger_than_the_moves_is_always_placed_right(
    start: float, first: float, second: float, share: float, is_late: bool
) -> None:
    taken = share * start
    before = start * (1 + first)
    middle = before if is_late else before - taken
    end = (middle - (taken if is_late else 0.0)) * (1 + second)
    found = placed(days(start, middle, end), [(MIDNIGHT, -taken)])
    assert found == pytest.approx([0.0, -taken] if is_late else [-taken, 0.0])


def share(values: list[tuple[dt.datetime, float]]) -> float | None:
    found = fallen(values, [])
    return None if found is None else found.share


def test_a_wrong_value_that_was_saved_once_is_no_peak() -> None:
    assert share(days(100, 140, 100, 99)) == pytest.approx(0.01)
    assert share(days(100, 0, 100, 99)) == pytest.approx(0.01)
    assert share(days(100, 50, 100, 99)) == pytest.approx(0.01)
    assert share(days(100, 140, 139, 99)) == pytest.approx(1 - 99 / 139)


def test_the_peak_is_told_by_the_time_at_which_it_was_reached() -> None:
    values = days(100, 120, 120, 90)
    found = fallen(values, [])
    assert found is not None
    assert found.share == pytest.approx(0.25)
    assert found.peak_at == values[1][0]
    rising = fallen(days(100, 120, 121), [])
    assert rising is not None
    assert (rising.share, rising.peak_at) == (0.0, CLOSE + DAY)


@given(st.lists(usd, min_size=2, max_size=8))
def test_a_drawdown_is_a_share_and_none_at_the_highest_value(values: list[float]) -> None:
    found = fallen(days(*values), [])
    assert found is not None
    assert 0.0 <= found.share <= 1.0
    if values[-1] == max(values):
        assert found.share == pytest.approx(0.0)


def test_shares_that_come_or_go_count_at_their_price(store: Store) -> None:
    def line(kind: str, qty: int, price: int | None) -> Activity:
        told = None if price is None else Decimal(price)
        at = CLOSE + dt.timedelta(seconds=abs(qty))
        return Activity(f"{kind}{qty}", kind, at, Decimal(0), "AAPL", Decimal(qty), told)

    opened = Activity("open", "CSD", CLOSE - DAY, Decimal(1000))
    moved = [line("ACATS", 3, 50), line("JNLS", -2, 40), line("JNLS", 9, None)]
    store.books.record_activities("A", [opened, *moved])
    assert [amount for _, amount in store.equity.flows("A", FLOWS)] == [-80.0, 150.0, 0.0]


@pytest.mark.parametrize("kind", ["CSD", "CSW", "JNL", "JNLC", "JNLS", "ACATC", "ACATS", "TRANS"])
def test_what_the_cash_table_calls_a_deposit_is_no_profit_of_the_curve(
    store: Store, kind: str
) -> None:
    lines = [
        Activity("open", "CSD", CLOSE - DAY, Decimal(1000)),
        Activity("in", kind, CLOSE + MINUTE, Decimal(500)),
    ]
    store.books.record_activities("A", lines)
    curve = curve_of([], days(1000, 1000, 1500), store.equity.flows("A", FLOWS))
    assert curve is not None and curve.figures().gain == 0
    assert cash.totals(cash.movements(lines, match(lines))) == {Kind.FLOWS: 1500}


@pytest.mark.parametrize("is_before_close", [True, False])
def test_the_days_figure_knows_on_which_side_of_the_close_a_withdrawal_was(
    store: Store, tmp_path: Path, is_before_close: bool
) -> None:
    number, value = "A", 100_000
    last = 75_000 if is_before_close else 100_000
    store.books.record_activities(
        number,
        [
            Activity("open", "CSD", CLOSE - 9 * DAY, Decimal(value)),
            Activity("out", "CSW", MIDNIGHT, Decimal(-25_000)),
        ],
    )
    usd = Decimal(75_000)
    now = Account(number, usd, usd, usd, last_equity=Decimal(last))
    for at in (CLOSE - 3 * DAY, CLOSE + 56 * MINUTE):  # that of the 12th is saved after the money
        usd = Decimal(value if at < CLOSE else 75_000)
        store.books.record_account_summary(replace(now, equity=usd), (), at)
    with trading.opened() as sandbox:
        desk = replace(opened_desk(sandbox, tmp_path), store=store)
        found = figures_of(desk, now, CLOSE + 18 * 60 * MINUTE)
    assert (found.day_return, found.drawdown) == (0.0, 0.0)

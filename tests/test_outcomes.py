"""What became of each plan line: a fill, or the reason why there is none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from astra.outcomes import Outcome, outcomes
from astra.records import OrderStatus, PlanLine, Side
from astra.store.journal import OrderRow

TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
ORDER = OrderRow(
    "a-AAPL-buy-1", "a", "A1", "AAPL", Side.BUY, 1, Decimal(10), 100.0, "to 5.00% of equity",
    planned_at=TEN, updated_at=TEN, status=OrderStatus.FILLED, filled_qty=Decimal(10),
    filled_average_price=100.5,
)  # fmt: skip


def line(symbol: str = "AAPL", reason: str = "", target: float = 0.05) -> PlanLine:
    return PlanLine(symbol, 100.0, 0.0, target, 0.05, {"limit": 0.0, "rounding": 0.0}, reason)


def short(
    status: OrderStatus, filled: int, reason: str, attempt: int = 1, qty: int = 10
) -> OrderRow:
    return replace(
        ORDER, status=status, filled_qty=Decimal(filled), reason=reason, attempt=attempt,
        qty=Decimal(qty), filled_average_price=101.0 if filled else None,
    )  # fmt: skip


def only(orders: list[OrderRow], reason: str = "") -> Outcome:
    (found,) = outcomes([line(reason=reason)], orders)
    return found


def told(found: Outcome) -> tuple[int, int, str]:
    return int(found.ordered), int(found.filled), found.reason


def test_a_filled_line_needs_no_reason() -> None:
    found = only([ORDER])
    assert found == Outcome(
        "AAPL", Side.BUY, Decimal(10), Decimal(10), 100.0, 100.5, is_final=True, reason=""
    )
    assert found.is_explained


@pytest.mark.parametrize(
    ("orders", "filled", "reason"),
    [
        ([short(OrderStatus.REJECTED, 0, "RISK_ORDER_VALUE: too much")], 0,
         "RISK_ORDER_VALUE: too much"),
        ([short(OrderStatus.CANCELED, 4, "the session closed")], 4,
         "canceled: the session closed"),
        ([short(OrderStatus.EXPIRED, 0, "")], 0, "expired"),
        ([short(OrderStatus.ACCEPTED, 0, "to 5.00% of equity")], 0, "open: accepted"),
    ],
)  # fmt: skip
def test_what_was_not_filled_says_why(orders: list[OrderRow], filled: int, reason: str) -> None:
    found = only(orders)
    assert told(found) == (10, filled, reason)
    assert found.is_final is orders[0].status.is_final and found.is_explained


def test_a_further_attempt_counts_once_and_clears_what_the_first_one_lacked() -> None:
    first = short(OrderStatus.REJECTED, 0, "BROKER: insufficient buying power")
    found = only([first, replace(ORDER, attempt=2)])
    assert told(found) == (10, 10, "")
    rest = short(OrderStatus.FILLED, 6, "", attempt=2, qty=6)
    found = only([short(OrderStatus.CANCELED, 4, "priced anew"), rest])
    assert (*told(found), found.average_price) == (10, 10, "", 101.0)


def test_slices_add_up_and_the_attempt_at_their_rest_does_not() -> None:
    later = TEN + dt.timedelta(minutes=5)
    slices = [
        replace(ORDER, attempt=1, due_at=TEN),
        replace(short(OrderStatus.REJECTED, 0, "BROKER_NOT_YET: no", 2), due_at=later),
        short(OrderStatus.REJECTED, 0, "BROKER_REFUSED: no", 3),
    ]
    assert told(only(slices)) == (20, 10, "BROKER_REFUSED: no")


def test_a_line_without_an_order_ends_with_the_plans_reason() -> None:
    kept, still, gap = outcomes(
        [line("C"), line("A", "on hold: its shares stay"), line("B", target=0.0)], []
    )
    assert (kept.reason, kept.side, kept.is_explained) == ("on hold: its shares stay", None, True)
    assert still.reason == "it is at its target already"
    assert gap.reason == "" and not gap.is_explained


def test_a_line_traded_in_part_has_both_reasons() -> None:
    found = only([short(OrderStatus.CANCELED, 4, "closed")], "scaled by 0.500 to the cash")
    assert found.reason == "canceled: closed; scaled by 0.500 to the cash"


def test_both_sides_of_a_name_and_an_order_without_a_line_have_an_outcome() -> None:
    sale = replace(ORDER, side=Side.SELL)
    stray = replace(ORDER, symbol="ZZZ")
    found = outcomes([line()], [ORDER, sale, stray])
    assert [(o.symbol, o.side) for o in found] == [
        ("AAPL", Side.SELL), ("AAPL", Side.BUY), ("ZZZ", Side.BUY),
    ]  # fmt: skip

"""A phase takes each of its lines to a fill or to a reason, however orders are sent and end."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import desk as trading
import pytest
from execution_desk import HALVES, dropped, journaled, sent, shares

from astra.errors import OrderError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.executor import Executor
from astra.execution.parent_order import ParentOrder, parents_of, passes
from astra.records import OrderStatus, Side
from astra.store.journal import OrderRow
from astra.tactics import Style

MINUTE = dt.timedelta(minutes=1)
TWAP = Style("twap", 20.0, 4)


def order(number: int, status: OrderStatus, **changes: Any) -> OrderRow:
    row = OrderRow(
        f"a-AAPL-buy-{number}", "a", "PA1", "AAPL", Side.BUY, number, Decimal(10), 100.0, "to 5 %",
        trading.TEN, trading.TEN, status,
    )  # fmt: skip
    return replace(row, **changes)


@pytest.mark.parametrize(
    ("orders", "rest"),
    [
        ([order(1, OrderStatus.FILLED, filled_qty=Decimal(10))], 0),
        ([order(1, OrderStatus.CANCELED, filled_qty=Decimal(4))], 6),
        ([order(1, OrderStatus.EXPIRED)], 10),
        ([order(1, OrderStatus.ACCEPTED)], 0),
        ([order(1, OrderStatus.PLANNED)], 0),
        ([order(1, OrderStatus.REJECTED, reason="RISK_HALTED: no")], 0),
        ([order(1, OrderStatus.REJECTED, reason="BROKER_REJECTED: no")], 0),
        ([order(1, OrderStatus.REJECTED, reason="BROKER_NOT_YET: later")], 10),
        ([order(n, OrderStatus.REJECTED, reason="BROKER_NOT_YET") for n in (1, 2, 3, 4)], 10),
        ([order(n, OrderStatus.REJECTED, reason="BROKER_NOT_YET") for n in (1, 2, 3, 4, 5)], 0),
        ([order(n, OrderStatus.CANCELED) for n in (1, 2, 3)], 0),
        (
            [
                order(1, OrderStatus.CANCELED, due_at=trading.TEN, filled_qty=Decimal(7)),
                order(2, OrderStatus.REJECTED, due_at=trading.TEN + MINUTE, reason="RISK_GROSS"),
                order(3, OrderStatus.EXPIRED, due_at=trading.TEN + 2 * MINUTE),
            ],
            13,
        ),
        (
            [
                order(1, OrderStatus.CANCELED, due_at=trading.TEN),
                order(2, OrderStatus.CANCELED, filled_qty=Decimal(8)),
            ],
            2,
        ),
    ],
)
def test_what_is_left_of_a_parent_order_is_tried_again_where_that_may_help(
    orders: list[OrderRow], rest: int
) -> None:
    parent = ParentOrder(tuple(orders))
    assert parent.rest == rest
    assert parent.is_done(1.0) == (rest == 0 and parent.open is None and parent.next is None)


def test_a_rest_below_the_minimum_order_ends_the_parent_order() -> None:
    parent = ParentOrder((order(1, OrderStatus.CANCELED, filled_qty=Decimal("9.995")),))
    assert parent.is_done(1.0)
    assert not parent.is_done(0.1)


def test_parent_orders_are_orders_by_symbol_and_number() -> None:
    other = replace(order(1, OrderStatus.FILLED), symbol="A", id="a-A-buy-1")
    found = parents_of([order(10, OrderStatus.PLANNED), order(9, OrderStatus.FILLED), other])
    assert [[o.attempt for o in parent.orders] for parent in found] == [[1], [9, 10]]


@pytest.mark.parametrize(
    ("code", "text", "is_passing"),
    [
        (40310000, "insufficient buying power", True),
        (40310000, "insufficient qty available for order", True),
        (42210000, "potential wash trade detected", True),
        (40310000, "in words we have never seen", True),
        (40310000, "account is not allowed to short", False),
        (40310000, "asset XYZ is not fractionable", False),
        (42210000, "asset XYZ is not active", False),
        (42210000, "in words we have never seen", False),
        (40010001, "qty is required", False),
        (None, "insufficient buying power", False),
    ],
)
def test_a_refusal_passes_or_lasts_by_its_code(
    code: int | None, text: str, is_passing: bool
) -> None:
    assert passes(OrderError(text, code)) is is_passing


def test_a_refusal_that_passes_gets_another_attempt(sandbox: trading.Desk, desk: Desk) -> None:
    sandbox.fail("POST", "/v2/orders", status=403, times=2)
    row = Executor(desk).execute(dropped(HALVES))
    assert row.reason == "2 of 2 orders filled"
    for symbol in HALVES:
        refused, filled = journaled(desk.store, dropped(HALVES), symbol, Side.BUY)
        assert refused.reason.startswith("BROKER_NOT_YET: ")
        assert (filled.id, filled.qty) == (f"{refused.id[:-1]}2", refused.qty)
    assert len(sent(sandbox)) == 2


def test_a_refusal_that_lasts_ends_the_line_with_its_reason(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", status=422)
    row = Executor(desk).execute(dropped(HALVES))
    assert (row.status, row.reason) == ("done", "1 of 2 orders filled")
    refused = journaled(desk.store, dropped(HALVES), "AAPL", Side.BUY)
    assert [o.reason.split(":")[0] for o in refused] == ["BROKER_REFUSED"]
    assert set(shares(sandbox)) == {"JPM"}


def test_an_order_that_is_accepted_and_then_rejected_ends_with_that(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", reject=True)
    row = Executor(desk).execute(dropped(HALVES))
    assert row.reason == "1 of 2 orders filled"
    (rejected,) = journaled(desk.store, dropped(HALVES), "AAPL", Side.BUY)
    assert rejected.status is OrderStatus.REJECTED
    assert rejected.reason.startswith("BROKER_REJECTED: 0 of ")


def test_what_the_broker_cancels_of_an_order_is_sent_again(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.fail("POST", "/v2/orders", partial_fill=0.25, rest="cancel")
    row = Executor(desk).execute(dropped(HALVES))
    assert row.reason == "2 of 2 orders filled"
    first, second = journaled(desk.store, dropped(HALVES), "AAPL", Side.BUY)
    assert first.status is OrderStatus.CANCELED
    assert first.reason.startswith("BROKER_CANCELED: ")
    assert second.qty == first.qty - first.filled_qty
    assert shares(sandbox)["AAPL"] == first.qty


def test_another_open_order_of_the_symbol_is_cancelled_first(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(3), "by-hand", Decimal("1.00"))
    sandbox.orders.submit("BRK.B", Side.BUY, Decimal(3), "untouched", Decimal("1.00"))
    row = Executor(desk).execute(dropped(HALVES))
    assert row.reason == "2 of 2 orders filled"
    assert [o.client_order_id for o in sandbox.alpaca.orders("open")] == ["untouched"]


def test_a_limit_order_stays_within_its_collar(sandbox: trading.Desk, desk: Desk) -> None:
    last = sandbox.alpaca.latest_prices(HALVES)
    row = Executor(replace(desk, style=Style("limit", 100.0, 10))).execute(dropped(HALVES))
    assert row.reason == "2 of 2 orders filled"
    for found in sandbox.alpaca.orders("all"):
        assert found.type == "limit"
        assert found.limit_price == pytest.approx(last[found.symbol] * 1.01, abs=0.011)


def test_a_limit_that_is_not_met_is_priced_again_and_ends_with_its_reason(
    sandbox: trading.Desk, desk: Desk
) -> None:
    narrow = replace(desk, style=Style("limit", 0.01, 10), fill_timeout=4.0)
    prices = sandbox.alpaca.latest_prices(["JPM"])
    for minutes in range(0, 60, 5):  # a bar at whose open JPM costs more than its last price
        sandbox.step(trading.TEN + minutes * MINUTE)
        prices = sandbox.alpaca.latest_prices(["JPM"])
        found = sandbox.market.next_open("JPM", trading.TEN + minutes * MINUTE)
        if found is not None and found[1] > prices["JPM"] + 0.05:
            break
    file = dropped({"JPM": 0.4}, trading.TEN + minutes * MINUTE)
    row = Executor(narrow).execute(file)
    assert (row.status, row.reason) == ("done", "0 of 1 orders filled")
    tried = journaled(desk.store, file, "JPM", Side.BUY)
    assert [o.attempt for o in tried] == [1, 2, 3]
    assert all(o.reason.startswith("LIMIT_UNFILLED: its limit of ") for o in tried)
    assert sandbox.alpaca.orders("open") == ()


def test_slices_are_journaled_together_and_sent_when_they_are_due(
    sandbox: trading.Desk, desk: Desk
) -> None:
    slow = replace(desk, style=TWAP)
    file = dropped({"AAPL": 0.5})
    with pytest.raises(TemporaryError, match="the next slice") as caught:
        Executor(slow).execute(file)
    assert caught.value.retry_after == 60
    slices = journaled(desk.store, file, "AAPL", Side.BUY)
    assert [o.due_at for o in slices] == [trading.TEN + i * MINUTE for i in range(4)]
    assert [o.status for o in slices] == [OrderStatus.FILLED] + 3 * [OrderStatus.PLANNED]
    sandbox.step(trading.TEN + 2 * MINUTE)
    assert [row.status for row in Executor(slow).resume()] == ["buying"]
    assert len(sent(sandbox)) == 3
    sandbox.step(trading.TEN + 6 * MINUTE)
    assert [row.reason for row in Executor(slow).resume()] == ["1 of 1 orders filled"]
    assert shares(sandbox)["AAPL"] == sum(o.qty for o in slices)
    assert len(sent(sandbox)) == len(set(sent(sandbox))) == 4


def test_a_slice_waits_until_the_one_before_it_is_final(sandbox: trading.Desk, desk: Desk) -> None:
    slow = replace(desk, style=TWAP)
    sandbox.fail("POST", "/v2/orders", partial_fill=0.5, times=1)
    with pytest.raises(TemporaryError, match="not traded to the end"):
        Executor(slow).execute(dropped({"AAPL": 0.5}))
    sandbox.step(trading.TEN + 3 * MINUTE)  # its rest fills at the next bar only
    assert [row.status for row in Executor(slow).resume()] == ["buying"]
    assert len(sent(sandbox)) == 1
    sandbox.step(trading.TEN + 11 * MINUTE)
    assert [row.status for row in Executor(slow).resume()] == ["done"]


def test_small_orders_have_fewer_slices(sandbox: trading.Desk, desk: Desk) -> None:
    small = replace(desk, style=TWAP, capital=100.0)
    file = dropped({"AAPL": 0.02, "JPM": 0.5})
    with pytest.raises(TemporaryError):
        Executor(small).execute(file)
    assert len(journaled(desk.store, file, "AAPL", Side.BUY)) in (1, 2)
    assert len(journaled(desk.store, file, "JPM", Side.BUY)) == 4


def test_on_a_running_clock_slices_and_fills_are_waited_for(
    sandbox: trading.Desk, desk: Desk
) -> None:
    sandbox.market.clock.run(150.0)  # a bar takes two seconds
    slow = replace(desk, style=Style("twap", 20.0, 2), fill_timeout=15.0)
    file = dropped({"AAPL": 0.5})
    assert Executor(slow).execute(file).reason == "1 of 1 orders filled"
    first, second = journaled(desk.store, file, "AAPL", Side.BUY)
    assert first.sent_at is not None
    assert second.sent_at is not None
    assert second.due_at == first.planned_at + MINUTE
    assert second.sent_at >= second.due_at
    assert shares(sandbox)["AAPL"] == first.qty + second.qty

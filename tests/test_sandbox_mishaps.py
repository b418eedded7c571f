"""What the sandbox's broker can be made to do wrong, as the production adapter meets it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from desk import TEN, Desk, connect, opened

from astra.errors import OrderError
from astra.records import OrderStatus, Side
from astra.sessions import BAR

LAG = 0.4


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


def buy(desk: Desk, qty: int = 10, **mishap: Any) -> Any:
    if mishap:
        desk.fail("POST", "/v2/orders", **mishap)
    return desk.orders.submit("AAPL", Side.BUY, Decimal(qty), f"buy-{len(desk.state()['orders'])}")


def status(desk: Desk, order: Any) -> OrderStatus:
    found = desk.alpaca.order(order.client_order_id)
    assert found is not None
    return found.status


def test_an_order_is_accepted_and_then_rejected_without_a_fill(desk: Desk) -> None:
    order = buy(desk, reject=True)
    assert order.status is OrderStatus.ACCEPTED
    assert status(desk, order) is OrderStatus.REJECTED
    assert desk.alpaca.positions() == ()
    assert desk.alpaca.account().buying_power == 200_000
    desk.step(TEN + 12 * BAR)
    assert status(desk, order) is OrderStatus.REJECTED


def test_the_rest_of_a_partial_fill_is_cancelled_where_it_does_not_wait(desk: Desk) -> None:
    order = buy(desk, partial_fill=0.3, rest="cancel")
    assert (order.status, order.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 3)
    desk.step(TEN + 12 * BAR)
    ended = desk.alpaca.order(order.client_order_id)
    assert ended is not None
    assert (ended.status, ended.filled_qty) == (OrderStatus.CANCELED, 3)
    assert desk.alpaca.positions()[0].qty_available == 3


def test_account_and_positions_lag_behind_orders_and_activities(desk: Desk) -> None:
    before = desk.alpaca.account()
    order = buy(desk, lag_s=LAG)
    assert order.status is OrderStatus.FILLED
    assert [line.type for line in desk.alpaca.activities()] == ["CSD", "FILL"]
    assert desk.alpaca.positions() == ()
    assert desk.alpaca.account() == before
    time.sleep(LAG)
    assert desk.alpaca.positions()[0].qty == 10
    assert desk.alpaca.account().cash < before.cash


def test_what_is_filled_after_a_lagging_fill_is_not_told_before_it(desk: Desk) -> None:
    buy(desk, lag_s=LAG)
    desk.orders.submit("JPM", Side.BUY, Decimal(1), "prompt")
    assert desk.alpaca.positions() == ()
    time.sleep(LAG)
    assert [position.symbol for position in desk.alpaca.positions()] == ["AAPL", "JPM"]


def test_a_sale_that_lags_can_not_be_made_twice(desk: Desk) -> None:
    buy(desk)
    desk.fail("POST", "/v2/orders", lag_s=60)
    desk.orders.submit("AAPL", Side.SELL, Decimal(10), "first")
    assert desk.alpaca.positions()[0].qty_available == 10
    with pytest.raises(OrderError, match="not allowed to short"):
        desk.orders.submit("AAPL", Side.SELL, Decimal(10), "second")


def test_the_proceeds_of_a_sale_are_refused_until_the_buying_power_knows_them() -> None:
    with opened(cash=5_000.0) as desk:
        price = desk.alpaca.latest_prices(["AAPL"])["AAPL"]
        most = Decimal(int(9_000 / price))
        bought = desk.orders.submit("AAPL", Side.BUY, most, "bought")
        power = desk.alpaca.account().buying_power
        desk.fail("POST", "/v2/orders", lag_power_s=LAG)
        desk.orders.submit("AAPL", Side.SELL, most, "sold")
        told = desk.alpaca.account()
        assert told.buying_power == power
        assert told.cash > 4_900
        assert desk.alpaca.positions() == ()
        with pytest.raises(OrderError, match="insufficient buying power"):
            desk.orders.submit("JPM", Side.BUY, bought.qty, "too early")
        time.sleep(LAG)
        assert desk.alpaca.account().buying_power >= 2 * told.cash
        assert desk.orders.submit("JPM", Side.BUY, Decimal(1), "later").filled_qty == 1


def test_a_reset_forgets_orders_lag_and_the_budget() -> None:
    with opened(requests_per_minute=4) as desk:
        buy(desk, lag_s=60)
        desk.fail("POST", "/v2/orders", reject=True)
        for _ in range(2):
            desk.alpaca.clock()
        desk.faults.disarm()
        desk.app.extensions["reset"]()
        anew = connect(desk.url)
        assert anew.account().cash == 100_000
        assert buy(desk, qty=1).status is OrderStatus.FILLED
        assert anew.positions()[0].qty == 1


def test_a_broker_copied_with_its_lag_goes_on_alone(desk: Desk) -> None:
    buy(desk, lag_s=LAG)
    broker = desk.app.extensions["broker"]
    other = copy.deepcopy(broker, {id(desk.market): desk.market})
    other.books.book(other.books.lines[0])
    assert len(broker.books.lines) == 2
    assert other.lots() == []
    time.sleep(LAG)
    assert [lot.qty for lot in other.lots()] == [10]


@pytest.mark.parametrize("spoiled", [{"duplicate": True}, {"reorder": True}])
def test_lines_of_a_list_come_twice_or_turned_round(desk: Desk, spoiled: dict[str, bool]) -> None:
    for _ in range(3):
        buy(desk, qty=1)
    lines = list(desk.alpaca.activities())
    desk.fail("GET", "/v2/account/activities", **spoiled)
    found = list(desk.alpaca.activities())
    twice = [line for line in lines for _ in range(2)]
    assert found == (twice if "duplicate" in spoiled else lines[::-1])
    assert list(desk.alpaca.activities()) == lines


def test_orders_that_are_listed_twice_are_one(desk: Desk) -> None:
    buy(desk)
    desk.fail("GET", "/v2/orders", duplicate=True, reorder=True)
    assert len(desk.alpaca.orders("all")) == 1


def test_a_spoiled_list_leaves_other_answers_alone(desk: Desk) -> None:
    desk.fail("GET", "/v2", duplicate=True, times=None)
    account = desk.alpaca.account()
    assert account.cash == 100_000


def test_a_world_begun_anew_is_as_the_first_at_an_earlier_time(desk: Desk) -> None:
    def life() -> list[Any]:
        bought = buy(desk, partial_fill=0.5)
        desk.step(TEN + 12 * BAR)
        found = desk.alpaca.order(bought.client_order_id)
        assert found is not None
        told = desk.alpaca.account(), desk.alpaca.positions(), desk.alpaca.clock()
        lines = [
            (line.type, line.at, line.qty, line.net_amount) for line in desk.alpaca.activities()
        ]
        return [(found.filled_qty, found.filled_at), told[0].cash, *told[1:], lines]

    first, number = life(), desk.alpaca.account().number
    desk.fail("POST", "/v2/orders", reject=True, times=None)
    desk.begin_anew()
    assert desk.alpaca.clock().now == TEN
    assert life() == first
    assert desk.alpaca.account().number != number

"""The only door to the broker: what passes it, what it gathers, and that there is no other."""

from __future__ import annotations

import ast
import datetime as dt
import math
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import desk as trading
import numpy as np
import pandas as pd
import pytest
from execution_desk import HALVES, dropped, journaled, opened_desk, sent, shares
from flask import Response, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import limits

from astra.errors import OrderError, TemporaryError
from astra.execution.desk import Desk
from astra.execution.door import Door
from astra.execution.executor import Executor
from astra.execution.figures import figures_of
from astra.execution.gate import Gate
from astra.execution.holdings import managed
from astra.execution.pro_forma import ProForma
from astra.records import Account, Activity, Order, OrderStatus, PlannedOrder, Side, TradingState
from astra.risk import Denial
from astra.sessions import last_sessions
from astra.settings import HOUSE
from astra.store.journal import AllocationRow, OrderRow

TEN, CLOSE = trading.TEN, trading.CLOSE
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
LIMITS = limits(max_order_weight=0.6, max_position_weight=0.5)
PRODUCT = (
    "astra", "etl_service", "model", "rebalance_function", "monitor_service", "frontend", "sandbox",
)  # fmt: skip


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    return opened_desk(sandbox, tmp_path, limits=LIMITS)


class Phase:
    """An allocation under a lease, with orders that its plan might have."""

    def __init__(self, desk: Desk, **said: Any) -> None:
        row = AllocationRow(
            id="0123456789abcdef", account=desk.broker.account().number, bucket="bucket",
            object="target", generation=1, as_of=TEN, expires_at=TEN + 30 * MINUTE,
            policy="measured", model_id="m", weights={"AAPL": 0.5, "JPM": 0.5}, received_at=TEN,
            coverage=1.0,
        )  # fmt: skip
        self.desk, self.door = desk, Door(desk)
        self.row = desk.store.journal.receive(replace(row, **said))
        self.fence = desk.store.journal.take_lease(row.id, 60) or 0

    def order(
        self, symbol: str, side: Side, usd: float, n: int = 1, price: float | None = None
    ) -> OrderRow:
        """An order that the journal knows, for about so many USD."""
        price = price or self.desk.broker.latest_prices([symbol])[symbol]
        order = OrderRow(
            id=f"{self.row.id}-{symbol}-{side}-{n}", allocation_id=self.row.id,
            account=self.row.account, symbol=symbol, side=side, attempt=n,
            qty=Decimal(str(round(usd / price, 6))), reference_price=price, reason="",
            planned_at=TEN, updated_at=TEN,
        )  # fmt: skip
        self.desk.store.journal.plan_orders(self.row.id, self.fence, [order])
        return order

    def gate(self) -> Gate:
        return self.door.gate(self.row)

    def send(self, order: OrderRow, gate: Gate | None = None) -> Order | Denial:
        return self.door.send(order, self.fence, gate or self.gate())


def code(answer: Order | Denial | None) -> str | None:
    return answer.code if isinstance(answer, Denial) else None


def codes(gate: Gate, orders: Sequence[OrderRow | PlannedOrder]) -> list[str | None]:
    return [code(gate.deny(order)) for order in orders]


def test_an_order_within_the_limits_leaves_once_and_is_marked_before(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(desk)
    order = phase.order("AAPL", Side.BUY, 20_000)
    found = phase.send(order)
    assert isinstance(found, Order)
    assert found.client_order_id == order.id
    (written,) = desk.store.journal.orders(phase.row.id)
    assert (written.status, written.sent_at) == (OrderStatus.SENDING, TEN)
    again = phase.send(written, phase.gate())
    assert isinstance(again, Order)
    assert sent(sandbox) == [order.id]


def test_what_the_gate_denies_is_neither_marked_nor_sent(desk: Desk, sandbox: trading.Desk) -> None:
    phase = Phase(desk)
    order = phase.order("AAPL", Side.BUY, 61_000)
    assert code(phase.send(order)) == "RISK_ORDER_VALUE"
    (written,) = desk.store.journal.orders(phase.row.id)
    assert (written.status, written.sent_at) == (OrderStatus.PLANNED, None)
    assert sent(sandbox) == []


def test_a_limit_price_goes_with_the_order_and_is_what_the_gate_counts(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(desk)
    order = phase.order("AAPL", Side.BUY, 20_000)
    limit = round(order.reference_price * 1.01, 2)
    found = phase.send(replace(order, limit_price=limit))
    assert isinstance(found, Order)
    assert (found.type, found.limit_price) == ("limit", limit)
    wild = replace(phase.order("JPM", Side.BUY, 5_000), limit_price=order.reference_price * 9)
    assert code(phase.send(wild)) == "RISK_PRICE_COLLAR"


@pytest.mark.parametrize(
    ("state", "bought", "sold"),
    [
        (TradingState.HALTED, "RISK_HALTED", "RISK_HALTED"),
        (TradingState.REDUCING, "RISK_REDUCING", None),
    ],
)
def test_a_halt_after_the_gate_was_asked_is_seen_in_the_transaction_that_marks(
    desk: Desk, sandbox: trading.Desk, state: TradingState, bought: str, sold: str | None
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "by-hand")
    phase = Phase(desk)
    gate = phase.gate()
    buy, sell = phase.order("AAPL", Side.BUY, 1_000), phase.order("JPM", Side.SELL, 1_000)
    desk.store.states.set(phase.row.account, state, "a person", "test", TEN)
    assert code(phase.send(buy, gate)) == bought
    assert code(phase.send(sell, gate)) == sold
    assert code(phase.send(buy)) == bought, "a gate of now says the same"
    assert sent(sandbox) == ["by-hand"] + ([] if sold else [sell.id])
    assert desk.store.journal.orders(phase.row.id)[0].status is OrderStatus.PLANNED


def test_what_was_let_through_counts_as_filled_for_the_next(desk: Desk) -> None:
    phase = Phase(desk)
    buys = [phase.order("AAPL", Side.BUY, 30_000, n) for n in (1, 2)]
    others = [phase.order(symbol, Side.BUY, 45_000) for symbol in ("JPM", "BRK.B")]
    assert codes(phase.gate(), [*buys, *others]) == [
        None, "RISK_POSITION_WEIGHT", None, "RISK_GROSS_EXPOSURE",
    ]  # fmt: skip
    loose = replace(desk, limits=replace(LIMITS, max_gross=2.0))
    gate = Door(loose).gate(phase.row)
    assert codes(gate, [buys[0], *others]) == [None, None, "RISK_CASH"]


def test_shares_are_sold_once(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "by-hand")
    phase = Phase(desk)
    price = sandbox.alpaca.latest_prices(["JPM"])["JPM"]
    sells = [phase.order("JPM", Side.SELL, 30 * price, n) for n in (1, 2)]
    stranger = phase.order("AAPL", Side.SELL, 100)
    assert codes(phase.gate(), [*sells, stranger]) == [None, "RISK_OVERSOLD", "RISK_OVERSOLD"]


def test_open_orders_at_the_broker_take_cash_and_shares(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "held")
    prices = sandbox.alpaca.latest_prices(["AAPL", "JPM"])
    low = Decimal(str(round(prices["AAPL"] * 0.9, 2)))
    high = Decimal(str(round(prices["JPM"] * 1.2, 2)))
    resting = int(60_000 / float(low))
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(resting), "low", low)
    sandbox.orders.submit("JPM", Side.SELL, Decimal(40), "high", high)
    phase = Phase(replace(desk, limits=replace(LIMITS, max_gross=2.0)))
    buy = phase.order("BRK.B", Side.BUY, 45_000)
    sell = phase.order("JPM", Side.SELL, 20 * prices["JPM"])
    small = phase.order("JPM", Side.SELL, 9 * prices["JPM"], 2)
    assert codes(phase.gate(), [buy, sell, small]) == ["RISK_CASH", "RISK_OVERSOLD", None]


def test_on_a_cash_account_only_settled_cash_buys(tmp_path: Path) -> None:
    with trading.opened(account_type="cash") as sandbox:
        desk = opened_desk(sandbox, tmp_path, limits=LIMITS)
        held = Decimal(200)
        sandbox.orders.submit("JPM", Side.BUY, held, "in")
        sandbox.orders.submit("JPM", Side.SELL, held, "out")
        phase = Phase(desk)
        account = sandbox.alpaca.account()
        assert account.settled_cash is not None
        assert account.settled_cash < account.cash
        usd = min(49_000.0, float(account.settled_cash) - 10)
        first = phase.order("AAPL", Side.BUY, usd)
        second = phase.order("BRK.B", Side.BUY, min(49_000.0, float(account.cash) - usd - 10))
        assert codes(phase.gate(), [first, second]) == [None, "RISK_CASH"]


asked = st.lists(
    st.tuples(st.sampled_from(["AAPL", "BRK.B", "JPM"]), st.sampled_from(Side), st.floats(0, 6e4)),
    max_size=12,
)


@given(asked)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_for_what_passes_is_paid_for_held_and_within_the_weights(
    opened: Phase, orders: list[tuple[str, Side, float]]
) -> None:
    broker = opened.desk.broker
    held = {p.symbol: p.qty for p in broker.positions()}
    prices = broker.latest_prices(["AAPL", "BRK.B", "JPM"])
    value = {s: float(held.get(s, 0)) * p for s, p in prices.items()}
    cash, equity = float(broker.account().cash), float(broker.account().equity)
    gate = opened.gate()
    for symbol, side, usd in orders:
        qty = Decimal(str(round(usd / prices[symbol], 6)))
        order = PlannedOrder(symbol, side, qty, prices[symbol], "")
        if gate.deny(order) is not None:
            continue
        sign = 1 if side is Side.BUY else -1
        value[symbol] += sign * float(qty) * prices[symbol]
        cash -= sign * float(qty) * prices[symbol]
        if side is Side.SELL:
            held[symbol] -= qty
            assert held[symbol] >= 0
            continue
        assert cash >= -1e-6
        assert value[symbol] <= LIMITS.max_position_weight * equity + 1e-6
        assert sum(value.values()) <= equity + 1e-6


@pytest.fixture
def opened(desk: Desk, sandbox: trading.Desk) -> Phase:
    """A phase of an account that holds 50 shares of JPM."""
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "by-hand")
    return Phase(replace(desk, adopt=None))


def test_orders_are_counted_and_one_that_is_sent_again_counts_once(desk: Desk) -> None:
    few = replace(desk, limits=replace(LIMITS, max_orders_per_rebalance=2))
    phase = Phase(few)
    orders = [phase.order("AAPL", Side.BUY, 1_000, n) for n in (1, 2, 3)]
    gate = phase.gate()
    assert codes(gate, [*orders, orders[0]]) == [None, None, "RISK_ORDERS_REBALANCE", None]
    for order in orders[:2]:
        phase.send(order)
    assert codes(phase.gate(), [orders[2], orders[1]]) == ["RISK_ORDERS_REBALANCE", None]
    daily = replace(desk, limits=replace(LIMITS, max_orders_per_day=2))
    assert code(Door(daily).gate(phase.row).deny(orders[2])) == "RISK_ORDERS_DAY"
    later = Phase(daily, id="f" * 16)
    assert code(later.gate().deny(later.order("JPM", Side.BUY, 100))) == "RISK_ORDERS_DAY"


def test_a_phase_that_lasts_ends_with_the_session_or_the_allocation(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(desk, expires_at=CLOSE + DAY)
    short = replace(phase.row, expires_at=TEN + 30 * MINUTE)
    order = phase.order("AAPL", Side.BUY, 1_000)
    gate, expiring = phase.gate(), phase.door.gate(short)
    assert codes(gate, [order]) == codes(expiring, [order]) == [None]
    for at, expected in (
        (TEN + 31 * MINUTE, (None, "RISK_STALE_ALLOCATION")),
        (CLOSE - 4 * MINUTE, ("RISK_MARKET_CLOSING", "RISK_MARKET_CLOSING")),
        (CLOSE, ("RISK_MARKET_CLOSED", "RISK_MARKET_CLOSED")),
    ):
        sandbox.step(at)
        sandbox.alpaca.account()  # any answer tells the time
        assert (code(gate.deny(order)), code(expiring.deny(order))) == expected


def test_a_gate_is_not_opened_on_positions_that_lack_what_the_equity_counts(
    desk: Desk, sandbox: trading.Desk
) -> None:
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(400), "by-hand")

    def untold(answer: Response) -> Response:
        if request.path == "/v2/positions":
            answer.set_data("[]")
        return answer

    sandbox.app.after_request_funcs.setdefault(None, []).append(untold)
    with pytest.raises(TemporaryError, match="0 positions: ask again later"):
        Phase(desk).gate()


def test_a_gate_is_not_opened_for_another_account(desk: Desk, sandbox: trading.Desk) -> None:
    phase = Phase(desk)
    sandbox.app.extensions["reset"]()
    with pytest.raises(TemporaryError, match="is required for target, found PA3"):
        phase.gate()


def test_a_worker_whose_lease_is_about_to_end_sends_nothing(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(replace(desk, doubt_seconds=100.0))
    order = phase.order("AAPL", Side.BUY, 1_000)
    with pytest.raises(TemporaryError, match="nothing was sent"):
        phase.send(order)
    assert sent(sandbox) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"coverage": 0.4}, "RISK_COVERAGE"),
        ({"coverage": 0.9, "trained_until": TEN - 366 * DAY}, "RISK_MODEL_AGE"),
        ({"coverage": 0.9, "trained_until": TEN - 30 * DAY}, None),
        ({"coverage": 0.4, "trained_until": TEN - 366 * DAY, "policy": "manual"}, None),
        ({"coverage": 1.0}, None),
        ({"coverage": None}, "RISK_COVERAGE"),
        ({"coverage": None, "policy": "manual"}, None),
    ],
)
def test_a_forecast_must_be_fresh_and_wide_and_a_file_by_hand_need_not(
    desk: Desk, said: dict[str, Any], expected: str | None
) -> None:
    phase = Phase(desk, **said)
    assert code(phase.gate().deny(phase.order("AAPL", Side.BUY, 1_000))) == expected


def store_bars(desk: Desk, symbol: str, factor: float = 1.0) -> None:
    """Bars of Friday that end at `factor` times the broker's price."""
    ts = last_sessions(2, TEN)[0].grid()
    last = desk.broker.latest_prices([symbol])[symbol]
    close = last * factor * np.tile([1.002, 1.0], len(ts) // 2)
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    frame = pd.DataFrame({"ticker": symbol, "ts": ts, **prices, "volume": 100})
    desk.store.prices.upsert(frame.astype({"ticker": "str"}), TEN)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.5, "RISK_PRICE_COLLAR"), (1.0, None), (1.05, None), (2.0, "RISK_PRICE_COLLAR")],
)
@pytest.mark.parametrize("side", Side)
def test_a_split_that_only_the_store_or_only_the_broker_knows_stops_the_order(
    desk: Desk, sandbox: trading.Desk, factor: float, expected: str | None, side: Side
) -> None:
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(50), "by-hand")
    store_bars(desk, "AAPL", factor)
    phase = Phase(desk)
    assert code(phase.gate().deny(phase.order("AAPL", side, 1_000))) == expected


def test_a_rebalance_leaves_a_name_whose_split_is_half_known_and_trades_the_others(
    desk: Desk, sandbox: trading.Desk
) -> None:
    store_bars(desk, "JPM")
    store_bars(desk, "AAPL", 0.25)
    delivered = dropped(HALVES)
    Executor(desk).execute(delivered)
    (denied,) = journaled(desk.store, delivered, "AAPL", Side.BUY)
    assert denied.status is OrderStatus.REJECTED
    assert denied.reason.startswith("RISK_PRICE_COLLAR: AAPL: ")
    assert set(shares(sandbox)) == {"JPM"}


def test_without_stored_bars_the_brokers_close_of_the_session_before_is_believed(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(desk)
    price = sandbox.alpaca.latest_prices(["AAPL"])["AAPL"]
    right = phase.order("AAPL", Side.BUY, 1_000)
    wrong = phase.order("AAPL", Side.BUY, 1_000, 2, price=price * 1.5)
    assert codes(phase.gate(), [right, wrong]) == [None, "RISK_PRICE_COLLAR"]


def test_a_purchase_of_which_nobody_knows_a_close_is_denied(desk: Desk) -> None:
    phase = Phase(desk)
    order = phase.order("NOBODY", Side.BUY, 1_000, price=10.0)
    denial = phase.gate().deny(order)
    assert denial is not None
    assert (denial.code, denial.reason) == (
        "RISK_PRICE_COLLAR", "NOBODY: no close is known to hold 10.0000 USD against",
    )  # fmt: skip


def test_a_preview_asks_with_planned_orders(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(200), "by-hand")
    price = sandbox.alpaca.latest_prices(["AAPL", "JPM"])
    out = PlannedOrder("JPM", Side.SELL, Decimal(200), price["JPM"], "")
    usd = float(sandbox.alpaca.account().cash) + 5_000
    buys = [
        PlannedOrder(s, Side.BUY, Decimal(str(round(usd / 2 / p, 6))), p, "")
        for s, p in sandbox.alpaca.latest_prices(["AAPL", "BRK.B"]).items()
    ]
    wide = replace(
        desk, limits=limits(max_order_weight=1.0, max_position_weight=1.0, max_gross=2.0)
    )
    row = Phase(wide).row
    assert codes(Door(wide).gate(row), buys) == [None, "RISK_CASH"]
    assert codes(Door(wide).gate(row), [out, *buys]) == [None, None, None]


def test_weights_are_shares_of_what_is_managed_and_not_of_a_persons_own_positions(
    desk: Desk, sandbox: trading.Desk
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(200), "by-hand")
    cash = float(sandbox.alpaca.account().cash)
    phase = Phase(desk)
    half = phase.order("AAPL", Side.BUY, cash * 0.499)
    more = phase.order("BRK.B", Side.BUY, cash * 0.51)
    assert codes(phase.gate(), [half, more]) == [None, "RISK_POSITION_WEIGHT"]
    capital = replace(desk, capital=10_000.0)
    small, large = phase.order("AAPL", Side.BUY, 4_900, 2), phase.order("JPM", Side.BUY, 5_100)
    again, third = phase.order("JPM", Side.BUY, 4_900, 2), phase.order("BRK.B", Side.BUY, 300)
    huge = phase.order("BRK.B", Side.BUY, 6_100, 2)
    assert codes(Door(capital).gate(phase.row), [small, large, again, third, huge]) == [
        None, "RISK_POSITION_WEIGHT", None, "RISK_GROSS_EXPOSURE", "RISK_ORDER_VALUE",
    ]  # fmt: skip


def test_with_a_capital_an_allocation_holds_no_more_of_it_than_the_limits_allow(
    desk: Desk, sandbox: trading.Desk
) -> None:
    wide = limits(max_order_weight=1.0, max_position_weight=0.25)
    small = replace(desk, capital=10_000.0, limits=wide)
    Executor(small).execute(dropped({"AAPL": 0.95}))
    held = sum(float(p.qty) * p.market_price for p in sandbox.alpaca.positions())
    assert held <= 2_500 * 1.01


def test_what_an_order_has_bought_before_the_journal_is_told_counts_as_ours(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase = Phase(desk)
    first = phase.order("AAPL", Side.BUY, 45_000)
    assert isinstance(phase.send(first), Order)  # filled at once, and nobody has looked
    assert not managed(desk, sandbox.alpaca.positions(), phase.row.account)
    second = phase.order("JPM", Side.BUY, 48_000)
    more = phase.order("AAPL", Side.BUY, 6_000, 2)
    assert codes(phase.gate(), [more, second]) == ["RISK_POSITION_WEIGHT", None]


def resting(sandbox: trading.Desk, **ticket: Any) -> str:
    """A person's purchase that stays open at the broker."""
    body = {"side": "buy", "type": "limit", "time_in_force": "gtc", "client_order_id": "my-own"}
    sandbox.alpaca.trading.call("POST", "/orders", {**body, **ticket})
    return "my-own"


def test_a_persons_open_purchase_takes_cash_and_no_weight(
    desk: Desk, sandbox: trading.Desk
) -> None:
    price = sandbox.alpaca.latest_prices(["BRK.B"])["BRK.B"]
    qty = str(int(70_000 / (price * 0.8)))
    resting(sandbox, symbol="BRK.B", qty=qty, limit_price=str(round(price * 0.8, 2)))
    phase = Phase(desk, weights={"AAPL": 0.5})
    order, more = (phase.order(symbol, Side.BUY, 25_000) for symbol in ("AAPL", "JPM"))
    assert codes(phase.gate(), [order, more]) == [None, "RISK_CASH"]
    capital = replace(desk, capital=20_000.0)
    some = phase.order("AAPL", Side.BUY, 9_000, 3)
    assert code(Door(capital).gate(phase.row).deny(some)) is None


def test_a_purchase_whose_price_only_its_last_close_tells_counts_with_it(
    desk: Desk, sandbox: trading.Desk
) -> None:
    price = sandbox.alpaca.latest_prices(["BRK.B"])["BRK.B"]
    qty = str(int(70_000 / price))
    resting(sandbox, symbol="BRK.B", qty=qty, limit_price=str(round(price * 0.8, 2)))
    sandbox.fail("GET", "/v2/orders", drop_fields=["limit_price"])
    phase = Phase(desk, weights={"AAPL": 0.5})
    order, more = (phase.order(symbol, Side.BUY, 25_000) for symbol in ("AAPL", "JPM"))
    assert codes(phase.gate(), [order, more]) == [None, "RISK_CASH"]


@pytest.mark.parametrize(
    ("changes", "takes", "unpriced"),
    [
        ({"asset_class": "us_option", "limit_price": 3.5}, 700.0, False),
        ({"asset_class": "crypto", "notional": 500.0}, 500.0, False),
        ({"asset_class": "crypto", "limit_price": 90_000.0}, 180_000.0, False),
        ({"asset_class": "crypto"}, 0.0, True),
        ({"asset_class": "crypto", "side": Side.SELL}, 0.0, False),
        ({"symbol": "AAPL"}, 400.0, False),
        ({"symbol": "NOBODY"}, 0.0, True),
    ],
)
def test_an_open_purchase_takes_what_it_says_or_is_named(
    changes: dict[str, Any], takes: float, unpriced: bool
) -> None:
    order = Order(
        "1", "my-own", "BTC/USD", Side.BUY, OrderStatus.ACCEPTED, Decimal(2), Decimal(0), None
    )
    order = replace(order, **changes)
    on_margin = account("A", 1_000_000.0, None)
    held = ProForma(on_margin, (), ())
    held.reserve([order], {"AAPL": 200.0})
    assert held.cash == pytest.approx(1_000_000 - takes)
    name = f"the open order my-own to buy {order.symbol}"
    assert (held.unpriced, held.gross) == (name if unpriced else "", 0.0)
    settled = ProForma(replace(on_margin, settled_cash=Decimal(5)), (), ())
    settled.reserve([order], {})
    assert (settled.cash, settled.unpriced) == (5.0, "")


def test_an_account_that_does_not_say_what_it_was_worth_at_the_last_close_buys_nothing(
    desk: Desk, sandbox: trading.Desk
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "by-hand")
    phase = Phase(desk)
    orders = [phase.order("AAPL", Side.BUY, 1_000), phase.order("JPM", Side.SELL, 1_000)]
    sandbox.fail("GET", "/v2/account", drop_fields=["last_equity"])
    assert codes(phase.gate(), orders) == ["RISK_DAILY_LOSS", None]
    assert codes(phase.gate(), orders) == [None, None]


def test_an_account_that_does_not_say_whether_it_may_borrow_buys_from_settled_cash(
    tmp_path: Path,
) -> None:
    with trading.opened(account_type="cash") as sandbox:
        desk = opened_desk(sandbox, tmp_path, limits=LIMITS)
        sandbox.orders.submit("JPM", Side.BUY, Decimal(200), "in")
        sandbox.orders.submit("JPM", Side.SELL, Decimal(200), "out")
        phase = Phase(desk)
        settled = float(sandbox.alpaca.account().settled_cash or 0)
        first = phase.order("AAPL", Side.BUY, min(49_000.0, settled - 10))
        second = phase.order("BRK.B", Side.BUY, 49_000)
        sandbox.fail("GET", "/v2/account", drop_fields=["multiplier"])
        assert codes(phase.gate(), [first, second]) == [None, "RISK_CASH"]


def test_losses_are_held_against_the_capital_where_one_is_set(desk: Desk) -> None:
    desk.store.books.record_account_summary(account("A", 100_000.0, None), (), FRIDAY - DAY)
    desk.store.books.record_account_summary(account("A", 100_000.0, None), (), FRIDAY)
    for capital, expected in ((0.0, 0.01), (10_000.0, 0.1), (500_000.0, 0.01)):
        now = figures_of(replace(desk, capital=capital), account("A", 99_000.0, 100_000.0), TEN)
        assert now.day_return == pytest.approx(-expected)
        assert now.drawdown == pytest.approx(expected)


def account(number: str, equity: float, last_equity: float | None) -> Account:
    before = None if last_equity is None else Decimal(str(last_equity))
    usd = Decimal(str(equity))
    return Account(number, usd, usd, usd, last_equity=before)


def flow(kind: str, usd: float, at: dt.datetime) -> Activity:
    return Activity(f"{kind}-{at.isoformat()}", kind, at, Decimal(str(usd)))


FRIDAY = dt.datetime(2026, 1, 9, 21, 0, tzinfo=dt.UTC)


def test_the_days_return_is_free_of_deposits_and_of_the_one_that_opened_the_account(
    desk: Desk,
) -> None:
    opened, midnight = FRIDAY - 9 * DAY, dt.datetime(2026, 1, 12, 5, 0, tzinfo=dt.UTC)
    paid = [
        flow("CSD", 100, opened), flow("FEE", -1, TEN), flow("CSW", -10, midnight),
        flow("JNLC", 30, TEN - MINUTE), flow("CSD", 7, FRIDAY - MINUTE),
    ]  # fmt: skip
    desk.store.books.record_activities("A", paid)
    found = figures_of(desk, account("A", 114.0, 100.0), TEN)
    assert found.day_return == pytest.approx((114 - 20 - 100) / 120)
    assert figures_of(desk, account("B", 114.0, 0.0), TEN).day_return is None
    assert math.isnan(figures_of(desk, account("A", 114.0, None), TEN).day_return or 0.0)
    desk.store.books.record_activities("NEW", [flow("CSD", 100, TEN - MINUTE)])
    assert figures_of(desk, account("NEW", 99.0, 100.0), TEN).day_return == pytest.approx(-0.01)


def test_the_drawdown_is_that_of_the_sessions_last_values(desk: Desk) -> None:
    for at, usd in (
        (FRIDAY - 2 * DAY, 100.0),
        (FRIDAY - DAY - 60 * MINUTE, 500.0),  # in between: does not count
        (FRIDAY - DAY, 120.0),
        (FRIDAY, 120.0),
        (TEN - MINUTE, 10.0),  # today: the present counts
    ):
        desk.store.books.record_account_summary(account("A", usd, None), (), at)
    # withdrawn today, and dated by the day alone
    withdrawn = flow("CSW", -20, dt.datetime(2026, 1, 12, 5, 0, tzinfo=dt.UTC))
    desk.store.books.record_activities("A", [flow("CSD", 100, FRIDAY - 9 * DAY), withdrawn])
    assert figures_of(desk, account("A", 100.0, None), TEN).drawdown == pytest.approx(0.0)
    assert figures_of(desk, account("A", 70.0, None), TEN).drawdown == pytest.approx(0.25)
    assert figures_of(desk, account("B", 70.0, None), TEN).drawdown is None


def test_a_bad_day_stops_purchases_and_lets_sales_pass(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(50), "by-hand")
    phase = Phase(desk)
    now = desk.broker.account()
    desk.store.books.record_account_summary(replace(now, equity=now.equity * 2), (), FRIDAY)
    gate = phase.gate()
    orders = [phase.order("AAPL", Side.BUY, 1_000), phase.order("JPM", Side.SELL, 1_000)]
    assert codes(gate, orders) == ["RISK_DRAWDOWN", None]


def test_what_a_person_accepted_by_lifting_is_not_denied_on_the_same_day(
    desk: Desk, sandbox: trading.Desk
) -> None:
    phase, now = Phase(desk), desk.broker.account()
    desk.store.books.record_account_summary(replace(now, equity=now.equity * 2), (), FRIDAY)
    order = phase.order("AAPL", Side.BUY, 1_000)
    states = desk.store.states
    states.set(now.number, TradingState.REDUCING, "down", "breaker", TEN)
    states.offer_lift(states.get(now.number), "code", time.time() + 60, "c", TEN)
    assert states.lift(now.number, "code", time.time(), {"drawdown": 0.5}, "test", TEN)
    assert code(phase.gate().deny(order)) is None
    states.set(now.number, TradingState.REDUCING, "down", "breaker", TEN)
    states.offer_lift(states.get(now.number), "code", time.time() + 60, "c", TEN)
    assert states.lift(now.number, "code", time.time(), {"drawdown": 0.4}, "test", TEN)
    assert code(phase.gate().deny(order)) == "RISK_DRAWDOWN", "it has grown since"


def test_rows_that_the_broker_tells_twice_count_once(desk: Desk, sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(150), "by-hand")
    phase = Phase(replace(desk, adopt=None))
    free = float(sandbox.alpaca.account().cash) - 10
    order = phase.order("AAPL", Side.BUY, min(free, 49_000))
    sandbox.fail("GET", "/v2/positions", duplicate=True)
    sandbox.fail("GET", "/v2/orders", duplicate=True)
    price = sandbox.alpaca.latest_prices(["JPM"])["JPM"]
    too_many = phase.order("JPM", Side.SELL, 151 * price)
    assert codes(phase.gate(), [order, too_many]) == [None, "RISK_OVERSOLD"]


def test_the_reject_rate_counts_orders_once_and_not_what_the_gate_denied(desk: Desk) -> None:
    phase = Phase(desk)
    journal, fence, number = desk.store.journal, phase.fence, phase.row.account

    def end(n: int, status: OrderStatus, reason: str, attempts: int = 1) -> None:
        for attempt in range(1, attempts + 1):
            order = phase.order("AAPL", Side.BUY, 10, attempt)
            order = replace(order, id=f"{n}-{attempt}", symbol=f"S{n}")
            journal.plan_orders(phase.row.id, fence, [order])
            if not reason.startswith("RISK_"):
                journal.begin_sending(order.id, fence, TEN)
            was = status if attempt == attempts else OrderStatus.REJECTED
            journal.mark(order.id, fence, was, TEN, reason=reason)

    def now(at: dt.datetime = TEN) -> tuple[float | None, int]:
        found = figures_of(desk, account(number, 100.0, None), at)
        return found.reject_rate, found.orders_today

    for n in range(3):
        end(n, OrderStatus.FILLED, "", attempts=3)
    end(3, OrderStatus.REJECTED, "BROKER_REFUSED: no")
    end(4, OrderStatus.REJECTED, "RISK_CASH: A: ...")
    assert now() == (None, 10), "four orders in ten attempts; the denied one never left"
    end(5, OrderStatus.REJECTED, "BROKER_NOT_YET: no", attempts=2)
    assert now() == (0.4, 12)
    assert now(TEN + DAY) == (None, 0)


def violations(tree: ast.AST, module: str) -> list[str]:
    """What in a module goes past the door: imports of the orders, changes at the broker."""
    found = []
    for node in ast.walk(tree):
        imported, text = _imported(node, module), _text(node)
        if "astra.alpaca.orders" in (*imported, text) and module != "astra.execution.door":
            found.append(f"{module} imports astra.alpaca.orders")
        is_theirs = any(name.split(".")[0] == "alpaca" for name in imported)
        if is_theirs and module != "astra.alpaca.transport":
            found.append(f"{module} imports Alpaca's own client")
        if text.rstrip("/").endswith("/orders") and not module.startswith(AT_ORDERS):
            found.append(f"{module} names the address of orders")
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        verb, first = node.func.attr, node.args[0] if node.args else None
        is_change = verb == "call" and _text(first) != "GET" and _is_of_api(node.func.value)
        if verb in ALPACA_PY_CHANGES or (is_change and module != "astra.alpaca.orders"):
            found.append(f"{module} changes something at the broker: {ast.unparse(node)[:60]}")
    return found


def _imported(node: ast.AST, module: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    parents = module.split(".")[: -node.level] if node.level else []
    source = ".".join([*parents, *([node.module] if node.module else [])])
    return {f"{source}.{alias.name}" for alias in node.names} | {source}


ALPACA_PY_CHANGES = {
    "submit_order", "cancel_orders", "cancel_order_by_id", "replace_order_by_id",
    "close_position", "close_all_positions", "exercise_options_position",
}  # fmt: skip


# The adapter, which asks and is asked, and the broker's stand-in.
AT_ORDERS = ("astra.alpaca.account", "astra.alpaca.orders", "sandbox.")


def _text(node: ast.AST | None) -> str:
    """A literal text, "" for anything else."""
    found = node.value if isinstance(node, ast.Constant) else ""
    return found if isinstance(found, str) else ""


def _is_of_api(owner: ast.expr) -> bool:
    """`subprocess.call` is no request; every other `.call` is taken for one."""
    return not (isinstance(owner, ast.Name) and owner.id == "subprocess")


def modules() -> Iterator[tuple[str, ast.AST]]:
    for package in PRODUCT:
        for path in sorted((HOUSE / package).rglob("*.py")):
            name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
            text = path.read_text()
            if any(word in text for word in ("alpaca", "orders", ".call(", *ALPACA_PY_CHANGES)):
                yield name, ast.parse(text, str(path))


def test_nothing_in_the_source_goes_past_the_door() -> None:
    found = dict(modules())
    assert len(found) > 50
    assert [v for name, tree in found.items() for v in violations(tree, name)] == []


@pytest.mark.parametrize(
    "line",
    [
        "from astra.alpaca.orders import Orders",
        "from astra.alpaca import orders",
        "import astra.alpaca.orders",
        "from .orders import Orders",
        "from . import orders",
        "importlib.import_module('astra.alpaca.orders')",
        "broker.trading.call('POST', '/orders', {})",
        "broker.trading.call('DELETE', '/orders')",
        "broker.trading.call(method, '/orders')",
        "client.submit_order(ticket)",
        "from alpaca.trading.client import TradingClient",
        "import alpaca.common.rest",
        "requests.post('https://paper-api.alpaca.markets/v2/orders', json={})",
    ],
)
def test_the_walk_through_the_source_finds_what_goes_past_the_door(line: str) -> None:
    assert violations(ast.parse(line), "astra.alpaca.new")


@pytest.mark.parametrize(("planted", "kept"), [("", True), ("new", False), ("execution", False)])
def test_the_import_contract_holds_modules_that_nobody_has_thought_of(
    tmp_path: Path, planted: str, kept: bool
) -> None:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (c for c in contracts["contracts"] if "only door to the broker" in c["name"])
    house = tmp_path / "astra"
    for name in ("alpaca/orders", "execution/door", "execution/new", "new/deep"):
        path = house / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (house, path.parent):
            (folder / "__init__.py").touch()
        asks = name == "execution/door" or (planted and name.startswith(f"{planted}/"))
        path.write_text("import astra.alpaca.orders\n" if asks else "")
    names = "".join(f"\n    {m}" for m in contract["protected_modules"])
    allowed = "".join(f"\n    {m}" for m in contract["allowed_importers"])
    (tmp_path / ".importlinter").write_text(
        f"[importlinter]\nroot_package = astra\n[importlinter:contract:1]\nname = door\n"
        f"type = {contract['type']}\nprotected_modules ={names}\nallowed_importers ={allowed}\n"
    )
    lint = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {lint}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode == 0) is kept, done.stdout + done.stderr


def test_an_order_that_the_broker_refuses_is_an_order_error(desk: Desk) -> None:
    phase = Phase(desk)
    order = replace(phase.order("AAPL", Side.BUY, 1_000), qty=Decimal("0.000000001"))
    with pytest.raises(OrderError):
        phase.send(order)

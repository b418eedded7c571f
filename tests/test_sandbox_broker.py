"""The sandbox's broker: its rules of trading, met without HTTP, against a simulated market."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.sessions import BAR, last_sessions, next_session
from sandbox.broker import Broker, Terms
from sandbox.market import Clock, CorporateAction, Market
from sandbox.markets import simulated_market
from sandbox.orders import Mishap, Order, Refusal, read_ticket

TICKERS = ("AAPL", "BRK.B", "JPM")
OPEN = dt.datetime(2026, 1, 12, 14, 30, tzinfo=dt.UTC)
TEN = OPEN + dt.timedelta(minutes=30)
CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
NO_PRINT = dt.datetime(2026, 1, 12, 16, 40, tzinfo=dt.UTC)  # of BRK.B in this one bar
SPREAD = Decimal(2) / 10_000
_record = simulated_market(TICKERS, seed=5, start=dt.date(2026, 1, 9), end=dt.date(2026, 1, 16))


def market_at(at: dt.datetime = TEN) -> Market:
    """A fresh clock on one shared record."""
    return Market(_record.tape, Clock(at))


@pytest.fixture
def market() -> Market:
    return market_at()


@pytest.fixture
def broker(market: Market) -> Broker:
    return Broker(market, Terms())


def send(broker: Broker, symbol: str, side: str, qty: Any, **more: Any) -> Order:
    body = {"symbol": symbol, "side": side, "qty": qty, **more}
    broker.settle()
    names = {field.name for field in fields(Mishap)} & body.keys()
    mishap = Mishap(**{name: body.pop(name) for name in names})
    return broker.submit(read_ticket(body), mishap)


def step(broker: Broker, to: dt.datetime) -> None:
    broker.market.clock.step_to(to)
    broker.settle()


def bars_after(market: Market, symbol: str, at: dt.datetime) -> Any:
    """The bars of a symbol that start after `at`, seen from the next morning."""
    later = Market(market.tape, Clock(at + dt.timedelta(days=1)))
    return later.history(symbol, int(at.timestamp()) + 1, int(at.timestamp()) + 86_400)


def spread_price(opens: float, side: int) -> Decimal:
    return (Decimal(repr(float(opens))) * (1 + side * SPREAD)).quantize(Decimal("1e-6"))


class TestMarketOrders:
    @pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
    def test_fill_at_the_next_bars_open_with_half_the_spread(
        self, broker: Broker, side: str, sign: int
    ) -> None:
        send(broker, "AAPL", "buy", 10)
        bars = bars_after(broker.market, "AAPL", TEN)
        order = send(broker, "AAPL", side, 4)
        assert order.status == "filled"
        assert order.filled_at == dt.datetime.fromtimestamp(int(bars.ts[0]), dt.UTC) > TEN
        assert order.filled_value == 4 * spread_price(bars.open[0], sign)

    def test_a_sale_pays_a_fee_rounded_up_to_the_cent_in_a_line_of_its_own(
        self, broker: Broker
    ) -> None:
        send(broker, "AAPL", "buy", 100)
        assert [line.kind for line in broker.books.lines] == ["CSD", "FILL"]
        sale = send(broker, "AAPL", "sell", 100)
        fee = broker.books.lines[-1]
        exact = sale.filled_value * Decimal("0.3") / 10_000
        assert fee.kind == "FEE"
        assert 0 <= -fee.cash - exact < Decimal("0.01")
        assert -fee.cash == (-fee.cash).quantize(Decimal("0.01"))

    def test_a_purchase_fills_no_earlier_than_the_sale_told_before_it(self) -> None:
        broker = Broker(market_at(NO_PRINT - BAR), Terms())  # BRK.B's next bar is the second
        send(broker, "BRK.B", "buy", 5)
        before = send(broker, "AAPL", "buy", 1)
        sale = send(broker, "BRK.B", "sell", 5)
        other_sale = send(broker, "AAPL", "sell", 1)
        purchase = send(broker, "JPM", "buy", 5)
        assert sale.filled_at == NO_PRINT + BAR
        assert before.filled_at == other_sale.filled_at == NO_PRINT
        assert (purchase.status, purchase.filled_at) == ("filled", sale.filled_at)
        bars = bars_after(broker.market, "JPM", NO_PRINT)
        assert purchase.filled_value == 5 * spread_price(bars.open[0], 1)

    def test_a_purchase_after_the_sales_bar_fills_at_the_next_one(self) -> None:
        broker = Broker(market_at(NO_PRINT - BAR), Terms())
        send(broker, "BRK.B", "buy", 5)
        send(broker, "BRK.B", "sell", 5)
        step(broker, NO_PRINT + 2 * BAR)
        assert send(broker, "JPM", "buy", 5).filled_at == NO_PRINT + 3 * BAR

    def test_on_a_running_clock_a_fill_waits_for_its_bar_to_begin(self, broker: Broker) -> None:
        broker.market.clock.run(1e-6)
        order = send(broker, "AAPL", "buy", 1)
        broker.settle()
        assert order.status == "accepted"
        assert not broker.books.holdings
        step(broker, TEN + 2 * BAR)
        assert order.status == "filled"
        assert order.filled_at is not None
        assert order.filled_at <= TEN + 2 * BAR

    def test_a_partial_fill_leaves_the_rest_for_the_following_bar(self, broker: Broker) -> None:
        bars = bars_after(broker.market, "JPM", TEN)
        order = send(broker, "JPM", "buy", 9, partial_fill=0.5)
        assert (order.status, order.filled_qty) == ("partially_filled", 4)
        step(broker, dt.datetime.fromtimestamp(int(bars.ts[1]), dt.UTC) - BAR / 2)
        assert order.filled_qty == 4
        step(broker, TEN + dt.timedelta(hours=1))
        assert (order.status, order.filled_qty) == ("filled", 9)
        first, second = (spread_price(bars.open[i], 1) for i in (0, 1))
        assert order.filled_value == 4 * first + 5 * second

    def test_outside_the_session_it_waits_for_the_next_open(self) -> None:
        broker = Broker(market_at(CLOSE), Terms())
        order = send(broker, "AAPL", "buy", 3)
        opens = next_session(CLOSE).opens_at
        step(broker, opens - BAR)
        assert order.status == "accepted"
        step(broker, opens + 3 * BAR)
        assert order.status == "filled"
        assert order.filled_at is not None
        assert order.filled_at >= opens

    def test_one_without_a_bar_left_in_its_session_expires_at_the_close(self) -> None:
        broker = Broker(market_at(CLOSE - BAR), Terms())
        order = send(broker, "AAPL", "buy", 3)
        assert order.status == "accepted"
        step(broker, CLOSE + dt.timedelta(days=1))
        assert (order.status, order.expired_at) == ("expired", CLOSE)
        assert broker.balances().reserved == 0

    def test_a_notional_order_buys_down_to_a_billionth_of_a_share(self, broker: Broker) -> None:
        order = broker.submit(read_ticket({"symbol": "JPM", "side": "buy", "notional": "500"}))
        price = broker.books.lines[-1].price
        assert price is not None
        assert 0 <= 500 - order.filled_value < price * Decimal("1e-9")

    def test_a_notional_sale_never_sells_more_than_is_held(self, broker: Broker) -> None:
        send(broker, "JPM", "buy", 2)
        mark = broker.valuation.mark("JPM")
        assert mark is not None
        value = (2 * mark).quantize(Decimal("0.01")) - Decimal("0.01")
        ticket = {"symbol": "JPM", "side": "sell", "notional": value}
        assert broker.submit(read_ticket(ticket)).filled_qty <= 2


class TestLimitOrders:
    def test_a_marketable_one_fills_at_the_open(self, broker: Broker) -> None:
        bars = bars_after(broker.market, "AAPL", TEN)
        limit = round(float(bars.open[0]) * 1.02, 2)
        order = send(broker, "AAPL", "buy", 2, type="limit", limit_price=limit)
        assert order.filled_value == 2 * spread_price(bars.open[0], 1)

    @pytest.mark.parametrize("side", ["buy", "sell"])
    def test_one_that_a_bar_touches_fills_at_its_limit(self, broker: Broker, side: str) -> None:
        send(broker, "AAPL", "buy", 5)
        bars = bars_after(broker.market, "AAPL", TEN)
        bars_today = bars.ts < CLOSE.timestamp()
        low, high = float(bars.low[bars_today].min()), float(bars.high[bars_today].max())
        limit = round(low + 0.01, 2) if side == "buy" else round(high - 0.01, 2)
        order = send(broker, "AAPL", side, 5, type="limit", limit_price=limit)
        assert order.status == "accepted"
        step(broker, CLOSE)
        reached = bars.low <= limit if side == "buy" else bars.high >= limit
        first = dt.datetime.fromtimestamp(int(bars.ts[np.flatnonzero(reached)[0]]), dt.UTC)
        assert order.status == "filled"
        assert order.filled_at in (first, first + BAR)
        assert order.filled_value == 5 * Decimal(str(limit)) or order.filled_at == first

    def test_a_day_order_out_of_reach_expires_and_one_until_canceled_stays(
        self, broker: Broker
    ) -> None:
        day = send(broker, "AAPL", "buy", 1, type="limit", limit_price="1.00")
        gtc = send(broker, "AAPL", "buy", 1, type="limit", limit_price="1.00", time_in_force="gtc")
        step(broker, CLOSE + dt.timedelta(days=2))
        assert (day.status, gtc.status) == ("expired", "accepted")

    def test_open_buys_hold_back_buying_power_until_they_end(self, broker: Broker) -> None:
        before = broker.balances().buying_power
        order = send(broker, "AAPL", "buy", 100, type="limit", limit_price="1.50")
        assert broker.balances().buying_power == before - 150
        broker.cancel(order.id)
        assert broker.balances().buying_power == before


REFUSALS = [
    ({"symbol": "NOPE"}, 422, 42210000, 'asset "NOPE" not found'),
    ({"symbol": ""}, 422, 40010001, "symbol is required"),
    ({"side": "hold"}, 422, 40010001, "invalid side"),
    ({"type": "stop"}, 422, 42210000, "invalid order type"),
    ({"time_in_force": "fok"}, 422, 42210000, "invalid time_in_force"),
    ({"order_class": "bracket"}, 422, 42210000, "order_class"),
    ({"notional": 10}, 422, 40010001, "only one of qty or notional"),
    ({"qty": None}, 422, 40010001, "qty or notional is required"),
    ({"qty": 0}, 422, 40010001, "qty must be > 0"),
    ({"qty": "-1"}, 422, 40010001, "qty must be > 0"),
    ({"qty": "ten"}, 422, 40010001, "invalid qty"),
    ({"qty": "NaN"}, 422, 40010001, "invalid qty"),
    ({"qty": "1.0000000001"}, 422, 42210000, "9 decimal"),
    ({"qty": "1.5", "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY"),
    ({"qty": "0.001"}, 422, 40310000, "minimal amount of order 1"),
    ({"qty": "0.5", "symbol": "JPM"}, 403, 40310000, "not fractionable"),
    ({"type": "limit"}, 422, 40010001, "limit price"),
    ({"type": "limit", "limit_price": "10.001"}, 422, 42210000, "sub-penny"),
    ({"limit_price": "10"}, 422, 40010001, "market orders"),
    ({"extended_hours": True}, 422, 42210000, "extended hours"),
    ({"client_order_id": "x" * 129}, 422, 40010001, "128 characters"),
    ({"client_order_id": "taken"}, 422, 40010001, "client_order_id must be unique"),
    ({"qty": 100_000}, 403, 40310000, "insufficient buying power"),
    ({"side": "sell", "symbol": "JPM"}, 403, 40310000, "not allowed to short"),
    ({"side": "sell", "qty": 6}, 403, 40310000, "insufficient qty available for order"),
    ({"side": "sell", "symbol": "BRK.B"}, 403, 40310000, "potential wash trade"),
]  # fmt: skip


@pytest.fixture(scope="module")
def busy() -> Broker:
    """Holds 5 AAPL and 5 BRK.B, with an open order to buy more of the latter."""
    broker = Broker(market_at(), Terms(whole_shares_only=frozenset({"JPM"})))
    send(broker, "AAPL", "buy", 5, client_order_id="taken")
    send(broker, "BRK.B", "buy", 5)
    send(broker, "BRK.B", "buy", 1, type="limit", limit_price="1.00")
    return broker


@pytest.mark.parametrize(("change", "status", "code", "sentence"), REFUSALS)
def test_a_refused_order_has_alpacas_code_and_changes_nothing(
    busy: Broker, change: dict[str, Any], status: int, code: int, sentence: str
) -> None:
    before = (len(busy.orders), len(busy.books.lines), busy.balances())
    with pytest.raises(Refusal) as caught:
        body = {"symbol": "AAPL", "side": "buy", "qty": 1, **change}
        busy.submit(read_ticket(body))
    assert (caught.value.status, caught.value.body["code"]) == (status, code)
    assert sentence in str(caught.value.body["message"])
    assert before == (len(busy.orders), len(busy.books.lines), busy.balances())


def test_fractional_orders_are_refused_outside_the_session() -> None:
    broker = Broker(market_at(CLOSE), Terms())
    with pytest.raises(Refusal, match="while the market is open"):
        send(broker, "AAPL", "buy", "1.5")


def test_shares_in_an_open_sell_order_can_not_be_sold_twice(broker: Broker) -> None:
    send(broker, "AAPL", "buy", 5)
    send(broker, "AAPL", "sell", 3, type="limit", limit_price="9999")
    with pytest.raises(Refusal) as caught:
        send(broker, "AAPL", "sell", 3)
    assert caught.value.body["available"] == "2"
    assert caught.value.body["held_for_orders"] == "3"
    assert [lot.available for lot in broker.lots()] == [2]


def test_a_cash_account_spends_a_sales_proceeds_a_session_later() -> None:
    broker = Broker(market_at(), Terms(cash=Decimal(1000), account_type="cash"))
    bought = send(broker, "AAPL", "buy", 9)
    send(broker, "AAPL", "sell", 9)
    assert broker.balances().cash > 995
    assert broker.balances().buying_power < 1000 - bought.filled_value
    step(broker, next_session(CLOSE).opens_at - BAR)
    assert broker.balances().buying_power < 1000 - bought.filled_value
    step(broker, next_session(CLOSE).opens_at)
    assert broker.balances().buying_power == broker.balances().cash


def test_a_margin_account_may_invest_twice_its_equity(broker: Broker) -> None:
    assert broker.balances().buying_power == 200_000
    send(broker, "AAPL", "buy", 100)
    now = broker.balances()
    assert now.buying_power == 2 * now.equity - now.long_market_value


def test_a_replaced_order_hands_its_reservation_to_the_new_one(broker: Broker) -> None:
    old = send(broker, "AAPL", "buy", 100, type="limit", limit_price="1.00")
    ticket = read_ticket(
        {"symbol": "AAPL", "side": "buy", "qty": 50, "type": "limit", "limit_price": "2.00"}
    )
    new = broker.replace(old.id, ticket)
    assert (old.status, old.replaced_by, new.replaces) == ("replaced", new.id, old.id)
    assert broker.balances().reserved == 100
    with pytest.raises(Refusal, match="replaced"):
        broker.cancel(old.id)


@pytest.mark.parametrize(
    ("change", "sentence"), [({"qty": 900_000}, "buying power"), ({"symbol": "NOPE"}, "not found")]
)
def test_a_refused_replacement_leaves_the_old_order_as_it_was(
    broker: Broker, change: dict[str, Any], sentence: str
) -> None:
    ticket = {"symbol": "AAPL", "side": "buy", "qty": 100, "type": "limit", "limit_price": "1.00"}
    old = broker.submit(read_ticket(ticket))
    with pytest.raises(Refusal, match=sentence):
        broker.replace(old.id, read_ticket(ticket | change))
    assert broker.open_orders() == [old]
    assert broker.balances().reserved == 100


def test_a_reset_opens_a_new_account(broker: Broker) -> None:
    number = broker.account_number
    send(broker, "AAPL", "buy", 5)
    broker.reset()
    assert broker.account_number != number
    assert (broker.books.cash, broker.lots(), broker.orders) == (100_000, [], {})


class ActingMarket(Market):
    """The shared record, with corporate actions of its own that leave prices alone."""

    acts: tuple[CorporateAction, ...] = ()

    def actions(self, ticker: str) -> tuple[CorporateAction, ...]:
        now = self.clock.now()
        return tuple(a for a in self.acts if a.ticker == ticker and a.at <= now)


@pytest.mark.parametrize("pays", [True, False])
def test_splits_multiply_shares_and_dividends_are_paid_where_the_account_gets_them(
    pays: bool,
) -> None:
    market = ActingMarket(_record.tape, Clock(TEN))
    ex_date = next_session(CLOSE).opens_at
    market.acts = (
        CorporateAction("AAPL", "split", ex_date, 3.0),
        CorporateAction("JPM", "dividend", ex_date, 0.25),
    )
    broker = Broker(market, Terms(pays_dividends=pays))
    bought = send(broker, "AAPL", "buy", 5)
    send(broker, "JPM", "buy", 7)
    resting = send(broker, "AAPL", "buy", 1, type="limit", limit_price="1.00", time_in_force="gtc")
    cash = broker.books.cash
    step(broker, ex_date + BAR)
    assert broker.books.holdings["AAPL"].qty == 15
    assert broker.books.holdings["AAPL"].cost == bought.filled_value
    assert resting.status == "canceled"
    assert broker.books.cash - cash == (Decimal("1.75") if pays else 0)
    kinds = [line.kind for line in broker.books.lines]
    assert kinds.count("SPLIT") == 1
    assert kinds.count("DIV") == (1 if pays else 0)
    step(broker, ex_date + 2 * BAR)
    assert [line.kind for line in broker.books.lines] == kinds


def test_a_dividend_at_the_open_of_a_split_is_paid_on_the_new_shares() -> None:
    market = ActingMarket(_record.tape, Clock(TEN))
    ex_date = next_session(CLOSE).opens_at
    market.acts = (
        CorporateAction("AAPL", "dividend", ex_date, 0.25),
        CorporateAction("AAPL", "split", ex_date, 4.0),
    )
    broker = Broker(market, Terms(pays_dividends=True))
    send(broker, "AAPL", "buy", 5)
    cash = broker.books.cash
    step(broker, ex_date + BAR)
    assert broker.books.cash - cash == 5 * 4 * Decimal("0.25")


def test_a_step_over_a_fill_and_a_later_split_does_both_in_their_order() -> None:
    market = ActingMarket(_record.tape, Clock(CLOSE))
    ex_date = next_session(next_session(CLOSE).closes_at).opens_at
    market.acts = (CorporateAction("AAPL", "split", ex_date, 2.0),)
    broker = Broker(market, Terms())
    order = send(broker, "AAPL", "buy", 5)
    step(broker, ex_date + BAR)
    assert (order.status, order.filled_qty) == ("filled", 5)
    assert broker.books.holdings["AAPL"].qty == 10


def test_the_equity_before_a_split_is_the_same_after_it() -> None:
    days = {"start": dt.date(2026, 1, 5), "end": dt.date(2026, 2, 27)}
    tape = simulated_market(TICKERS, seed=5, splits=30, **days).tape
    split = next(a for t in TICKERS for a in tape.actions(t) if a.kind == "split")
    before = last_sessions(1, split.at - BAR)[0]
    broker = Broker(Market(tape, Clock(before.opens_at)), Terms())
    send(broker, split.ticker, "buy", 100)
    step(broker, before.closes_at)
    then = broker.balances().equity
    step(broker, split.at + BAR)
    assert broker.books.holdings[split.ticker].qty == int(100 * split.value)
    _, values, _ = broker.valuation.equity_history(before.opens_at, before.closes_at, None)
    assert values[-1] == pytest.approx(float(then))
    assert float(broker.balances().last_equity) == pytest.approx(float(then))


def test_equity_history_is_cash_plus_shares_at_the_last_closed_prices(broker: Broker) -> None:
    order = send(broker, "AAPL", "buy", 100)
    step(broker, CLOSE)
    starts, values, base = broker.valuation.equity_history(OPEN, CLOSE, dt.timedelta(hours=1))
    bars = bars_after(broker.market, "AAPL", TEN)
    last = float(bars.close[bars.ts < CLOSE.timestamp()][-1])
    assert base == 100_000
    assert starts[0] == OPEN.timestamp()
    assert len(starts) == 7
    assert values[-1] == pytest.approx(100_000 - float(order.filled_value) + 100 * last)
    assert float(broker.balances().equity) == pytest.approx(values[-1])


def test_last_equity_is_the_value_at_the_previous_close(broker: Broker) -> None:
    send(broker, "AAPL", "buy", 100)
    step(broker, CLOSE)
    at_close = broker.balances()
    assert at_close.last_equity == 100_000
    step(broker, next_session(CLOSE).opens_at + 4 * BAR)
    now = broker.balances()
    assert float(now.last_equity) == pytest.approx(float(at_close.equity), abs=1e-6)
    assert now.equity != at_close.equity


ORDERS = st.tuples(
    st.just("order"),
    st.sampled_from(TICKERS[:2]),
    st.sampled_from(["sell", "buy"]),
    st.sampled_from([6, 9, 1, "3.333333333", 2000]),
    st.sampled_from([None, 0.3]),
    st.sampled_from([1.03, None, 0.97]),
)
STEPS = st.tuples(st.just("step"), st.sampled_from([1, 5, 70]))
CANCELS = st.just(("cancel",))
ACTIONS = st.one_of(ORDERS, ORDERS, ORDERS, STEPS, CANCELS)


@settings(max_examples=60, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=8, max_size=30), kind=st.sampled_from(["margin", "cash"]))
def test_cash_and_shares_are_the_sums_of_the_activities_and_nothing_is_oversold(
    actions: list[tuple[Any, ...]], kind: str
) -> None:
    broker = Broker(market_at(), Terms(account_type=kind))
    for symbol in TICKERS:
        send(broker, symbol, "buy", 10)
    for action in actions:
        _apply(broker, *action)
        lines = broker.books.lines
        assert broker.books.cash == sum(line.cash for line in lines)
        for symbol in TICKERS:
            held = broker.books.holdings.get(symbol)
            shares = sum(line.shares for line in lines if line.symbol == symbol)
            assert shares == (held.qty if held else 0) >= 0
        for order in broker.orders.values():
            fills = [line for line in lines if line.order is order]
            assert order.filled_qty == sum(abs(line.shares) for line in fills)
            assert order.filled_qty <= (order.ticket.qty or 0)
        assert all(lot.available >= 0 for lot in broker.lots())


def _apply(broker: Broker, verb: str, *arguments: Any) -> None:
    if verb == "step":
        step(broker, broker.market.clock.now() + arguments[0] * BAR)
    elif verb == "cancel":
        for order in broker.open_orders():
            broker.cancel(order.id)
    else:
        symbol, side, qty, partial, aside = arguments
        limit: dict[str, Any] = {}
        mark = broker.valuation.mark(symbol)
        if aside is not None and mark is not None:
            limit = {"type": "limit", "limit_price": round(float(mark) * aside, 2)}
        try:
            send(broker, symbol, side, qty, partial_fill=partial, **limit)
        except Refusal as refusal:
            assert refusal.status in (403, 422)


def test_a_day_of_market_orders_in_any_order_of_symbols_ends_alike() -> None:
    ends = []
    for names in (TICKERS, TICKERS[::-1]):
        broker = Broker(market_at(), Terms())
        for symbol in names:
            send(broker, symbol, "buy", 7)
        step(broker, CLOSE)
        ends.append((broker.books.cash, broker.lots()))
    assert ends[0] == ends[1]

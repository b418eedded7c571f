"""The production adapter against the sandbox's Alpaca over loopback HTTP."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from desk import CLOSE, TEN, TICKERS, Desk, answering, connect, opened

from astra.alpaca.bodies import (
    read_account,
    read_activity,
    read_asset,
    read_clock,
    read_history,
    read_order,
    read_position,
    says_what_moved,
)
from astra.alpaca.orders import Orders
from astra.errors import ConfigError, DataError, OrderError, TemporaryError
from astra.records import OrderStatus, Side
from astra.sessions import BAR, next_session
from sandbox import market_events
from sandbox.orders import Order, read_ticket

HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
MICROSECOND = dt.timedelta(microseconds=1)

NINE = Decimal("0.000000001")


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened() as found:
        yield found


class TestReading:
    def test_a_fresh_account_is_its_deposit(self, desk: Desk) -> None:
        account = desk.alpaca.account()
        assert account.number == desk.state()["account_number"]
        assert (account.cash, account.equity, account.last_equity) == (100_000,) * 3
        assert account.buying_power == 200_000
        assert desk.alpaca.positions() == ()
        (deposit,) = desk.alpaca.activities()
        assert (deposit.type, deposit.net_amount, deposit.at) == ("CSD", 100_000, TEN)

    def test_the_clock_is_the_markets(self, desk: Desk) -> None:
        clock = desk.alpaca.clock()
        assert (clock.now, clock.is_open, clock.next_close) == (TEN, True, CLOSE)
        assert clock.next_open == next_session(CLOSE).opens_at
        desk.step(CLOSE)
        clock = desk.alpaca.clock()
        assert (clock.now, clock.is_open) == (CLOSE, False)
        assert clock.next_close == next_session(CLOSE).closes_at

    def test_assets_are_found_by_symbol_one_by_one_or_together(self, desk: Desk) -> None:
        asset = desk.alpaca.asset("BRK.B")
        assert asset is not None
        assert (asset.symbol, asset.tradable, asset.fractionable) == ("BRK.B", True, True)
        assert desk.alpaca.asset("NOPE") is None
        assert set(desk.alpaca.assets(["JPM", "BRK.B", "NOPE"])) == {"JPM", "BRK.B"}

    def test_a_symbol_that_is_new_or_gone_is_known_before_the_list_is_asked_for_again(
        self, desk: Desk
    ) -> None:
        assert desk.alpaca.assets(["JPM"])["JPM"].tradable
        market_events.take(desk.market, {"delist": {"ticker": "JPM"}})
        market_events.take(desk.market, {"list": {"ticker": "NEW"}})
        desk.step(next_session(CLOSE).opens_at)
        assert set(desk.alpaca.assets(["AAPL", "NEW", "NOPE"])) == {"AAPL", "NEW"}
        anew = connect(desk.url).assets(["AAPL", "JPM"])
        assert {symbol: asset.tradable for symbol, asset in anew.items()} == {
            "AAPL": True,
            "JPM": False,
        }

    def test_the_list_of_assets_is_not_believed_for_ever(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("astra.alpaca.account._ASSETS_SECONDS", 0.2)
        assert desk.alpaca.assets(["JPM"])["JPM"].tradable
        market_events.take(desk.market, {"delist": {"ticker": "JPM"}})
        time.sleep(0.2)
        assert not desk.alpaca.assets(["JPM"])["JPM"].tradable

    def test_latest_prices_are_the_markets_and_unknown_symbols_are_absent(self, desk: Desk) -> None:
        prices = desk.alpaca.latest_prices([*TICKERS, "NOPE"])
        assert prices == {t: (desk.market.last_price(t) or ("", 0.0))[1] for t in TICKERS}

    def test_a_cash_account_may_spend_its_settled_cash_only(self) -> None:
        with opened(account_type="cash") as desk:
            bought = desk.orders.submit("AAPL", Side.BUY, Decimal(100), "one")
            desk.orders.submit("AAPL", Side.SELL, Decimal(100), "two")
            now = desk.alpaca.account()
            assert bought.filled_average_price is not None
            unspent = 100_000 - 100 * bought.filled_average_price
            assert now.settled_cash == pytest.approx(Decimal(unspent), abs=1)  # a fee
            assert now.cash > now.settled_cash + 1000
            desk.step(next_session(CLOSE).opens_at)
            assert desk.alpaca.account().settled_cash == now.cash
        with opened() as desk:
            assert desk.alpaca.account().settled_cash is None

    def test_a_position_is_valued_at_the_last_trade(self, desk: Desk) -> None:
        order = desk.orders.submit("AAPL", Side.BUY, Decimal("2.5"), "one")
        (position,) = desk.alpaca.positions()
        assert (position.symbol, position.qty, position.qty_available) == ("AAPL", 2.5, 2.5)
        assert position.average_entry_price == order.filled_average_price
        assert position.market_price == desk.alpaca.latest_prices(["AAPL"])["AAPL"]

    def test_a_position_that_is_told_twice_counts_once(self, desk: Desk) -> None:
        desk.orders.submit("AAPL", Side.BUY, Decimal(2), "one")
        desk.orders.submit("JPM", Side.BUY, Decimal(3), "two")
        desk.fail("GET", "/v2/positions", duplicate=True)
        assert [(p.symbol, p.qty) for p in desk.alpaca.positions()] == [("AAPL", 2), ("JPM", 3)]
        half = b'[{"symbol": "A", "qty": "1", "current_price": "5"}, '
        half += b'{"symbol": "A", "qty": "2", "current_price": "5"}]'
        with (
            answering(200, half) as url,
            pytest.raises(TemporaryError, match="one of 1 and one of 2 shares: ask again"),
        ):
            connect(url).positions()

    def test_portfolio_history_ends_at_the_equity_of_the_account(self, desk: Desk) -> None:
        desk.orders.submit("AAPL", Side.BUY, Decimal(100), "one")
        desk.step(CLOSE)
        points = desk.alpaca.portfolio_history("1D", "1H")
        assert len(points) == 7
        assert points[-1].equity == float(desk.alpaca.account().equity)
        assert points[-1].at == CLOSE
        assert points[-1].profit_loss == pytest.approx(points[-1].equity - 100_000, abs=0.011)


class TestSubmitting:
    def test_an_order_is_filled_at_the_next_bar_and_found_by_our_id(self, desk: Desk) -> None:
        order = desk.orders.submit("JPM", Side.BUY, Decimal("1.000000001"), "a-JPM-buy-0")
        assert order.status is OrderStatus.FILLED
        assert order.qty == order.filled_qty == Decimal("1.000000001")
        assert order.filled_at is not None
        assert TEN < order.filled_at <= TEN + 3 * BAR
        assert desk.alpaca.order("a-JPM-buy-0") == order
        assert desk.alpaca.order("another") is None

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_work_done_before_the_failure_is_found_by_id_and_not_done_twice(
        self, desk: Desk, status: int
    ) -> None:
        desk.fail("POST", "/v2/orders", status=status, after=True)
        order = desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")
        assert order.status is OrderStatus.FILLED
        assert len(desk.state()["orders"]) == 1

    @pytest.mark.parametrize("status", [500, 503, 504])
    def test_work_not_done_is_an_unknown_outcome_that_may_be_sent_again(
        self, desk: Desk, status: int
    ) -> None:
        desk.fail("POST", "/v2/orders", status=status)
        started = time.monotonic()
        with pytest.raises(TemporaryError, match=r"unknown outcome of order once.*same id"):
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")
        assert time.monotonic() - started < 2  # alpaca-py alone would wait for 9 s on a 504
        assert desk.state()["orders"] == []
        assert desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once").client_order_id == "once"

    def test_sending_an_id_again_answers_with_the_order_that_has_it(self, desk: Desk) -> None:
        first = desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")
        assert desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once") == first
        assert desk.alpaca.positions()[0].qty == 1

    @pytest.mark.parametrize("status", [403, 422])
    def test_a_second_copy_that_is_refused_for_any_reason_finds_the_first(
        self, desk: Desk, status: int
    ) -> None:
        """A broker may look at the money, which the first copy has bound, before it looks at the
        id."""
        first = desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")
        desk.fail("POST", "/v2/orders", status=status)
        assert desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once") == first
        desk.fail("POST", "/v2/orders", status=status)
        with pytest.raises(OrderError, match=str(status)):
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "never")

    def test_a_timeout_after_the_work_is_resolved_by_looking_it_up(self) -> None:
        with opened() as desk:
            hasty = connect(desk.url, vendor_timeout=0.15)
            desk.fail("POST", "/v2/orders", delay_s=3, after=True)
            started = time.monotonic()
            assert Orders(hasty).submit("AAPL", Side.BUY, Decimal(1), "once").filled_qty == 1
            assert time.monotonic() - started < 3
            assert len(desk.state()["orders"]) == 1

    def test_a_rate_limited_order_is_temporary_and_not_looked_up(self, desk: Desk) -> None:
        desk.fail("POST", "/v2/orders", status=429)
        desk.fail("GET", "/v2/orders:by_client_order_id", status=500)
        with pytest.raises(TemporaryError, match="rate limited"):
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")

    def test_one_id_sent_by_many_at_once_is_one_order(self, desk: Desk) -> None:
        with ThreadPoolExecutor(8) as pool:
            sent = [
                pool.submit(desk.orders.submit, "AAPL", Side.BUY, Decimal(1), "once")
                for _ in range(8)
            ]
            assert len({one.result().id for one in sent}) == 1
        assert desk.alpaca.positions()[0].qty == 1

    def test_a_lookup_that_fails_too_stays_temporary(self, desk: Desk) -> None:
        desk.fail("POST", "/v2/orders", status=500)
        desk.fail("GET", "/v2/orders:by_client_order_id", status=500, times=None)
        with pytest.raises(TemporaryError, match="500"):
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "once")

    @pytest.mark.parametrize(
        ("symbol", "side", "qty", "code", "sentence"),
        [
            ("AAPL", Side.BUY, Decimal(10**7), 40310000, "insufficient buying power"),
            ("AAPL", Side.SELL, Decimal(1), 40310000, "not allowed to short"),
            ("NOPE", Side.BUY, Decimal(1), 42210000, 'asset "NOPE" not found'),
            ("AAPL", Side.BUY, NINE, 40310000, "minimal amount"),
            ("AAPL", Side.BUY, NINE / 10, 42210000, "9 decimal"),
        ],
    )
    def test_a_clear_refusal_is_an_order_error_with_the_brokers_code_and_sentence(
        self, desk: Desk, symbol: str, side: Side, qty: Decimal, code: int, sentence: str
    ) -> None:
        with pytest.raises(OrderError, match=sentence) as caught:
            desk.orders.submit(symbol, side, qty, "refused")
        assert caught.value.code == code
        assert desk.alpaca.order("refused") is None

    def test_a_partial_fill_is_reported_and_completed_later(self, desk: Desk) -> None:
        desk.fail("POST", "/v2/orders", partial_fill=0.4)
        order = desk.orders.submit("AAPL", Side.BUY, Decimal(10), "part")
        assert (order.status, order.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 4)
        desk.step(TEN + dt.timedelta(hours=1))
        later = desk.alpaca.order("part")
        assert later is not None
        assert (later.status, later.filled_qty) == (OrderStatus.FILLED, 10)
        fills = [a for a in desk.alpaca.activities() if a.type == "FILL"]
        assert [a.qty for a in fills] == [4, 6]

    def test_an_answer_without_most_of_its_fields_is_still_an_order(self, desk: Desk) -> None:
        names = ["symbol", "side", "qty", "filled_avg_price", "submitted_at", "order_class"]
        desk.fail("POST", "/v2/orders", drop_fields=names)
        order = desk.orders.submit("AAPL", Side.BUY, Decimal(3), "thin")
        assert (order.symbol, order.side, order.qty) == ("AAPL", Side.BUY, 3)
        assert order.status is OrderStatus.FILLED


class TestListingAndCanceling:
    def test_orders_are_listed_oldest_first_beyond_one_page(self, desk: Desk) -> None:
        broker = desk.app.extensions["broker"]
        for i in range(1, 521):
            ticket = {"symbol": "JPM", "side": "buy", "qty": 1, "client_order_id": f"n{i}"}
            limit = {"type": "limit", "limit_price": "0.01", "time_in_force": "gtc"}
            body = ticket | ({"qty": 100} | limit if i > 516 else {})
            broker.submit(read_ticket(body))
        found = desk.alpaca.orders("all")
        assert [order.client_order_id for order in found] == [f"n{i}" for i in range(1, 521)]
        assert [o.client_order_id for o in desk.alpaca.orders()] == ["n517", "n518", "n519", "n520"]
        last = desk.alpaca.orders("all", after=found[-2].submitted_at)
        assert [order.client_order_id for order in last] == ["n520"]

    def test_orders_that_share_a_time_are_not_lost_between_two_pages(self, desk: Desk) -> None:
        orders = waiting(desk, 700)
        for order in orders[300:]:
            order.submitted_at = orders[450 if orders.index(order) < 620 else 620].submitted_at
        found = desk.alpaca.orders("all")
        assert [order.client_order_id for order in found] == [f"n{i}" for i in range(700)]

    def test_more_orders_of_one_time_than_a_page_holds_are_said_not_to_be_listed(
        self, desk: Desk
    ) -> None:
        orders = waiting(desk, 520)
        for order in orders:
            order.submitted_at = orders[0].submitted_at
        with pytest.raises(DataError, match="within a microsecond"):
            desk.alpaca.orders("all")

    def test_an_open_order_is_canceled_and_a_final_one_stays(self) -> None:
        with opened(CLOSE) as desk:
            order = desk.orders.submit("AAPL", Side.BUY, Decimal(1), "waiting")
            assert order.status is OrderStatus.ACCEPTED
            desk.orders.cancel(order.id)
            canceled = desk.alpaca.order("waiting")
            assert canceled is not None
            assert canceled.status is OrderStatus.CANCELED
            desk.orders.cancel(order.id)
            desk.orders.cancel("00000000-0000-0000-0000-000000000000")
            desk.orders.submit("AAPL", Side.BUY, Decimal(1), "second")
            desk.orders.submit("JPM", Side.BUY, Decimal(1), "third")
            desk.orders.cancel_all()
            assert desk.alpaca.orders() == ()

    def test_activities_come_page_by_page_and_sum_to_the_cash(self, desk: Desk) -> None:
        for i in range(75):
            desk.orders.submit("JPM", Side.BUY, Decimal(2), f"b{i}")
            desk.orders.submit("JPM", Side.SELL, Decimal(1), f"s{i}")
        lines = list(desk.alpaca.activities())
        assert len(lines) == len({line.id for line in lines}) == desk.state()["activities"] > 150
        total = sum(line.net_amount for line in lines)
        assert total == Decimal(desk.state()["cash"])
        assert round(total, 2) == desk.alpaca.account().cash
        assert sum(line.qty or 0 for line in lines) == desk.alpaca.positions()[0].qty == 75

    def test_going_on_from_the_latest_activity_misses_none(self, desk: Desk) -> None:
        seen = {}
        for i, symbol in enumerate(["AAPL", "JPM", "AAPL", "BRK.B"]):
            desk.orders.submit(symbol, Side.BUY, Decimal(1), f"n{i}")
            latest = max((line.at for line in seen.values()), default=None)
            seen |= {line.id: line for line in desk.alpaca.activities(latest)}
        assert seen.keys() == {line.id for line in desk.alpaca.activities()}
        assert len(seen) == 5

    def test_a_line_booked_later_with_an_earlier_time_is_not_missed(self, desk: Desk) -> None:
        def opens(symbol: str, at: dt.datetime) -> dt.datetime:
            found = desk.market.next_open(symbol, at)
            assert found is not None
            return found[0]

        gaps = (TEN + i * BAR for i in range(60))
        at = next(t for t in gaps if opens("AAPL", t) > opens("JPM", t))
        desk.step(at)
        desk.orders.submit("AAPL", Side.BUY, Decimal(1), "late")
        latest = max(line.at for line in desk.alpaca.activities())
        desk.orders.submit("JPM", Side.BUY, Decimal(1), "early")
        assert [line.symbol for line in desk.alpaca.activities(latest)] == ["AAPL", "JPM"]


def waiting(desk: Desk, count: int) -> list[Order]:
    """That many orders that nobody fills, as the broker has them."""
    limit = {"type": "limit", "limit_price": "0.01", "time_in_force": "gtc"}
    for i in range(count):
        body = {"symbol": "JPM", "side": "buy", "qty": 100, "client_order_id": f"n{i}"}
        ticket = read_ticket(body | limit)
        now = desk.market.clock.now()
        order = Order(ticket, now, now, TEN + i * MICROSECOND, None, Decimal(1), id=f"{i}")
        desk.app.extensions["broker"].orders[order.id] = order
    return list(desk.app.extensions["broker"].orders.values())


class TestFailing:
    def test_an_unreachable_broker_is_temporary_and_names_the_call(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            alpaca = connect(f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(TemporaryError, match="GET /account"):
                alpaca.account()
            with pytest.raises(TemporaryError):
                Orders(alpaca).submit("AAPL", Side.BUY, Decimal(1), "x")

    @pytest.mark.parametrize("status", [401, 403])
    def test_wrong_keys_are_a_matter_of_the_settings(self, status: int) -> None:
        body = b'{"message": "forbidden."}'
        with answering(status, body) as url, pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY"):
            Orders(connect(url)).submit("AAPL", Side.BUY, Decimal(1), "x")

    @pytest.mark.parametrize("status", [200, 502])
    def test_a_page_of_html_is_no_answer(self, status: int) -> None:
        with answering(status, b"<html>gateway</html>") as url, pytest.raises(TemporaryError):
            connect(url).account()

    def test_missing_keys_are_all_named_before_anything_is_sent(self) -> None:
        with pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY, ASTRA_ALPACA_SECRET"):
            connect("http://127.0.0.1:9", alpaca_key="", alpaca_secret="")

    def test_the_budget_of_a_minute_is_kept_and_says_when_to_come_back(self) -> None:
        with opened(requests_per_minute=3) as desk:
            for _ in range(3):
                desk.alpaca.account()
            with pytest.raises(TemporaryError, match="rate limited") as caught:
                desk.orders.submit("AAPL", Side.BUY, Decimal(1), "x")
            assert caught.value.retry_after is not None
            assert 55 < caught.value.retry_after <= 62

    def test_real_money_needs_the_account_that_the_settings_name(self, desk: Desk) -> None:
        number = desk.alpaca.account().number
        live = {"alpaca_paper": False, "live_trading": number}
        Orders(connect(desk.url, **live)).submit("AAPL", Side.BUY, Decimal(1), "mine")
        other = connect(desk.url, **(live | {"live_trading": "another"}))
        with pytest.raises(ConfigError, match="another"):
            other.account()
        with pytest.raises(ConfigError, match="another"):
            Orders(other).submit("AAPL", Side.BUY, Decimal(1), "not mine")
        with pytest.raises(ConfigError, match="another"):
            Orders(other).cancel_all()
        assert desk.alpaca.order("not mine") is None

    def test_fields_that_vanish_from_the_account_have_fallbacks(self, desk: Desk) -> None:
        names = ["equity", "buying_power", "last_equity", "status", "trading_blocked"]
        desk.fail("GET", "/v2/account", drop_fields=names)
        account = desk.alpaca.account()
        assert (account.equity, account.buying_power) == (100_000, 200_000)
        assert (account.status, account.last_equity) == ("UNKNOWN", None)

    def test_cash_alone_is_never_taken_for_the_equity(self, desk: Desk) -> None:
        desk.orders.submit("AAPL", Side.BUY, Decimal(100), "one")
        equity = desk.alpaca.account().equity
        names = ["equity", "portfolio_value"]
        desk.fail("GET", "/v2/account", drop_fields=names)
        assert desk.alpaca.account().equity == equity
        desk.fail("GET", "/v2/account", drop_fields=[*names, "long_market_value"])
        with pytest.raises(DataError, match="needs equity, portfolio_value or long_market_value"):
            desk.alpaca.account()

    def test_an_account_that_does_not_say_whether_it_may_borrow_spends_settled_cash(self) -> None:
        with opened(account_type="cash") as desk:
            desk.orders.submit("AAPL", Side.BUY, Decimal(100), "one")
            desk.orders.submit("AAPL", Side.SELL, Decimal(100), "two")
            settled, names = desk.alpaca.account().settled_cash, ["multiplier"]
            for name in ("non_marginable_buying_power", "cash_withdrawable"):
                desk.fail("GET", "/v2/account", drop_fields=names)
                assert desk.alpaca.account().settled_cash == settled
                names.append(name)
            desk.fail("GET", "/v2/account", drop_fields=names)
            with pytest.raises(DataError, match="to tell settled cash, found multiplier None"):
                desk.alpaca.account()
            desk.fail("GET", "/v2/account", drop_fields=[*names[1:], "buying_power"])
            with pytest.raises(DataError, match="to tell settled cash"):
                desk.alpaca.account()

    def test_an_account_without_cash_is_a_data_error(self, desk: Desk) -> None:
        desk.fail("GET", "/v2/account", drop_fields=["cash"])
        with pytest.raises(DataError, match="needs cash"):
            desk.alpaca.account()


class TestBodies:
    """Alpaca's words, from its documentation, as our nouns."""

    @pytest.mark.parametrize(
        ("word", "filled", "status"),
        [
            ("new", "0", OrderStatus.ACCEPTED),
            ("pending_cancel", "0", OrderStatus.ACCEPTED),
            ("held", "2", OrderStatus.PARTIALLY_FILLED),
            ("a word of next year", "0", OrderStatus.ACCEPTED),
            ("done_for_day", "2", OrderStatus.PARTIALLY_FILLED),
            ("filled", "5", OrderStatus.FILLED),
            ("canceled", "2", OrderStatus.CANCELED),
            ("replaced", "0", OrderStatus.CANCELED),
            ("expired", "0", OrderStatus.EXPIRED),
            ("rejected", "0", OrderStatus.REJECTED),
        ],
    )
    def test_an_order_is_open_until_alpaca_says_that_it_is_final(
        self, word: str, filled: str, status: OrderStatus
    ) -> None:
        body = {
            "id": "1",
            "symbol": "A",
            "side": "buy",
            "qty": 5,
            "filled_qty": filled,
            "status": word,
        }
        assert read_order(body).status is status

    def test_times_with_nanoseconds_are_read_in_utc(self) -> None:
        body = {
            "id": "1",
            "symbol": "A",
            "side": "sell",
            "submitted_at": "2022-07-27T04:12:33.667750101-04:00",
        }
        order = read_order(body)
        assert order.submitted_at == dt.datetime(2022, 7, 27, 8, 12, 33, 667750, dt.UTC)
        assert (order.qty, order.filled_average_price) == (0, None)

    @pytest.mark.parametrize(
        ("time", "at"),
        [
            ({"transaction_time": "2019-05-24T15:34:06.977Z"}, (2019, 5, 24, 15, 34, 6, 977000)),
            ({}, (2019, 5, 24, 15, 34, 6, 977000)),
            ({"id": "none", "date": "2019-05-24"}, (2019, 5, 24, 4)),
        ],
    )
    def test_an_activity_has_its_time_or_that_of_its_id_or_its_day(
        self, time: dict[str, str], at: tuple[int, ...]
    ) -> None:
        body = {"id": "20190524113406977::8efc7b9a", "activity_type": "FEE", "net_amount": "-0.05"}
        line = read_activity(body | time)
        assert line.at == dt.datetime(*at, tzinfo=dt.UTC)
        assert (line.type, line.net_amount, line.qty) == ("FEE", Decimal("-0.05"), None)

    @pytest.mark.parametrize(
        ("side", "qty", "net"), [("buy", 3, -30), ("sell", -3, 30), ("sell_short", -3, 30)]
    )
    def test_a_fills_cash_follows_from_quantity_and_price(
        self, side: str, qty: int, net: int
    ) -> None:
        body = {"id": "20190524113406977::1", "activity_type": "FILL", "symbol": "A"}
        line = read_activity(body | {"side": side, "qty": "3", "price": "10"})
        assert (line.qty, line.net_amount) == (qty, net)

    def test_a_dividend_moves_cash_only_and_a_split_shares_only(self) -> None:
        common = {"id": "20190524113406977::1", "symbol": "T", "qty": "2"}
        dividend = read_activity(common | {"activity_type": "DIV", "net_amount": "1.02"})
        split = read_activity(common | {"activity_type": "SPLIT"})
        assert (dividend.qty, dividend.net_amount) == (None, Decimal("1.02"))
        assert (split.qty, split.net_amount) == (2, 0)

    @pytest.mark.parametrize(
        ("told", "says"),
        [
            ({"activity_type": "FEE"}, False),
            ({"activity_type": "FEE", "net_amount": "-0.60"}, True),
            ({"activity_type": "SPLIT", "qty": "2"}, True),
            ({"activity_type": "SPLIT"}, False),
            ({"activity_type": "FILL"}, True),
        ],
    )
    def test_a_line_that_moves_nothing_waits_until_it_says_what_it_moved(
        self, told: dict[str, str], says: bool
    ) -> None:
        assert says_what_moved(told) is says

    @pytest.mark.parametrize(
        ("flag", "close", "is_open"),
        [
            ({"is_open": False}, "2026-01-12T21:00:00Z", False),
            ({"is_open": "true"}, "2026-01-13T21:00:00Z", True),
            ({}, "2026-01-12T21:00:00Z", True),
            ({"is_open": None}, "2026-01-12T21:00:00Z", True),
            ({}, "2026-01-13T21:00:00Z", False),
        ],
    )
    def test_a_clock_without_its_flag_is_open_if_it_closes_before_it_opens(
        self, flag: dict[str, object], close: str, is_open: bool
    ) -> None:
        body = {"timestamp": "2026-01-12T15:00:00Z", "next_open": "2026-01-13T14:30:00Z"}
        assert read_clock(body | flag | {"next_close": close}).is_open is is_open

    def test_a_position_without_a_price_is_valued_by_what_else_is_known(self) -> None:
        body = {"symbol": "A", "qty": "4", "avg_entry_price": "9"}
        assert read_position(body).market_price == 9
        assert read_position(body | {"lastday_price": "10"}).market_price == 10
        assert read_position(body | {"market_value": "44"}).market_price == 11
        assert read_position(body | {"current_price": "12"}).market_price == 12
        with pytest.raises(DataError, match="A has none"):
            read_position({"symbol": "A", "qty": "4"})

    def test_an_asset_that_does_not_say_so_is_neither_tradable_nor_fractionable(self) -> None:
        asset = read_asset({"symbol": "A"})
        assert (asset.tradable, asset.fractionable) == (False, False)

    def test_a_history_without_values_is_empty(self) -> None:
        assert read_history({"timestamp": None}, HOUR) == ()
        starts = [int(TEN.timestamp()), int((TEN + HOUR).timestamp())]
        body = {"timestamp": starts, "equity": [None, 5], "profit_loss": [1]}
        assert [(p.equity, p.profit_loss) for p in read_history(body, HOUR)] == [(5.0, None)]

    def test_a_value_is_named_by_the_end_of_its_window_and_not_beyond_the_close(self) -> None:
        starts = [int((CLOSE - minutes * MINUTE).timestamp()) for minutes in (90, 30)]
        first, last = read_history({"timestamp": starts, "equity": [1, 2]}, HOUR)
        assert (first.at, last.at) == (CLOSE - 30 * MINUTE, CLOSE)

    def test_an_option_is_worth_its_market_value_and_no_share(self) -> None:
        body = {
            "symbol": "AAPL260116C00200000", "asset_class": "us_option", "qty": "2",
            "current_price": "3.5", "market_value": "700",
        }  # fmt: skip
        assert read_position(body).market_price == 350
        assert read_position({**body, "asset_class": "us_equity"}).market_price == 3.5
        order = {
            "id": "1", "symbol": "BTC/USD", "asset_class": "crypto", "side": "buy",
            "status": "new", "qty": None, "notional": "250",
        }  # fmt: skip
        found = read_order(order)
        assert (found.notional, found.asset_class) == (250.0, "crypto")

    def test_what_cannot_be_read_is_a_data_error(self) -> None:
        for read, body in [
            (read_account, {"cash": "much"}),
            (read_position, {"qty": "1"}),
            (read_order, {"id": "1", "symbol": "A", "side": "?"}),
            (read_clock, {"timestamp": "2026-01-12T15:00:00Z"}),
            (read_clock, {"timestamp": "noon"}),
            (read_activity, {"activity_type": "FILL", "side": "buy", "qty": "1"}),
            (read_activity, {"activity_type": "FEE"}),
        ]:
            with pytest.raises(DataError):
                read(body)

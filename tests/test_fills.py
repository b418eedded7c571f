"""What a decision makes of a book: planned as the service plans, booked as the broker books."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import DataError
from astra.fills import fee_of_sale, price_at
from astra.ledger import Book
from astra.records import Side
from model.backtest.account import Account
from model.backtest.fills import Costs, Tape, closed_out, equity_of, held_weights, move
from model.panel import build
from model.portfolio.trade import Trade

D = Decimal
DAY = "2026-05-12"
T1 = dt.datetime(2026, 5, 12, 14, 0, tzinfo=dt.UTC)
T2 = dt.datetime(2026, 5, 12, 15, 0, tzinfo=dt.UTC)
ANY_SIZE = Costs(20.0, 10.0, max_order_weight=1.0)
FREE = Costs(0.0, 0.0, max_order_weight=1.0)


def priced(prices: dict[str, dict[str, tuple[float, float]]], day: str = DAY) -> pd.DataFrame:
    """Bars from (open, close) by ticker and UTC clock of a day."""
    rows = []
    for ticker, at in prices.items():
        for clock, (opening, close) in at.items():
            ts = int(dt.datetime.fromisoformat(f"{day}T{clock}+00:00").timestamp())
            rows.append((ticker, ts, opening, max(opening, close), min(opening, close), close, 1))
    return pd.DataFrame(rows, columns=["ticker", "ts", "open", "high", "low", "close", "volume"])


TWO_NAMES = {
    "A": {"13:55": (99.0, 100.0), "14:05": (100.0, 101.0), "14:55": (109.0, 110.0),
          "15:05": (110.0, 110.0), "15:55": (112.0, 121.0)},
    "B": {"13:55": (50.0, 50.0), "14:05": (50.0, 50.0), "14:55": (40.0, 40.0),
          "15:05": (40.0, 40.0), "15:55": (40.0, 44.0)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("opens", "side", "half_spread_bp", "price"),
    [
        (100.0, Side.BUY, "2", "100.020000"),
        (100.0, Side.SELL, "2", "99.980000"),
        (33.333333, Side.BUY, "0", "33.333333"),
        (0.123457, Side.SELL, "5", "0.123395"),
        (12.34565, Side.BUY, "1", "12.346885"),  # 12.346884565
    ],
)
def test_half_a_spread_is_against_us(
    opens: float, side: Side, half_spread_bp: str, price: str
) -> None:
    assert price_at(opens, side, D(half_spread_bp)) == D(price)


@pytest.mark.parametrize(
    ("value", "fee_bp", "fee"),
    [("10000", "0.3", "0.30"), ("10001", "0.3", "0.31"), ("1", "0.3", "0.01"), ("500", "0", "0")],
)
def test_a_part_of_a_cent_of_a_fee_is_a_whole_one(value: str, fee_bp: str, fee: str) -> None:
    assert fee_of_sale(D(value), D(fee_bp)) == D(fee)


def test_a_book_by_hand() -> None:
    tape = Tape(build(priced(TWO_NAMES)))
    # 6 A at 100 and 6 B at 50 for 900, half a spread of 20 bp on top: 1.80.
    first = move(Book(D(1000), {}), {"A": 0.6, "B": 0.3}, tape.opens(T1), tape.marks(T1), ANY_SIZE)
    assert first.book == Book(D("98.2"), {"A": D(6), "B": D(6)})
    assert (first.traded, first.cost) == pytest.approx((900.0, 1.8))
    # Worth 98.20 + 660 + 240 = 998.20, of which A gets a fifth: 4.185090909 shares are sold
    # at 109.78 for 459.44 less a fee of 0.45944, a cent begun counts: 0.46.
    second = move(first.book, {"A": 0.2, "B": 0.5}, tape.opens(T2), tape.marks(T2), ANY_SIZE)
    sale, purchase = second.fills
    assert (sale.qty, sale.price, sale.fee) == (D("4.185090909"), D("109.78"), D("0.46"))
    cash = D("98.2") + D("4.185090909") * D("109.78") - D("0.46")
    # Half of what the account is worth after the sale, to the cent: 12.46559 shares at 40.
    worth = (cash + D("1.814909091") * 110 + 6 * 40).quantize(D("0.01"))
    want = (worth / 2 / 40).quantize(D("0.000000001"), "ROUND_DOWN")
    assert (purchase.symbol, purchase.qty, purchase.price) == ("B", want - 6, D("40.08"))
    assert second.book.cash == cash - purchase.qty * D("40.08")
    assert second.book.shares == {"A": D("1.814909091"), "B": want}


def test_sales_pay_for_purchases_of_the_same_decision() -> None:
    book, prices = Book(D("20"), {"A": D(10)}), {"A": 100.0, "B": 10.0}
    moved = move(book, {"B": 0.9}, prices, prices, FREE)
    assert [f.side for f in moved.fills] == [Side.SELL, Side.BUY]
    assert moved.book == Book(D("102"), {"B": D("91.8")})


def test_no_more_is_bought_than_cash_less_the_reserve_pays_for() -> None:
    prices = {"A": 100.0, "B": 10.0}
    moved = move(Book(D(1000), {}), {"A": 0.5, "B": 0.5}, prices, prices, FREE)
    assert moved.book.cash == D(10)  # 1 % of equity stays


def test_a_purchase_without_an_open_is_dead_and_the_others_are_not() -> None:
    marks = {"A": 100.0, "B": 100.0, "QUIET": 100.0}
    wanted = {"A": 0.2, "B": 0.2, "QUIET": 0.2}
    moved = move(Book(D(500), {}), wanted, {"A": 100.0, "B": 100.0}, marks, FREE)
    assert moved.book == Book(D(300), {"A": D(1), "B": D(1)})


def test_nothing_is_bought_while_a_sale_waits_for_an_open() -> None:
    book = Book(D(500), {"GONE": D(2), "B": D(2)})
    marks = {"A": 100.0, "B": 100.0, "GONE": 100.0}
    moved = move(book, {"A": 0.3}, {"A": 100.0, "B": 100.0}, marks, FREE)
    assert moved.book == Book(D(700), {"GONE": D(2)})


def test_purchases_fill_no_earlier_than_the_sale_that_pays_for_them() -> None:
    late = {"A": {"13:55": (100.0, 100.0), "14:20": (100.0, 100.0)},
            "B": {"13:55": (10.0, 10.0), "14:05": (10.0, 10.0), "14:25": (11.0, 11.0)}}  # fmt: skip
    tape, account = Tape(build(priced(late))), Account(0.0, FREE)
    account.book = Book(D(10), {"A": D(10)})
    trade = Trade(np.zeros(0), 1.0, 0.0, 0.0, "moved")
    account.trade({"B": 0.9}, trade, tape, T1, tape.marks(T1), tape.opens(T1))
    sale, purchase = account.trades
    minute = dt.timedelta(minutes=1)
    assert (sale.symbol, sale.at) == ("A", T1 + 20 * minute)
    assert (purchase.symbol, purchase.at) == ("B", T1 + 25 * minute)
    assert purchase.price == D(11)


def test_a_small_drift_is_left_alone_and_a_name_that_is_not_wanted_is_sold_out() -> None:
    book, prices = Book(D(0), {"A": D(999), "B": D(1)}), {"A": 1.0, "B": 1.0}
    moved = move(book, {"A": 0.9985}, prices, prices, Costs(2.0, 0.3, 0.001))
    assert moved.book.shares == {"A": D(999)}


def test_a_purchase_stops_under_what_the_risk_gate_lets_through_in_one_order() -> None:
    prices = {"A": 100.0, "B": 10.0}
    moved = move(Book(D(1000), {}), {"A": 0.3, "B": 0.2}, prices, prices, Costs(0.0, 0.0))
    assert moved.book.shares == {"A": D("2.4875"), "B": D(20)}


def test_a_purchase_stops_under_what_one_position_may_weigh() -> None:
    book, prices = Book(D(800), {"A": D(2)}), {"A": 100.0, "B": 10.0}
    costs = Costs(0.0, 0.0, max_position_weight=0.25)
    moved = move(book, {"A": 0.3, "B": 0.2}, prices, prices, costs)
    assert moved.book.shares == {"A": D("2.4875"), "B": D(20)}


def test_turnover_and_cash_buffer_are_the_accounts_own() -> None:
    prices = {"A": 100.0, "B": 10.0}
    careful = Costs(0.0, 0.0, max_order_weight=1.0, cash_buffer=0.5)
    moved = move(Book(D(1000), {}), {"A": 0.9}, prices, prices, careful)
    assert moved.book == Book(D(500), {"A": D(5)})
    slow = Costs(0.0, 0.0, max_order_weight=1.0, max_turnover=0.4)
    moved = move(Book(D(100), {"A": D(10)}), {"B": 0.9}, prices, prices, slow)
    assert moved.traded == pytest.approx(0.4 * 1100)


def test_what_is_kept_is_not_traded_whatever_its_weight() -> None:
    book, prices = Book(D(0), {"A": D(5), "B": D(50)}), {"A": 100.0, "B": 10.0}
    moved = move(book, {"A": 0.1}, prices, prices, FREE, keep={"A"})
    assert moved.book == Book(D(500), {"A": D(5)})


def test_whole_shares_are_rounded_down() -> None:
    prices = {"A": 300.0, "B": 7.0}
    costs = Costs(0.0, 0.0, max_order_weight=1.0, whole_shares=True)
    moved = move(Book(D(1000), {}), {"A": 0.5, "B": 0.4}, prices, prices, costs)
    assert moved.book.shares == {"A": D(1), "B": D(57)}


def test_twice_the_costs_cost_twice() -> None:
    prices = {"A": 100.0}
    once, twice = (
        move(Book(D(1000), {}), {"A": 0.5}, prices, prices, ANY_SIZE.times(m)).cost for m in (1, 2)
    )
    assert (once, twice) == pytest.approx((1.0, 2.0))


@given(
    opens=st.lists(st.floats(0.5, 500.0), min_size=3, max_size=3),
    drifts=st.lists(st.floats(0.98, 1.02), min_size=3, max_size=3),
    weights=st.lists(st.floats(0.0, 0.326), min_size=3, max_size=3),
    held=st.lists(st.integers(0, 200), min_size=3, max_size=3),
    absent=st.integers(0, 3),
)
def test_a_move_keeps_its_books_whatever_the_prices(
    opens: list[float], drifts: list[float], weights: list[float], held: list[int], absent: int
) -> None:
    names = ("A", "B", "C")
    marks = dict(zip(names, opens, strict=True))
    traded = {n: marks[n] * d for i, (n, d) in enumerate(zip(names, drifts, strict=True))
              if i != absent}  # fmt: skip
    shares = {n: D(q) for n, q in zip(names, held, strict=True) if q}
    book = Book(D(10_000), shares)
    wanted = dict(zip(names, weights, strict=True))
    moved = move(book, wanted, traded, marks, ANY_SIZE)
    assert all(q > 0 for q in moved.book.shares.values())
    assert moved.book.cash > 0  # 1 % of equity and 2 % of cash floor are more than the drift
    for name in set(names) - traded.keys():
        assert moved.book.shares.get(name) == shares.get(name)
    prices = {**marks, **traded}
    assert moved.book.value(prices) == pytest.approx(book.value(prices) - moved.cost, abs=1e-4)


def test_weights_are_of_the_equity_that_the_broker_states() -> None:
    book, marks = Book(D("100.006"), {"A": D(1)}), {"A": 50.001}
    assert equity_of(book, marks) == D("150.01")
    assert held_weights(book, marks) == {"A": 50.001 / 150.01}


def test_an_order_fills_at_the_first_open_after_it_that_its_ticker_prints() -> None:
    late = {"A": {"13:55": (1.0, 1.0), "14:00": (2.0, 2.0), "14:20": (3.0, 3.0)},
            "B": {"14:05": (4.0, 4.0)}, "C": {"15:00": (5.0, 5.0)}}  # fmt: skip
    tape = Tape(build(priced(late)))
    # The bar of 14:00 begins with the decision; C's comes with the next decision.
    assert tape.opens(T1) == {"A": 3.0, "B": 4.0}
    assert tape.opens_at(T1, ["A"]) == {"A": T1 + dt.timedelta(minutes=20)}
    assert tape.marks(T1) == {"A": 1.0}


def test_on_a_half_day_an_order_lives_until_the_early_close() -> None:
    early = {"A": {"16:55": (1.0, 1.0), "17:55": (2.0, 2.0)}, "B": {"16:55": (3.0, 3.0)}}
    friday, monday = priced(early, "2025-11-28"), priced({"B": {"14:30": (9.0, 9.0)}}, "2025-12-01")
    tape = Tape(build(pd.concat([friday, monday])))
    assert tape.opens(dt.datetime(2025, 11, 28, 17, 0, tzinfo=dt.UTC)) == {"A": 2.0}


def test_a_trade_beyond_the_bars_is_refused() -> None:
    tape = Tape(build(priced(TWO_NAMES)))
    with pytest.raises(DataError, match="end earlier or load more bars"):
        tape.opens(dt.datetime(2026, 5, 12, 20, 0, tzinfo=dt.UTC))


def test_a_ticker_without_a_bar_for_five_sessions_is_gone() -> None:
    bar = {"14:05": (1.0, 1.0)}
    days = pd.bdate_range("2026-05-04", periods=8).strftime("%Y-%m-%d")
    frames = [priced({"A": bar} if i > 1 else {"A": bar, "B": bar}, d) for i, d in enumerate(days)]
    tape = Tape(build(pd.concat(frames)))
    fifth, sixth = (dt.datetime.fromisoformat(f"{days[i]}T15:00+00:00") for i in (6, 7))
    assert tape.gone(fifth, ["A", "B"]) == ()
    assert tape.gone(sixth, ["A", "B"]) == ("B",)


def test_days_on_which_nothing_printed_say_nothing_of_a_ticker() -> None:
    bar = {"14:05": (1.0, 1.0)}
    days = pd.bdate_range("2026-05-04", periods=14).strftime("%Y-%m-%d")
    t = dt.datetime.fromisoformat(f"{days[-1]}T14:00+00:00")
    for silent, gone in ((4, ()), (5, ("B",))):
        alone = [priced({"A": bar}, day) for day in days[1 : 1 + silent]]
        both = [priced({"A": bar, "B": bar}, day) for day in (days[0], days[-1])]
        assert Tape(build(pd.concat([*both, *alone]))).gone(t, ["A", "B"]) == gone


def test_what_trades_no_more_is_sold_at_its_last_close_less_costs() -> None:
    filled = closed_out("B", D(10), 50.0, ANY_SIZE)
    assert (filled.price, filled.fee) == (D("49.9"), D("0.50"))


def test_the_last_close_is_the_last_one_printed() -> None:
    rng = np.random.default_rng(3)
    frame = priced({"A": {f"14:{m:02}": (1.0 + m, 2.0 + m) for m in range(0, 60, 5)}})
    kept = frame[rng.random(len(frame)) < 0.5]
    tape = Tape(build(pd.concat([frame[:1], kept[1:]])))
    for m in range(5, 60, 5):
        t = T1 + dt.timedelta(minutes=m)
        known = [c for s, c in zip(kept["ts"], kept["close"], strict=True)
                 if s + 300 <= t.timestamp()]  # fmt: skip
        assert tape.marks(t)["A"] == max([2.0, *known])

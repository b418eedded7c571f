"""The page of trades on a real store: what a person reads, held against figures counted apart."""

from __future__ import annotations

import datetime as dt
import io
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from seeded_books import NOW, NUMBER, decision_of, seed_store
from shown_page import House, Runner, house, metrics, said

from astra.records import Account, Activity, OrderStatus, PlanLine, Position, Side
from astra.store import Store
from astra.store.journal_rows import AllocationRow, OrderRow
from frontend import trades
from frontend.views import trades as views

AS_OF = dt.datetime(2026, 11, 20, 19, 0, tzinfo=dt.UTC)
STAMP = "20261120-190000_0011aabb"
KEY = "ffeeddccbbaa9988"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Shared: tests read it only."""
    with house(tmp_path_factory.mktemp("trades")) as found:
        seed_store(found.store)
        at = dt.datetime(2026, 11, 10, 15, tzinfo=dt.UTC)
        found.store.books.record_activities(
            NUMBER,
            [
                Activity("deposit", "CSD", at - dt.timedelta(days=5), Decimal(100_000)),
                Activity("dividend", "DIV", at, Decimal("12.34"), "KO"),
                Activity("withheld", "DIVNRA", at, Decimal("-1.85"), "KO"),
                Activity("fee", "FEE", at, Decimal("-0.07")),
            ],
        )
        seed_order(found.store)
        yield found


def seed_order(store: Store) -> None:
    """An allocation with a decision: one order filled, one denied by the gate."""
    why = {"OXY": {"forecast": 0.05, "risk": 0.03, "cost": 0.0, "limit": 0.0}}
    document = decision_of({"OXY": 0.1}, AS_OF) | {"why": why, "held_weights": {"OXY": 0.02}}
    store.books.record_decision(f"decision_{STAMP}.json", document)
    row = AllocationRow(
        KEY, NUMBER, "astra", f"target_{STAMP}.csv", 2, AS_OF, AS_OF + dt.timedelta(hours=1),
        "measured", "nbeats-3f2a9c", {"OXY": 0.1}, AS_OF + dt.timedelta(minutes=2),
    )  # fmt: skip
    store.journal.receive(row)
    fence = store.journal.take_lease(KEY, 60.0) or 0
    at = AS_OF + dt.timedelta(minutes=2)
    orders = [
        OrderRow(f"{KEY}-{symbol}-buy-1", KEY, NUMBER, symbol, Side.BUY, 1, Decimal(20), 400.1,
                 "to 9.90% of equity", at, at)
        for symbol in ("OXY", "XOM")
    ]  # fmt: skip
    lines = [
        PlanLine(s, 400.1, 0.02, 0.1, 0.099, {"limit": 0.0, "rounding": -0.001}, "", 400.0)
        for s in ("OXY", "XOM")
    ]
    store.journal.plan_orders(KEY, fence, orders, "buying", lines, at)
    filled, denied = orders
    store.journal.begin_sending(filled.id, fence, at)
    store.journal.mark(
        filled.id, fence, OrderStatus.FILLED, at + dt.timedelta(minutes=1), broker_id="broker-x",
        filled_qty=Decimal(20), filled_average_price=400.3,
    )  # fmt: skip
    store.journal.mark(
        denied.id, fence, OrderStatus.REJECTED, at,
        reason="RISK_PRICE_COLLAR: XOM: the last trade is 480.00, 20% from the plan's price",
    )  # fmt: skip
    store.journal.set_status(KEY, fence, "done", "1 of 2 orders filled", finished_at=at)


@dataclass(frozen=True)
class Counted:
    """Profits of trades by buying and selling order, and of the shares left, one by one."""

    profits: dict[tuple[str, str], float]
    unrealised: float


def counted(store: Store) -> Counted:
    """First in, first out, share for share: the seeded account trades whole shares."""
    lines = sorted(store.books.activities(NUMBER), key=lambda a: (a.at, a.id))
    held: dict[str, deque[tuple[str, float]]] = {}
    profits: dict[tuple[str, str], float] = {}
    for line in (a for a in lines if a.type == "FILL"):
        queue = held.setdefault(str(line.symbol), deque())
        price, order = float(line.price or 0), str(line.order_id)
        for _ in range(abs(int(line.qty or 0))):
            if line.side is Side.BUY:
                queue.append((order, price))
            else:
                bought, cost = queue.popleft()
                key = (bought, order)
                profits[key] = profits.get(key, 0.0) + price - cost
    summary = store.books.read("account_summary").to_pandas().sort_values("at")
    prices = {
        p["symbol"]: p["price"]
        for p in pd.read_json(io.StringIO(summary["positions"].iloc[-1])).to_dict("records")
    }
    left = sum(prices[s] - cost for s, queue in held.items() for _, cost in queue)
    return Counted(profits, left)


def test_profit_and_rates_are_those_of_shares_counted_one_by_one(
    page: Runner, seeded: House
) -> None:
    shown, found = metrics(page(seeded.url, "Trades")), counted(seeded.store)
    profits = list(found.profits.values())
    won, lost = [p for p in profits if p > 1e-9], [-p for p in profits if p < -1e-9]
    assert dollars(shown["Realised profit"]) == pytest.approx(sum(profits), abs=0.006)
    assert dollars(shown["Unrealised profit"]) == pytest.approx(found.unrealised, abs=0.006)
    assert shown["Closed trades"] == f"{len(profits):,}"
    assert shown["Win rate"] == f"{100 * len(won) / len(profits):.1f}%"
    assert shown["Profit factor"] == f"{sum(won) / sum(lost):.2f}"


def test_dividends_fees_and_deposits_are_told_apart_from_profit(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url, "Trades")
    shown = metrics(app)
    assert (shown["Dividends and interest"], shown["Fees"]) == ("+$10.49", "-$0.07")
    (table,) = [t.value for t in app.dataframe if "Month (New York)" in t.value]
    assert list(table["Month (New York)"]) == ["Nov 2026", "All"]
    assert list(table["Dividends"]) == [pytest.approx(10.49)] * 2
    assert list(table["Deposits and withdrawals"]) == [100_000.0] * 2


def test_what_the_lines_do_not_explain_of_the_value_is_said(page: Runner, seeded: House) -> None:
    """The seeded account's cash knows nothing of the dividend and the fee booked beside it."""
    text = said(page(seeded.url, "Trades"))
    assert "Deposits and withdrawals $100,000.00 " in text
    assert "-$10.42 are not explained by the lines on record." in text


def test_a_value_that_its_lines_explain_is_called_so(page: Runner, empty: House) -> None:
    book(empty, [("buy", "10", "50"), ("sell", "4", "60")], cash="99740", price=55.0)
    text = said(page(empty.url, "Trades"))
    assert (
        "Deposits and withdrawals $100,000.00 plus realised profit $40.00 plus unrealised profit "
        "$30.00 make $100,070.00, the account's value as the broker gave it."
    ) in text


def test_a_database_made_anew_at_the_same_address_is_counted_anew(tmp_path: Path) -> None:
    for usd in ("60", "75"):  # with as many lines as the one before
        with house(tmp_path) as made:
            book(made, [("buy", "10", "50"), ("sell", "4", usd)], cash="99740", price=55.0)
            profit = views.recorded(made.store, NUMBER, made.url).statistics.profit
            assert profit == 4 * (Decimal(usd) - 50)
        for file in tmp_path.glob("astra.db*"):
            file.unlink()


def test_few_trades_are_too_few_to_judge(page: Runner, empty: House) -> None:
    book(empty, [("buy", "10", "50"), ("sell", "4", "60")], cash="99740", price=55.0)
    app = page(empty.url, "Trades")
    deltas = {m.label: m.delta for m in app.metric}
    assert deltas["Win rate"] == "1 of 1 trade: too few to judge"
    assert (metrics(app)["Profit factor"], deltas["Profit factor"]) == ("n/a", "nothing lost yet")


def book(house: House, fills: list[tuple[str, str, str]], cash: str, price: float) -> None:
    """An account of one symbol: 100,000 USD put in, then fills a minute apart."""
    lines = [Activity("0", "CSD", AS_OF - dt.timedelta(days=1), Decimal(100_000))]
    held = Decimal(0)
    for n, (side, qty, at_price) in enumerate(fills):
        shares = Decimal(qty) if side == "buy" else -Decimal(qty)
        held += shares
        lines.append(
            Activity(f"f{n}", "FILL", AS_OF + dt.timedelta(minutes=n), -shares * Decimal(at_price),
                     "OXY", shares, Decimal(at_price), Side(side), f"o{n}")
        )  # fmt: skip
    equity = Decimal(cash) + held * Decimal(str(price))
    house.store.books.record_activities(NUMBER, lines)
    house.store.books.record_account_summary(
        Account(NUMBER, Decimal(cash), equity, Decimal(cash)), [Position("OXY", held, price, 50.0)],
        NOW,
    )  # fmt: skip


def test_the_best_the_worst_and_all_trades_can_be_seen(page: Runner, seeded: House) -> None:
    profits = sorted(counted(seeded.store).profits.values(), reverse=True)
    app = page(seeded.url, "Trades")
    best = app.dataframe[0].value
    assert list(best["Profit"]) == pytest.approx(profits[:10], abs=1e-6)
    app.segmented_control(key="trades_shown").set_value("Bottom ten").run()
    worst = app.dataframe[0].value
    assert list(worst["Profit"]) == pytest.approx(profits[:-11:-1], abs=1e-6)
    app.segmented_control(key="trades_shown").set_value("All").run()
    assert list(app.dataframe[0].value["profit"]) == pytest.approx(profits, abs=1e-6)
    assert not app.exception


def test_the_exported_file_has_plain_numbers_and_times_in_utc(seeded: House) -> None:
    found = trades.record(seeded.store.books.activities(NUMBER))
    read = pd.read_csv(io.BytesIO(trades.csv(found.closed)))
    assert len(read) == found.statistics.count
    assert read["profit"].sum() == pytest.approx(float(found.statistics.profit), abs=1e-3)
    assert (read["profit"] - (read["proceeds"] - read["cost"])).abs().max() < 2e-6
    assert read["closed_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    span = pd.to_datetime(read["closed_at"]) - pd.to_datetime(read["opened_at"])
    assert list(span.dt.total_seconds()) == list(read["held_seconds"])


def test_the_newest_allocations_orders_come_first_with_their_reasons(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url, "Trades")
    table = orders_of(app)
    assert sorted(zip(table["Symbol"], table["Status"], strict=True)) == [
        ("OXY", "filled"), ("XOM", "rejected"),
    ]  # fmt: skip
    cost = dict(zip(table["Symbol"], table["Cost, bp"], strict=True))
    assert cost["OXY"] == pytest.approx(1e4 * 0.3 / 400) and math.isnan(cost["XOM"])


def test_the_latest_allocation_stays_the_latest_and_a_chosen_one_stays_chosen(
    page: Runner, empty: House
) -> None:
    seed_store(empty.store, days=1)
    latest, chosen = page(empty.url, "Trades"), page(empty.url, "Trades")
    first = sorted(orders_of(latest)["Symbol"])
    chosen.selectbox(key="orders_allocation").set_value("00112233aabbccdd").run()
    seed_order(empty.store)
    assert sorted(orders_of(latest.run())["Symbol"]) == ["OXY", "XOM"]
    assert sorted(orders_of(chosen.run())["Symbol"]) == first


def test_orders_can_be_narrowed_down_and_a_wish_for_none_is_met(
    page: Runner, seeded: House
) -> None:
    app = page(seeded.url, "Trades")
    app.selectbox(key="orders_allocation").set_value("").run()
    every = orders_of(app)
    assert len(every) == len(seeded.store.books.read("orders").to_pandas())
    app.selectbox(key="orders_status").set_value("rejected").run()
    assert list(orders_of(app)["Symbol"]) == ["XOM"]
    app.selectbox(key="orders_symbol").set_value("OXY").run()
    assert "No order is like that" in said(app)


def test_a_chosen_order_tells_its_story_and_stays_chosen(page: Runner, seeded: House) -> None:
    app = page(seeded.url, "Trades")
    app.selectbox(key="order_chosen").set_value(f"{KEY}-OXY-buy-1").run()
    story = story_of(app)
    for step in (
        "<strong>Bars</strong> <span>OXY closed at $400.00.",
        "<strong>Forecast</strong>",
        "Policy measured: trade: gain 6.8 bp &gt; cost 2.9 bp. Weight 2.00% to 9.90%, because:",
        "+5.00 points, forecast",
        f"target_{STAMP}.csv arrived.",
        "buy 20 at about $400.10: to 9.90% of equity.",
        f"market order {KEY}-OXY-buy-1 to the broker.",
        "20 at $400.30, $8,006.00 in all.",
    ):
        assert step in story
    assert "Buy OXY: from bars to fill" in said(app)
    app.run()
    assert app.selectbox(key="order_chosen").value == f"{KEY}-OXY-buy-1"
    costs = {
        r["Cost"]: r["Basis points"] for r in table_with(app, "Basis points").to_dict("records")
    }
    assert costs["Together"] == "+7.5 bp"


def test_with_another_allocation_one_of_its_orders_is_told_of(page: Runner, seeded: House) -> None:
    app = page(seeded.url, "Trades")
    app.selectbox(key="order_chosen").set_value(f"{KEY}-OXY-buy-1").run()
    app.selectbox(key="orders_allocation").set_value("00112233aabbccdd").run()
    assert app.selectbox(key="order_chosen").value.startswith("00112233aabbccdd-")
    assert "target_1.csv arrived; dropped by hand" in story_of(app)


def test_a_denied_order_says_why_it_never_left(page: Runner, seeded: House) -> None:
    app = page(seeded.url, "Trades")
    app.selectbox(key="order_chosen").set_value(f"{KEY}-XOM-buy-1").run()
    story = story_of(app)
    assert "<strong>Denied by the risk gate</strong>" in story
    assert "the last trade is 480.00, 20% from the plan&#x27;s price (RISK_PRICE_COLLAR)." in story
    assert "Not all was filled: RISK_PRICE_COLLAR" in said(app)


def test_before_the_first_trade_the_page_says_what_makes_one(page: Runner, empty: House) -> None:
    account = Account(NUMBER, Decimal(5000), Decimal(5000), Decimal(5000))
    empty.store.books.record_account_summary(account, [], NOW)
    text = said(page(empty.url, "Trades"))
    assert "Nothing has been sold yet" in text
    assert "No shares are held." in text
    assert "No activity of the account is on record yet: `astra monitor` asks for them." in text
    assert "No order was planned yet" in text


def test_a_fill_that_lacks_its_price_is_named_and_no_trace_is_shown(
    page: Runner, empty: House
) -> None:
    account = Account(NUMBER, Decimal(5000), Decimal(5000), Decimal(5000))
    empty.store.books.record_account_summary(account, [], NOW)
    broken = Activity("f-7", "FILL", AS_OF, Decimal(-10), "OXY", Decimal(1), None, Side.BUY)
    empty.store.books.record_activities(NUMBER, [broken])
    app = page(empty.url, "Trades")
    assert "A fill needs symbol, side, qty and price: f-7" in said(app)


def dollars(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def table_with(app: object, column: str) -> pd.DataFrame:
    (found,) = [t.value for t in app.dataframe if column in t.value]  # type: ignore[attr-defined]
    return found


def orders_of(app: object) -> pd.DataFrame:
    return table_with(app, "Cost, bp")


def story_of(app: object) -> str:
    bodies = [h.proto.body for h in app.get("html")]  # type: ignore[attr-defined]
    (found,) = [b for b in bodies if '<ol class="astra-story">' in b]
    return found

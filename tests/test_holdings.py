"""What a plan starts from: whose positions, how much money, and which prices."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import desk as trading
import pandas as pd
import pytest
from execution_desk import HALVES, dropped, opened_desk, shares

from astra.errors import TemporaryError
from astra.execution.executor import Executor
from astra.execution.holdings import holdings_of, require_agreement
from astra.execution.planning import plan_of
from astra.records import Side
from astra.sessions import last_sessions
from astra.store import Store
from model.gathering import owned

NEXT_OPEN = dt.datetime(2026, 1, 13, 14, 31, tzinfo=dt.UTC)


def store_bars(store: Store, symbol: str, last: float, now: dt.datetime) -> None:
    """Bars of the session before `now`, in which the price rises a cent a bar to `last`."""
    ts = last_sessions(2, now)[0].grid()
    close = [last - 0.01 * (len(ts) - 1 - i) for i in range(len(ts))]
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    frame = pd.DataFrame({"ticker": symbol, "ts": ts, **prices, "volume": 100})
    store.prices.upsert(frame.astype({"ticker": "str"}), now)


@pytest.mark.parametrize(
    ("adopt", "sold"),
    [
        (frozenset(), {"AAPL": Decimal(3)}),
        (frozenset({"JPM"}), {"AAPL": Decimal(3), "JPM": Decimal(5)}),
        (None, {"AAPL": Decimal(10), "JPM": Decimal(5)}),
    ],
)
def test_what_others_bought_is_left_alone_unless_it_is_adopted(
    sandbox: trading.Desk, tmp_path: Path, adopt: frozenset[str] | None, sold: dict[str, Decimal]
) -> None:
    desk = opened_desk(sandbox, tmp_path, adopt=adopt)
    start = float(sandbox.alpaca.latest_prices(["AAPL"])["AAPL"])
    Executor(desk).execute(dropped({"AAPL": 0.01}))
    ours = shares(sandbox)["AAPL"]
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(7), "by-hand-1")
    sandbox.orders.submit("JPM", Side.BUY, Decimal(5), "by-hand-2")
    row = Executor(desk).preview(dropped({"BRK.B": 0.01}))[1]
    plan = plan_of(desk, row)
    expected = {**sold, "AAPL": sold["AAPL"] - 3 + ours}
    assert {o.symbol: o.qty for o in plan.sells} == expected
    assert float(ours) == pytest.approx(1000 / start, rel=0.01)


def test_no_more_is_managed_than_the_capital(sandbox: trading.Desk, tmp_path: Path) -> None:
    desk = opened_desk(sandbox, tmp_path, capital=10_000.0)
    Executor(desk).execute(dropped(HALVES))
    value = sum(float(p.qty) * p.market_price for p in sandbox.alpaca.positions())
    assert value == pytest.approx(9_000, rel=0.01)
    held = holdings_of(desk, HALVES)
    assert held.equity == 10_000.0
    assert held.cash == pytest.approx(1_000, abs=20)


@pytest.mark.parametrize("adopt", [frozenset(), frozenset({"JPM"}), None])
def test_beside_a_persons_own_shares_weights_are_of_what_is_managed(
    sandbox: trading.Desk, tmp_path: Path, adopt: frozenset[str] | None
) -> None:
    price = sandbox.alpaca.latest_prices(["JPM"])["JPM"]
    sandbox.orders.submit("JPM", Side.BUY, Decimal(int(60_000 / price)), "by-hand")
    desk = opened_desk(sandbox, tmp_path, adopt=adopt)
    own = 0.0 if adopt == frozenset() else 60_000.0
    assert holdings_of(desk, {}).equity == pytest.approx(40_000 + own, rel=0.01)
    Executor(desk).execute(dropped({"AAPL": 0.5, "BRK.B": 0.4}))
    held = {p.symbol: float(p.qty) * p.market_price for p in holdings_of(desk, {}).positions}
    equity = holdings_of(desk, {}).equity
    assert held["AAPL"] / equity == pytest.approx(0.5, rel=0.01)
    assert held["BRK.B"] / equity == pytest.approx(0.4, rel=0.01)
    assert ("JPM" in shares(sandbox)) is (adopt == frozenset())


def test_the_model_service_counts_the_equity_as_the_plan_does(
    sandbox: trading.Desk, tmp_path: Path
) -> None:
    price = sandbox.alpaca.latest_prices(["JPM"])["JPM"]
    sandbox.orders.submit("JPM", Side.BUY, Decimal(int(60_000 / price)), "by-hand")
    desk = opened_desk(sandbox, tmp_path)
    Executor(desk).execute(dropped({"AAPL": 0.5}))
    holdings = holdings_of(desk, {})
    found = owned(desk.store.books.read("account_summary").to_pylist()[-1], 0.0)
    assert float(found.equity) == pytest.approx(holdings.equity, abs=0.01)
    (position,) = holdings.positions
    weight = float(position.qty) * position.market_price / holdings.equity
    assert found.weights["AAPL"] == pytest.approx(weight, rel=1e-6)
    assert found.weights["JPM"] == 0.0


def test_a_cash_account_buys_from_settled_cash_alone(tmp_path: Path) -> None:
    with trading.opened(account_type="cash") as sandbox:
        desk = opened_desk(sandbox, tmp_path)
        Executor(desk).execute(dropped(HALVES))
        sandbox.step(trading.TEN + dt.timedelta(minutes=20))
        for symbol, qty in shares(sandbox).items():
            sandbox.orders.submit(symbol, Side.SELL, qty, f"by-hand-{symbol}")
        account, held = sandbox.alpaca.account(), holdings_of(desk, HALVES)
        assert float(account.cash) > 99_000
        assert held.cash == float(account.settled_cash or 0) < 11_000
        plan = plan_of(desk, Executor(desk).preview(dropped(HALVES, generation=2))[1])
        assert sum(float(o.qty) * o.reference_price for o in plan.buys) <= held.cash


def test_the_price_is_the_last_trade_where_it_is_fresh(
    sandbox: trading.Desk, tmp_path: Path
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    held = holdings_of(desk, HALVES)
    assert held.prices == sandbox.alpaca.latest_prices(HALVES)
    assert held.sources == {}


def test_without_a_fresh_trade_the_middle_of_a_quote_is_the_price(
    sandbox: trading.Desk, tmp_path: Path
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    sandbox.fail("GET", "/v2/stocks/trades/latest", drop_fields=["p"])
    held = holdings_of(desk, HALVES)
    assert held.sources == {"AAPL": "a quote", "JPM": "a quote"}
    quote = sandbox.alpaca.quotes(["AAPL"])["AAPL"]
    assert held.prices["AAPL"] == pytest.approx((quote.bid + quote.ask) / 2)


def test_where_nothing_is_quoted_the_last_stored_close_is_the_price_and_else_there_is_none(
    tmp_path: Path,
) -> None:
    with trading.opened(feed="iex") as sandbox:
        desk = opened_desk(sandbox, tmp_path)
        sandbox.step(NEXT_OPEN)
        store_bars(desk.store, "AAPL", 51.0, NEXT_OPEN)
        held = holdings_of(desk, HALVES)
        assert held.prices == {"AAPL": 51.0}
        row = Executor(desk).preview(dropped(HALVES, NEXT_OPEN))[1]
        plan = plan_of(desk, row)
        assert [o.reason for o in plan.buys] == ["to 50.00% of equity, priced by a close"]
        assert {ln.symbol: ln.reason for ln in plan.lines if ln.reason and ln.symbol != "AAPL"} == {
            "JPM": "no price: its weight stays cash"
        }


def test_the_decisions_price_is_the_last_close_stored_at_its_time(
    sandbox: trading.Desk, tmp_path: Path
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    store_bars(desk.store, "AAPL", 51.0, trading.TEN)
    later = trading.TEN - dt.timedelta(minutes=10)  # a bar that closed after the decision's time
    grid = last_sessions(1, trading.TEN)[-1].grid()
    bar = {"ticker": "AAPL", "ts": int(grid[5]), **dict.fromkeys(("open", "high", "low"), 52.0)}
    frame = pd.DataFrame([{**bar, "close": 52.0, "volume": 1}]).astype({"ticker": "str"})
    desk.store.prices.upsert(frame, trading.TEN)
    for as_of, expected in ((later, 51.0), (trading.TEN, 52.0)):
        row = Executor(desk).preview(dropped(HALVES, as_of))[1]
        prices = {line.symbol: line.decision_price for line in plan_of(desk, row).lines}
        assert prices == {"AAPL": expected, "JPM": None}


def test_a_name_that_the_file_keeps_is_not_traded(sandbox: trading.Desk, tmp_path: Path) -> None:
    desk = opened_desk(sandbox, tmp_path)
    Executor(desk).execute(dropped(HALVES))
    before = shares(sandbox)
    sandbox.step(trading.TEN + dt.timedelta(hours=1))
    delivered = dropped({"BRK.B": 0.05}, trading.TEN + dt.timedelta(hours=1))
    content = b"ticker,weight,keep\nAAPL,0.01,1\nJPM,0,1\nBRK.B,0.05,0\n"
    by_hand = type(delivered)("bucket", delivered.name, 2, content, {})
    assert Executor(desk).execute(by_hand).status == "done"
    after = shares(sandbox)
    assert {s: after[s] for s in before} == before
    assert after.keys() - before.keys() == {"BRK.B"}


def test_positions_that_contradict_the_account_are_not_planned_on(
    sandbox: trading.Desk, tmp_path: Path
) -> None:
    desk = opened_desk(sandbox, tmp_path)
    price = sandbox.alpaca.latest_prices(["AAPL"])["AAPL"]
    sandbox.orders.submit("AAPL", Side.BUY, Decimal(int(60_000 / price)), "by-hand")
    assert holdings_of(desk, HALVES).cash > 0
    sandbox.fail("GET", "/v2/account", drop_fields=["equity", "portfolio_value"])
    assert holdings_of(desk, HALVES).cash > 0
    account, positions = desk.broker.account(), desk.broker.positions()
    require_agreement(account, positions)
    with pytest.raises(TemporaryError, match="cash and 0 positions: ask again later"):
        require_agreement(account, ())
    near = replace(account, equity=account.equity * Decimal("1.2"))
    require_agreement(near, positions)
    with pytest.raises(TemporaryError, match="must be about cash and positions"):
        require_agreement(replace(account, equity=account.equity * 2), positions)

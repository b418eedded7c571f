"""A ticker of the sandbox's market that gets a new name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import desk as trading
import pytest

from astra.errors import DataError
from astra.records import OrderStatus, Side
from sandbox import market_events

LATER = trading.TEN + dt.timedelta(hours=1)


def rename(sandbox: trading.Desk, ticker: str, to: str) -> None:
    market_events.take(sandbox.market, {"rename": {"ticker": ticker, "to": to}})


def test_a_position_moves_with_cost_and_asset_and_the_record_tells_it(
    sandbox: trading.Desk,
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(5), "one")
    sandbox.step(LATER)
    (before,) = sandbox.alpaca.positions()
    rename(sandbox, "JPM", "JPMC")
    (after,) = sandbox.alpaca.positions()
    assert (after.symbol, after.qty, after.asset_id) == ("JPMC", before.qty, before.asset_id)
    assert after.average_entry_price == before.average_entry_price
    assert after.market_price == before.market_price
    told = [(a.type, a.symbol, a.qty) for a in sandbox.alpaca.activities()][2:]
    assert told == [("NC", "JPM", Decimal(-5)), ("NC", "JPMC", Decimal(5))]
    equity = float(sandbox.alpaca.account().equity)
    history = sandbox.alpaca.portfolio_history("1D", "5Min")
    assert [p.equity for p in history[-4:]] == pytest.approx([equity] * 4, rel=1e-4)


def test_bars_and_prices_go_on_under_the_new_name_and_the_old_is_unknown(
    sandbox: trading.Desk,
) -> None:
    start, end = int(trading.TEN.timestamp()) - 86_400, int(LATER.timestamp())
    bars = sandbox.market.history("JPM", start, end)
    price = sandbox.alpaca.latest_prices(["JPM"])["JPM"]
    asset = sandbox.alpaca.asset("JPM")
    rename(sandbox, "JPM", "JPMC")
    assert sandbox.market.history("JPMC", start, end).close.tolist() == bars.close.tolist()
    assert sandbox.alpaca.latest_prices(["JPM", "JPMC"]) == {"JPMC": price}
    assert "JPM" not in sandbox.market.tickers
    found = trading.connect(sandbox.url).asset("JPMC")
    assert found is not None
    assert asset is not None
    assert found.id == asset.id
    assert trading.connect(sandbox.url).asset("JPM") is None


def test_open_orders_of_the_old_name_are_called_off_and_new_ones_fill(
    sandbox: trading.Desk,
) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(5), "one", Decimal(1))
    rename(sandbox, "JPM", "JPMC")
    order = sandbox.alpaca.order("one")
    assert order is not None
    assert order.status is OrderStatus.CANCELED
    filled = sandbox.orders.submit("JPMC", Side.BUY, Decimal(2), "two")
    assert filled.status is OrderStatus.FILLED


def test_a_split_after_the_new_name_meets_it(sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(5), "one")
    sandbox.step(LATER)
    rename(sandbox, "JPM", "JPMC")
    market_events.take(sandbox.market, {"split": {"ticker": "JPMC", "ratio": 2}})
    sandbox.step(LATER + dt.timedelta(days=1))
    (position,) = sandbox.alpaca.positions()
    assert (position.symbol, position.qty) == ("JPMC", Decimal(10))


def test_a_name_may_change_twice(sandbox: trading.Desk) -> None:
    sandbox.orders.submit("JPM", Side.BUY, Decimal(5), "one")
    sandbox.step(LATER)
    rename(sandbox, "JPM", "JPMC")
    rename(sandbox, "JPMC", "MORG")
    (position,) = sandbox.alpaca.positions()
    assert (position.symbol, position.qty) == ("MORG", Decimal(5))
    assert sandbox.market.record_name("MORG") == "JPM"


@pytest.mark.parametrize(
    ("ticker", "to", "said"),
    [("JPM", "AAPL", "never was"), ("NONE", "X", "listed ticker"), ("JPM", "*", "such as META")],
)
def test_an_impossible_name_is_refused(
    sandbox: trading.Desk, ticker: str, to: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        rename(sandbox, ticker, to)
    assert sandbox.market.tickers == trading.TICKERS

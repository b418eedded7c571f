"""The sandbox's Alpaca: trading and data API on one port, as the unchanged client speaks them.

Here is the app; the account's rules are `sandbox.broker`'s, the routes `sandbox.alpaca_trading`'s,
`sandbox.alpaca_record`'s and `sandbox.alpaca_data`'s.
"""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Literal

from flask import Flask, request
from flask.typing import ResponseReturnValue

from sandbox.alpaca_bodies import order_body
from sandbox.alpaca_data import data_api
from sandbox.alpaca_feed import DataFeed
from sandbox.alpaca_gate import guard
from sandbox.alpaca_record import record_api
from sandbox.alpaca_trading import trading_api
from sandbox.broker import Broker, Terms
from sandbox.faults import Faults, install
from sandbox.market import Market
from sandbox.serving import date_answers, name_market
from sandbox.view import VendorView


class _Exchange(Flask):
    """Trading requests come one after the other, each after what was due before it."""

    def __init__(self, broker: Broker) -> None:
        super().__init__("sandbox.alpaca", static_folder=None)
        routed = _routed()
        self.url_map, self.view_functions = routed.url_map, dict(routed.view_functions)
        self.broker = broker
        self.turn = threading.Lock()

    def dispatch_request(self) -> ResponseReturnValue:
        if request.blueprint == data_api.name:
            return super().dispatch_request()
        with self.turn:
            self.broker.settle()
            return super().dispatch_request()


def create_app(
    market: Market,
    faults: Faults,
    *,
    cash: float = 100_000.0,
    feed: Literal["sip", "iex"] = "sip",
    account_type: Literal["margin", "cash"] = "margin",
    half_spread_bp: float = 2.0,
    fee_bp: float = 0.3,
    pays_dividends: bool = False,
    whole_shares_only: frozenset[str] = frozenset(),
    requests_per_minute: int = 200,
) -> Flask:
    """A broker with one account in `market`, and its data feed.

    `extensions["broker"]` is the account, `["state"]()` a view of it for `/sandbox/state`,
    `["reset"]()` opens a new account with a whole budget of requests, `["reset"](at)` at any time
    of the record (for a market to which nothing has been done), `["stop"]()` ends what runs
    (nothing does).
    """
    terms = Terms(
        cash=Decimal(str(cash)),
        account_type=account_type,
        half_spread_bp=Decimal(str(half_spread_bp)),
        fee_bp=Decimal(str(fee_bp)),
        pays_dividends=pays_dividends,
        whole_shares_only=whole_shares_only,
    )
    broker = Broker(market, terms)
    app = _Exchange(broker)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions |= {
        "broker": broker,
        "faults": faults,
        "feed": DataFeed(VendorView(market, "alpaca"), feed, half_spread_bp / 10_000),
        "state": lambda: _state(app),
        "reset": lambda at=None: _reset(app, at),
        "stop": lambda: None,
    }
    # Registered before the faults, so that they run after them and stamp their answers too.
    date_answers(app, market.clock.now)
    name_market(app, market.identity)
    app.extensions["budgets"] = guard(app, market.clock, requests_per_minute)
    install(app, "alpaca", faults)
    return app


@cache
def _routed() -> Flask:
    """An app whose routes all others share: to make them takes ten times as long as the rest."""
    app = Flask("sandbox.alpaca", static_folder=None)
    for api in (trading_api, record_api, data_api):
        app.register_blueprint(api)
    return app


def _state(app: _Exchange) -> dict[str, object]:
    """Account number, cash to the last decimal, positions and all orders."""
    with app.turn:
        broker = app.broker
        broker.settle()
        return {
            "account_number": broker.account_number,
            "cash": str(broker.books.cash),
            "positions": {s: str(held.qty) for s, held in sorted(broker.books.holdings.items())},
            "orders": [order_body(order) for order in broker.orders.values()],
            "activities": len(broker.books.lines),
        }


def _reset(app: _Exchange, at: datetime | None) -> None:
    with app.turn:
        if at is not None:
            app.broker.market.clock.restart(at)
        app.broker.reset()
        for budget in app.extensions["budgets"].values():
            budget.reset()

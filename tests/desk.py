"""A sandbox broker over loopback HTTP, and the adapter that meets it; for several test files."""

from __future__ import annotations

import datetime as dt
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask

from astra.alpaca import Alpaca
from astra.alpaca.orders import Orders
from astra.settings import Settings
from sandbox.alpaca import create_app
from sandbox.faults import Faults
from sandbox.market import Clock, Market
from sandbox.markets import simulated_market
from sandbox.serving import Servers, date_answers
from sandbox.tape import Tape

TICKERS = ("AAPL", "BRK.B", "JPM")
TEN = dt.datetime(2026, 1, 12, 15, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2026, 1, 12, 21, 0, tzinfo=dt.UTC)
_record = simulated_market(TICKERS, seed=5, start=dt.date(2026, 1, 9), end=dt.date(2026, 1, 16))


@dataclass(frozen=True)
class Desk:
    """A sandbox broker, and the adapter that meets it."""

    market: Market
    faults: Faults
    app: Flask
    url: str
    alpaca: Alpaca

    @property
    def orders(self) -> Orders:
        """What a person would do by hand at the broker."""
        return Orders(self.alpaca)

    def step(self, to: dt.datetime) -> None:
        self.market.clock.step_to(to)

    def fail(self, method: str, path: str, **effect: Any) -> None:
        self.faults.arm({"vendor": "alpaca", "method": method, "path": path, **effect})

    def begin_anew(self, at: dt.datetime = TEN) -> None:
        """A new account at any time, nothing armed: the cheapest way to the next case. What was
        done to the market (splits, symbols) stays done."""
        self.faults.disarm()
        self.app.extensions["reset"](at)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.app.extensions["state"]()
        return state


def connect(url: str, **more: Any) -> Alpaca:
    keys = {"alpaca_key": "key", "alpaca_secret": "secret"}
    urls = {"alpaca_url": url, "alpaca_data_url": url}
    return Alpaca.from_settings(Settings(_env_file=None, **{**keys, **urls, **more}))


@contextmanager
def opened(at: dt.datetime = TEN, tape: Tape = _record.tape, **terms: Any) -> Iterator[Desk]:
    market, faults = Market(tape, Clock(at)), Faults()
    app = create_app(market, faults, **{"requests_per_minute": 100_000, **terms})
    date_answers(app, market.clock.now)
    with Servers({"alpaca": app}) as urls:
        url = urls["alpaca"]
        yield Desk(market, faults, app, url, connect(url))


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # no 40 ms per answer waiting for an acknowledgement

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

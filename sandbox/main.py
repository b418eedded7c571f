"""The sandbox: three vendors and their control on loopback ports, around one market and its clock.

Ports in a row from a base P: P control, P + 1 Yahoo, P + 2 Cloud Storage, P + 3 Alpaca (trading
and data). The same `Sandbox` serves tests, in their process, and the command line, in its own.
"""

from __future__ import annotations

import datetime as dt
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from flask import Flask

from astra.errors import ConfigError
from sandbox.control import create_app as create_control
from sandbox.faults import Faults
from sandbox.market import Market, default_tickers
from sandbox.markets import replay_market, simulated_market
from sandbox.serving import Servers, date_answers

_VENDORS = ("yahoo", "storage", "alpaca")
# A fixed window, so that a seed alone names a simulated market wherever and whenever it is made.
_END = dt.date(2026, 10, 30)
_HISTORY = dt.timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Personality:
    """How the broker behaves: see `sandbox.alpaca.create_app`."""

    cash: float = 100_000.0
    feed: Literal["sip", "iex"] = "sip"
    account_type: Literal["margin", "cash"] = "margin"
    half_spread_bp: float = 2.0
    fee_bp: float = 0.3
    requests_per_minute: int = 200


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the four apps answer."""

    control: str
    yahoo: str
    storage: str
    alpaca: str


@dataclass(frozen=True, slots=True)
class Options:
    """What `astra sandbox` can be told.

    Attributes:
        bars: a recording to replay; None = simulate.
        tickers: how many stocks, or which tickers; None = all.
        start, end: days of a simulated market's record; default 60 days up to a fixed day.
        at: where the clock starts; default the record's first open.
        port: of the control app, the vendors follow; 0 = four free ones.
        speed: market seconds for each wall second; 0 = stepped.
        function_url: where storage events go; None = nowhere.
    """

    bars: Path | None = None
    tickers: int | tuple[str, ...] | None = None
    seed: int = 7
    edge: float = 0.04
    start: dt.date | None = None
    end: dt.date | None = None
    at: dt.datetime | None = None
    port: int = 0
    speed: float = 0.0
    function_url: str | None = None
    personality: Personality = field(default_factory=Personality)


class Sandbox:
    """The four servers, threaded, on 127.0.0.1; a context manager.

    Attributes:
        market, faults: shared by all vendors.
        urls: known once started.

    Raises:
        ConfigError: a port is taken (`start`).
    """

    urls: Urls

    def __init__(
        self,
        market: Market,
        *,
        port: int = 0,
        function_url: str | None = None,
        personality: Personality | None = None,
    ) -> None:
        self.market = market
        self.faults = Faults()
        self._port = port
        vendors = self._vendors(function_url, personality or Personality())
        self.vendors = dict(zip(_VENDORS, vendors, strict=True))
        states = {name: app.extensions["state"] for name, app in self.vendors.items()}
        reset = self.vendors["alpaca"].extensions["reset"]
        control = create_control(market, self.faults, states, reset)
        apps = {"control": control, **self.vendors}
        for app in apps.values():
            date_answers(app, market.clock.now)
        self._servers = Servers(apps)

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Bind all four ports, then serve; nothing keeps running if one port is taken."""
        try:
            self.urls = Urls(**self._servers.start(self._port))
        except ConfigError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop deliveries and servers; harmless when already stopped."""
        for app in self.vendors.values():
            app.extensions["stop"]()
        self._servers.stop()

    def _vendors(self, function_url: str | None, personality: Personality) -> tuple[Flask, ...]:
        from sandbox import alpaca, storage, yahoo

        return (
            yahoo.create_app(self.market, self.faults),
            storage.create_app(self.market, self.faults, function_url=function_url),
            alpaca.create_app(
                self.market,
                self.faults,
                cash=personality.cash,
                feed=personality.feed,
                account_type=personality.account_type,
                half_spread_bp=personality.half_spread_bp,
                fee_bp=personality.fee_bp,
                requests_per_minute=personality.requests_per_minute,
            ),
        )


def open_market(options: Options) -> Market:
    """The market that `options` describe.

    Raises:
        DataError: the recording, the tickers, the edge or the times cannot be used.
    """
    if options.bars is not None:
        names = options.tickers if isinstance(options.tickers, tuple) else None
        return replay_market(options.bars, names, at=options.at)
    wanted = options.tickers
    tickers = wanted if isinstance(wanted, tuple) else default_tickers(wanted)
    end = options.end or _END
    start = options.start or end - _HISTORY
    market = simulated_market(
        tickers, seed=options.seed, edge=options.edge, start=start, at=options.at
    )
    market.tape.extended_to(dt.datetime.combine(end, dt.time(23), dt.UTC))
    return market


def run_forever(options: Options, ready: Callable[[Sandbox], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once all four answer.

    Raises:
        ConfigError: a port is taken.
        DataError: see `open_market`.
    """
    asked_to_stop = threading.Event()

    def _stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    previous = {s: signal.signal(s, _stop) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        market = open_market(options)
        with Sandbox(
            market,
            port=options.port,
            function_url=options.function_url,
            personality=options.personality,
        ) as sandbox:
            if options.speed:
                market.clock.run(options.speed)
            if ready:
                ready(sandbox)
            asked_to_stop.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""The sandbox's control app: its clock, its faults, and what its vendors have seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, jsonify, request

from astra.errors import DataError
from sandbox import market_events
from sandbox.faults import Faults
from sandbox.market import Market


def create_app(
    market: Market,
    faults: Faults,
    states: Mapping[str, Callable[[], Mapping[str, Any]]],
    open_account: Callable[[], None],
) -> Flask:
    """Routes under /sandbox: state, clock, faults, account, and market for what befalls it.

    What `clock`, `faults` and `market` take: `_move`, `sandbox.faults.Fault` and
    `sandbox.market_events`. `states` are the vendors' own views, by vendor.

    `open_account` replaces the broker's account by a new one that opens now, as a reset of a paper
    account does: new number, first deposit, nothing else.
    """
    app = Flask("sandbox.control")
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.errorhandler(DataError)
    def _refused(error: DataError) -> tuple[Response, int]:
        return jsonify(error=type(error).__name__, message=str(error)), error.status

    @app.get("/health")
    def _health() -> Response:
        return jsonify(service="sandbox", status="ok")

    @app.get("/sandbox/state")
    def _state() -> Response:
        return jsonify(
            clock=_clock(market),
            market=_market(market),
            events=market.amendments.done,
            faults=faults.armed(),
            vendors={name: state() for name, state in states.items()},
        )

    @app.get("/sandbox/clock")
    def _time() -> Response:
        return jsonify(_clock(market))

    @app.post("/sandbox/clock")
    def _set() -> Response:
        _move(market, _body())
        return jsonify(_clock(market))

    @app.post("/sandbox/market")
    def _happen() -> Response:
        market_events.take(market, _body())
        return jsonify(events=market.amendments.done)

    @app.post("/sandbox/account")
    def _reset() -> Response:
        open_account()
        return jsonify(account_number=states["alpaca"]()["account_number"])

    @app.post("/sandbox/faults")
    def _arm() -> Response:
        faults.arm(_body())
        return jsonify(faults=faults.armed())

    @app.delete("/sandbox/faults")
    def _disarm() -> Response:
        faults.disarm()
        return jsonify(faults=[])

    return app


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise DataError("the request's body must be a JSON object")
    return body


def _move(market: Market, body: Mapping[str, Any]) -> None:
    """{"to": ISO time} steps, {"speed": x} runs, {"speed": 0} stops where it is."""
    to, speed = body.get("to"), body.get("speed")
    if set(body) == {"to"} and isinstance(to, str):
        try:
            t = dt.datetime.fromisoformat(to)
        except ValueError as error:
            raise DataError(f'"to" is an ISO time such as {_example()}, found {to!r}') from error
        market.clock.step_to(t)
    elif set(body) == {"speed"} and isinstance(speed, int | float):
        if speed == 0:
            market.clock.halt()
        else:
            market.clock.run(speed)
    else:
        raise DataError(f'the clock takes {{"to": "{_example()}"}} or {{"speed": 60}}')


def _example() -> str:
    return "2026-10-30T14:00:00+00:00"


def _clock(market: Market) -> dict[str, object]:
    clock = market.clock
    return {
        "now": clock.now().isoformat(),
        "stepped": clock.stepped,
        "speed": clock.speed,
        "session_open": market.session_open(),
    }


def _market(market: Market) -> dict[str, object]:
    first, last = (
        dt.datetime.fromtimestamp(t, dt.UTC).isoformat() for t in (market.first_ts, market.last_ts)
    )
    return {
        "identity": market.identity,
        "planted_edge": market.planted_edge,
        "tickers": list(market.tickers),
        "first": first,
        "last": last,
    }

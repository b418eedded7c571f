"""The gate before the sandbox's Alpaca: credentials, the budget of requests, refusals as JSON."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from sandbox.market import Clock
from sandbox.orders import Refusal

_KEYS = ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY")
_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class Budget:
    """Requests allowed a minute. Thread-safe.

    A minute is over when wall time or the market's time has passed one: a run that steps through
    hours in seconds is not slowed down for it.
    """

    limit: int
    _ends: float = 0.0
    _opened_at: datetime | None = None
    _used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, market_now: datetime) -> bool:
        """Count one request; False if it is one too many."""
        with self._lock:
            now = time.monotonic()
            if (
                self._opened_at is None
                or now >= self._ends
                or market_now >= self._opened_at + _MINUTE
            ):
                self._ends, self._used = now + _MINUTE.total_seconds(), 0
                self._opened_at = market_now
            self._used += 1
            return self._used <= self.limit

    def reset(self) -> None:
        """The next request begins a minute."""
        with self._lock:
            self._opened_at = None

    def headers(self, now: datetime) -> dict[str, str]:
        """As Alpaca's; the reset is told in the market's time, which the answer's `Date` tells."""
        with self._lock:
            left = max(0.0, self._ends - time.monotonic())
            return {
                "X-RateLimit-Limit": str(self.limit),
                "X-RateLimit-Remaining": str(max(0, self.limit - self._used)),
                "X-RateLimit-Reset": str(int(now.timestamp() + left) + 1),
            }


def guard(app: Flask, clock: Clock, requests_per_minute: int) -> dict[str, Budget]:
    """Check every request to `app`; any key and secret will do.

    Returns: the budgets, for the trading and the data API have one each.
    """
    budgets = {"trading": Budget(requests_per_minute), "data": Budget(requests_per_minute)}

    @app.before_request
    def _admit() -> ResponseReturnValue | None:
        g.budget = budgets["data" if request.path.startswith("/v2/stocks") else "trading"]
        if not g.budget.take(clock.now()):
            return jsonify(code=42910000, message="rate limit exceeded"), 429
        if not all(request.headers.get(name) for name in _KEYS):
            return jsonify(code=40110000, message="request is not authorized"), 401
        return None

    @app.after_request
    def _tell(response: Response) -> Response:
        response.headers.extend(g.budget.headers(clock.now()))
        return response

    @app.errorhandler(Refusal)
    def _refused(refusal: Refusal) -> ResponseReturnValue:
        return jsonify(refusal.body), refusal.status

    @app.errorhandler(HTTPException)
    def _no_route(error: HTTPException) -> ResponseReturnValue:
        status = error.code or 500
        return jsonify(code=status * 100_000 + 10_000, message="endpoint not found."), status

    return budgets

"""Faults on demand: what goes wrong at a vendor, armed by a test and taken by the next request.

What a fault can be is `sandbox.fault`'s business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, has_request_context, jsonify, request

from sandbox.fault import ON_WORK, Fault, parse


class Faults:
    """The armed faults, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[tuple[Fault, int | None]] = []

    def arm(self, spec: Mapping[str, Any]) -> Fault:
        """Arm what `spec` (the body of POST /sandbox/faults) describes.

        Raises:
            DataError: the first field that cannot be understood.
        """
        fault = parse(spec)
        with self._lock:
            self._armed.append((fault, fault.times))
        return fault

    def disarm(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        """What is still to come: each fault's request and how many times are left."""
        with self._lock:
            return [
                {"vendor": f.vendor, "method": f.method, "path": f.path, "left": left}
                for f, left in self._armed
            ]

    def take(
        self, vendor: str, method: str, path: str, effects: Collection[str] = ON_WORK
    ) -> Fault | None:
        """The fault with one of these effects on the work of this request, used up once; None =
        all is well.

        Within a request, the fault `install` has already taken for its answer comes first.
        """
        taken: Fault | None = g.get("fault") if has_request_context() else None
        if taken and taken.has(effects) and taken.vendor == vendor:
            return taken
        return self._take(lambda f: f.has(effects) and f.meets(vendor, method, path))

    def take_answer(self, vendor: str, method: str, path: str) -> Fault | None:
        """The fault with an effect on the answer to this request, used up once."""
        return self._take(lambda f: f.is_on_answer and f.meets(vendor, method, path))

    def _take(self, is_wanted: Callable[[Fault], bool]) -> Fault | None:
        with self._lock:
            for i, (fault, left) in enumerate(self._armed):
                if is_wanted(fault):
                    if left is not None:
                        self._armed[i : i + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None


def install(
    app: Flask, vendor: str, faults: Faults, body_for: Callable[[int], object] | None = None
) -> None:
    """Let `faults` spoil the answers of `app`.

    Args:
        body_for: the body of an error answer by status, an object for JSON or a str for plain
            text; default: the vendor's own shape, from `ERROR_BODIES`.
    """
    shape = body_for or ERROR_BODIES[vendor]

    def failed(fault: Fault, status: int) -> Response:
        body = shape(status)
        answer = Response(body, mimetype="text/html") if isinstance(body, str) else jsonify(body)
        answer.status_code = status
        if fault.retry_after is not None:
            answer.headers["Retry-After"] = str(fault.retry_after)
        return answer

    @app.before_request
    def _before() -> Response | None:
        g.fault = fault = faults.take_answer(vendor, request.method, request.path)
        if fault is None or fault.after:
            return None
        time.sleep(fault.delay_s)
        g.failed = fault.status is not None
        return None if fault.status is None else failed(fault, fault.status)

    @app.after_request
    def _after(response: Response) -> Response:
        fault: Fault | None = g.get("fault")
        if fault is None or g.get("failed"):
            return response
        if response.is_json and (fault.drop_fields or fault.duplicate or fault.reorder):
            response.set_data(app.json.dumps(_spoiled(response.get_json(), fault)))
        if not fault.after:
            return response
        time.sleep(fault.delay_s)
        return response if fault.status is None else failed(fault, fault.status)


def _spoiled(body: object, fault: Fault) -> object:
    body = _without(body, fault.drop_fields) if fault.drop_fields else body
    if not isinstance(body, list):
        return body
    rows = [row for row in body for _ in range(2)] if fault.duplicate else body
    return rows[::-1] if fault.reorder else rows


def _without(value: object, names: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    return [_without(v, names) for v in value] if isinstance(value, list) else value


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def alpaca_error(status: int) -> object:
    """Alpaca's: a numeric code of its own that begins with the status, and a message."""
    return {"code": status * 100_000 + 10_000, "message": _phrase(status).lower()}


def yahoo_error(status: int) -> object:
    """Yahoo's chart API: JSON, but plain text from the edge that limits the rate."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "Edge: Too Many Requests"
    error = {"code": _phrase(status), "description": f"{_phrase(status)}, try again later"}
    return {"chart": {"result": None, "error": error}}


def storage_error(status: int) -> object:
    """Google Cloud Storage's JSON API."""
    message = _phrase(status)
    reason = "rateLimitExceeded" if status == HTTPStatus.TOO_MANY_REQUESTS else "backendError"
    inner = {"message": message, "domain": "global", "reason": reason}
    return {"error": {"code": status, "message": message, "errors": [inner]}}


ERROR_BODIES: dict[str, Callable[[int], object]] = {
    "alpaca": alpaca_error,
    "yahoo": yahoo_error,
    "storage": storage_error,
}

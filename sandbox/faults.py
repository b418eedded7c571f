"""Faults on demand: what goes wrong at a vendor, armed by a test and taken by the next request.

A fault has effects on the answer (`status`, `delay_s`, `drop_fields`), which `install` applies to
any vendor's app, and effects on the work (`partial_fill`, `duplicate_event`, `late_event`), which
the vendor's own code asks for with `Faults.take`. One fault may have both.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, has_request_context, jsonify, request

from astra.errors import DataError

VENDORS = ("yahoo", "storage", "alpaca")
_METHODS = ("*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong.

    Attributes:
        vendor: yahoo, storage or alpaca.
        method: an HTTP method, or * for any.
        path: a prefix of the request's path, or a pattern with * and ?.
        status: answered instead of the vendor's own; None leaves the answer.
        retry_after: seconds told with it as `Retry-After`; None = no such header.
        after: the vendor does the work first, then delays or fails.
        times: how many requests it meets; None = all until disarmed.
        delay_s: wall seconds before the work, or after it with `after`.
        partial_fill: share of an order that fills first, between 0 and 1.
        drop_fields: keys taken out of the JSON answer, at any depth.
        duplicate_event: the notification is delivered twice.
        late_event: wall seconds by which the notification is late.
    """

    vendor: str
    method: str = "*"
    path: str = "/"
    status: int | None = None
    retry_after: int | None = None
    after: bool = False
    times: int | None = 1
    delay_s: float = 0.0
    partial_fill: float | None = None
    drop_fields: tuple[str, ...] = ()
    duplicate_event: bool = False
    late_event: float = 0.0

    @property
    def is_on_answer(self) -> bool:
        return self.status is not None or self.delay_s > 0 or bool(self.drop_fields)

    @property
    def is_on_work(self) -> bool:
        return self.partial_fill is not None or self.duplicate_event or self.late_event > 0

    def meets(self, vendor: str, method: str, path: str) -> bool:
        """Whether a request is one that it spoils."""
        return (
            vendor == self.vendor
            and self.method in ("*", method)
            and (path.startswith(self.path) or fnmatch.fnmatchcase(path, self.path))
        )


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

    def take(self, vendor: str, method: str, path: str) -> Fault | None:
        """The fault with an effect on the work of this request, used up once; None = all is well.

        Within a request, the fault `install` has already taken for its answer comes first.
        """
        taken: Fault | None = g.get("fault") if has_request_context() else None
        if taken and taken.is_on_work and taken.vendor == vendor:
            return taken
        return self._take(lambda f: f.is_on_work and f.meets(vendor, method, path))

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
        if fault.drop_fields and response.is_json:
            response.set_data(app.json.dumps(_without(response.get_json(), fault.drop_fields)))
        if not fault.after:
            return response
        time.sleep(fault.delay_s)
        return response if fault.status is None else failed(fault, fault.status)


def parse(spec: Mapping[str, Any]) -> Fault:
    """A fault from the JSON object that describes it.

    Raises:
        DataError: one sentence about the first field that cannot be understood.
    """
    if not isinstance(spec, Mapping):
        raise DataError(f"a fault is a JSON object, found {type(spec).__name__}")
    unknown = sorted(set(spec) - set(_RULES))
    if unknown:
        raise DataError(f"a fault has the fields {', '.join(_RULES)}; found {unknown[0]!r}")
    if "vendor" not in spec:
        raise DataError(f"a fault needs a vendor: one of {', '.join(VENDORS)}")
    for name, value in spec.items():
        is_valid, required = _RULES[name]
        if not is_valid(value):
            raise DataError(f"a fault's {name} is {required}, found {value!r}")
    fault = Fault(**{**spec, "drop_fields": tuple(spec.get("drop_fields", ()))})
    if fault.retry_after is not None and fault.status is None:
        raise DataError("a fault's retry_after goes with a status, such as 429")
    if not (fault.is_on_answer or fault.is_on_work):
        raise DataError(
            "a fault needs an effect: status, delay_s, drop_fields, partial_fill, "
            "duplicate_event or late_event"
        )
    return fault


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and _is_number(value, low, high)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "vendor": (lambda v: v in VENDORS, f"one of {', '.join(VENDORS)}"),
    "method": (lambda v: v in _METHODS, f"one of {', '.join(_METHODS)}"),
    "path": (lambda v: isinstance(v, str) and v[:1] in ("/", "*"), "a path such as /v2/orders"),
    "status": (lambda v: _is_count(v, 200, 599), "an HTTP status from 200 to 599"),
    "retry_after": (lambda v: _is_count(v, 0, 10**6), "a whole number of seconds from 0"),
    "after": (lambda v: isinstance(v, bool), "true or false"),
    "times": (lambda v: v is None or _is_count(v, 1, 10**9), "a count from 1, or null for always"),
    "delay_s": (lambda v: _is_number(v, 0, _LONGEST), "a number of seconds from 0 to 3600"),
    "partial_fill": (lambda v: _is_number(v, 0, 1) and 0 < v < 1, "a share between 0 and 1"),
    "drop_fields": (
        lambda v: isinstance(v, list | tuple) and all(isinstance(name, str) for name in v),
        "a list of names",
    ),
    "duplicate_event": (lambda v: isinstance(v, bool), "true or false"),
    "late_event": (lambda v: _is_number(v, 0, _LONGEST), "a number of seconds from 0 to 3600"),
}


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

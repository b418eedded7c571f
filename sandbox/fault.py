"""One fault: what can go wrong at a vendor, and how a test says so.

Effects on the answer are applied by `sandbox.faults.install` to any vendor's app; effects on the
work are asked for by the vendor's own code with `Faults.take`. One fault may have both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from astra.errors import DataError

VENDORS = ("yahoo", "storage", "alpaca")
_METHODS = ("*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_LONGEST = 3600.0
ON_ANSWER = ("status", "delay_s", "drop_fields", "duplicate", "reorder")
ON_ORDER = ("partial_fill", "reject", "lag_s", "lag_power_s")
ON_EVENT = ("duplicate_event", "late_event")
ON_READING = ("truncate",)
ON_WORK = (*ON_ORDER, *ON_EVENT, *ON_READING)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong.

    Attributes:
        vendor: yahoo, storage or alpaca.
        method: an HTTP method, or * for any.
        path: a prefix of the request's path, or a pattern with * and ?.
        times: how many requests it meets; None = all until disarmed.

        status: answered instead of the vendor's own; None leaves the answer.
        retry_after: seconds told with it as `Retry-After`; None = no such header.
        after: the vendor does the work first, then delays or fails.
        delay_s: wall seconds before the work, or after it with `after`; longer than the client's
            time-out it is a vendor that hangs.
        drop_fields: keys taken out of the JSON answer, at any depth.
        duplicate: each row of a JSON list is there twice.
        reorder: the rows of a JSON list come in the opposite order.

        partial_fill: of the order sent: share of it that fills first, between 0 and 1.
        rest: what becomes of the rest: it may `wait` for the next bar, or the broker may `cancel`
            it before the next request.
        reject: of the order sent: it is accepted, and rejected without a fill before the next
            request.
        lag_s: of the order sent: for so many wall seconds after each of its fills account and
            positions answer as if that had not been (orders and activities know it).
        lag_power_s: the same of the account's buying power alone, by which orders are refused.

        duplicate_event: the notification is delivered twice.
        late_event: wall seconds by which the notification is late; one late and the next not are
            out of order.
        truncate: of the object read: share of its bytes that arrives, from 0 to below 1.
    """

    vendor: str
    method: str = "*"
    path: str = "/"
    times: int | None = 1
    status: int | None = None
    retry_after: int | None = None
    after: bool = False
    delay_s: float = 0.0
    drop_fields: tuple[str, ...] = ()
    duplicate: bool = False
    reorder: bool = False
    partial_fill: float | None = None
    rest: Literal["wait", "cancel"] = "wait"
    reject: bool = False
    lag_s: float = 0.0
    lag_power_s: float = 0.0
    duplicate_event: bool = False
    late_event: float = 0.0
    truncate: float | None = None

    @property
    def is_on_answer(self) -> bool:
        return self.has(ON_ANSWER)

    @property
    def is_on_work(self) -> bool:
        return self.has(ON_WORK)

    def meets(self, vendor: str, method: str, path: str) -> bool:
        """Whether a request is one that it spoils."""
        return (
            vendor == self.vendor
            and self.method in ("*", method)
            and (path.startswith(self.path) or fnmatch.fnmatchcase(path, self.path))
        )

    def has(self, effects: Collection[str]) -> bool:
        """Whether it has one of these."""
        defaults = {field.name: field.default for field in fields(self)}
        return any(getattr(self, name) != defaults[name] for name in effects)


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
    if "rest" in spec and fault.partial_fill is None:
        raise DataError("a fault's rest goes with a partial_fill, such as 0.5")
    if not (fault.is_on_answer or fault.is_on_work):
        effects = (*ON_ANSWER, *ON_WORK)
        raise DataError(f"a fault needs an effect: {', '.join(effects[:-1])} or {effects[-1]}")
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
    "duplicate": (lambda v: isinstance(v, bool), "true or false"),
    "reorder": (lambda v: isinstance(v, bool), "true or false"),
    "partial_fill": (lambda v: _is_number(v, 0, 1) and 0 < v < 1, "a share between 0 and 1"),
    "rest": (lambda v: v in ("wait", "cancel"), "wait or cancel"),
    "reject": (lambda v: isinstance(v, bool), "true or false"),
    "lag_s": (lambda v: _is_number(v, 0, _LONGEST), "a number of seconds from 0 to 3600"),
    "lag_power_s": (lambda v: _is_number(v, 0, _LONGEST), "a number of seconds from 0 to 3600"),
    "drop_fields": (
        lambda v: isinstance(v, list | tuple) and all(isinstance(name, str) for name in v),
        "a list of names",
    ),
    "duplicate_event": (lambda v: isinstance(v, bool), "true or false"),
    "late_event": (lambda v: _is_number(v, 0, _LONGEST), "a number of seconds from 0 to 3600"),
    "truncate": (
        lambda v: _is_number(v, 0, 1) and v < 1,
        "a share of the bytes from 0 to below 1",
    ),
}

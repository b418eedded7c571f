"""Values of Alpaca's JSON: pure, and tolerant of every type, for fields change theirs.

An `as_` function answers None (a text: "") for what it cannot read; `required`, `named` and
`read_` functions refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from astra.errors import DataError

Body = Mapping[str, Any]

_TOO_LONG = 30  # decimal places before or after the point that no number of a broker has


def read_object(body: object, noun: str) -> Body:
    """A JSON object.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(body, Mapping):
        raise DataError(f"Alpaca's {noun} needs a JSON object, found {type(body).__name__}")
    return body


def read_list(body: object, noun: str) -> Sequence[Body]:
    """A JSON list of objects: an answer that is none must not pass for an empty one.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(body, list):
        raise DataError(f"Alpaca's {noun} need a JSON list, found {type(body).__name__}")
    return [read_object(row, noun) for row in body]


def read_time(text: object) -> datetime | None:
    """RFC 3339 with up to nanoseconds, in UTC; None when missing."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DataError(f"an RFC 3339 time is required from Alpaca, found {text!r}") from error


def as_time(text: object) -> datetime | None:
    """As `read_time`; None where it cannot be read."""
    try:
        return read_time(text)
    except DataError:
        return None


def named(body: Body, name: str, noun: str) -> str:
    found = as_text(body.get(name))
    if not found:
        raise DataError(f"Alpaca's {noun} needs {name}; it is missing")
    return found


def required(body: Body, name: str, noun: str) -> Decimal:
    value = as_decimal(body.get(name))
    if value is None:
        raise DataError(f"Alpaca's {noun} needs {name} as a number, found {body.get(name)!r}")
    return value


def optional(body: Body, name: str, noun: str) -> Decimal | None:
    """None where it is missing; what is there must be a number, for the books count with it."""
    return None if body.get(name) in (None, "") else required(body, name, noun)


def first(body: Body, *names: str) -> Decimal | None:
    for name in names:
        value = as_decimal(body.get(name))
        if value is not None:
            return value
    return None


def as_decimal(value: object) -> Decimal | None:
    """A number or its text, exactly; None when missing or unreadable."""
    if not isinstance(value, str | int | float) or value == "" or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found.adjusted()) < _TOO_LONG else None


def as_text(value: object) -> str:
    """A text, or a number as text; empty when it is neither."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) if is_plain else ""


def says(wanted: bool, value: object) -> bool:
    """Whether a flag says so clearly, as JSON or as text; one that cannot be read says nothing."""
    return value is wanted or (isinstance(value, str) and value.lower() == str(wanted).lower())

"""Typed values to and from columns: instants and amounts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from astra.errors import DataError


def seconds(t: dt.datetime) -> int:
    """Epoch seconds of an aware time, rounded down.

    Raises:
        DataError: the time has no zone.
    """
    if t.tzinfo is None:
        raise DataError(f"a time with a zone is required, found {t.isoformat()}: use UTC")
    return int(t.timestamp() // 1)


def seconds_or_none(t: dt.datetime | None) -> int | None:
    return None if t is None else seconds(t)


def moment(at: int) -> dt.datetime:
    """The UTC time of epoch seconds."""
    return dt.datetime.fromtimestamp(at, dt.UTC)


def moment_or_none(at: int | None) -> dt.datetime | None:
    return None if at is None else moment(at)


def decimal(value: Decimal | float) -> str:
    """A decimal string without exponent; a float as it is written.

    Raises:
        DataError: the value is NaN or infinite.
    """
    exact = Decimal(str(value))
    if not exact.is_finite():
        raise DataError(f"a finite amount is required, found {value}")
    return format(exact, "f")


def decimal_or_none(value: Decimal | float | None) -> str | None:
    return None if value is None else decimal(value)

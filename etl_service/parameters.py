"""What a request asks for: parameters by name, each once, none unknown."""

from __future__ import annotations

import datetime as dt
import reprlib
from collections.abc import Mapping

from flask import request

from astra.errors import DataError

_LAST = 10_000_000  # bars: more than any store holds of a ticker


def parameters(known: tuple[str, ...]) -> dict[str, str]:
    """The request's parameters, from its address or its form.

    Raises:
        DataError: an unknown, repeated or misplaced one: a lost filter would read everything.
    """
    if request.is_json and request.get_data():
        raise DataError("parameters belong in the address or a form, found a JSON body")
    unknown = [name for name in request.values if name not in known]
    if unknown:
        found = ", ".join(map(reprlib.repr, unknown[:5]))
        raise DataError(f"parameters are {', '.join(known)}; found {found}")
    given = {name: request.values.getlist(name) for name in known if name in request.values}
    repeated = [name for name, values in given.items() if len(values) > 1]
    if repeated:
        raise DataError(f"each parameter counts once, found {', '.join(repeated)} again")
    return {name: values[0] for name, values in given.items()}


def read_time(asked: Mapping[str, str], name: str, up: bool = False) -> dt.datetime | None:
    """An ISO 8601 time in UTC, to the whole second before, or after (`up`), as they are stored.

    A text that names no zone means UTC.
    """
    text = asked.get(name)
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
        # The first and last days of the calendar have no UTC time in every zone.
        time = time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC)
        whole = time.replace(microsecond=0)
        return whole + dt.timedelta(seconds=1) if up and whole < time else whole
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{name} is an ISO time such as 2026-07-15T15:00:00Z (in an address + is %2B), "
            f"found {reprlib.repr(text)}"
        ) from error


def read_last(asked: Mapping[str, str]) -> int | None:
    """A number of bars."""
    text = asked.get("last")
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LAST))
    if not is_number or not 1 <= int(text) <= _LAST:
        raise DataError(
            f"last is a number of bars, at least 1 and at most {_LAST}, found {reprlib.repr(text)}"
        )
    return int(text)


def read_account(asked: Mapping[str, str]) -> str | None:
    """A broker's account number."""
    text = asked.get("account")
    if text is not None and not (text.isprintable() and 1 <= len(text) <= 60):
        raise DataError(
            f"account is a number of 1 to 60 printable characters, found {reprlib.repr(text)}"
        )
    return text

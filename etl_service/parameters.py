"""What a request asks for: parameters by name, each once, none unknown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from flask import request

from astra.errors import DataError


def parameters(known: tuple[str, ...]) -> dict[str, str]:
    """The request's parameters, from its address or its form.

    Raises:
        DataError: an unknown, repeated or misplaced one: a lost filter would read everything.
    """
    if request.is_json and request.get_data():
        raise DataError("parameters belong in the address or a form, found a JSON body")
    unknown = [name for name in request.values if name not in known]
    if unknown:
        raise DataError(f"parameters are {', '.join(known)}; found {', '.join(map(repr, unknown))}")
    given = {name: request.values.getlist(name) for name in known if name in request.values}
    repeated = [name for name, values in given.items() if len(values) > 1]
    if repeated:
        raise DataError(f"each parameter counts once, found {', '.join(repeated)} again")
    return {name: values[0] for name, values in given.items()}


def read_time(asked: Mapping[str, str], name: str) -> dt.datetime | None:
    """An ISO 8601 time; UTC if it names no zone."""
    text = asked.get(name)
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(
            f"{name} is an ISO time such as 2026-07-15T15:00:00Z, found {text!r}"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)

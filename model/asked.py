"""What a request to the model service asks for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astra.errors import DataError
from astra.sessions import decision_times_between
from model.portfolio.policies import POLICIES

CHOICES = ("as_of", "k", "policy")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the body of /allocate or /replay asks for; None = as in the settings."""

    as_of: dt.datetime | None = None
    k: int | None = None
    policy: str | None = None
    known_at: dt.datetime | None = None


def read_asked(raw: bytes, most: int, known: tuple[str, ...] = CHOICES) -> Asked:
    """The request's body, whatever type it claims; `most` names may be asked for.

    Raises:
        DataError: it is neither empty nor a JSON object of what can be asked for.
    """
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        raise DataError(f"the body must be a JSON object: {error}") from error
    if not isinstance(body, dict) or set(body) - set(known):
        raise DataError(f"the body may hold {', '.join(known)}, nothing else")
    k, policy = body.get("k"), body.get("policy")
    if k is not None and (not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= most):
        raise DataError(f"k must be a whole number from 1 to ASTRA_K, {most}; found {k!r}")
    if policy is not None and policy not in POLICIES:
        raise DataError(f"policy must be one of {', '.join(POLICIES)}, found {policy!r}")
    known_at = _time(body, "known_at")
    time_of = _time(body, "as_of")
    if time_of and not decision_times_between(time_of, time_of + dt.timedelta(seconds=1)):
        raise DataError(f"as_of must be a decision time (hourly from 10:00 New York): {time_of}")
    return Asked(time_of, k, policy, known_at)


def _time(body: Mapping[str, Any], name: str) -> dt.datetime | None:
    text = body.get(name)
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an ISO time, found {text!r}") from error
    if found.tzinfo is None:
        raise DataError(f"{name} needs a time zone, found {text!r}")
    return found.astimezone(dt.UTC)

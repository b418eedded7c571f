"""A decision's document as a row of `decisions`: every database can keep it, or it is refused."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

from astra.errors import DataError
from astra.store import rows, schema

_TEXTS = ("as_of", "policy", "model_id", "method", "reason")
_NUMBERS = ("sharpe", "bound_gap", "tau", "gain_bp", "cost_bp")


def decision_row(name: str, document: Any) -> dict[str, Any]:
    """The row of the answer of `/allocate`, kept under its object's name.

    Raises:
        DataError: it is no JSON object, lacks as_of, policy, model_id, method or reason, or has a
            text or a number that cannot be kept.
    """
    if not isinstance(document, dict):
        raise DataError(f"the decision {name} must be a JSON object")
    lacking = [key for key in _TEXTS if not isinstance(document.get(key), str)]
    if lacking:
        raise DataError(f"the decision {name} needs the texts {', '.join(lacking)}")
    wrong = [key for key in _NUMBERS if not _is_number(document.get(key))]
    if wrong:
        raise DataError(f"the decision {name} needs numbers, or null, in {', '.join(wrong)}")
    _require_storable(name, document)
    return {
        "object": name,
        "as_of": rows.seconds(_time(document["as_of"], name)),
        **{key: document[key] for key in _TEXTS[1:]},
        **{key: document.get(key) for key in _NUMBERS},
        "document": json.dumps(document),
    }


def _is_number(value: Any) -> bool:
    """Whether it is null or finite as a double."""
    try:
        return value is None or (isinstance(value, int | float) and math.isfinite(value))
    except OverflowError:
        return False


def _require_storable(name: str, document: dict[str, Any]) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the decision {name} needs texts that are UTF-8") from error
    for key in _TEXTS[1:]:
        most = getattr(schema.decisions.c[key].type, "length", None)
        if "\0" in document[key] or (most is not None and len(document[key]) > most):
            longest = f"of at most {most} characters" if most else "without a NUL"
            raise DataError(f"the decision {name} needs a {key} {longest}")


def _time(text: str, name: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(text)
        return at.astimezone(dt.UTC) if at.tzinfo else at
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"the decision {name} needs an ISO time as as_of, found {text!r}"
        ) from error

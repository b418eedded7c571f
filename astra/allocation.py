"""The allocation file: its name, its content, its identity, and what makes it unusable.

Object `target_<YYYYMMDD-HHMMSS>_<tag>.csv` with the columns `ticker,weight` first: weights are
fractions of equity in [0, 1] that sum to at most 1, the rest is cash. The stamp is the UTC as-of
time. Metadata may be missing: then a person dropped it by hand and it is recorded as `manual`.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from astra.errors import DataError

LIFETIME = dt.timedelta(minutes=30)
CLOCK_TOLERANCE = dt.timedelta(minutes=1)
MANUAL = "manual"
STAMP = "%Y%m%d-%H%M%S"
TICKER = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,2})?")
_NAME = re.compile(r"target_(\d{8}-\d{6})_([0-9a-f]{8}|[A-Za-z0-9-]{1,40})\.csv")
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the portfolio shall hold.

    Attributes:
        name: the object's name.
        as_of: the time the decision was made for.
        expires_at: from here on it trades nothing.
        weights: ticker to fraction of equity, without zero rows; empty = sell everything.
        policy, model_id: who decided; `manual` and "" for a file dropped by hand.
        metadata: the object's other metadata, as text.
    """

    name: str
    as_of: dt.datetime
    expires_at: dt.datetime
    weights: Mapping[str, float]
    policy: str = MANUAL
    model_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    coverage: float | None = None
    trained_until: dt.datetime | None = None


def tag(as_of: dt.datetime, model_id: str, choices: Mapping[str, object]) -> str:
    """8 hex that name a decision: the same as-of, model and settings give the same tag."""
    text = json.dumps([as_of.isoformat(), model_id, choices], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def stamp(as_of: dt.datetime) -> str:
    return as_of.astimezone(dt.UTC).strftime(STAMP)


def allocation_id(bucket: str, name: str, generation: int) -> str:
    """16 hex that name one version of one object; every order id begins with it."""
    return hashlib.sha256(f"{bucket}\n{name}\n{generation}".encode()).hexdigest()[:16]


def is_allocation(name: str) -> bool:
    """Whether an object of this name is meant to be traded; anything else is ignored."""
    return name.startswith("target_") and name.endswith(".csv")


def build(
    as_of: dt.datetime,
    tag: str,
    weights: Mapping[str, float],
    *,
    policy: str,
    model_id: str,
    metadata: Mapping[str, str],
) -> tuple[str, bytes, dict[str, str]]:
    """Name, content and metadata of the object for a decision.

    Zero weights are left out, unless all are zero: then the rows say that everything is sold.
    """
    shown = {t: w for t, w in weights.items() if w > 0} or weights
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ticker", "weight"])
    for ticker, weight in sorted(shown.items(), key=lambda item: (-item[1], item[0])):
        writer.writerow([ticker, f"{weight:.9f}"])
    content = text.getvalue().encode()
    described = {
        **metadata,
        "as_of": as_of.isoformat(),
        "expires_at": (as_of + LIFETIME).isoformat(),
        "policy": policy,
        "model_id": model_id,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return f"target_{stamp(as_of)}_{tag}.csv", content, described


def parse(name: str, content: bytes, metadata: Mapping[str, str], max_names: int) -> Allocation:
    """Read an object as an allocation.

    Raises:
        DataError: one sentence with what was required, what was found and where.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"the name target_<YYYYMMDD-HHMMSS>_<tag>.csv is required, found {name!r}")
    try:
        as_of = dt.datetime.strptime(match[1], STAMP).replace(tzinfo=dt.UTC)
        latest = as_of + LIFETIME
    except (ValueError, OverflowError) as error:
        raise DataError(f"{name}: {match[1]} is no time of the form YYYYMMDD-HHMMSS") from error
    found = hashlib.sha256(content).hexdigest()
    if metadata.get("sha256", found) != found:
        raise DataError(f"{name}: its bytes don't match the sha256 in its metadata: drop it again")
    return Allocation(
        name,
        as_of,
        _expiry(name, as_of, latest, metadata),
        _weights(name, content, max_names),
        metadata.get("policy", MANUAL),
        metadata.get("model_id", ""),
        dict(metadata),
    )


def _expiry(
    name: str, as_of: dt.datetime, latest: dt.datetime, metadata: Mapping[str, str]
) -> dt.datetime:
    """What the metadata say, half an hour after the stamp at the latest."""
    if "expires_at" not in metadata:
        return latest
    try:
        expires = dt.datetime.fromisoformat(metadata["expires_at"])
    except ValueError as error:
        raise DataError(
            f"{name}: expires_at must be an ISO time, found {metadata['expires_at']!r}"
        ) from error
    if expires.tzinfo is None:
        raise DataError(f"{name}: expires_at needs a time zone, found {metadata['expires_at']!r}")
    if expires <= as_of:
        raise DataError(f"{name}: expires_at must be after its stamp, found {expires.isoformat()}")
    return min(expires, latest)


def _weights(name: str, content: bytes, max_names: int) -> dict[str, float]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: a CSV file in UTF-8 is required: {error}") from error
    rows = [row for row in rows if row]
    if not rows or [c.strip() for c in rows[0][:2]] != ["ticker", "weight"]:
        head = ",".join(rows[0])[:60] if rows else "an empty file"
        raise DataError(f"{name}: the first columns must be ticker,weight, found {head}")
    weights: dict[str, float] = {}
    for line, row in enumerate(rows[1:], start=2):
        ticker, weight = _row(name, line, row)
        if ticker in weights:
            raise DataError(f"{name}, line {line}: {ticker} stands there twice")
        weights[ticker] = weight
    is_empty = not weights
    weights = {ticker: weight for ticker, weight in weights.items() if weight > 0}
    total = sum(weights.values())
    for broken, message in (
        (is_empty, "at least one row is required, found none (weight 0 sells a name)"),
        (total > 1 + _SUM_TOLERANCE, f"weights must sum to at most 1, found {total:.6f}"),
        (len(weights) > max_names, f"at most {max_names} names are allowed, found {len(weights)}"),
    ):
        if broken:
            raise DataError(f"{name}: {message}")
    return weights


def _row(name: str, line: int, row: list[str]) -> tuple[str, float]:
    ticker = row[0].strip()
    if not TICKER.fullmatch(ticker):
        raise DataError(f"{name}, line {line}: a ticker like AAPL or BRK.B is required: {ticker!r}")
    text = row[1].strip() if len(row) > 1 else ""
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise DataError(f"{name}, line {line}: {ticker}'s weight must be in [0, 1], found {text!r}")
    return ticker, weight


def why_not_now(allocation: Allocation, now: dt.datetime) -> str | None:
    """Why the allocation may not be traded at the market's `now`, or None if it may."""
    if now >= allocation.expires_at:
        return f"expired at {allocation.expires_at:%Y-%m-%d %H:%M} UTC, it is {now:%Y-%m-%d %H:%M}"
    if allocation.as_of > now + CLOCK_TOLERANCE:
        return f"dated in the future: {allocation.as_of:%Y-%m-%d %H:%M} UTC, it is {now:%H:%M}"
    return None

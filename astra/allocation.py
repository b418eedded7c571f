"""The allocation file: its name, its content, its identity, and what makes it unusable.

Object `target_<YYYYMMDD-HHMMSS>_<tag>.csv` with the columns `ticker,weight` first: weights are
fractions of equity in [0, 1] that sum to at most 1, the rest is cash. A column `keep` may mark rows
with 1: their shares stay as they are, and the weight only tells what they were worth. The stamp is
the UTC as-of time. Metadata may be missing: then a person dropped it by hand and it is recorded as
`manual`. Any other file must tell what it rests on: `coverage`, and `trained_until` unless
`trained_on` or `forecast` says that the forecast's age does not matter.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from astra.errors import DataError

LIFETIME = dt.timedelta(minutes=30)
CLOCK_TOLERANCE = dt.timedelta(minutes=1)
MANUAL = "manual"
SIMULATED = "simulated"
USED, UNUSED = "used", "unused"
STAMP = "%Y%m%d-%H%M%S"
TICKER = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,2})?")
_NAME = re.compile(r"target_([0-9]{8}-[0-9]{6})_([0-9a-f]{8}|[A-Za-z0-9-]{1,40})\.csv")
_NUMBER = re.compile(r"[0-9.eE+-]{1,40}")
_NAME_LENGTH, _POLICY_LENGTH, _MODEL_LENGTH = 200, 120, 64  # of the journal's columns
_SUM_TOLERANCE = 1e-6
_SHOWN = 60  # characters of what was found, in a sentence


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the portfolio shall hold.

    Attributes:
        name: the object's name.
        as_of: the time the decision was made for.
        expires_at: from here on it trades nothing.
        weights: ticker to fraction of equity, without zero rows; empty = sell everything that
            isn't kept.
        policy, model_id: who decided; `manual` and "" for a file dropped by hand.
        metadata: the object's other metadata, as text.
        keep: tickers whose shares stay as they are.
        coverage: share of the candidates that the forecast covered, None of a file dropped by
            hand that does not say.
        trained_until: end of the model's training, None where its age does not matter: of a file
            dropped by hand, of a forecast that no weight rests on, of a model of a simulated
            market, which does not grow old.
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
    is_plain = name.isascii() and name.isprintable() and len(name) <= _NAME_LENGTH
    return is_plain and name.startswith("target_") and name.endswith(".csv")


def build(
    as_of: dt.datetime,
    tag: str,
    weights: Mapping[str, float],
    *,
    policy: str,
    model_id: str,
    metadata: Mapping[str, str],
    keep: Collection[str] = (),
) -> tuple[str, bytes, dict[str, str]]:
    """Name, content and metadata of the object for a decision.

    Zero weights are left out, unless all are zero: then the rows say that everything is sold.

    Args:
        keep: those of `weights` whose shares stay as they are; without any there is no such column.
    """
    shown = {t: w for t, w in weights.items() if w > 0} or weights
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ticker", "weight", "keep"] if keep else ["ticker", "weight"])
    for ticker, weight in sorted(shown.items(), key=lambda item: (-item[1], item[0])):
        row = [ticker, f"{weight:.9f}"]
        writer.writerow([*row, int(ticker in keep)] if keep else row)
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
        raise DataError(
            f"the name target_<YYYYMMDD-HHMMSS>_<tag>.csv is required, found {_cut(name)}"
        )
    try:
        as_of = dt.datetime.strptime(match[1], STAMP).replace(tzinfo=dt.UTC)
        latest = as_of + LIFETIME
    except (ValueError, OverflowError) as error:
        raise DataError(f"{name}: {match[1]} is no time of the form YYYYMMDD-HHMMSS") from error
    found = hashlib.sha256(content).hexdigest()
    if metadata.get("sha256", found) != found:
        raise DataError(f"{name}: its bytes don't match the sha256 in its metadata: drop it again")
    weights, keep = _rows(name, content, max_names)
    policy = _word(name, "policy", metadata, MANUAL, _POLICY_LENGTH)
    coverage = _coverage(name, metadata, policy)
    return Allocation(
        name,
        as_of,
        _expiry(name, as_of, latest, metadata),
        weights,
        policy,
        _word(name, "model_id", metadata, "", _MODEL_LENGTH),
        dict(metadata),
        keep,
        coverage,
        _trained_until(name, metadata, policy),
    )


def _expiry(
    name: str, as_of: dt.datetime, latest: dt.datetime, metadata: Mapping[str, str]
) -> dt.datetime:
    """What the metadata say, half an hour after the stamp at the latest."""
    expires = _moment(name, "expires_at", metadata)
    if expires is None:
        return latest
    if expires <= as_of:
        raise DataError(f"{name}: expires_at must be after its stamp, found {expires.isoformat()}")
    return min(expires, latest)


def _moment(name: str, key: str, metadata: Mapping[str, str]) -> dt.datetime | None:
    """A time in the metadata, UTC; None where there is none."""
    if key not in metadata:
        return None
    try:
        moment = dt.datetime.fromisoformat(metadata[key])
        if moment.tzinfo is not None:
            return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{name}: {key} must be an ISO time, found {_cut(metadata[key])}"
        ) from error
    raise DataError(f"{name}: {key} needs a time zone, found {_cut(metadata[key])}")


def _word(name: str, key: str, metadata: Mapping[str, str], default: str, longest: int) -> str:
    text = metadata.get(key, default)
    if len(text) > longest or not text.isprintable():
        raise DataError(
            f"{name}: {key} must be printable, of {longest} characters at most, found {_cut(text)}"
        )
    return text


def _coverage(name: str, metadata: Mapping[str, str], policy: str) -> float | None:
    if "coverage" not in metadata:
        if policy == MANUAL:
            return None
        raise DataError(f"{name}: coverage must be in the metadata of a decision, it is missing")
    share = _number(metadata["coverage"])
    if not 0 <= share <= 1:
        raise DataError(f"{name}: coverage must be in [0, 1], found {_cut(metadata['coverage'])}")
    return share


def _trained_until(name: str, metadata: Mapping[str, str], policy: str) -> dt.datetime | None:
    """None where the age of the forecast does not matter."""
    found = _moment(name, "trained_until", metadata)
    use = metadata.get("forecast", USED)
    if use not in (USED, UNUSED):
        raise DataError(f"{name}: forecast must be {USED} or {UNUSED}, found {_cut(use)}")
    if use == UNUSED or metadata.get("trained_on") == SIMULATED:
        return None
    if found is None and policy != MANUAL:
        raise DataError(
            f"{name}: a decision whose forecast is {USED} must say trained_until in its metadata, "
            "it is missing"
        )
    return found


def _rows(name: str, content: bytes, max_names: int) -> tuple[dict[str, float], frozenset[str]]:
    """The weights above 0, and the tickers that are kept."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: a CSV file in UTF-8 is required: {error}") from error
    rows = [row for row in rows if row]
    head = [column.strip() for column in rows[0]] if rows else []
    if head[:2] != ["ticker", "weight"]:
        found = _cut(",".join(rows[0])) if rows else "an empty file"
        raise DataError(f"{name}: the first columns must be ticker,weight, found {found}")
    marked = head.index("keep") if "keep" in head else None
    weights: dict[str, float] = {}
    keep: set[str] = set()
    for line, row in enumerate(rows[1:], start=2):
        ticker, weight = _row(name, line, row)
        if ticker in weights:
            raise DataError(f"{name}, line {line}: {ticker} stands there twice")
        weights[ticker] = weight
        if marked is not None and _is_kept(name, line, row, marked):
            keep.add(ticker)
    is_empty = not weights
    weights = {ticker: weight for ticker, weight in weights.items() if weight > 0}
    total, names = sum(weights.values()), len(weights.keys() - keep)
    for broken, message in (
        (is_empty, "at least one row is required, found none (weight 0 sells a name)"),
        (total > 1 + _SUM_TOLERANCE, f"weights must sum to at most 1, found {total:.6f}"),
        (names > max_names, f"at most {max_names} names are allowed, found {names}"),
    ):
        if broken:
            raise DataError(f"{name}: {message}")
    return weights, frozenset(keep)


def _row(name: str, line: int, row: list[str]) -> tuple[str, float]:
    ticker = row[0].strip()
    if not TICKER.fullmatch(ticker):
        raise DataError(
            f"{name}, line {line}: a ticker like AAPL or BRK.B is required: {_cut(ticker)}"
        )
    text = row[1].strip() if len(row) > 1 else ""
    weight = _number(text)
    if not 0 <= weight <= 1:
        raise DataError(
            f"{name}, line {line}: {ticker}'s weight must be in [0, 1], found {_cut(text)}"
        )
    return ticker, weight


def _is_kept(name: str, line: int, row: list[str], column: int) -> bool:
    text = row[column].strip() if len(row) > column else ""
    if text not in ("", "0", "1"):
        raise DataError(f"{name}, line {line}: keep must be 1, 0 or empty, found {_cut(text)}")
    return text == "1"


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text) if _NUMBER.fullmatch(text) else math.nan
    except ValueError:
        return math.nan


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def why_not_now(allocation: Allocation, now: dt.datetime) -> str | None:
    """Why the allocation may not be traded at the market's `now`, or None if it may."""
    if now >= allocation.expires_at:
        return f"expired at {allocation.expires_at:%Y-%m-%d %H:%M} UTC, it is {now:%Y-%m-%d %H:%M}"
    if allocation.as_of > now + CLOCK_TOLERANCE:
        return f"dated in the future: {allocation.as_of:%Y-%m-%d %H:%M} UTC, it is {now:%H:%M}"
    return None

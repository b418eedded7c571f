"""What can be done to a market at run time: the body of POST /sandbox/market, checked and taken.

One event a request:
    {"split": {"ticker": "OXY", "ratio": 4, "at": ISO}}        at the open of the session of `at`,
                                                               default the next one to open
    {"correct": {"ticker": "OXY", "ts": ISO, "close": 61.2}}   also "volume": n, or instead of the
                                                               close a "factor" that it is times
    {"stop": {"ticker": "OXY", "at": ISO, "vendor": "yahoo"}}  ticker "*" = all; default now, both
    {"resume": {"ticker": "OXY", "vendor": "yahoo"}}           ticker "*" = every stop
    {"delist": {"ticker": "OXY"}}                              now
    {"list": {"ticker": "NEWCO", "at": ISO}}                   from the open of the session of `at`
                                                               on, default the next one to open
    {"rename": {"ticker": "FB", "to": "META"}}                 now; bars and holdings go on under it
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from astra.errors import DataError
from astra.sessions import BAR_SECONDS, next_session
from sandbox.amendments import ALL, Correction, Joiner, Renaming
from sandbox.market import Market
from sandbox.tape import CorporateAction
from sandbox.view import VendorView

_VENDORS = ("yahoo", "alpaca")  # those that serve bars
_TIME = "2026-10-30T14:00:00+00:00"
_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,5}(\.[A-Z])?")
_FIELDS = {  # of each kind: those that it needs, those that it may have
    "split": (("ticker", "ratio"), ("at",)),
    "correct": (("ticker", "ts"), ("close", "volume", "factor")),
    "stop": (("ticker",), ("at", "vendor")),
    "resume": (("ticker",), ("vendor",)),
    "delist": (("ticker",), ()),
    "list": (("ticker",), ("at",)),
    "rename": (("ticker", "to"), ()),
}


def take(market: Market, body: Mapping[str, Any]) -> None:
    """Let one event happen.

    Raises:
        DataError: one sentence about what cannot be understood or is not possible now.
    """
    if len(body) != 1 or not set(body) <= set(_FIELDS):
        raise DataError(
            f"the market takes one of {', '.join(_FIELDS)}, such as "
            f'{{"split": {{"ticker": "OXY", "ratio": 4}}}}; found {", ".join(body) or "nothing"}'
        )
    ((kind, spec),) = body.items()
    event = _read(kind, spec)
    with market.amendments.lock:
        asked = event["ticker"]
        _check_ticker(market, kind, asked)
        done = _KINDS[kind](market, {**event, "ticker": market.record_name(asked)})
        now = market.clock.now().isoformat()
        market.amendments.note({kind: {"ticker": asked, **done}, "taken_at": now})


def _split(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    ticker, now = event["ticker"], market.clock.now()
    at = _open_of(market, event.get("at"))
    if at <= now:
        raise DataError(
            f"a split happens at the open of a session yet to come: it is {now.isoformat()}, "
            f"the session asked for opened at {at.isoformat()}"
        )
    for known in market.amendments.splits.get(ticker, ()):
        if known.at == at:
            raise DataError(
                f"one open takes one split: {ticker} already splits {known.value:g} for 1 at "
                f"{at.isoformat()}"
            )
    ratio = float(event["ratio"])
    market.amendments.split(CorporateAction(ticker, "split", at, ratio))
    return {"ratio": ratio, "at": at.isoformat()}


def _correct(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    ticker, ts = event["ticker"], int(event["ts"].timestamp())
    given = set(event) & {"close", "factor", "volume"}
    if not given or given >= {"close", "factor"}:
        raise DataError("a correction has a close or a factor, or a volume, or one of each kind")
    shown = VendorView(market, "").history(ticker, ts, ts + BAR_SECONDS)
    if not len(shown) or shown.ts[0] != ts:
        raise DataError(
            f"a correction needs a closed bar: {ticker} has none that starts at "
            f"{event['ts'].isoformat()}"
        )
    close = event.get("close")
    if "factor" in event:
        close = round(float(shown.close[0]) * event["factor"], 4)
    earlier = market.amendments.corrections.get(ticker, {}).get(ts)
    if earlier:  # what it does not touch stays as served
        close = float(shown.close[0]) if close is None else close
    volume = event.get("volume", int(shown.volume[0]) if earlier else None)
    shares = market.shares(ticker)
    market.amendments.correct(ticker, Correction(ts, close, volume, shares))
    return {"ts": event["ts"].isoformat(), "close": close, "volume": volume}


def _stop(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    at, vendors = event.get("at", market.clock.now()), _vendors(event)
    market.amendments.stop(vendors, event["ticker"], at)
    return {"at": at.isoformat(), "vendors": list(vendors)}


def _resume(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    ticker, vendors = event["ticker"], _vendors(event)
    if not market.amendments.resume(vendors, ticker):
        stops = sorted({f"{name} at {vendor}" for vendor, name in market.amendments.stops})
        raise DataError(
            f"only a stopped feed can resume: {ticker} at {' and '.join(vendors)} is not, "
            f"stopped are {', '.join(stops) or 'none'}"
        )
    return {"vendors": list(vendors)}


def _delist(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    now = market.clock.now()
    market.amendments.delist(event["ticker"], now)
    return {"at": now.isoformat()}


def _list(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    at = _open_of(market, event.get("at"))
    if at.timestamp() < market.first_ts:
        raise DataError(
            f"a listing comes no earlier than the market's first session, found {at.isoformat()}"
        )
    tape = market.tape.newcomer(event["ticker"])
    market.amendments.join(event["ticker"], Joiner(tape, at))
    return {"at": at.isoformat()}


def _rename(market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    name = event["to"]
    if market.is_name(name):
        raise DataError(f"a new name needs a ticker that never was, found {name!r}")
    before = market.amendments.name_of(event["ticker"])
    now = market.clock.now()
    market.amendments.rename(Renaming(now, before, name))
    return {"to": name, "at": now.isoformat()}


_KINDS: dict[str, Callable[[Market, Mapping[str, Any]], dict[str, Any]]] = {
    "split": _split,
    "correct": _correct,
    "stop": _stop,
    "resume": _resume,
    "delist": _delist,
    "list": _list,
    "rename": _rename,
}


def _check_ticker(market: Market, kind: str, ticker: str) -> None:
    if kind == "list":
        if market.is_name(ticker) or ticker == ALL:
            raise DataError(f"a new listing needs a ticker that never was, found {ticker!r}")
    elif not (ticker == ALL and kind in ("stop", "resume")) and not market.has(ticker):
        raise DataError(
            f"an event needs a listed ticker: this market lists {len(market.tickers)}, "
            f"{ticker!r} is not one now"
        )


def _open_of(market: Market, at: dt.datetime | None) -> dt.datetime:
    """The open of the session that has `at` in it, or of the next; default the next to open."""
    session = next_session(at or market.clock.now())
    if at is None and session.opens_at <= market.clock.now():
        session = next_session(session.closes_at)
    return session.opens_at


def _vendors(event: Mapping[str, Any]) -> tuple[str, ...]:
    return (event["vendor"],) if "vendor" in event else _VENDORS


def _read(kind: str, spec: object) -> dict[str, Any]:
    """An event's fields, times as UTC datetimes."""
    needed, optional = _FIELDS[kind]
    names = (*needed, *optional)
    if not isinstance(spec, Mapping):
        raise DataError(f"{kind} is a JSON object with {', '.join(names)}, found {spec!r}")
    unknown = sorted(set(spec) - set(names))
    if unknown:
        raise DataError(f"{kind} has the fields {', '.join(names)}; found {unknown[0]!r}")
    for name in needed:
        if name not in spec:
            raise DataError(f"{kind} needs a {name}: {_RULES[name][1]}")
    return {name: _value(kind, name, value) for name, value in spec.items()}


def _value(kind: str, name: str, value: object) -> Any:
    read, required = _RULES[name]
    try:
        found = read(value)
    except (TypeError, ValueError):
        found = None
    if found is None:
        raise DataError(f"{kind}'s {name} is {required}, found {value!r}")
    return found


def _positive(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < math.inf else None


def _ratio(value: Any) -> float | None:
    ratio = _positive(value)
    return ratio if ratio and 0.001 <= ratio <= 1000 and ratio != 1 else None


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value < np.iinfo(np.int64).max else None


def _time(value: Any) -> dt.datetime | None:
    found = dt.datetime.fromisoformat(value)
    return None if found.tzinfo is None else found.astimezone(dt.UTC)


def _ticker(value: Any) -> str | None:
    return value if value == ALL or _TICKER.fullmatch(value) else None


_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ticker": (_ticker, "a ticker such as BRK.B"),
    "to": (lambda v: v if _ticker(v) != ALL else None, "a ticker such as META"),
    "ratio": (_ratio, "how many new shares an old one becomes, from 0.001 to 1000 and not 1"),
    "at": (_time, f"an ISO time with a zone such as {_TIME}"),
    "ts": (_time, f"an ISO time with a zone such as {_TIME}"),
    "close": (_positive, "a price above 0"),
    "volume": (_count, "a number of shares from 0"),
    "factor": (_positive, "a number above 0"),
    "vendor": (lambda v: v if v in _VENDORS else None, f"one of {', '.join(_VENDORS)}"),
}

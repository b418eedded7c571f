"""Bars as the sandbox's Alpaca serves them: merged, adjusted, page by page, as JSON text.

Trade counts and prices by volume, which the market's record lacks, are estimates.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc

from astra.sessions import BAR_SECONDS, NEW_YORK
from sandbox.alpaca_bodies import Body, new_york_midnight, read_time, rfc3339
from sandbox.alpaca_feed import DataFeed, Feed
from sandbox.json_columns import counts, floats, times
from sandbox.market import Market
from sandbox.orders import BAD_REQUEST, Refusal
from sandbox.tape import Bars, joined

DAY = 86_400
_PAGE, _LARGEST_PAGE = 1000, 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """What a request for bars asks of a feed: [start, end) in epoch seconds, bars of `step` ones.

    A page goes on after the bar `after` (start, epoch seconds) of the symbol `first`.
    """

    start: int
    end: int
    step: int
    feed: Feed
    limit: int
    is_raw: bool
    is_descending: bool
    first: str
    after: int | None

    @classmethod
    def read(cls, args: Mapping[str, str], feed: DataFeed) -> Query:
        """The query of a request to `feed`.

        Raises:
            Refusal: 400, 403 or 422.
        """
        now = feed.market.clock.now()
        start = read_time(args.get("start")) or new_york_midnight(now.astimezone(NEW_YORK).date())
        asked_end = read_time(args.get("end"))
        chosen = feed.chosen(args.get("feed"), asked_end)
        first, after = _read_token(args.get("page_token"))
        return cls(
            start=int(start.timestamp()),
            end=int((asked_end or now).timestamp()) + 1,
            step=_timeframe(args.get("timeframe", "")),
            feed=chosen,
            limit=max(1, min(int(args.get("limit") or _PAGE), _LARGEST_PAGE)),
            is_raw=args.get("adjustment", "raw") == "raw",
            is_descending=args.get("sort") == "desc",
            first=first,
            after=after,
        )


def page(feed: DataFeed, symbols: list[str], query: Query) -> tuple[dict[str, Bars], str | None]:
    """One page of `symbols`, which are sorted, and the token of the next."""
    found: dict[str, Bars] = {}
    room = query.limit
    for symbol in (s for s in symbols if s >= query.first):
        rows = _ordered(feed, symbol, query)
        count = len(rows)
        if count:
            found[symbol] = rows.rows(slice(0, room))
        if count > room or (count == room and symbol != symbols[-1]):
            return found, _token(symbol, int(rows.ts[room - 1]))
        room -= count
    return found, None


def text(found: Mapping[str, Bars]) -> dict[str, str]:
    """A JSON array of bars by symbol; all rows are written at once, which makes them cheap."""
    if not found:
        return {}
    rows = _written(joined(list(found.values())))
    ends = np.cumsum([len(bars) for bars in found.values()]).tolist()
    return {
        symbol: f"[{','.join(rows[end - len(bars) : end])}]"
        for (symbol, bars), end in zip(found.items(), ends, strict=True)
    }


def _written(bars: Bars) -> list[str]:
    """Each bar as a JSON object."""
    means = ((bars.high + bars.low + bars.close) / 3).tolist()
    price = np.array([round(mean, 6) for mean in means])  # as `body`: NumPy's ties differ
    written: list[str] = pc.binary_join_element_wise(
        '{"t":"', times(bars.ts), '","o":', floats(bars.open), ',"h":', floats(bars.high),
        ',"l":', floats(bars.low), ',"c":', floats(bars.close), ',"v":', counts(bars.volume),
        ',"n":', counts(np.maximum(1, bars.volume // 100)), ',"vw":', floats(price), "}", "",
    ).to_pylist()  # fmt: skip
    return written


def body(bars: Bars, i: int) -> Body:
    """One bar, as a row of `text`."""
    o, h, low, c = (float(p[i]) for p in (bars.open, bars.high, bars.low, bars.close))
    volume = int(bars.volume[i])
    return {
        "t": rfc3339(datetime.fromtimestamp(int(bars.ts[i]), UTC)),
        "o": o, "h": h, "l": low, "c": c, "v": volume,
        "n": max(1, volume // 100), "vw": round((h + low + c) / 3, 6),
    }  # fmt: skip


def _ordered(feed: DataFeed, symbol: str, query: Query) -> Bars:
    """All bars of a symbol that are still to be served, in the order of serving."""
    bars = feed.bars(symbol, query.start, query.end, query.feed)
    if query.is_raw:
        bars = _unadjusted(feed.market, symbol, bars)
    bars = merged(bars, query.step)
    if query.is_descending:
        bars = bars.rows(slice(None, None, -1))
    if symbol != query.first or query.after is None:
        return bars
    return bars.rows(bars.ts < query.after if query.is_descending else bars.ts > query.after)


def _timeframe(text: str) -> int:
    """Seconds; 5-minute bars are the finest."""
    match = re.fullmatch(r"(\d+)(Min|T|Hour|H|Day|D)", text)
    seconds = 0
    if match:
        seconds = int(match[1]) * {"M": 60, "T": 60, "H": 3600, "D": DAY}[match[2][0]]
    if seconds % BAR_SECONDS or not (0 < seconds <= 3600 or seconds == DAY):
        raise Refusal(400, BAD_REQUEST, f"invalid timeframe: {text}")
    return seconds


def merged(bars: Bars, step: int) -> Bars:
    """Bars of `step` seconds; a day is named by its midnight in New York."""
    if step == BAR_SECONDS or not len(bars.ts):
        return bars
    bucket, first = np.unique(bars.ts // step, return_index=True)
    names = bucket * step
    if step == DAY:  # a session lies within one day of UTC
        days = (datetime.fromtimestamp(int(t), UTC).date() for t in names)
        names = np.array([int(new_york_midnight(day).timestamp()) for day in days], np.int64)
    last = np.append(first[1:], len(bars.ts)) - 1
    return Bars(
        names,
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )


def _unadjusted(market: Market, symbol: str, bars: Bars) -> Bars:
    """Prices and volumes as they were on the day, before the splits since."""
    if not market.has(symbol):
        return bars
    factor = np.ones(len(bars.ts))
    for action in market.actions(symbol):
        if action.kind == "split":
            factor = np.where(bars.ts < action.at.timestamp(), factor * action.value, factor)
    volume = (bars.volume / factor).astype(np.int64)
    o, h, low, c = (p * factor for p in (bars.open, bars.high, bars.low, bars.close))
    return Bars(bars.ts, o, h, low, c, volume)


def _token(symbol: str, ts: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{ts}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int | None]:
    """The symbol to go on with, and the time of its last bar served."""
    if not token:
        return "", None
    try:
        symbol, _, ts = base64.urlsafe_b64decode(token).decode().partition("|")
        return symbol, int(ts)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, BAD_REQUEST, "invalid page_token") from error

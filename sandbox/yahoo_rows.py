"""The rows of a Yahoo chart: a market's bars with everything Yahoo adds to them or leaves out."""

from __future__ import annotations

import datetime as dt
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.sessions import last_sessions, session_at, sessions_between
from sandbox.forming import Forming
from sandbox.market import Market
from sandbox.tape import Floats

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in epoch seconds; `label` is the range asked for, "" with explicit times."""

    start: int
    end: int
    interval: str
    label: str


@dataclass(frozen=True, slots=True)
class Live:
    """What is known beyond the closed bars: the bar forming now, and the last trade."""

    forming: Forming | None
    last: tuple[dt.datetime, float] | None

    @classmethod
    def of(cls, market: Market, ticker: str) -> Live:
        return cls(market.forming(ticker), market.last_price(ticker))


def intraday(market: Market, ticker: str, window: Window, live: Live) -> tuple[Times, list[Floats]]:
    """5-minute rows: closed bars, the forming bar, the live or closing point."""
    bars = market.history(ticker, window.start, window.end)
    ts = bars.ts
    rows = np.array([bars.open, bars.high, bars.low, bars.close, bars.volume], np.float64)
    if zlib.crc32(ticker.encode()) % 2:  # half of the tickers show gaps as nulls
        ts, rows = _with_nulls(market, window, ts, rows)
    now, reach = (int(t.timestamp()) for t in (market.clock.now(), market.reach(ticker)))
    extra: list[tuple[int, tuple[float, ...]]] = []
    forming, last = live.forming, live.last
    if forming and forming.ts < now:
        shown = (forming.open, forming.high, forming.low, forming.close, float(forming.volume))
        extra.append((forming.ts, shown))
    if last:
        price = forming.close if forming else last[1]
        at = now if market.session_open() else _last_close(market)
        extra.append((at, (price, price, price, price, 0.0)))
    extra = [(t, row) for t, row in extra if window.start <= t < window.end and t <= reach]
    if extra:
        ts = np.append(ts, [t for t, _ in extra])
        rows = np.hstack([rows, np.array([row for _, row in extra]).T])
    return ts, list(rows)


def _with_nulls(market: Market, window: Window, ts: Times, rows: Floats) -> tuple[Times, Floats]:
    """The whole grid between the first and the last bar, NaN where nothing was printed."""
    if not len(ts):
        return ts, rows
    start, end = (dt.datetime.fromtimestamp(int(t), dt.UTC) for t in (ts[0], ts[-1] + 1))
    grid = np.concatenate([s.grid() for s in sessions_between(start, end)])
    grid = grid[(grid >= ts[0]) & (grid <= ts[-1])]
    full = np.full((len(rows), len(grid)), np.nan)
    full[:, np.searchsorted(grid, ts)] = rows
    return grid, full


def daily(market: Market, ticker: str, window: Window) -> tuple[Times, list[Floats]]:
    """Daily rows at the sessions' opens, the present one at now; the last column is adjusted."""
    bars = market.history(ticker, window.start, window.end)
    if not len(bars):
        return bars.ts, []
    start, end = (dt.datetime.fromtimestamp(int(t), dt.UTC) for t in (bars.ts[0], bars.ts[-1] + 1))
    sessions = sessions_between(start, end)
    opens = np.array([int(s.opens_at.timestamp()) for s in sessions])
    first = np.searchsorted(bars.ts, opens)
    keep = first < np.append(first[1:], len(bars))
    opens, first = opens[keep], first[keep]
    last = np.append(first[1:], len(bars)) - 1
    close = bars.close[last]
    present = session_at(market.clock.now())
    shown = opens.copy()
    if present and shown[-1] == int(present.opens_at.timestamp()):
        shown[-1] = int(market.reach(ticker).timestamp())
    return shown, [
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        close,
        np.add.reduceat(bars.volume, first).astype(np.float64),
        close * _dividend_factors(market, ticker, opens, close),
    ]


def _dividend_factors(market: Market, ticker: str, opens: Times, close: Floats) -> Floats:
    """What a dividend takes off all closes before its ex-date: 1 - amount / the close before."""
    factors = np.ones(len(opens))
    for action in market.actions(ticker):
        before = np.searchsorted(opens, int(action.at.timestamp()))
        if action.kind == "dividend" and before:
            factors[:before] *= 1 - action.value / close[before - 1]
    return factors


def _last_close(market: Market) -> int:
    return int(last_sessions(1, market.clock.now())[0].closes_at.timestamp())

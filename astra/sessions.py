"""NYSE sessions, decision times and the 5-minute grid. Exchange time lives here and nowhere else.

Everything else counts in UTC. A bar is named by its start; instants inside arrays are int64 epoch
seconds.
"""

from __future__ import annotations

import bisect
import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

NEW_YORK = ZoneInfo("America/New_York")
BAR_SECONDS = 300
BAR = dt.timedelta(seconds=BAR_SECONDS)
FULL_DAY_BARS = 78
HORIZON_BARS = 12
FIRST_DECISION = dt.time(10, 0)
# The calendar's own default ends one year from today, which would make replays depend on the day
# they are run (exchange_calendars 4.13).
_FIRST_YEAR, _LAST_YEAR = 1998, 2035


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: `opens_at` and `closes_at` in UTC."""

    date: dt.date
    opens_at: dt.datetime
    closes_at: dt.datetime

    @property
    def bars(self) -> int:
        """Number of 5-minute bars: 78, or 42 on a half day."""
        return int((self.closes_at - self.opens_at).total_seconds()) // BAR_SECONDS

    def grid(self) -> NDArray[np.int64]:
        """Starts of its bars, epoch seconds, shape (bars,)."""
        start = int(self.opens_at.timestamp())
        return start + BAR_SECONDS * np.arange(self.bars, dtype=np.int64)

    def decision_times(self) -> tuple[dt.datetime, ...]:
        """Hourly from 10:00 New York while at least 12 bars remain: six, or three on a half day."""
        first = dt.datetime.combine(self.date, FIRST_DECISION, NEW_YORK).astimezone(dt.UTC)
        last = self.closes_at - HORIZON_BARS * BAR
        hours = (
            range(int((last - first) / dt.timedelta(hours=1)) + 1) if last >= first else range(0)
        )
        return tuple(first + dt.timedelta(hours=h) for h in hours)


@lru_cache(maxsize=1)
def _all_sessions() -> tuple[tuple[Session, ...], tuple[dt.datetime, ...]]:
    rows = _schedule()
    dates = rows.index.to_numpy("datetime64[D]").tolist()
    opens, closes = (
        [dt.datetime.fromtimestamp(at, dt.UTC) for at in column.astype(np.int64).tolist()]
        for column in (rows[name].to_numpy("datetime64[s]") for name in ("open", "close"))
    )
    return tuple(map(Session, dates, opens, closes)), tuple(closes)


def _schedule() -> pd.DataFrame:
    """The library's, of all our years: one row a session, with `open` and `close`."""
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    with warnings.catch_warnings():
        # exchange_calendars 4.13 still reads `.values` of zoned series, deprecated in pandas 3.1
        warnings.simplefilter("ignore")
        calendar = XNYSExchangeCalendar(start=f"{_FIRST_YEAR}-01-01", end=f"{_LAST_YEAR}-12-31")
        schedule: pd.DataFrame = calendar.schedule
    return schedule


def sessions_between(start: dt.datetime, end: dt.datetime) -> tuple[Session, ...]:
    """Sessions that overlap the half-open interval [start, end); empty if none does."""
    sessions, closes = _all_sessions()
    low = bisect.bisect_right(closes, _checked(start))
    found = []
    for session in sessions[low:]:
        if session.opens_at >= end:
            break
        found.append(session)
    return tuple(found)


def session_at(now: dt.datetime) -> Session | None:
    """The session open at `now` (its close excluded), or None."""
    session = next_session(now)
    return session if session.opens_at <= now else None


def next_session(now: dt.datetime) -> Session:
    """The session open at `now`, else the next one to open."""
    sessions, closes = _all_sessions()
    return sessions[bisect.bisect_right(closes, _checked(now))]


def last_sessions(count: int, now: dt.datetime) -> tuple[Session, ...]:
    """The last `count` sessions that have opened at or before `now`, oldest first."""
    sessions, closes = _all_sessions()
    i = bisect.bisect_right(closes, _checked(now))
    end = i + 1 if sessions[i].opens_at <= now else i
    return sessions[max(0, end - count) : end]


def session_before(now: dt.datetime) -> Session:
    """The last session of a day before that of `now`, in New York: yesterday's close is its."""
    found = last_sessions(2, now)
    return found[-1] if found[-1].date < now.astimezone(NEW_YORK).date() else found[0]


def closed_grid(now: dt.datetime, sessions: Sequence[Session]) -> NDArray[np.int64]:
    """Starts of the bars of `sessions` that have closed at `now`, epoch seconds, ascending."""
    if not sessions:
        return np.empty(0, np.int64)
    grid = np.concatenate([s.grid() for s in sessions])
    return grid[grid + BAR_SECONDS <= int(now.timestamp())]


def last_closed_bars(count: int, now: dt.datetime) -> NDArray[np.int64]:
    """Starts of the last `count` closed bars of the session grid, across nights, ascending."""
    sessions = last_sessions(count // 42 + 2, now)
    return closed_grid(now, sessions)[-count:] if count else np.empty(0, np.int64)


def is_on_grid(ts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which epoch seconds are the start of a 5-minute bar of a regular session."""
    if ts.size == 0:
        return np.zeros(0, np.bool_)
    start = dt.datetime.fromtimestamp(int(ts.min()), dt.UTC)
    end = dt.datetime.fromtimestamp(int(ts.max()) + 1, dt.UTC)
    found = sessions_between(start, end)
    if not found:
        return np.zeros(ts.shape, np.bool_)
    return np.isin(ts, np.concatenate([s.grid() for s in found]))


def next_bar_start(now: dt.datetime) -> dt.datetime:
    """Start of the first bar strictly after `now`: the first price that can still be traded.

    A decision that needs the bar closing at `now` cannot trade at `now` itself.
    """
    session = next_session(now)
    if now < session.opens_at:
        return session.opens_at
    passed = int((now - session.opens_at).total_seconds()) // BAR_SECONDS + 1
    start = session.opens_at + passed * BAR
    return start if start < session.closes_at else next_session(session.closes_at).opens_at


def decision_times_between(start: dt.datetime, end: dt.datetime) -> tuple[dt.datetime, ...]:
    """Decision times in [start, end), ascending."""
    return tuple(
        t for s in sessions_between(start, end) for t in s.decision_times() if start <= t < end
    )


def next_decision_time(now: dt.datetime) -> dt.datetime:
    """The first decision time strictly after `now`."""
    session = next_session(now)
    while True:
        for t in session.decision_times():
            if t > now:
                return t
        session = next_session(session.closes_at)


def _checked(t: dt.datetime) -> dt.datetime:
    if t.tzinfo is None:
        raise DataError(f"a time with a zone is required, found {t.isoformat()}: use UTC")
    if not _FIRST_YEAR < t.year < _LAST_YEAR:
        raise DataError(
            f"the exchange calendar covers {_FIRST_YEAR + 1} to {_LAST_YEAR - 1}, "
            f"found {t.isoformat()}: check the clock or the file's times"
        )
    return t

"""Bars as dense arrays: one row per bar, one column per ticker.

Bars are of 5 minutes, on the whole grid of each session, or of a session each. Gaps stay NaN:
nothing is filled, nothing is interpolated across a night. A panel cut at `as_of` holds closed bars
only, so what reads it cannot see the future.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astra.errors import DataError, InsufficientDataError
from astra.sessions import BAR_SECONDS, Session, sessions_between

if TYPE_CHECKING:  # a forecast from arrays takes half the time and memory without it
    import pandas as pd

Floats = NDArray[np.float64]
DAILY_COLUMNS = ("ticker", "ts", "open", "close")
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Panel:
    """T bars x N tickers.

    Attributes:
        tickers: N canonical names, ascending.
        ts: bar starts, epoch seconds, shape (T,), ascending; a session's bar starts at its open.
        session: index of the bar's session in `sessions`, shape (T,).
        slot: the bar's place in its session, 0 = the first, shape (T,).
        open, close: USD, shape (T, N), NaN where no bar was printed.
        sessions: the sessions the rows belong to.
        frequency: of the bars, "5m" or "1d".
    """

    tickers: tuple[str, ...]
    ts: NDArray[np.int64]
    session: NDArray[np.int64]
    slot: NDArray[np.int64]
    open: Floats
    close: Floats
    sessions: tuple[Session, ...]
    frequency: str = "5m"

    @property
    def ends(self) -> NDArray[np.int64]:
        """When each bar closes and is known, epoch seconds, shape (T,)."""
        if self.frequency == "5m":
            return self.ts + BAR_SECONDS
        closes = [int(s.closes_at.timestamp()) for s in self.sessions]
        return np.array(closes, np.int64)[self.session]

    def end(self, row: int) -> int:
        """`ends` of one row, without working out the others."""
        if self.frequency == "5m":
            return int(self.ts[row]) + BAR_SECONDS
        return int(self.sessions[self.session[row]].closes_at.timestamp())

    def room(self, horizon: int) -> NDArray[np.bool_]:
        """Which rows have `horizon` more rows after them, of 5-minute bars in the same session."""
        enough = np.arange(len(self.ts)) + horizon < len(self.ts)
        if self.frequency == "5m":
            bars = np.array([s.bars for s in self.sessions], np.int64)
            enough &= self.slot + horizon < bars[self.session]
        return enough

    def known_at(self, as_of: dt.datetime) -> Panel:
        """The rows whose bars have closed at `as_of`."""
        rows = int(np.searchsorted(self.ends, int(as_of.timestamp()), side="right"))
        used = int(self.session[rows - 1]) + 1 if rows else 0
        return replace(
            self, ts=self.ts[:rows], session=self.session[:rows], slot=self.slot[:rows],
            open=self.open[:rows], close=self.close[:rows], sessions=self.sessions[:used],
        )  # fmt: skip

    def since(self, start: dt.datetime) -> Panel:
        """The sessions that open at or after `start`, whole."""
        first = int(np.searchsorted(self.ts, int(start.timestamp())))
        if first < len(self.ts) and self.slot[first] > 0:
            session = int(self.session[first])
            first = int(np.searchsorted(self.session, session, side="right"))
        dropped = int(self.session[first]) if first < len(self.ts) else len(self.sessions)
        return replace(
            self, ts=self.ts[first:], session=self.session[first:] - dropped,
            slot=self.slot[first:], open=self.open[first:], close=self.close[first:],
            sessions=self.sessions[dropped:],
        )  # fmt: skip

    def only(self, tickers: tuple[str, ...]) -> Panel:
        """The columns of `tickers`, which must be among ours, in ascending order."""
        place = {ticker: i for i, ticker in enumerate(self.tickers)}
        columns = [place[t] for t in sorted(tickers)]
        return replace(
            self,
            tickers=tuple(sorted(tickers)),
            open=self.open[:, columns],
            close=self.close[:, columns],
        )

    def log_returns(self) -> Floats:
        """Log return of each bar, shape (T, N): close over the previous bar's close.

        The first 5-minute bar of a session is close over its own open, so no overnight gap is
        inside; a session's bar holds the night before it. NaN where either price is missing.
        """
        log_close = np.log(self.close)
        out = np.full_like(log_close, np.nan)
        out[1:] = log_close[1:] - log_close[:-1]
        if self.frequency == "5m":
            first = self.slot == 0
            out[first] = log_close[first] - np.log(self.open[first])
        return out

    def overnight_log_returns(self) -> Floats:
        """Log of a session's first open over the previous session's last close, shape (D, N).

        Row 0 is NaN; NaN where the first or last bar of the session is missing.
        """
        starts = np.flatnonzero(self.slot == 0)
        out = np.full((len(starts), len(self.tickers)), np.nan)
        out[1:] = np.log(self.open[starts[1:]]) - np.log(self.close[starts[1:] - 1])
        return out

    def digest(self) -> dict[str, int | str]:
        """The number of bars, and a hash that any other price, ticker or gap would change."""
        content = hashlib.blake2b("|".join(self.tickers).encode(), digest_size=8)
        for array in (self.ts, self.open, self.close):
            content.update(array.tobytes())
        return {"count": int(np.isfinite(self.close).sum()), "digest": content.hexdigest()}

    def last_close(self, row: int = -1) -> Floats:
        """The last price of each ticker printed up to `row`, USD, shape (N,); NaN if none was."""
        price: Floats = self.close[row].copy()
        for column in np.flatnonzero(np.isnan(price)):
            known = self.close[: row % len(self.ts), column]
            known = known[np.isfinite(known)]
            price[column] = known[-1] if len(known) else np.nan
        return price


def build(frame: pd.DataFrame) -> Panel:
    """A bars frame as a panel over every session between its first and last bar.

    Raises:
        InsufficientDataError: the frame has no rows.
    """
    import pandas as pd

    if frame.empty:
        raise InsufficientDataError(
            "bars are required to build a panel, found none: load some first"
        )
    ts = frame["ts"].to_numpy(np.int64)
    start = dt.datetime.fromtimestamp(int(ts.min()), dt.UTC)
    end = dt.datetime.fromtimestamp(int(ts.max()) + 1, dt.UTC)
    sessions = sessions_between(start, end)
    grids = [s.grid() for s in sessions]
    grid = np.concatenate(grids)
    session = np.repeat(np.arange(len(grids)), [len(g) for g in grids])
    slot = np.concatenate([np.arange(len(g)) for g in grids])
    codes, names = pd.factorize(frame["ticker"], sort=True)
    rows = np.searchsorted(grid, ts)
    shape = (len(grid), len(names))
    opens, closes = np.full(shape, np.nan), np.full(shape, np.nan)
    opens[rows, codes] = frame["open"].to_numpy()
    closes[rows, codes] = frame["close"].to_numpy()
    return Panel(tuple(str(n) for n in names), grid, session, slot, opens, closes, sessions)


def build_daily(frame: pd.DataFrame) -> Panel:
    """A frame of daily bars as a panel with one row for each session from its first to its last.

    Args:
        frame: columns ticker, ts (epoch seconds of the session's open, or midnight UTC of its
            date), open and close in USD; others are not read.

    Raises:
        InsufficientDataError: the frame has no rows.
        DataError: a column is missing, a bar lies on no session's day, a ticker has two of one day,
            or a price is not above 0.
    """
    import pandas as pd

    missing = [name for name in DAILY_COLUMNS if name not in frame]
    if missing:
        raise DataError(
            f"daily bars need the columns {', '.join(DAILY_COLUMNS)}, {', '.join(missing)} are "
            "missing: check the file"
        )
    if frame.empty:
        raise InsufficientDataError(
            "bars are required to build a panel, found none: load some first"
        )
    days = frame["ts"].to_numpy(np.int64) // _DAY_SECONDS  # no session opens on another UTC date
    start = dt.datetime.fromtimestamp(int(days.min()) * _DAY_SECONDS, dt.UTC)
    end = dt.datetime.fromtimestamp((int(days.max()) + 1) * _DAY_SECONDS, dt.UTC)
    sessions = sessions_between(start, end)
    ts = np.array([int(s.opens_at.timestamp()) for s in sessions], np.int64)
    codes, names = pd.factorize(frame["ticker"], sort=True)
    rows = np.searchsorted(ts // _DAY_SECONDS, days)
    _check_daily(frame, ts, days, rows)
    shape = (len(ts), len(names))
    opens, closes = np.full(shape, np.nan), np.full(shape, np.nan)
    opens[rows, codes] = frame["open"].to_numpy()
    closes[rows, codes] = frame["close"].to_numpy()
    return _daily(tuple(str(n) for n in names), opens, closes, sessions)


def daily_of(panel: Panel) -> Panel:
    """A panel of 5-minute bars as one of sessions: the first printed open, the last printed close.

    A last session that has not closed yet is left out: its last bar is not among the rows, or
    nobody printed it, as a grid is laid to the close whatever is known. A ticker without a bar in
    a session has none of the session either.

    Raises:
        InsufficientDataError: no session of the panel is whole.
    """
    import pandas as pd

    whole = len(panel.sessions)
    if len(panel.ts):
        cut = int(panel.slot[-1]) + 1 < panel.sessions[-1].bars
        whole -= int(cut or not np.isfinite(panel.close[-1]).any())
    if not whole:
        raise InsufficientDataError(
            f"daily bars need a whole session, a panel of {len(panel.ts)} bars has none: load more"
        )
    rows = panel.session < whole
    opens = pd.DataFrame(panel.open[rows]).groupby(panel.session[rows]).first()
    closes = pd.DataFrame(panel.close[rows]).groupby(panel.session[rows]).last()
    return _daily(
        panel.tickers,
        opens.to_numpy(np.float64),
        closes.to_numpy(np.float64),
        panel.sessions[:whole],
    )


def _daily(
    tickers: tuple[str, ...], opens: Floats, closes: Floats, sessions: tuple[Session, ...]
) -> Panel:
    ts = np.array([int(s.opens_at.timestamp()) for s in sessions], np.int64)
    place = np.arange(len(sessions))
    return Panel(tickers, ts, place, np.zeros_like(place), opens, closes, sessions, "1d")


def _check_daily(
    frame: pd.DataFrame,
    ts: NDArray[np.int64],
    days: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """That each bar has a session of its own and prices above 0.

    Raises:
        DataError: naming the first bar that has not.
    """
    found = ts[np.minimum(rows, len(ts) - 1)] // _DAY_SECONDS if len(ts) else days - 1
    prices = frame[["open", "close"]].to_numpy(np.float64)
    repeated = frame.assign(day=days).duplicated(["day", "ticker"]).to_numpy()
    rules = (
        (found != days, "must lie on the day of a session"),
        (repeated, "must be the only one of its day"),
        ((prices <= 0).any(axis=1) | np.isinf(prices).any(axis=1), "must have prices above 0"),
    )
    for broken, rule in rules:
        if broken.any():
            first = int(np.argmax(broken))
            day = np.datetime64(int(days[first]), "D")
            raise DataError(
                f"a daily bar {rule}, that of {frame['ticker'].iloc[first]} on {day} does not: "
                "check the file"
            )

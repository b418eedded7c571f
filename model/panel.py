"""Bars as dense arrays: one row per bar of the session grid, one column per ticker.

Gaps stay NaN: nothing is filled, nothing is interpolated across a night. A panel cut at `as_of`
holds closed bars only, so what reads it cannot see the future.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.errors import InsufficientDataError
from astra.sessions import BAR_SECONDS, Session, sessions_between

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """T bars x N tickers.

    Attributes:
        tickers: N canonical names, ascending.
        ts: bar starts, epoch seconds, shape (T,), ascending, the whole grid of each session.
        session: index of the bar's session in `sessions`, shape (T,).
        slot: the bar's place in its session, 0 = 09:30 New York, shape (T,).
        open, close: USD, shape (T, N), NaN where no bar was printed.
        sessions: the sessions the rows belong to.
    """

    tickers: tuple[str, ...]
    ts: NDArray[np.int64]
    session: NDArray[np.int64]
    slot: NDArray[np.int64]
    open: Floats
    close: Floats
    sessions: tuple[Session, ...]

    def known_at(self, as_of: dt.datetime) -> Panel:
        """The rows whose bars have closed at `as_of`."""
        rows = int(np.searchsorted(self.ts, int(as_of.timestamp()) - BAR_SECONDS, side="right"))
        used = int(self.session[rows - 1]) + 1 if rows else 0
        return Panel(
            self.tickers, self.ts[:rows], self.session[:rows], self.slot[:rows],
            self.open[:rows], self.close[:rows], self.sessions[:used],
        )  # fmt: skip

    def only(self, tickers: tuple[str, ...]) -> Panel:
        """The columns of `tickers`, which must be among ours, in ascending order."""
        columns = [self.tickers.index(t) for t in sorted(tickers)]
        return Panel(
            tuple(sorted(tickers)), self.ts, self.session, self.slot,
            self.open[:, columns], self.close[:, columns], self.sessions,
        )  # fmt: skip

    def log_returns(self) -> Floats:
        """Within-session log returns, shape (T, N).

        Close over previous bar's close; the session's first bar is close over its own open, so no
        overnight gap is inside. NaN where either price is missing.
        """
        log_close = np.log(self.close)
        out = np.full_like(log_close, np.nan)
        out[1:] = log_close[1:] - log_close[:-1]
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

    def last_close(self) -> Floats:
        """The last price printed in the panel for each ticker, shape (N,); NaN if none was."""
        filled = pd.DataFrame(self.close).ffill()
        return filled.iloc[-1].to_numpy(np.float64)


def build(frame: pd.DataFrame) -> Panel:
    """A bars frame as a panel over every session between its first and last bar.

    Raises:
        InsufficientDataError: the frame has no rows.
    """
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

"""The nouns of a market's record: bars by session for all tickers, and corporate actions.

A `Tape` knows the whole record, the future included; only `sandbox.market.Market`, which hides
what has not happened yet, may hand its bars out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from astra.sessions import Session

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bars:
    """One ticker's printed bars, ascending; `ts` epoch seconds of the start, prices USD."""

    ts: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts)


_NONE = np.empty(0)
NO_BARS = Bars(np.empty(0, np.int64), _NONE, _NONE, _NONE, _NONE, np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """`at` is the open of the ex-date's session; `value` is USD a share, or new over old shares."""

    ticker: str
    kind: Literal["dividend", "split"]
    at: dt.datetime
    value: float


@dataclass(frozen=True, slots=True)
class Block:
    """One session of all tickers: N rows in the tape's order, one column per bar of the grid.

    Prices are in units of the first session's shares: a later split does not touch them. Bars that
    no trade printed are False in `printed`, whatever stands in the other arrays.
    """

    session: Session
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: NDArray[np.int64]
    printed: NDArray[np.bool_]


class Tape(Protocol):
    """A market's record. Blocks are numbered from 0, the first session."""

    identity: str
    tickers: tuple[str, ...]
    planted_edge: float | None

    def block(self, index: int) -> Block | None:
        """The session number `index`, or None after the record's end."""

    def extended_to(self, t: dt.datetime) -> tuple[dt.datetime, ...]:
        """Opens of all sessions known so far, made to reach `t` if the record can."""

    def actions(self, ticker: str) -> tuple[CorporateAction, ...]:
        """All actions in the record so far, ascending."""

    def name(self, ticker: str) -> str:
        """The company's or fund's name."""

    def newcomer(self, ticker: str) -> Tape:
        """The record of one more stock of the same market, as it had been there all along.

        Raises:
            DataError: there can be none.
        """


def bars_between(tape: Tape, row: int, sessions: range, start: int, end: int) -> Bars:
    """What one row printed in [start, end), epoch seconds; `sessions` are all that overlap it."""
    blocks = [block for i in sessions if (block := tape.block(i))]
    if not blocks:
        return NO_BARS
    grid = np.concatenate([_grid(block.session) for block in blocks])
    low, high = np.searchsorted(grid, (start, end))
    printed = np.concatenate([block.printed[row] for block in blocks])
    kept = low + np.flatnonzero(printed[low:high])
    return Bars(
        grid[kept],
        np.concatenate([block.open[row] for block in blocks])[kept],
        np.concatenate([block.high[row] for block in blocks])[kept],
        np.concatenate([block.low[row] for block in blocks])[kept],
        np.concatenate([block.close[row] for block in blocks])[kept],
        np.concatenate([block.volume[row] for block in blocks])[kept],
    )


@lru_cache(maxsize=1024)
def _grid(session: Session) -> NDArray[np.int64]:
    return session.grid()

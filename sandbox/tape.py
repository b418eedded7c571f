"""The nouns of a market's record: bars by session for all tickers, and corporate actions.

A `Tape` knows the whole record, the future included; only `sandbox.market.Market`, which hides
what has not happened yet, may hand its bars out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
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

    def rows(self, kept: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Bars:
        """Some of them, by slice, mask or number."""
        return Bars(
            self.ts[kept],
            self.open[kept],
            self.high[kept],
            self.low[kept],
            self.close[kept],
            self.volume[kept],
        )


def joined(parts: Sequence[Bars]) -> Bars:
    """All bars of `parts`, of which there is at least one, one after the other."""
    return Bars(
        np.concatenate([bars.ts for bars in parts]),
        np.concatenate([bars.open for bars in parts]),
        np.concatenate([bars.high for bars in parts]),
        np.concatenate([bars.low for bars in parts]),
        np.concatenate([bars.close for bars in parts]),
        np.concatenate([bars.volume for bars in parts]),
    )


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
    whole = joined([_row(block, row) for block in blocks])
    low, high = np.searchsorted(whole.ts, (start, end))
    printed = np.concatenate([block.printed[row] for block in blocks])
    return whole.rows(low + np.flatnonzero(printed[low:high]))


def _row(block: Block, i: int) -> Bars:
    """The whole grid, printed or not; no copy."""
    return Bars(
        _grid(block.session),
        block.open[i],
        block.high[i],
        block.low[i],
        block.close[i],
        block.volume[i],
    )


@lru_cache(maxsize=1024)
def _grid(session: Session) -> NDArray[np.int64]:
    return session.grid()

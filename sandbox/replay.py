"""A recorded market's record: a Parquet file of bars, replayed as it was printed."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from astra import bars
from astra.errors import DataError
from astra.sessions import Session, sessions_between
from sandbox.listing import ETFS, listing
from sandbox.tape import Block, CorporateAction, Tape


class Recording:
    """A `Tape` read from a bars file; it holds no corporate actions.

    Args:
        path: Parquet with the columns of `astra.bars.COLUMNS`.
        tickers: those to serve; default all in the file.

    Raises:
        DataError: the file is no bars file or holds no valid bar of these tickers.
    """

    planted_edge: float | None = None

    def __init__(self, path: Path, tickers: tuple[str, ...] | None = None) -> None:
        frame = bars.read_parquet(str(path))
        if tickers is not None:
            frame = frame[frame["ticker"].isin(tickers)]
        end = dt.datetime(2034, 1, 1, tzinfo=dt.UTC)  # all of a recording has happened
        frame, _ = bars.validate(frame, end)
        if frame.empty:
            raise DataError(f"{path} holds no valid 5-minute bar of the tickers asked for")
        with path.open("rb") as file:
            self.identity = f"replay:{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
        names = [str(t) for t in frame["ticker"].unique()]
        self.tickers = tuple(sorted(names, key=lambda t: (t in ETFS, t)))
        self._blocks = _blocks(frame, self.tickers)
        self._opens = tuple(b.session.opens_at for b in self._blocks)
        self.ends_at = self._blocks[-1].session.closes_at

    def name(self, ticker: str) -> str:
        return listing(ticker).name

    def block(self, index: int) -> Block | None:
        return self._blocks[index] if index < len(self._blocks) else None

    def extended_to(self, t: dt.datetime) -> tuple[dt.datetime, ...]:
        return self._opens

    def actions(self, ticker: str) -> tuple[CorporateAction, ...]:
        return ()

    def newcomer(self, ticker: str) -> Tape:
        raise DataError(
            f"a recording lists what it recorded and no more: {ticker!r} can be listed in a "
            "simulated market only"
        )


def _blocks(frame: pd.DataFrame, tickers: tuple[str, ...]) -> list[Block]:
    ts = frame["ts"].to_numpy(np.int64)
    start = dt.datetime.fromtimestamp(int(ts.min()), dt.UTC)
    sessions = sessions_between(start, dt.datetime.fromtimestamp(int(ts.max()) + 1, dt.UTC))
    order = np.argsort(ts, kind="stable")
    rows = pd.Index(tickers).get_indexer(pd.Index(frame["ticker"]))[order]
    ts, sorted_frame = ts[order], frame.iloc[order]
    edges = np.searchsorted(ts, [int(s.opens_at.timestamp()) for s in sessions] + [ts[-1] + 1])
    return [
        _block(session, sorted_frame.iloc[a:b], ts[a:b], rows[a:b], len(tickers))
        for session, a, b in zip(sessions, edges[:-1], edges[1:], strict=True)
    ]


def _block(
    session: Session,
    frame: pd.DataFrame,
    ts: np.ndarray[tuple[int], np.dtype[np.int64]],
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    count: int,
) -> Block:
    columns = np.searchsorted(session.grid(), ts)
    shape = (count, session.bars)
    prices = []
    for name in bars.PRICES:
        values = np.full(shape, np.nan)
        values[rows, columns] = frame[name].to_numpy(np.float64)
        prices.append(values)
    volume, printed = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    volume[rows, columns] = frame["volume"].to_numpy(np.int64)
    printed[rows, columns] = True
    opened, high, low, close = prices
    return Block(session, opened, high, low, close, volume, printed)

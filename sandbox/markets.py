"""Markets to serve: simulated from a seed or replayed from a file, and a simulated one's bars."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra.bars import PRICES
from astra.errors import DataError
from astra.sessions import next_session
from sandbox.clock import Clock
from sandbox.listing import default_tickers
from sandbox.market import Market
from sandbox.replay import Recording
from sandbox.simulation import Simulation


def simulated_market(
    tickers: tuple[str, ...] | None = None,
    *,
    seed: int = 7,
    edge: float = 0.04,
    start: dt.date,
    end: dt.date | None = None,
    at: dt.datetime | None = None,
    splits: float = 0.01,
) -> Market:
    """A seeded market that begins at the first session on or after `start` and has no end.

    Args:
        tickers: canonical; default all members of the S&P 500 with SPY and QQQ.
        end: make the record up to this day at once; later days are made when asked for.
        at: the clock's start; default the first session's open, or the last close up to `end`.
        splits: expected splits of a stock a year.

    Raises:
        DataError: as `Simulation`, or `at` lies before the first session.
    """
    tape = Simulation(
        tickers or default_tickers(), seed=seed, edge=edge, start=start, splits=splits
    )
    first = next_session(_midnight(start))
    last = first
    if end is not None:
        opens = tape.extended_to(_midnight(end + dt.timedelta(days=1)))
        last = next_session(opens[-1])
    default = first.opens_at if end is None else last.closes_at
    if at is not None and at < first.opens_at:
        raise DataError(f"the simulated market begins {first.opens_at}, {at} lies before it")
    return Market(tape, Clock(at or default))


def replay_market(
    path: Path, tickers: tuple[str, ...] | None = None, *, at: dt.datetime | None = None
) -> Market:
    """A recorded market; its clock starts at `at` (default: the first open) and ends with it.

    Raises:
        DataError: the file is unusable, lists none of `tickers`, or does not cover `at`.
    """
    tape = Recording(path, tickers)
    opens = tape.extended_to(dt.datetime.max.replace(tzinfo=dt.UTC))
    if at is not None and at < opens[0]:
        raise DataError(f"the recording begins {opens[0]}, {at} lies before it")
    return Market(tape, Clock(at or opens[0], limit=tape.ends_at))


def simulated_bars(
    tickers: tuple[str, ...] | None = None,
    *,
    seed: int,
    edge: float,
    first: dt.date,
    last: dt.date,
    splits: float = 0.01,
) -> pd.DataFrame:
    """All bars of [first, last] as a bars frame, equal to a market's that starts at `first`."""
    market = simulated_market(tickers, seed=seed, edge=edge, start=first, end=last, splits=splits)
    tape, names = market.tape, sorted(market.tickers)
    order = [tape.tickers.index(t) for t in names]
    blocks = [tape.block(i) for i in range(len(tape.extended_to(market.clock.now())))]
    known = [b for b in blocks if b and b.session.date <= last]
    kept = np.concatenate([b.printed[order] for b in known], axis=1)
    row, column = np.nonzero(kept)
    shares = np.array([market.shares(t) for t in names])[row]

    def taken(name: str) -> NDArray[np.float64]:
        values = np.concatenate([getattr(b, name)[order] for b in known], axis=1)[kept]
        return np.asarray(values)

    return pd.DataFrame(
        {
            "ticker": pd.Series(np.array(names, object)[row], dtype="str"),
            "ts": np.concatenate([b.session.grid() for b in known])[column],
            **{name: taken(name) / shares for name in PRICES},
            "volume": (taken("volume") * shares).astype(np.int64),
        }
    )


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)

"""The refresh of the price store: one load of all tickers, and ten loads at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import pandas as pd

from astra import bars
from astra.errors import AstraError
from astra.store import Counts, open_store
from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.store.engines import COLUMNS, Engine
from benchmarks.store.rivals import STAGING, Refresh, cleared, original, upserted
from benchmarks.timing import Timed, in_turns, require_equal, timed

JOBS = 10
LONGEST = 300.0  # seconds for all of them, connecting included
_ORIGINAL = (
    "the original's way, per ticker: executemany into a staging table that the load shares, "
    "insert what is missing from it; corrections are lost"
)


def corrected(history: pd.DataFrame, days: int, seed: int = inputs.SEED) -> pd.DataFrame:
    """The last `days` sessions of every ticker; the volume of one bar each has changed."""
    since = int(inputs.sessions(days)[0].opens_at.timestamp())
    offered = history[history["ts"] >= since].reset_index(drop=True)
    tickers = offered["ticker"].nunique()
    each = len(offered) // tickers
    places = np.random.default_rng(seed).integers(0, each - 1, tickers)  # never the new last bar
    offered.loc[np.arange(tickers) * each + places, "volume"] += 1
    return offered


def one_load(engine: Engine, offered: pd.DataFrame, rounds: int, target: float) -> list[Row]:
    """Offered to a copy of the database `base`: a bar new and one changed for each ticker."""
    tickers = offered["ticker"].nunique()
    first = _rival(engine, "original", original, offered)  # once: it takes minutes
    ours, second, third = in_turns(
        rounds,
        lambda: _ours(engine, offered),
        lambda: _rival(engine, "cleared", cleared, offered),
        lambda: _rival(engine, "upserted", upserted, offered),
    )
    for rival, lost in (("original", tickers), ("cleared", 0), ("upserted", 0)):
        _require_same_bars(engine, rival, int(offered["ts"].min()), lost)
    case = f"{engine.name}: refresh of {len(offered):,} bars, {tickers} new and {tickers} changed"
    return [
        Row("store", case, len(offered) / ours.seconds, "rows/s", 100_000, "higher"),
        Row(
            "store", f"{case}, speed-up over the original",
            first.seconds / ours.seconds, "ratio", target, "higher", _ORIGINAL,
        ),
        Row(
            "store", f"{case}, speed-up over staging",
            second.seconds / ours.seconds, "ratio", 1, "higher",
            "per ticker: executemany into an emptied staging table, insert missing, update "
            "differing",
        ),
        Row(
            "store", f"{case}, speed-up over upserts",
            third.seconds / ours.seconds, "ratio", 1, "higher",
            "per ticker: executemany INSERT ... ON CONFLICT DO UPDATE of every row, values "
            "unchecked, what they replace lost",
        ),
    ]  # fmt: skip


def many_loads(engine: Engine, offered: pd.DataFrame, rounds: int) -> list[Row]:
    """Ten processes at once, each with a tenth of the tickers."""
    names = offered["ticker"].unique()
    parts = [offered[offered["ticker"].isin(part)] for part in np.array_split(names, JOBS)]
    theirs = _at_once(engine, "original", _load_original, parts)
    (ours,) = in_turns(rounds, lambda: _at_once(engine, "ours", _load, parts))
    _require_same_bars(engine, "original", int(offered["ts"].min()), len(names))
    case = f"{engine.name}: {JOBS} jobs of {len(names) // JOBS} tickers at once"
    return [
        Row("store", case, ours.seconds, "s", 5, "lower"),
        Row(
            "store", f"{case}, speed-up over the original",
            theirs.seconds / ours.seconds, "ratio", 7, "higher", _ORIGINAL,
        ),
    ]  # fmt: skip


def _ours(engine: Engine, offered: pd.DataFrame) -> Timed:
    engine.copy("base", "ours")
    store = open_store(engine.url("ours"))
    done = timed(lambda: store.prices.upsert(offered, inputs.CLOSE))
    store.close()
    tickers = offered["ticker"].nunique()
    wanted = Counts(tickers, tickers, len(offered) - 2 * tickers)
    require_equal(float(done.answer != wanted), 0, f"the counts {done.answer} and {wanted}")
    return done


def _rival(engine: Engine, name: str, refresh: Refresh, offered: pd.DataFrame) -> Timed:
    engine.copy("base", name)
    connection = engine.connect(name)
    done = timed(lambda: _all_tickers(engine, connection, refresh, offered))
    connection.close()
    return done


def _all_tickers(engine: Engine, connection: Any, refresh: Refresh, offered: pd.DataFrame) -> None:
    connection.execute(STAGING)
    for _, rows in offered.groupby("ticker"):
        refresh(engine, connection, rows)


Job = Callable[[Engine, str, pd.DataFrame, Barrier, Barrier], None]


def _load(engine: Engine, name: str, part: pd.DataFrame, start: Barrier, end: Barrier) -> None:
    store = open_store(engine.url(name))
    # A running service has its calendar and its connection, and has loaded before.
    store.prices.upsert(bars.from_arrow(store.prices.read(last=1)), inputs.CLOSE)
    start.wait()
    store.prices.upsert(part, inputs.CLOSE)
    end.wait()
    store.close()


def _load_original(
    engine: Engine, name: str, part: pd.DataFrame, start: Barrier, end: Barrier
) -> None:
    connection = engine.connect(name)
    start.wait()
    _all_tickers(engine, connection, original, part)
    end.wait()
    connection.close()


def _at_once(engine: Engine, name: str, job: Job, parts: list[pd.DataFrame]) -> Timed:
    """From the moment when all are connected until the last one has committed."""
    engine.copy("base", name)
    fork = multiprocessing.get_context("fork")  # as warm as a service that runs
    start, end = (fork.Barrier(len(parts) + 1) for _ in range(2))
    jobs = [fork.Process(target=job, args=(engine, name, part, start, end)) for part in parts]
    for process in jobs:
        process.start()
    start.wait(LONGEST)
    began = time.perf_counter()
    end.wait(LONGEST)
    done = Timed(time.perf_counter() - began, None)
    for process in jobs:
        process.join()
    codes = [process.exitcode for process in jobs]
    if any(codes):
        raise AstraError(f"{len(parts)} loads at once must succeed, their exit codes: {codes}")
    return done


def _require_same_bars(engine: Engine, rival: str, since: int, lost: int) -> None:
    """The rival's bars from `since` on against ours; the original loses `lost` corrections."""
    ours = _table(engine.connect("ours"), "price_history", since)
    theirs = _table(engine.connect(rival), "prices", since)
    same_keys = ours[["ticker", "ts"]].equals(theirs[["ticker", "ts"]])
    require_equal(float(not same_keys), 0, f"the keys of ours and of {rival}")
    differing = int((ours != theirs).any(axis=1).sum())
    require_equal(abs(differing - lost), 0, f"the bars of ours and of {rival}, {lost} lost,")


def _table(connection: Any, name: str, since: int) -> pd.DataFrame:
    cursor = connection.cursor()
    cursor.execute(f"SELECT {COLUMNS} FROM {name} WHERE ts >= {since:d} ORDER BY ticker, ts")  # noqa: S608 - our names and a number
    found = pd.DataFrame(cursor.fetchall(), columns=list(bars.COLUMNS))
    connection.close()
    return found

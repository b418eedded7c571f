"""From what a vendor answered to what is stored: validate, settle splits, store, count.

Answers are kept in groups: one transaction for many tickers, and a process that is killed loses a
group at most. A split is settled in one transaction, so that a series never has two scales.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astra import bars
from astra.sessions import last_closed_bars, session_at
from astra.store import Counts, Offer, Store
from astra.store.feeds import FEEDS, Feed
from astra.store.loads import TickerStatus
from astra.store.rows import moment
from etl_service.loading import splits
from etl_service.loading.answer import TickerLoad
from etl_service.loading.splits import Closes
from etl_service.sources.source import Fetched

log = logging.getLogger("etl_service")

# What a source may do to bars of other feeds: the chosen one replaces them; a stand-in's come
# after the last one of them, a backfill's before the first.
Role = Literal["chosen", "stand-in", "backfill"]
_OVERDUE_BARS = 3  # in a row without a print while the market is open: the feed may have stopped
_REASONS = {"off_grid": "off the grid", "missing": "with missing values"}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Answers of one time: `frame` has the valid bars, `slices` where each ticker's are."""

    now: dt.datetime
    answers: Mapping[str, Fetched]
    frame: pd.DataFrame
    refused: pd.DataFrame
    slices: Mapping[str, slice]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored of a ticker since its answer begins; `is_other`: from another feed."""

    closes: Closes
    is_other: NDArray[np.bool_]


@dataclass
class Keeper:
    """Keeps the answers of one vendor in one load.

    Attributes:
        last_ts: start of the last stored bar of each ticker, kept up to date.
        now: the vendor's latest time.
        whole: tickers asked for as far back as the source reaches.
        done: what was stored, by ticker.
        restated: tickers that seem to have been split: to be asked for again as a whole.
    """

    store: Store
    source: str
    feed: Feed
    role: Role
    last_ts: dict[str, int]
    now: dt.datetime
    whole: set[str] = field(default_factory=set)
    done: dict[str, TickerLoad] = field(default_factory=dict)
    restated: list[str] = field(default_factory=list)

    def keep(self, group: Sequence[Fetched]) -> None:
        """Store what a group of answers brought."""
        self.now = max(self.now, *(fetched.now for fetched in group))
        batches = _batches(group)
        stored = self._stored(batches)
        offers: list[Offer] = []
        settled: dict[str, float] = {}
        for batch in batches:
            offers += self._offers(batch, stored, settled)
        counts = self.store.prices.upsert_many(offers)
        refused: Counter[tuple[str, str]] = Counter()
        for batch in batches:
            self.store.loads.quarantine(batch.refused, self.feed, batch.now)
            for key in zip(batch.refused["ticker"], batch.refused["reason"], strict=True):
                refused[key] += 1
        self._note_last(offers)
        waiting = set(self.restated) - self.whole
        finished = {
            f.ticker: self._finished(
                f,
                counts.get(f.ticker),
                {reason: n for (ticker, reason), n in refused.items() if ticker == f.ticker},
                settled.get(f.ticker),
            )
            for f in group
            if f.ticker not in waiting
        }
        self.done |= finished
        self.note(self._status(f, finished[f.ticker]) for f in group if f.ticker in finished)

    def note(self, statuses: Iterable[TickerStatus]) -> None:
        """Remember how tickers fared; a backfill tells nothing of their present."""
        if self.role != "backfill":
            self.store.loads.record_statuses(statuses)

    def _stored(self, batches: Sequence[_Batch]) -> dict[str, _Stored]:
        """By ticker, from the first bar of the answers on."""
        asked = [
            (ticker, batch.frame["ts"].to_numpy()[rows])
            for batch in batches
            for ticker, rows in batch.slices.items()
            if ticker in self.last_ts
        ]
        if not asked:
            return {}
        table = self.store.prices.read(
            [ticker for ticker, _ in asked],
            moment(min(int(ts[0]) for _, ts in asked)),
            columns=("ticker", "ts", "close", "feed"),
        )
        ts = table["ts"].to_numpy().astype("datetime64[s]").astype(np.int64)
        close, is_other = table["close"].to_numpy(), table["feed"].to_numpy() != self.feed
        return {
            ticker: _Stored(Closes(ts[rows], close[rows]), is_other[rows])
            for ticker, rows in _slices(table["ticker"].to_numpy()).items()
        }

    def _offers(
        self,
        batch: _Batch,
        stored: Mapping[str, _Stored],
        settled: dict[str, float],
    ) -> list[Offer]:
        """What is to be stored; splits go to `settled`, or their tickers to `restated`."""
        is_kept = np.ones(len(batch.frame), np.bool_)
        ts, close = batch.frame["ts"].to_numpy(), batch.frame["close"].to_numpy()
        offers = []
        for ticker, rows in batch.slices.items():
            offered, held = Closes(ts[rows], close[rows]), stored.get(ticker)
            if held is not None and self.role != "chosen":
                is_kept[rows] = self._is_beyond(offered.ts, held)
            told = batch.answers[ticker].split
            compared = self._compared(ticker, held, told)
            found = splits.ratio(compared, offered, told)
            is_whole = ticker in self.whole or self.role == "backfill"
            if not is_whole and (found is not None or splits.is_suspected(compared, offered)):
                self.restated.append(ticker)
                is_kept[rows] = False
                continue
            if found is None:
                continue
            log.warning("ticker=%s split=%g source=%s", ticker, found, self.source)
            settled[ticker] = found
            offers += self._restated(ticker, offered, found, ts[rows][is_kept[rows]], batch.now)
        return [Offer(batch.frame[is_kept], batch.now, self.feed), *offers]

    def _is_beyond(self, ts: NDArray[np.int64], held: _Stored) -> NDArray[np.bool_]:
        """Which bars of a borrowed source touch none of another feed."""
        others = held.closes.ts[held.is_other]
        if not len(others):
            return np.ones(len(ts), np.bool_)
        found: NDArray[np.bool_] = ts > others[-1] if self.role == "stand-in" else ts < others[0]
        return found

    def _compared(self, ticker: str, held: _Stored | None, told: float | None) -> Closes:
        """The stored closes that tell of a split: those of the same time, else all."""
        if held is None and told and ticker in self.last_ts:
            table = self.store.prices.read([ticker])
            frame = bars.from_arrow(table)
            return Closes(frame["ts"].to_numpy(np.int64), frame["close"].to_numpy(np.float64))
        return held.closes if held else Closes(np.empty(0, np.int64), np.empty(0))

    def _restated(
        self,
        ticker: str,
        offered: Closes,
        split: float,
        kept: NDArray[np.int64],
        now: dt.datetime,
    ) -> list[Offer]:
        """Stored bars that stay, on the scale after the split, each as its own feed's."""
        table = self.store.prices.read([ticker], columns=(*bars.COLUMNS, "feed"))
        past = bars.from_arrow(table).assign(feed=table["feed"].to_pylist())
        found = splits.restated(past, offered, split, kept)
        parts = ((feed, found.loc[found["feed"] == feed, list(bars.COLUMNS)]) for feed in FEEDS)
        return [Offer(part, now, feed) for feed, part in parts if len(part)]

    def _note_last(self, offers: Sequence[Offer]) -> None:
        for offer in offers:
            newest = offer.frame.groupby("ticker")["ts"].max()
            for ticker, ts in zip(map(str, newest.index), newest.tolist(), strict=True):
                self.last_ts[ticker] = max(ts, self.last_ts.get(ticker, 0))

    def _finished(
        self,
        fetched: Fetched,
        counts: Counts | None,
        refused: Mapping[str, int],
        split: float | None,
    ) -> TickerLoad:
        last = self.last_ts.get(fetched.ticker)
        has_valid = counts is not None
        status = fetched.status
        if status == "ok" and not has_valid and self.role == "chosen":
            status = "empty"
        said = [fetched.message, _described(refused), _overdue(fetched, last)]
        if split is not None:
            said.insert(0, f"{splits.describe(split)} found and settled")
        return TickerLoad(
            status,
            counts or Counts(),
            "; ".join(s for s in said if s),
            fetched.passes,
            last,
            sum(refused.values()),
            split,
        )

    def _status(self, fetched: Fetched, done: TickerLoad) -> TickerStatus:
        status = "unknown" if fetched.unknown else done.status
        at = fetched.now if fetched.status == "ok" else self.now  # a failure may have no time
        answered = at if done.status == "ok" else None
        return TickerStatus(fetched.ticker, self.source, status, done.message, at, answered)


def _batches(group: Sequence[Fetched]) -> list[_Batch]:
    """The answers that have bars, those of one time together."""
    moments: dict[dt.datetime, dict[str, Fetched]] = {}
    for fetched in group:
        if fetched.status == "ok":
            moments.setdefault(fetched.now, {})[fetched.ticker] = fetched
    found = []
    for now, answers in moments.items():
        frame = pd.concat([f.frame for f in answers.values()], ignore_index=True)
        valid, rejected = bars.validate(frame, now)
        is_clean = rejected.total == rejected.forming + rejected.duplicate
        refused = bars.refused(frame.iloc[:0] if is_clean else frame, now)
        found.append(_Batch(now, answers, valid, refused, _slices(valid["ticker"].to_numpy())))
    return found


def _slices(tickers: NDArray[np.object_]) -> dict[str, slice]:
    """Where the rows of each ticker are; equal ones are together."""
    if not len(tickers):
        return {}
    starts = np.flatnonzero(np.r_[True, tickers[1:] != tickers[:-1]]).tolist()
    return {str(tickers[a]): slice(a, b) for a, b in pairwise([*starts, len(tickers)])}


def _described(refused: Mapping[str, int]) -> str:
    counted = ", ".join(f"{n} {_REASONS.get(reason, reason)}" for reason, n in refused.items())
    return counted and f"quarantined: {counted}"


def _overdue(fetched: Fetched, last: int | None) -> str:
    """Where the market is open and prints nothing of a ticker, or it is not known any more."""
    if last is None:
        return ""
    found = f"its last stored bar is {moment(last).isoformat()}"
    if fetched.unknown:
        return f"delisted or renamed: {found}"
    is_asked = fetched.status in ("ok", "empty")
    if (
        is_asked
        and session_at(fetched.now)
        and last < last_closed_bars(_OVERDUE_BARS, fetched.now)[0]
    ):
        return f"nothing new while the market is open: {found}"
    return ""

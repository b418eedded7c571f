"""The figures of a session's bars: times from the store, rules from `astra.quality`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from astra import quality
from astra.bar_times import (
    NEVER,
    NONE,
    Past,
    Present,
    read_first_known,
    read_past,
    read_present,
    read_quarantined,
)
from astra.quality import USUAL_SESSIONS, Figures, Integers, Verdict
from astra.sessions import Session, closed_grid, last_sessions, next_session
from astra.store import Store
from astra.store.rows import moment


@dataclass(frozen=True, slots=True)
class TickerQuality:
    """A ticker's session.

    `feeds` counts its bars by where they come from; `last_bar` is the start of the last one up to
    now, None if there is none in this session or the 20 before.
    """

    figures: Figures
    verdict: Verdict
    feeds: Mapping[str, int]
    last_bar: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of `session` at `now`, when `closed` of its bars had closed."""

    session: Session
    now: dt.datetime
    closed: int
    tickers: Mapping[str, TickerQuality]

    @property
    def total(self) -> Figures:
        return quality.total(one.figures for one in self.tickers.values())

    @property
    def coverage(self) -> float | None:
        return quality.coverage(one.figures for one in self.tickers.values())


def summary(store: Store, tickers: Sequence[str], now: dt.datetime) -> Quality:
    """The session of `now`, the vendor's time, for the tickers of a load.

    `.total` sums up and `.tickers[name].figures` is a ticker's; `dataclasses.asdict` of either
    belongs in the load's answer.
    """
    return measure(store, tickers, last_sessions(1, now)[0], now)


def measure(
    store: Store,
    tickers: Sequence[str],
    session: Session,
    now: dt.datetime,
    known_at: dt.datetime | None = None,
) -> Quality:
    """The figures of `tickers` in `session` at `now`, or as they were known at `known_at`.

    What had not closed by then is not expected.
    """
    now = min(now, known_at) if known_at else now
    names = sorted(set(tickers))
    before = last_sessions(USUAL_SESSIONS + 1, session.opens_at)[:-1]
    past = read_past(store, names, before, known_at)
    present = read_present(store, names, closed_grid(now, [session]), known_at)
    quarantined = read_quarantined(store, names, session, known_at)
    late, backfilled = _delays(store, names, before[-1], session, present, known_at)
    figures = _figures(past, present, quarantined, late, backfilled)
    fresh = quality.is_fresh(present.printed).tolist()
    found = {}
    for i, (ticker, one) in enumerate(zip(names, figures, strict=True)):
        last = max(int(past.last[i]), present.last(i))
        found[ticker] = TickerQuality(
            one,
            quality.judge(one.expected, one.present, fresh[i]),
            present.feeds(i),
            None if last == NONE else moment(last),
        )
    return Quality(session, now, len(present.ts), found)


def _delays(
    store: Store,
    names: Sequence[str],
    before: Session,
    session: Session,
    present: Present,
    known_at: dt.datetime | None,
) -> tuple[Integers, Integers]:
    """Late and backfilled bars of each ticker.

    Most days there are none, so only tickers with a delay are asked for when they were first seen.
    """
    opens = int(next_session(session.closes_at).opens_at.timestamp())
    decisions = np.array([int(t.timestamp()) for t in session.decision_times()], np.int64)
    deadlines = quality.wanted_by(present.ts, decisions, opens)
    first_known = np.where(present.printed, present.first_known, NONE)
    delayed = np.logical_or.reduce(quality.is_delayed(deadlines, first_known), axis=0)
    asked = [names[i] for i in np.flatnonzero(delayed).tolist()]
    seen = read_first_known(store, asked, before, known_at) if asked else {}
    first_sight = np.minimum(
        np.array([seen.get(name, NEVER) for name in names], np.int64),
        present.first_known.min(axis=0, initial=NEVER),
    )
    return quality.count_delays(deadlines, first_known, first_sight, opens)


def _figures(
    past: Past, present: Present, quarantined: Integers, late: Integers, backfilled: Integers
) -> list[Figures]:
    usual = quality.usual_shares(past.counts, past.lengths)
    columns = zip(
        [_expected(share, len(present.ts)) for share in usual.tolist()],
        present.printed.sum(axis=0).tolist(),
        late.tolist(),
        backfilled.tolist(),
        present.corrected.sum(axis=0).tolist(),
        quarantined.tolist(),
        strict=True,
    )
    return [Figures(*row) for row in columns]


def _expected(share: float, closed: int) -> int | None:
    if closed == 0:
        return 0
    return None if np.isnan(share) else round(share * closed)

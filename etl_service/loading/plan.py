"""What a load asks for: which tickers, from when on, in which order. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from astra.errors import DataError
from astra.sessions import last_sessions
from astra.store.loads import TickerStatus
from etl_service.loading.priority import Tier, postponed, ranked

REACH_DAYS = 60
_DAYS = {"d": 1, "mo": 30}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        days: calendar days to load again; None = what is new.
        since: load from then on.
        is_scheduled: only what is due now.
    """

    tickers: tuple[str, ...]
    days: int | None = None
    since: dt.datetime | None = None
    is_scheduled: bool = False

    @property
    def is_for_news(self) -> bool:
        """Whether it is about what is new, and not about a stretch of the past."""
        return self.days is None and self.since is None

    @property
    def is_selective(self) -> bool:
        """Whether what is not due is left out."""
        return self.is_scheduled and self.is_for_news


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the tickers of a load.

    Attributes:
        last_ts: start of the last stored bar, epoch seconds.
        others: start of the first bar within reach that a stand-in brought.
    """

    last_ts: Mapping[str, int]
    statuses: Mapping[str, TickerStatus] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    candidates: frozenset[str] = frozenset()


def due(asked: Asked, known: Known, now: dt.datetime) -> tuple[dict[str, Tier], dict[str, str]]:
    """Tickers to ask for now with their tiers, the most important first; and why not the others."""
    ranks = ranked(asked.tickers, known.held, known.candidates)
    if not asked.is_selective:
        return ranks, {}
    reasons = {
        t: postponed(tier, known.last_ts.get(t), known.statuses.get(t), now)
        for t, tier in ranks.items()
    }
    return {t: tier for t, tier in ranks.items() if not reasons[t]}, {
        t: reason for t, reason in reasons.items() if reason
    }


def start(ticker: str, asked: Asked, known: Known, now: dt.datetime) -> dt.datetime | None:
    """From when on a ticker is asked for; None = as far back as the source reaches.

    First sight: all there is. Later from one session before its last stored bar at the latest, so
    that there is no hole and a split is seen; and from before the first bar that a stand-in
    brought, so that the source's own take their place.
    """
    if asked.days == REACH_DAYS or (asked.is_for_news and ticker not in known.last_ts):
        return None
    begins = []
    if asked.since is not None:
        begins.append(asked.since)
    elif asked.days is not None:
        begins.append(now - dt.timedelta(days=asked.days))
    if ticker in known.last_ts:
        begins.append(_session_before(known.last_ts[ticker]))
    if ticker in known.others:
        begins.append(_session_before(known.others[ticker]))
    return min(begins)


def _session_before(ts: int) -> dt.datetime:
    return last_sessions(2, dt.datetime.fromtimestamp(ts, dt.UTC))[0].opens_at


def parse_period(period: str) -> int:
    """`5d`, `2mo` or `max` as calendar days, at most 60.

    Raises:
        DataError: it is none of these.
    """
    if period == "max":
        return REACH_DAYS
    found = re.fullmatch(r"([1-9]\d?)(d|mo)", period)
    days = int(found[1]) * _DAYS[found[2]] if found else 0
    if not 1 <= days <= REACH_DAYS:
        raise DataError(f"a period is 1d to 60d, 1mo, 2mo or max, found {period!r}")
    return days

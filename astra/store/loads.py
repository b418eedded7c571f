"""What is remembered of loading: what each vendor still allows, how each ticker fared, and what was
refused. Rules about it are the loading service's; here is that they hold for all its processes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from sqlalchemy import Connection, bindparam, func, select, text

from astra.bars import PRICES
from astra.store import feeds, rows, schema
from astra.store.dialect import Dialect
from astra.store.feeds import Feed

if TYPE_CHECKING:  # who trades needs no frames
    import pandas as pd

_sources, _status = schema.sources, schema.ticker_status
_bars, _summaries, _decisions = schema.price_history, schema.account_summary, schema.decisions
# As the partial index says it: a bound value would not match it.
_OTHER_FEEDS = text("feed <> 0")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What all loads together know of a vendor of bars.

    Attributes:
        hour: of the vendor's time, epoch seconds, in which `spent` requests were made.
        failures: in a row.
        retry_at: the machine's wall clock, epoch seconds, before which nobody asks; 0 = no limit.
        feed: as probed, "" before.
        asked_at: the vendor's time, epoch seconds.
    """

    name: str
    hour: int = 0
    spent: int = 0
    failures: int = 0
    retry_at: float = 0.0
    message: str = ""
    feed: str = ""
    asked_at: int | None = None


@dataclass(frozen=True, slots=True)
class TickerStatus:
    """What the last load said of a ticker.

    Attributes:
        status: ok, empty, error, rate_limited, or unknown to the vendor.
        asked_at: the vendor's time.
        answered_at: the last time that the status was ok; None as written leaves it.
    """

    ticker: str
    source: str
    status: str
    message: str
    asked_at: dt.datetime
    answered_at: dt.datetime | None = None


class Loads:
    """Tables `sources`, `ticker_status` and `quarantine`, and whose bars are wanted first."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def source(self, name: str) -> SourceRow:
        """A vendor as it stands; one that was never asked is without limits."""
        with self._dialect.reading() as connection:
            return _source(connection, name)

    def change_source(
        self, name: str, change: Callable[[SourceRow], tuple[SourceRow, _T]]
    ) -> tuple[SourceRow, _T]:
        """Read a vendor's row, apply `change` and write it, while nobody else can.

        Returns: the row as written, and what `change` found.
        """
        with self._dialect.writing("prices") as connection:
            before = _source(connection, name)
            after, found = change(before)
            if after != before:
                self._dialect.upsert(connection, _sources, [asdict(after)])
        return after, found

    def statuses(self, tickers: Sequence[str]) -> dict[str, TickerStatus]:
        """By ticker; those that were never asked for are left out."""
        wanted = set(tickers)
        with self._dialect.reading() as connection:
            found = connection.execute(select(_status)).all()
        return {
            row.ticker: TickerStatus(
                row.ticker,
                row.source,
                row.status,
                row.message,
                rows.moment(row.asked_at),
                rows.moment_or_none(row.answered_at),
            )
            for row in found
            if row.ticker in wanted
        }

    def record_statuses(self, statuses: Iterable[TickerStatus]) -> None:
        """Overwrite what was known of these tickers; when a source answered last stays known until
        another is asked."""
        found = [
            asdict(one)
            | {
                "asked_at": rows.seconds(one.asked_at),
                "answered_at": rows.seconds_or_none(one.answered_at),
            }
            for one in sorted(statuses, key=lambda one: one.ticker)
        ]
        named = select(_status.c.ticker, _status.c.source)
        with self._dialect.writing("prices") as connection:
            sources = {row.ticker: row.source for row in connection.execute(named)}
            asked = [f["ticker"] for f in found if sources.get(f["ticker"]) != f["source"]]
            if others := [{"name": ticker} for ticker in asked if ticker in sources]:
                is_named = _status.c.ticker == bindparam("name")
                connection.execute(_status.delete().where(is_named), others)
            self._dialect.upsert(connection, _status, found)

    def quarantine(self, refused: pd.DataFrame, feed: Feed, seen_at: dt.datetime) -> None:
        """Keep bars that cannot be right, in the shape of `astra.bars.refused`; the same bar for
        the same reason again is no news, so that what was refused at a time stays so."""
        if refused.empty:
            return
        values = refused[[*PRICES, "volume"]].to_numpy(np.float64)
        lists = [[v if np.isfinite(v) else None for v in column] for column in values.T]
        keys = zip(refused["ticker"], refused["ts"].tolist(), refused["reason"], strict=True)
        marks = {"feed": feeds.code(feed), "seen_at": rows.seconds(seen_at)}
        found = {
            key: dict(zip(("ticker", "ts", "reason"), key, strict=True))
            | dict(zip((*PRICES, "volume"), bar, strict=True))
            | marks
            for key, bar in zip(keys, zip(*lists, strict=True), strict=True)
        }
        with self._dialect.writing("prices") as connection:
            self._dialect.insert_new(
                connection, schema.quarantine, [found[key] for key in sorted(found)]
            )

    def first_of_other_feeds(self, source: str, since: dt.datetime) -> dict[str, int]:
        """Start of each ticker's first bar from `since` on that did not come from Yahoo, and that
        `source` has not been asked about since it came."""
        came = _bars.outerjoin(_status, _status.c.ticker == _bars.c.ticker)
        is_answered = (_status.c.source == source) & (_status.c.answered_at >= _bars.c.known_from)
        is_open = _status.c.answered_at.is_(None) | ~is_answered
        inside = _OTHER_FEEDS & (_bars.c.ts >= rows.seconds(since)) & is_open
        found = select(_bars.c.ticker, func.min(_bars.c.ts)).select_from(came).where(inside)
        with self._dialect.reading() as connection:
            first = connection.execute(found.group_by(_bars.c.ticker)).all()
        return {ticker: int(ts) for ticker, ts in first}

    def held(self) -> frozenset[str]:
        """What is held of our own, by the last account summary."""
        last = select(_summaries.c.positions).order_by(_summaries.c.at.desc()).limit(1)
        with self._dialect.reading() as connection:
            document = connection.scalar(last)
        positions = json.loads(document) if document else []
        return frozenset(p["symbol"] for p in positions if Decimal(p["own_qty"]) > 0)

    def candidates(self) -> frozenset[str]:
        """What the last decisions weigh: what was bought, and the target it moves to."""
        newest = select(func.max(_decisions.c.as_of)).scalar_subquery()
        last = select(_decisions.c.document).where(_decisions.c.as_of == newest)
        with self._dialect.reading() as connection:
            documents = [json.loads(text) for text in connection.scalars(last)]
        weighed = [d.get(name) or {} for d in documents for name in ("weights", "target")]
        return frozenset(t for weights in weighed for t, weight in weights.items() if weight > 0)


def _source(connection: Connection, name: str) -> SourceRow:
    row = connection.execute(select(_sources).where(_sources.c.name == name)).mappings().first()
    return SourceRow(**row) if row else SourceRow(name)

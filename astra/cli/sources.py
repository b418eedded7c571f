"""What the store remembers of loading, for `astra doctor`: each vendor's state, and who failed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

from astra.cli.loaded import reasons
from astra.settings import Settings
from astra.store import Store, connect
from astra.store.loads import SourceRow

Finding = tuple[str, bool | None, str]


def examine(settings: Settings) -> list[Finding]:
    """Subject, whether it is well (None = worth knowing) and what was found.

    Raises:
        ConfigError, TemporaryError: the database cannot be read.
    """
    store = connect(settings.database_url)
    try:
        return [*_vendors(store, settings), _tickers(store)]
    finally:
        store.close()


def keys(settings: Settings) -> Iterator[Finding]:
    """What it means for the bars that there are no keys of Alpaca's."""
    if settings.alpaca_key and settings.alpaca_secret.get_secret_value():
        return
    missing = "ASTRA_ALPACA_KEY and ASTRA_ALPACA_SECRET"
    if settings.source == "alpaca":
        yield "bars", False, f"ASTRA_SOURCE=alpaca needs {missing}"
    else:
        yield "bars", None, f"nobody stands in while yahoo refuses: no {missing}"


def _vendors(store: Store, settings: Settings) -> Iterator[Finding]:
    """The chosen vendor first; the other one if it was ever asked."""
    for name in sorted(("yahoo", "alpaca"), key=lambda n: n != settings.source):
        row, is_chosen = store.loads.source(name), name == settings.source
        limit = settings.yahoo_requests_per_hour if name == "yahoo" else None
        if row.asked_at is None:
            if is_chosen:
                yield "bars", None, f"{name} was never asked: astra load"
            continue
        position, breaker = _breaker(row)
        well = True if position == "closed" else None
        role = "" if is_chosen else " (stands in, and for older bars)"
        yield "bars", well, f"{name}{role}: {_spent(row, limit)}; {breaker}"


def _spent(row: SourceRow, limit: int | None) -> str:
    """By the vendor's hour: what was spent in an hour that is over limits nobody."""
    asked = dt.datetime.fromtimestamp(row.asked_at or 0, dt.UTC)
    hour = dt.datetime.fromtimestamp(row.hour, dt.UTC)
    of = "" if limit is None else f" of {limit:,}"
    return (
        f"feed {row.feed or 'not probed'}, last asked {asked:%Y-%m-%d %H:%M} UTC, "
        f"{row.spent:,}{of} requests in the hour from {hour:%H:%M}"
    )


def _breaker(row: SourceRow) -> tuple[str, str]:
    from etl_service.loading import breaker

    position = breaker.position(row, time.time())
    if position == "closed":
        return position, "breaker closed"
    until = dt.datetime.fromtimestamp(row.retry_at, dt.UTC)
    when = f"until {until:%Y-%m-%d %H:%M:%S} UTC" if position == "open" else "the next load tries"
    return position, f"breaker {position}, {when}: {row.message}"


def _tickers(store: Store) -> Finding:
    """How the members fared when they were last asked for."""
    members = [member.ticker for member in store.books.universe()]
    found = store.loads.statuses(members)
    failed = {t: s.message or s.status for t, s in found.items() if s.status not in ("ok", "empty")}
    told = f"{len(found)} of {len(members)} of the universe asked for"
    if not found:
        return "tickers", None, f"{told}: astra load"
    if failed:
        return "tickers", None, f"{told}, {len(failed)} failed the last time: {reasons(failed)}"
    return "tickers", True, f"{told}, all answered"

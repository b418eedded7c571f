"""Which session a report is of, and until when the account is known of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from astra.errors import ConfigError
from astra.sessions import NEW_YORK, Session, sessions_between

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A session and the day in New York that it lies in, [start, end) in UTC."""

    session: Session
    start: dt.datetime
    end: dt.datetime

    def has(self, at: dt.datetime) -> bool:
        return self.start <= at < self.end


def chosen(
    asked: dt.date | None, recorded: Sequence[dt.datetime], now: dt.datetime, account: str
) -> Bounds:
    """The day that was asked for; of None the last one of a session with a record since its
    opening.

    Args:
        recorded: when the account's value was recorded; at least one time, in any order.
        now: the market's time.

    Raises:
        ConfigError: the day has no session, has not come yet, or lies before the account's first
            record; or no session has a record.
    """
    if asked is None:
        return _last(recorded, account)
    first = day_of(min(recorded))
    if asked < first:
        raise ConfigError(
            f"a day since {first} is required, when account {account} was recorded first; found "
            f"{asked}: ask for a later one"
        )
    if asked > day_of(now):
        raise ConfigError(
            f"a day until {day_of(now)} is required, which is the market's today; found {asked}: "
            "ask for an earlier one"
        )
    found = _of(asked)
    if found is None:
        raise ConfigError(
            f"a day on which the exchange was open is required, {asked} ({asked:%A}) was none: ask "
            "for the session before it"
        )
    if now < found.session.opens_at:
        raise ConfigError(
            f"a session that has begun is required, that of {asked} opens at "
            f"{found.session.opens_at.astimezone(NEW_YORK):%H:%M} New York: ask for an earlier one"
        )
    return found


def day_of(at: dt.datetime) -> dt.date:
    return at.astimezone(NEW_YORK).date()


def _last(recorded: Iterable[dt.datetime], account: str) -> Bounds:
    for at in sorted(recorded, reverse=True):
        found = _of(day_of(at))
        if found is not None and at >= found.session.opens_at:
            return found
    raise ConfigError(
        f"a session with a record of account {account} is required, there is none yet: run "
        "`astra monitor` while the exchange is open"
    )


def _of(day: dt.date) -> Bounds | None:
    start, end = (
        dt.datetime.combine(date, dt.time(), NEW_YORK).astimezone(dt.UTC)
        for date in (day, day + _DAY)
    )
    found = sessions_between(start, end)
    return Bounds(found[0], start, end) if found else None

"""What splits do to shares and to dividends; nothing of it looks at a clock."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterable
from dataclasses import replace

from sandbox.tape import CorporateAction


def shares_at(actions: Iterable[CorporateAction], at: dt.datetime) -> float:
    """Shares at `at` for each share of the record's beginning."""
    return math.prod(a.value for a in actions if a.kind == "split" and a.at <= at)


def restated(
    recorded: Collection[CorporateAction], made: Collection[CorporateAction], now: dt.datetime
) -> tuple[CorporateAction, ...]:
    """Actions up to `now` in the order of time, dividends per share of now.

    Args:
        recorded: of the record; a dividend is per share of its day.
        made: splits that the record knows nothing of.
    """
    known = sorted((a for a in (*recorded, *made) if a.at <= now), key=_in_time)
    splits = [a for a in known if a.kind == "split"]

    def since(a: CorporateAction) -> float:
        return math.prod(s.value for s in splits if s.at > a.at or s in made)

    return tuple(a if a.kind == "split" else replace(a, value=a.value / since(a)) for a in known)


def _in_time(action: CorporateAction) -> tuple[dt.datetime, bool]:
    return action.at, action.kind != "split"

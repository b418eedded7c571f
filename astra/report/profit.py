"""What a day's profit came from: the record of activities at its two ends, by kind. Pure."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from astra import cash
from astra.cash import Kind, Worth
from astra.matching import match
from astra.records import Activity

# A share's price alone moves these; what was sold counts as much as what is still held.
_PRICE = (Kind.REALISED, Kind.UNMATCHED)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved summary of the account: shares and USD a share by symbol, of what was held then."""

    at: dt.datetime
    shares: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Profit:
    """What moved the account from one saved summary to another, USD.

    Attributes:
        price: profit of the shares, whether they were sold or are held.
        realised: the part of it that sales made certain.
        kinds: the rest by kind, deposits and withdrawals left out; kinds without a change are
            absent.
        flows: deposits and withdrawals, which are no profit.
        without_price: symbols of which no price was recorded; they count as if nothing gained.
    """

    since: dt.datetime
    until: dt.datetime
    price: Decimal
    realised: Decimal
    kinds: Mapping[Kind, Decimal]
    flows: Decimal
    without_price: tuple[str, ...]

    @property
    def told(self) -> Decimal:
        """All of it that the lines on record tell."""
        return sum(self.kinds.values(), self.price)


def between(lines: Iterable[Activity], before: Saved, after: Saved) -> Profit:
    """The profit from one summary to the next, by what the lines and the prices of both tell.

    Args:
        lines: all activities of the account.
    """
    known = tuple(lines)
    first, last = _worth(known, before), _worth(known, after)
    change = {kind: last.totals.get(kind, _ZERO) - first.totals.get(kind, _ZERO) for kind in Kind}
    held = last.unrealised + last.unpriced - first.unrealised - first.unpriced
    apart = (*_PRICE, Kind.FLOWS)
    return Profit(
        since=before.at,
        until=after.at,
        price=sum((change[kind] for kind in _PRICE), held),
        realised=change[Kind.REALISED],
        kinds={kind: usd for kind, usd in change.items() if kind not in apart and usd},
        flows=change[Kind.FLOWS],
        without_price=tuple(sorted({*first.without_price, *last.without_price})),
    )


def _worth(lines: tuple[Activity, ...], saved: Saved) -> Worth:
    own = _known(lines, saved)
    found = match(own)
    return cash.worth(cash.totals(cash.movements(own, found)), found.lots, saved.prices)


def _known(lines: tuple[Activity, ...], saved: Saved) -> list[Activity]:
    """The lines that the summary holds: those until its time. Where these are not its shares, those
    until the first later time at which they are, as a fill may be stamped later than it is seen
    (the sandbox's stepped clock: with the bar to come).
    """
    known: list[Activity] = []
    until, shares = 0, defaultdict[str, Decimal](Decimal)
    for at, together in groupby(sorted(lines, key=attrgetter("at")), attrgetter("at")):
        if at > saved.at and _held(shares) == saved.shares:
            return known
        for line in together:
            known.append(line)
            shares[line.symbol or ""] += line.qty or _ZERO
        if at <= saved.at:
            until = len(known)
    return known if _held(shares) == saved.shares else known[:until]


def _held(shares: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {symbol: qty for symbol, qty in shares.items() if qty}

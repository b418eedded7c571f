"""What an account's worth came from: profit told apart from dividends, interest, fees and flows.

Every line of the broker's record counts once, under one kind, in USD. A purchase and the shares
bought cancel out; a sale counts its profit, when it was made. What all lines come to, with the
unrealised profit of what is still held, is the account's value, to the cent. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from astra.owned import MOVES, SPLITS, standing
from astra.records import Activity
from astra.risk import FLOWS
from astra.sessions import NEW_YORK
from astra.trades import Matching, OpenLot

_ZERO = Decimal(0)


class Kind(StrEnum):
    """What a movement is; profit and interest are above 0, losses, costs and withdrawals below."""

    REALISED = "Realised profit"
    DIVIDENDS = "Dividends"
    INTEREST = "Interest"
    FEES = "Fees"
    FLOWS = "Deposits and withdrawals"
    ACTIONS = "Corporate actions"
    UNMATCHED = "Sold without a purchase on record"
    OTHER = "Other"


# Alpaca's types of activities (docs.alpaca.markets, account activities), and our own OPENING.
_TYPES = {
    **dict.fromkeys((*FLOWS, "OPENING"), Kind.FLOWS),
    **dict.fromkeys(("INT", "INTNRA", "INTTW"), Kind.INTEREST),
    **dict.fromkeys(("FEE", "CFEE", "PTC", "PTR"), Kind.FEES),
    **dict.fromkeys((*SPLITS, *MOVES, "SPIN", "SSO", "CIL"), Kind.ACTIONS),
}


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of what an account is worth, USD.

    `type` is that of the broker's line. `symbol` is "" where the line names none.
    """

    kind: Kind
    at: dt.datetime
    amount: Decimal
    type: str
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Worth:
    """An account's value and what it came from, USD.

    Attributes:
        totals: what all movements of a kind come to; kinds without any are absent.
        unrealised: profit of the open lots at the prices given.
        unpriced: value of shares held without a purchase on record.
        without_price: symbols held of which no price was given; they count as if nothing gained.
    """

    totals: Mapping[Kind, Decimal]
    unrealised: Decimal
    unpriced: Decimal
    without_price: tuple[str, ...]

    @property
    def equity(self) -> Decimal:
        return sum(self.totals.values(), self.unrealised + self.unpriced)


def kind_of(type: str) -> Kind:
    """The kind of a line that is no FILL. Taxes withheld from dividends count with these."""
    if type.startswith("DIV"):
        return Kind.DIVIDENDS
    return _TYPES.get(type, Kind.OTHER)


def movements(activities: Iterable[Activity], matching: Matching) -> tuple[Movement, ...]:
    """All that changed what an account is worth, oldest first.

    Shares that left without a sale take what they cost with them, under their line's kind. What was
    bought back after a sale without a purchase counts against that sale.

    Args:
        matching: `astra.matching.match` of the same lines.
    """
    found = [
        Movement(kind_of(a.type), a.at, a.net_amount, a.type, a.symbol or "")
        for a in standing(a for a in activities if a.type != "FILL")
    ]
    found += [
        Movement(Kind.REALISED, t.closed_at, t.profit, "FILL", t.symbol) for t in matching.closed
    ]
    found += [
        Movement(Kind.UNMATCHED, s.at, s.proceeds, "FILL", s.symbol) for s in matching.unmatched
    ]
    found += [Movement(Kind.UNMATCHED, c.at, -c.cost, "FILL", c.symbol) for c in matching.covers]
    found += [Movement(kind_of(r.type), r.at, -r.cost, r.type, r.symbol) for r in matching.removed]
    return tuple(sorted((m for m in found if m.amount), key=lambda m: m.at))


def totals(found: Iterable[Movement]) -> dict[Kind, Decimal]:
    """USD by kind, in the order of the kinds; those without a movement are absent."""
    sums = dict[Kind, Decimal]()
    for movement in found:
        sums[movement.kind] = sums.get(movement.kind, _ZERO) + movement.amount
    return {kind: sums[kind] for kind in Kind if kind in sums}


def by_month(found: Iterable[Movement]) -> dict[dt.date, dict[Kind, Decimal]]:
    """USD by kind for each month (its first day, in New York) in which anything moved."""
    months = dict[dt.date, list[Movement]]()
    for movement in found:
        month = movement.at.astimezone(NEW_YORK).date().replace(day=1)
        months.setdefault(month, []).append(movement)
    return {month: totals(months[month]) for month in sorted(months)}


def worth(
    sums: Mapping[Kind, Decimal], lots: Sequence[OpenLot], prices: Mapping[str, Decimal]
) -> Worth:
    """An account's value at `prices`, USD a share by symbol, and what it came from.

    Args:
        sums: `totals` of all its movements.
        lots: those still open.
    """
    unrealised = unpriced = _ZERO
    for lot in lots:
        if (price := prices.get(lot.symbol)) is None:
            continue
        profit = lot.profit(price)
        if profit is None:
            unpriced += lot.qty * price
        else:
            unrealised += profit
    missing = {lot.symbol for lot in lots} - prices.keys()
    return Worth(sums, unrealised, unpriced, tuple(sorted(missing)))

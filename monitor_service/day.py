"""What happened in one session to the part of an account that is managed. Pure.

From the broker's record and the journal: the shares and the cash at the first decision, what each
decision traded, and what came or went otherwise.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from astra.ledger import Book, replay
from astra.outcomes import planned_qty
from astra.owned import Fill, own_shares, standing
from astra.records import Activity, Side
from astra.risk import FLOWS
from astra.sessions import NEW_YORK, Session
from astra.shortfall import fees_by_order
from astra.store.journal import OrderRow
from astra.twin import Executed, Lived, Moved, Traded
from astra.untold import OPENED

_NOTHING = Decimal(0)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was to be traded at one time, and the orders that came of it.

    Attributes:
        known_at: when it was about to be traded.
        weights: of equity by symbol; `keep` names those whose shares stay as they are.
        is_complete: it was planned and traded to its end.
    """

    as_of: dt.datetime
    known_at: dt.datetime
    weights: Mapping[str, float]
    keep: tuple[str, ...]
    orders: tuple[OrderRow, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Record:
    """The account's record.

    Attributes:
        lines: all activities that stand.
        fills: of our own orders.
        adopt: symbols managed though our orders did not open them; None = all.
    """

    lines: tuple[Activity, ...]
    fills: tuple[Fill, ...]
    adopt: frozenset[str] | None

    @classmethod
    def of(
        cls, lines: Iterable[Activity], fills: Iterable[Fill], adopt: frozenset[str] | None
    ) -> Record:
        return cls(standing(lines), tuple(fills), adopt)

    def book(self, at: dt.datetime) -> Book:
        """The account's cash and our part of its shares, after all that was until then."""
        past = [line for line in self.lines if line.at <= at]
        whole = replay(past)
        # Only what the record tells: an order's last word may be later than its first fills.
        ours = own_shares([replace(fill, qty=_NOTHING) for fill in self.fills], past)
        every = self.adopt is None
        kept = {
            symbol: qty
            if every or symbol in (self.adopt or ())
            else min(qty, ours.get(symbol, _NOTHING))
            for symbol, qty in whole.shares.items()
        }
        return Book(whole.cash, {symbol: qty for symbol, qty in kept.items() if qty > 0})

    def is_known_at(self, at: dt.datetime, session: Session) -> bool:
        """Whether the account's books had begun."""
        opened = [a.at for a in self.lines if a.id.startswith(OPENED) and a.at < end_of(session)]
        return any(line.at <= at for line in self.lines) and all(t <= at for t in opened)


def decided_in(
    session: Session,
    allocations: Sequence[Mapping[str, Any]],
    decisions: Sequence[Mapping[str, Any]],
    orders: Mapping[str, Sequence[OrderRow]],
) -> tuple[Decided, ...]:
    """What was to be traded in a session, by time: the files that came, and the decisions of which
    none came.

    Of several files of one time those of which anything was traded count, or the last if nothing
    was. What was held back as the settings say, or told nothing to trade, is left out.

    Args:
        allocations: rows of the account, by (as_of, generation).
        decisions: rows, whose documents say what was decided.
        orders: by allocation id.
    """
    rows = [
        row
        for row in allocations
        if row["as_of"] is not None and session.opens_at <= row["as_of"] < session.closes_at
    ]
    wanted = [row for row in rows if row["status"] != "held" and json.loads(row["weights"])]
    files = [_of_file(row, orders.get(row["id"], ())) for row in wanted]
    known = {file.as_of for file in files} | {r["as_of"] for r in rows if r["status"] == "held"}
    told = [_of_document(row["as_of"], json.loads(row["document"])) for row in decisions]
    lost = [found for found in told if found is not None and found.as_of not in known]
    times: dict[dt.datetime, list[Decided]] = {}
    for found in (*files, *lost):
        times.setdefault(found.as_of, []).append(found)
    return tuple(d for as_of in sorted(times) for d in _traded(times[as_of]))


def _of_file(row: Mapping[str, Any], orders: Sequence[OrderRow]) -> Decided:
    as_of, keep = row["as_of"], tuple(json.loads(row["keep"] or "[]"))
    known_at, is_complete = max(as_of, row["received_at"]), row["status"] == "done"
    return Decided(as_of, known_at, json.loads(row["weights"]), keep, tuple(orders), is_complete)


def _of_document(as_of: dt.datetime, told: Mapping[str, Any]) -> Decided | None:
    """What the file of a decision would have told; None if there was nothing to trade."""
    if not told.get("object") or not told.get("of_settings", True):
        return None
    weights = told["weights"] or dict.fromkeys(told.get("held", ()), 0.0)
    keep = (*told.get("kept", ()), *told.get("hold", ()))
    return Decided(as_of, as_of, weights, keep, (), is_complete=False)


def _traded(found: Sequence[Decided]) -> Sequence[Decided]:
    """Of the files of one time those that count."""
    traded = [d for d in found if d.is_complete or any(o.filled_qty for o in d.orders)]
    return traded or found[-1:]


def fills_of(decided: Sequence[Decided], record: Record) -> tuple[Activity, ...]:
    """What was filled of the day's orders."""
    orders = _orders(decided)
    return tuple(a for a in record.lines if a.type == "FILL" and a.order_id in orders)


def lived(
    session: Session,
    decided: Sequence[Decided],
    record: Record,
    expected: Mapping[str, Decimal],
) -> Lived:
    """The day from the first decision on, to the end of the date in New York.

    Args:
        expected: USD a share that the twin's rule says of a fill, by its id; one that is not known
            is expected at its own price.
    """
    first, end = decided[0].as_of, end_of(session)
    lines = [a for a in record.lines if first < a.at < end]
    day = [a for a in record.lines if end - _DAY <= a.at < end]  # fees may be dated by the day
    orders = _orders(decided)
    own = orders | {fill.order_id for fill in record.fills}
    ours = [a for a in lines if a.type == "FILL" and a.order_id in own]
    stray = [a for a in ours if a.order_id not in orders]
    before, after = record.book(first), record.book(end)
    other = [Moved(a.symbol or "", a.qty or _NOTHING, a.net_amount) for a in stray]
    others = [a for a in lines if a not in ours and a.type != "FEE" and a.type not in FLOWS]
    known = {*before.shares, *after.shares, *(a.symbol for a in ours)}
    for a in others:
        if not a.qty and a.net_amount and (a.symbol is None or a.symbol in known):
            other.append(Moved(a.symbol or "", _NOTHING, a.net_amount))
    by_order = fees_by_order(day)
    for symbol in sorted({a.symbol for a in others if a.qty and a.symbol}):
        traded = sum((a.qty or _NOTHING for a in ours if a.symbol == symbol), _NOTHING)
        more = after.shares.get(symbol, _NOTHING) - before.shares.get(symbol, _NOTHING) - traded
        if more:
            price = _price([a for a in others if a.symbol == symbol], by_order)
            other.append(Moved(symbol, more, -more * price))
    return Lived(
        shares=before.shares,
        executed=tuple(_executed(d, ours, expected) for d in decided),
        fees=_fees(day, by_order, own),
        other=tuple(other),
    )


def end_of(session: Session) -> dt.datetime:
    """Midnight in New York after a session."""
    next_day = dt.datetime.combine(session.date + _DAY, dt.time(), NEW_YORK)
    return next_day.astimezone(dt.UTC)


def _orders(decided: Iterable[Decided]) -> set[str]:
    """The broker's ids."""
    return {o.broker_id for d in decided for o in d.orders if o.broker_id}


def _executed(
    decided: Decided, fills: Sequence[Activity], expected: Mapping[str, Decimal]
) -> Executed:
    orders: dict[tuple[str, Side], list[OrderRow]] = {}
    for order in sorted(decided.orders, key=lambda o: o.attempt):
        orders.setdefault((order.symbol, order.side), []).append(order)
    found = []
    for (symbol, side), own in sorted(orders.items()):
        ids = {order.broker_id for order in own if order.broker_id}
        filled = [a for a in fills if a.order_id in ids]
        shares = [abs(a.qty or _NOTHING) for a in filled]
        paid = [abs(a.net_amount) for a in filled]
        by_rule = [
            qty * expected[a.id] if a.id in expected else usd
            for a, qty, usd in zip(filled, shares, paid, strict=True)
        ]
        sums = (sum(found_of, _NOTHING) for found_of in (shares, paid, by_rule))
        found.append(Traded(symbol, side, planned_qty(own), *sums))
    return Executed(tuple(found), decided.is_complete)


def _fees(
    lines: Sequence[Activity], by_order: Mapping[str, Decimal], ours: Collection[str]
) -> Decimal:
    """USD, without those of other people's orders."""
    whole = -sum((a.net_amount for a in lines if a.type == "FEE"), _NOTHING)
    return whole - sum((usd for order, usd in by_order.items() if order not in ours), _NOTHING)


def _price(lines: Sequence[Activity], fees: Mapping[str, Decimal]) -> Decimal:
    """USD a share that fills were done at on average, after fees; 0 where none tells a price."""
    fills = [a for a in lines if a.type == "FILL" and a.qty]
    shares = sum((a.qty or _NOTHING for a in fills), _NOTHING)
    cash = sum((a.net_amount for a in fills), _NOTHING)
    cash -= sum(
        (fees.get(order, _NOTHING) for order in {a.order_id or "" for a in fills}), _NOTHING
    )
    return -cash / shares if shares else _NOTHING

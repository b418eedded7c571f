"""What became of the account, by the broker's own lines: the journal is never asked.

Only `books` and `records` look into the store: at the activities that the product has recorded,
which are held against the broker's, and at the reasons and the audit log that it owes to people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from astra.ledger import replay
from astra.outcomes import outcomes
from astra.records import Side
from astra.store import Store
from benchmarks.chaos.lives import LIMITS
from sandbox.broker import Broker

CENT = Decimal("0.01")
NEAR = 0.03  # of equity
LITTLE = Decimal("0.02")  # of what was planned: costs and prices that moved


@dataclass(frozen=True, slots=True)
class Outcome:
    """The account after a case.

    Attributes:
        filled: shares by `<allocation id>-<symbol>-<side>`, attempts and slices summed.
        least_cash: USD, the lowest that the cash ever was.
        shorted: symbols of which more was sold than was held.
    """

    account: str
    cash: Decimal
    positions: Mapping[str, Decimal]
    filled: Mapping[str, Decimal]
    least_cash: Decimal
    shorted: frozenset[str]

    @classmethod
    def of(cls, broker: Broker) -> Outcome:
        """From the lines of the broker's books, in the order in which they were booked."""
        cash = least = Decimal(0)
        held: dict[str, Decimal] = {}
        filled: dict[str, Decimal] = {}
        shorted = set()
        for line in broker.books.lines:
            cash += line.cash
            least = min(least, cash)
            if line.symbol is not None:
                held[line.symbol] = held.get(line.symbol, Decimal(0)) + line.shares
                if held[line.symbol] < 0:
                    shorted.add(line.symbol)
            if line.order is not None:
                key = line.order.ticket.client_order_id.rpartition("-")[0]
                filled[key] = filled.get(key, Decimal(0)) + abs(line.shares)
        positions = {symbol: qty for symbol, qty in held.items() if qty}
        return cls(broker.account_number, cash, positions, filled, least, frozenset(shorted))

    def phase(self, allocation: str, side: Side) -> dict[str, Decimal]:
        """Shares by symbol that the allocation has bought or sold."""
        start, end = f"{allocation}-", f"-{side.value}"
        return {
            key[len(start) : -len(end)]: qty
            for key, qty in self.filled.items()
            if key.startswith(start) and key.endswith(end)
        }


def against_calm(found: Outcome, calm: Outcome) -> list[str]:
    """What differs from a run in which nothing went wrong, each in a sentence."""
    wrong = []
    if found.cash != calm.cash:
        wrong.append(f"cash is {found.cash}, {calm.cash} in the calm run")
    for symbol in sorted(found.positions.keys() | calm.positions.keys()):
        ours, theirs = found.positions.get(symbol, 0), calm.positions.get(symbol, 0)
        if ours != theirs:
            wrong.append(f"{ours} {symbol} are held, {theirs} in the calm run")
    for key in sorted(found.filled.keys() | calm.filled.keys()):
        ours, theirs = found.filled.get(key, 0), calm.filled.get(key, 0)
        if ours != theirs:
            wrong.append(f"{key} has traded {ours}, {theirs} in the calm run")
    return wrong


def reached(broker: Broker, weights: Mapping[str, float], short: Collection[str] = ()) -> list[str]:
    """Weights that are not held, as near as the limits and prices that moved on the way let them
    be; those of `short` may be lower."""
    most = min(LIMITS.max_position_weight, LIMITS.max_order_weight)
    value = {lot.symbol: float(lot.qty * lot.price) for lot in broker.lots()}
    equity = float(broker.books.cash) + sum(value.values())
    wrong = []
    for symbol in sorted(value.keys() | weights.keys()):
        held, asked = value.get(symbol, 0.0) / equity, weights.get(symbol, 0.0)
        low = 0.0 if symbol in short else min(asked, most) - NEAR
        if not low <= held <= min(asked, most) + NEAR:
            wrong.append(f"{held:.4f} of equity is in {symbol}, {asked:.4f} asked")
    return wrong


def always(found: Outcome) -> list[str]:
    """What must hold whatever went wrong."""
    wrong = [f"more {symbol} was sold than held" for symbol in sorted(found.shorted)]
    if found.least_cash < 0:
        wrong.append(f"cash was down to {found.least_cash}: more was bought than could be paid")
    return wrong


def records(store: Store, allocation: str) -> list[str]:
    """Plan lines that ended neither as a fill nor as a reason, and breaks in the audit log."""
    found = store.dossier(allocation)
    wrong = [
        f"the plan's line of {line.symbol} has neither a fill nor a reason"
        for line in outcomes(found.lines, found.orders, found.unfinished)
        if not line.is_explained
    ]
    wrong += [
        f"{o.id} is {o.status.value} in the end" for o in found.orders if not o.status.is_final
    ]
    log = store.audit.verify()
    return wrong if log.broken is None else [*wrong, f"the audit log breaks at {log.broken}"]


def unexplained(store: Store, allocation: str, found: Outcome, calm: Outcome) -> list[str]:
    """Names of which less was traded than in the calm run, and nobody is told why."""
    known = store.dossier(allocation)
    told = {
        (o.symbol, o.side): o.reason for o in outcomes(known.lines, known.orders, known.unfinished)
    }
    return [
        f"{qty} {symbol} of the calm run's {side.value}s are missing, and no reason is told"
        for side in Side
        for symbol, planned in calm.phase(allocation, side).items()
        if (qty := planned - found.phase(allocation, side).get(symbol, Decimal(0)))
        > planned * LITTLE
        and not (told.get((symbol, side)) or told.get((symbol, None)))
    ]


def books(broker: Broker, store: Store) -> list[str]:
    """Where the activities in the store do not sum to what the broker holds."""
    book = replay(store.books.activities(broker.account_number))
    held = {symbol: lot.qty for symbol, lot in broker.books.holdings.items()}
    wrong = []
    if book.cash.quantize(CENT) != broker.books.cash.quantize(CENT):
        wrong.append(f"cash is {broker.books.cash} at the broker, {book.cash} in our books")
    if dict(book.shares) != held:
        wrong.append(f"the broker holds {held}, our books {dict(book.shares)}")
    return wrong

"""A day as it was traded beside the same day replayed: what lies between, in parts. Pure.

The twin starts with the same shares and cash at the day's first decision and trades the same
decisions by the backtest's plan and fill rule. Both are valued at the stored bars' closes, until
the close of the session. What is explained is live - twin: above 0 where the account did better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from astra.fills import CENT, price_at
from astra.records import Side

PARTS = {
    "price": "the market between the bars in which the account and its twin traded, and what was "
    "planned otherwise for another price",
    "slippage": "the fills against the twin's rule in the bars in which they happened",
    "missed": "not or only partly filled, refused, halted, and what was planned otherwise after it",
    "corrections": "bars that were corrected, or came, after they were used",
    "fees": "fees of the broker against those the twin expects",
    "other": "dividends, interest, what other people's orders did to shares of ours",
}
_NOTHING = Decimal(0)
_DIGITS = 60  # quantities have 9 decimals, floats of prices up to 17 digits: no product is rounded
Cells = dict[tuple[str, str], Decimal]  # USD by part and symbol


@dataclass(frozen=True, slots=True)
class Fill:
    """An order as the twin fills it; `price` is USD a share, spread included."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of the replay; `opens` are the first that can be traded after it, USD by symbol,
    one that has none is absent."""

    opens: Mapping[str, Decimal]
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """The twin's day; `opening` and `closing` are USD by symbol at the first decision and at the
    session's close."""

    opening: Mapping[str, Decimal]
    closing: Mapping[str, Decimal]
    steps: tuple[Step, ...]
    half_spread_bp: Decimal


@dataclass(frozen=True, slots=True)
class Traded:
    """What one decision ordered of one name at the broker, and what came of it.

    Attributes:
        ordered, filled: shares.
        value: USD of what was filled, without fees.
        expected: USD of the same by the twin's rule: at the opens of the bars of its fills, half a
            spread against us.
    """

    symbol: str
    side: Side
    ordered: Decimal
    filled: Decimal
    value: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True)
class Executed:
    """One decision at the broker; `is_complete` if it was planned and traded to its end."""

    traded: tuple[Traded, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What came or went without an order of the day: signed shares, signed USD."""

    symbol: str
    qty: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class Lived:
    """The day as it happened to what is managed.

    Attributes:
        shares: at the first decision, by symbol.
        executed: one for each step of the replay.
        fees: USD; a broker books most of them without a symbol.
        other: see `Moved`; deposits and the like are not among them.
    """

    shares: Mapping[str, Decimal]
    executed: tuple[Executed, ...]
    fees: Decimal = _NOTHING
    other: tuple[Moved, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """USD to the cent. `parts` has all of `PARTS` and sums to `live - twin`; `lines` has what is
    not 0.00 of each part by symbol and sums to the part."""

    live: Decimal
    twin: Decimal
    parts: Mapping[str, Decimal]
    lines: Mapping[str, Mapping[str, Decimal]]


def explain(lived: Lived, then: Replay, now: Replay) -> Explained:
    """What lies between the day and its twin.

    With s = 1 for a purchase and -1 for a sale, of one name at one decision: Q shares ordered, q of
    them filled at F on average, where the twin's rule says R in the same bars; the twin fills q' at
    F'; the session's close is C:

        price       = -s q (R - F')
        slippage    = -s q (F - R)
        missed      = -s (Q - q) (C - F')
        the rest    =  s (Q - q') (C - F')      ordered otherwise than by the twin

    which sum to s q (C - F) - s q' (C - F'), the difference that the trade made until the close.
    The rest is part of `price`, as another price makes other quantities, until something was
    missed: from then on it is part of `missed`, since other shares and other cash are there to plan
    from. What was not ordered at all, as the decision was not traded to its end, counts as ordered
    as by the twin. A name that the twin does not trade has the F' of its rule; without an open, R.

        corrections = the twin's gain on bars as known now less that on bars as known then
        fees        = the twin's fees less the broker's
        other       = cash and, at C, shares that came or went otherwise

    The first three are against the twin on bars as known now, by which both are valued.

    Args:
        then: on bars as they were known when they were used; `live - twin` is of this one.
        now: on bars as they are known now.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        cells = Cells()
        upset = False
        for executed, step in zip(lived.executed, now.steps, strict=True):
            upset = _compare(cells, executed, step, now, upset=upset)
        gains, known = _gains(lived.shares, now), _gains(lived.shares, then)
        for symbol in gains.keys() | known.keys():
            _add(cells, "corrections", symbol, gains.get(symbol, _NOTHING))
            _add(cells, "corrections", symbol, -known.get(symbol, _NOTHING))
        for fill in (f for step in now.steps for f in step.fills):
            _add(cells, "fees", "", fill.fee)
        _add(cells, "fees", "", -lived.fees)
        for moved in lived.other:
            _add(cells, "other", moved.symbol, _worth(moved, now))
        return _rounded(cells, _cents(_live(lived, now)), _cents(sum(known.values(), _NOTHING)))


def told(found: Explained) -> str:
    """One sentence for a person."""
    difference = found.live - found.twin
    if not any(found.parts.values()):
        return f"as its twin, to the cent: {found.live:+,.2f} USD from the first decision on"
    largest = max(found.parts, key=lambda part: abs(found.parts[part]))
    better = "as its twin, but for parts that cancel out"
    if difference:
        way = "more" if difference > 0 else "less"
        better = f"{abs(difference):,.2f} USD {way} than its twin"
    return (
        f"{better}: {found.live:+,.2f} USD against {found.twin:+,.2f}; the largest part is "
        f"{largest} with {found.parts[largest]:+,.2f}"
    )


def _compare(cells: Cells, executed: Executed, step: Step, now: Replay, *, upset: bool) -> bool:
    """Add the first parts of one decision; whether anything was missed until its end.

    `upset` says whether anything was before.
    """
    ours = {(t.side, t.symbol): t for t in executed.traded}
    theirs = {(f.side, f.symbol): f for f in step.fills}
    for side in (Side.SELL, Side.BUY):
        missed = not executed.is_complete
        for symbol in sorted({s for of, s in (*ours, *theirs) if of is side}):
            fill = theirs.get((side, symbol))
            line = ours.get((side, symbol)) or _nothing_of(theirs[side, symbol], executed)
            missed |= line.filled < line.ordered
            for part, usd in _of_line(line, fill, step, now, upset=upset):
                _add(cells, part, symbol, usd)
        upset |= missed
    return upset


def _nothing_of(fill: Fill, executed: Executed) -> Traded:
    """What the broker was to do of something that the twin trades and nobody ordered there."""
    ordered = _NOTHING if executed.is_complete else fill.qty
    return Traded(fill.symbol, fill.side, ordered, _NOTHING, _NOTHING, _NOTHING)


def _of_line(
    line: Traded, fill: Fill | None, step: Step, now: Replay, *, upset: bool
) -> Iterable[tuple[str, Decimal]]:
    """Parts of one name at one decision, see `explain` for the formulas."""
    sign = 1 if line.side is Side.BUY else -1
    price = fill.price if fill else _would_fill(line, step, now)
    close = now.closing.get(line.symbol, price)
    left, otherwise = line.ordered - line.filled, line.ordered - (fill.qty if fill else _NOTHING)
    yield "price", -sign * (line.expected - line.filled * price)
    yield "slippage", -sign * (line.value - line.expected)
    yield "missed", -sign * left * (close - price)
    yield "missed" if upset else "price", sign * otherwise * (close - price)


def _would_fill(line: Traded, step: Step, now: Replay) -> Decimal:
    """The price at which the twin would have traded."""
    opens = step.opens.get(line.symbol)
    if opens is not None:
        return price_at(float(opens), line.side, now.half_spread_bp)
    return line.expected / line.filled if line.filled else _NOTHING


def _gains(shares: Mapping[str, Decimal], replay: Replay) -> dict[str, Decimal]:
    """What the twin gains by symbol until the close, after fees, USD."""
    found = {
        symbol: qty * (replay.closing[symbol] - replay.opening[symbol])
        for symbol, qty in shares.items()
    }
    for fill in (f for step in replay.steps for f in step.fills):
        sign = 1 if fill.side is Side.BUY else -1
        gain = sign * fill.qty * (replay.closing[fill.symbol] - fill.price) - fill.fee
        found[fill.symbol] = found.get(fill.symbol, _NOTHING) + gain
    return found


def _live(lived: Lived, now: Replay) -> Decimal:
    """What was gained until the close, after fees, USD."""
    found = sum((q * (now.closing[s] - now.opening[s]) for s, q in lived.shares.items()), _NOTHING)
    for executed, step in zip(lived.executed, now.steps, strict=True):
        for line in executed.traded:
            sign = 1 if line.side is Side.BUY else -1
            close = now.closing.get(line.symbol, _would_fill(line, step, now))
            found += sign * (line.filled * close - line.value)
    return found - lived.fees + sum(_worth(m, now) for m in lived.other)


def _worth(moved: Moved, now: Replay) -> Decimal:
    """USD at the close; shares that no bar tells the price of came for their worth."""
    close = now.closing.get(moved.symbol)
    if close is None:
        return _NOTHING if moved.qty else moved.cash
    return moved.qty * close + moved.cash


def _add(cells: Cells, part: str, symbol: str, usd: Decimal) -> None:
    cells[part, symbol] = cells.get((part, symbol), _NOTHING) + usd


def _rounded(cells: Cells, live: Decimal, twin: Decimal) -> Explained:
    exact = dict.fromkeys(PARTS, _NOTHING)
    for (part, _), usd in cells.items():
        exact[part] += usd
    sums = _shared(live - twin, list(exact.values()))
    parts = dict(zip(exact, sums, strict=True))
    lines: dict[str, dict[str, Decimal]] = {}
    for part, whole in parts.items():
        symbols = sorted(symbol for of, symbol in cells if of == part)
        rounded = _shared(whole, [cells[part, symbol] for symbol in symbols])
        for symbol, usd in zip(symbols, rounded, strict=True):
            if usd:
                lines.setdefault(symbol, {})[part] = usd
    ordered = {symbol: lines[symbol] for symbol in sorted(lines)}
    return Explained(live, twin, parts, ordered)


def _shared(whole: Decimal, exact: Sequence[Decimal]) -> list[Decimal]:
    """Amounts rounded to cents such that they sum to `whole`, which is their sum but for two cents
    at most: those that rounding has moved most give way, those that are 0 last."""
    found = [_cents(usd) for usd in exact]
    left = int((whole - sum(found, _NOTHING)) / CENT)
    sign = 1 if left > 0 else -1
    order = sorted(range(len(found)), key=lambda i: (sign * (found[i] - exact[i]), not exact[i]))
    for i in order[: abs(left)]:
        found[i] += sign * CENT
    return found


def _cents(usd: Decimal) -> Decimal:
    return usd.quantize(CENT, ROUND_HALF_EVEN) + 0  # no -0.00

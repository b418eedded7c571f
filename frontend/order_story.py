"""What happened to an order from bars to fill, step by step. Pure."""

from __future__ import annotations

import datetime as dt
import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from astra import attribution
from astra.outcomes import Outcome, outcomes
from astra.records import PlanLine, Side
from astra.sessions import BAR
from astra.shortfall import Shortfall
from astra.store.dossiers import Dossier
from astra.store.journal_rows import OrderRow
from frontend.words import basis_points, hover, money, percent, shares, stamp

PARTS = ("delay", "execution", "fees", "opportunity")
_LEAST = 5e-5  # a part of a weight change that would read 0.00 points
_DONE, _DENIED = "filled", "RISK_"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a story; `at` is None where no time is known. `is_bad` = something went wrong."""

    at: dt.datetime | None
    title: str
    text: str
    details: tuple[str, ...] = ()
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """Shares that were traded at one time, `price` USD each."""

    at: dt.datetime
    qty: float
    price: float


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of all orders of one name and side in one allocation.

    Attributes:
        steps: in the order in which they happened.
        cost: what it cost against the decision's price, and how it ended.
    """

    steps: tuple[Step, ...]
    cost: Shortfall | None
    ended: Outcome | None
    fills: tuple[Fill, ...]
    decision_price: float | None


def story(
    found: Dossier,
    symbol: str,
    side: Side,
    activities: pd.DataFrame,
    audit: pd.DataFrame,
    fan: pd.DataFrame,
    fees: Mapping[str, Decimal],
) -> Story:
    """From the bar that was decided on to the fill, or the reason why there is none.

    Args:
        activities: type, at, qty, price, order_id of the account since the allocation came.
        audit: at, kind, subject of the log since then.
        fan: step, close, q05, q95 of the name's forecast at the allocation's as-of time.
        fees: USD by the broker's order id.
    """
    own = tuple(o for o in found.orders if (o.symbol, o.side) == (symbol, side))
    line = next((x for x in found.lines if x.symbol == symbol), None)
    ended = next(
        (o for o in outcomes(found.lines, found.orders, found.unfinished)
         if (o.symbol, o.side) == (symbol, side)),
        None,
    )  # fmt: skip
    fills = _fills(own, activities)
    cost = None if ended is None else found.cost(ended, fees)
    steps = [
        *_decided(found, symbol, line, fan),
        *sorted(_traded(own, fills, audit, fees), key=_when),
    ]
    price = None if line is None else line.decision_price
    return Story(tuple(steps), cost, ended, tuple(f for _, f in fills), price)


def _when(step: Step) -> dt.datetime:
    return step.at or dt.datetime.max.replace(tzinfo=dt.UTC)


def _decided(
    found: Dossier, symbol: str, line: PlanLine | None, fan: pd.DataFrame
) -> Iterator[Step]:
    row, made = found.allocation, found.decision
    price = None if line is None else line.decision_price
    if row.as_of is not None:
        text = (
            f"{symbol} closed at {money(price)}." if price else "Its last close is not on record."
        )
        yield Step(row.as_of, "Bars", f"{text} Later bars were not known to the decision.")
    if made is not None:
        yield Step(row.as_of, "Forecast", _forecast(fan, price))
        yield _decision(found, symbol, line)
    came = f"{row.object} arrived"
    if made is None:
        came += "; dropped by hand or by another program, no decision is on record"
    yield Step(row.received_at, "File", f"{came}.")


def _forecast(fan: pd.DataFrame, price: float | None) -> str:
    if fan.empty or not price:
        return "None of this name is on record for this time."
    last = fan.sort_values("step").iloc[-1]
    low, middle, high = (
        percent(float(last[name]) / price - 1, signed=True) for name in ("q05", "close", "q95")
    )
    ahead = int(last["step"]) * int(BAR.total_seconds() // 60)
    return f"{middle} over the next {ahead} minutes; nine of ten outcomes from {low} to {high}."


def _decision(found: Dossier, symbol: str, line: PlanLine | None) -> Step:
    made, row = found.decision or {}, found.allocation
    policy = f"Policy {row.policy or 'unknown'}: {made.get('reason') or 'no reason recorded'}."
    if line is None:
        return Step(row.as_of, "Decision", policy)
    parts = attribution.of_plan(line, made)
    text = f"{policy} Weight {percent(parts.before)} to {percent(parts.planned)}, because:"
    return Step(row.as_of, "Decision", text, tuple(_why(parts.parts)))


def _why(parts: Mapping[str, float]) -> Iterator[str]:
    for name, part in parts.items():
        if abs(part) >= _LEAST:
            yield f"{part * 100:+.2f} points, {name}: {attribution.PARTS[name]}"


def _traded(
    own: Sequence[OrderRow],
    fills: Iterable[tuple[str, Fill]],
    audit: pd.DataFrame,
    fees: Mapping[str, Decimal],
) -> Iterator[Step]:
    """Steps of the orders, to be sorted by time; at one time as they are given here."""
    for order in own:
        again = f" (attempt {order.attempt})" if len(own) > 1 else ""
        text = f"{order.side} {shares(float(order.qty))} at about {money(order.reference_price)}"
        goal = "" if _code(order) or not order.reason else f": {order.reason}"
        yield Step(order.planned_at, f"Planned{again}", f"{text}{goal}.")
    for order in own:
        if order.sent_at is not None:
            kind = order.type if order.limit_price is None else f"limit {money(order.limit_price)}"
            yield Step(order.sent_at, "Sent", f"{kind} order {order.id} to the broker.")
    for order in own:
        yield from _ends(order, [f for key, f in fills if key == order.id], fees)
    names = {order.id for order in own}
    for at in audit[(audit["kind"] == "corrected") & audit["subject"].isin(names)]["at"]:
        text = "The journal was made what the broker says, after the books were compared."
        yield Step(at.to_pydatetime(), "Corrected", text)


def _ends(order: OrderRow, fills: Sequence[Fill], fees: Mapping[str, Decimal]) -> Iterator[Step]:
    for number, fill in enumerate(fills, start=1):
        is_whole = order.status.value == _DONE and number == len(fills)
        text = f"{shares(fill.qty)} at {money(fill.price)}, {money(fill.qty * fill.price)} in all."
        yield Step(fill.at, "Filled" if is_whole else "Partly filled", text)
    if fills and (fee := fees.get(order.broker_id)):
        yield Step(fills[-1].at, "Fee", f"{money(float(fee))}, as the broker booked it.")
    if order.status.value == _DONE:
        return
    if not order.status.is_final:
        yield Step(None, "Open", f"{order.status.value.replace('_', ' ').capitalize()}.")
        return
    code, told = _code(order), order.reason.partition(": ")[2].rstrip(".")
    title = order.status.value.capitalize()
    if code.startswith(_DENIED):
        title = "Denied by the risk gate"
    text = f"{told} ({code})." if code else "No reason is on record."
    yield Step(order.updated_at, title, text, is_bad=True)


def _code(order: OrderRow) -> str:
    """The code that begins the reason of an order that was not filled; "" before, or without."""
    code, found, _ = order.reason.partition(": ")
    return code if found and code.isupper() else ""


def _fills(own: Sequence[OrderRow], activities: pd.DataFrame) -> list[tuple[str, Fill]]:
    """Fills by our order id, oldest first: the broker's lines; what these do not tell (yet) is as
    the order has it."""
    found: list[tuple[str, Fill]] = []
    booked = activities[activities["type"] == "FILL"].sort_values("at")
    for order in own:
        lines = booked[booked["order_id"] == order.broker_id] if order.broker_id else booked[:0]
        for row in lines.to_dict("records"):
            fill = Fill(row["at"].to_pydatetime(), abs(float(row["qty"])), float(row["price"]))
            found.append((order.id, fill))
        price, filled = order.filled_average_price, float(order.filled_qty)
        if lines.empty and filled and price is not None:
            found.append((order.id, Fill(order.updated_at, filled, price)))
    return found


def listed(steps: Iterable[Step]) -> str:
    """Steps as an HTML list; times in New York, UTC when pointed at."""
    return f'<ol class="astra-story">{"".join(map(_item, steps))}</ol>'


def _item(step: Step) -> str:
    at = hover(step.at, stamp(step.at)) if step.at is not None else "now"
    details = "".join(f"<li>{html.escape(text)}</li>" for text in step.details)
    below = f"<ul>{details}</ul>" if details else ""
    mark = ' class="bad"' if step.is_bad else ""
    return (
        f"<li{mark}>{at}<strong>{html.escape(step.title)}</strong> "
        f"<span>{html.escape(step.text)}</span>{below}</li>"
    )


def priced(cost: Shortfall) -> list[tuple[str, str, str]]:
    """The parts of a shortfall and their sum: name, basis points, USD."""
    parts = [(name.capitalize(), getattr(cost, name)) for name in PARTS]
    return [
        (name, basis_points(cost.bp(usd), signed=True), _usd(usd))
        for name, usd in [*parts, ("Together", cost.total)]
    ]


def _usd(usd: float | None) -> str:
    return money(math.nan if usd is None else usd, signed=True)

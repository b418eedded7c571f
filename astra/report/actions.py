"""What was decided, ordered and filled on a day, in words. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from astra import shortfall
from astra.outcomes import Outcome
from astra.report.day import Day
from astra.report.sheet import Column, Section, Table
from astra.report.speech import MOST_LINES, clock, cut, sentence
from astra.report.trading import Traded
from astra.shortfall import Shortfall
from frontend.decision import Decision
from frontend.words import basis_points, capital, count, money, percent, shares

MOST_MISSED = 4
_TEXT, _WIDE = False, True


def decisions(day: Day) -> Section:
    """What was decided, and what for."""
    if not day.decisions:
        return Section("Decisions", ("No decision is on record for this day.",))
    shown = day.decisions[-MOST_LINES:]
    columns = (
        Column("Time", _TEXT), Column("Policy", _TEXT), Column("Done", _TEXT), Column("Gain"),
        Column("Cost"), Column("Forecast", _TEXT), Column("Why", _TEXT, _WIDE),
    )  # fmt: skip
    rows = tuple(
        (clock(d.as_of), d.policy.rsplit("/", 1)[-1], _moved(d), basis_points(d.gain_bp),
         basis_points(d.cost_bp), _forecast(d), cut(d.reason))
        for d in shown
    )  # fmt: skip
    said = []
    if more := len(day.decisions) - len(shown):
        said.append(f"{count(more, 'earlier decision')} of the day not shown.")
    made = {d.as_of for d in day.decisions}
    missing = [t for t in day.bounds.session.decision_times() if t <= day.as_of and t not in made]
    if missing:
        said.append(f"None is on record for {', '.join(map(clock, missing))}.")
    return Section("Decisions", tuple(said), Table(columns, rows))


def _moved(d: Decision) -> str:
    if not math.isfinite(d.tau):
        return "not weighed"
    return f"traded {percent(d.tau, digits=0)}" if d.traded else "held"


def _forecast(d: Decision) -> str:
    known = f", t = {d.skill.t:.1f}" if math.isfinite(d.skill.t) else ""
    return f"{'on' if d.skill.on else 'off'}{known}"


def orders(day: Day) -> Section:
    """What was ordered and filled, and what that cost against the decisions' prices."""
    if not day.traded:
        return Section("Orders", ("No allocation came on this day, so nothing was ordered.",))
    columns = (
        Column("Time", _TEXT), Column("Allocation", _TEXT, _WIDE), Column("Filled"),
        Column("Traded"), Column("Shortfall"), Column("Delay"), Column("Execution"),
        Column("Fees"), Column("Not filled"),
    )  # fmt: skip
    shown = day.traded[-MOST_LINES:]
    ended = [o for one in day.traded for o in one.ended]
    whole = shortfall.of_all(cost for one in day.traded for cost in one.costs)
    traded = money(math.fsum(one.value for one in day.traded))
    rows = [_allocation(one) for one in shown]
    rows.append(("Day", "", _filled(ended), traded, *_parts(whole)))
    return Section("Orders", tuple(_orders_said(day, whole)), Table(columns, tuple(rows), sums=1))


def _allocation(one: Traded) -> tuple[str, ...]:
    said = one.status if one.status == "done" else f"{one.status}: {cut(one.reason)}"
    costs = _parts(shortfall.of_all(one.costs))
    return (clock(one.at), said, _filled(one.ended), money(one.value), *costs)


def _filled(ended: Sequence[Outcome]) -> str:
    return f"{sum(o.filled >= o.ordered for o in ended)} of {len(ended)}"


def _parts(cost: Shortfall) -> tuple[str, ...]:
    usd = (cost.total, cost.delay, cost.execution, cost.fees, cost.opportunity)
    return tuple(basis_points(cost.bp(part), signed=True) for part in usd)


def _orders_said(day: Day, whole: Shortfall) -> Iterator[str]:
    more = len(day.traded) - MOST_LINES
    if more > 0:
        yield f"{count(more, 'earlier allocation')} not shown, but counted."
    counted = sum((Counter(one.statuses) for one in day.traded), Counter[str]())
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(counted.items()))
    if told:
        against = "Costs are against the last price before the decision; below 0 is a gain."
        yield f"Orders: {told}. {against}"
    if whole.left_out:
        yield f"Of {count(whole.left_out, 'order')} the cost is not known."
    missed = [o for one in day.traded for o in one.missed]
    for o in missed[:MOST_MISSED]:
        side = o.side.value if o.side else ""
        why = f": {sentence(o.reason)}" if o.reason else "."
        filled = f"{shares(float(o.filled))} of {shares(float(o.ordered))} filled"
        yield f"{capital(side)} {o.symbol}, {filled}{why}"
    if len(missed) > MOST_MISSED:
        yield f"And {len(missed) - MOST_MISSED} more not filled, or not all of it."

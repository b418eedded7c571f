"""What the account earned, held and was watched for, in words; a sentence for what is missing.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from astra.cash import Kind
from astra.records import TradingState
from astra.report.day import Day
from astra.report.sheet import Column, Section, Table
from astra.report.speech import MOST_LINES, clock, cut, sentence, when
from astra.scoring import against_last_value, calibration
from astra.sessions import NEW_YORK
from astra.store.twins import COMPARED
from frontend.account import Holdings, by_sector
from frontend.decision import forecast_sentence
from frontend.skill import calibration_sentence, error_sentence
from frontend.standing import CHIPS
from frontend.words import UNKNOWN, capital, count, money, percent

MOST_NAMES = 20
_SAME = 0.05  # USD: the broker rounds each position's value to cents
_TEXT, _WIDE = False, True


def profit(day: Day) -> Section:
    """What the day's profit came from."""
    title, curve, found = "Where the profit came from", day.value.curve, day.value.profit
    if curve is None or found is None:
        return Section(title, ("Two saved summaries of the account are needed to tell.",))
    gain = curve.figures().gain
    left = gain - float(found.told)
    is_rounding = abs(left) < _SAME
    lines = [("Prices of shares", float(found.price) + (left if is_rounding else 0.0))]
    lines += [(kind.value, float(usd)) for kind, usd in found.kinds.items()]
    if not is_rounding:
        lines.append(("Not told by the record", left))
    rows = [(name, money(usd, signed=True)) for name, usd in lines]
    rows.append(("Profit of the day", money(gain, signed=True)))
    said = [f"Of the prices, sales made certain {money(float(found.realised), signed=True)}."]
    if curve.flows:
        paid = money(curve.paid_in, signed=True)
        said.append(f"{Kind.FLOWS.value} of {paid} are no profit and left out.")
    if found.without_price:
        said.append(f"No price is on record of {sentence(', '.join(found.without_price))}")
    columns = (Column("", _TEXT, _WIDE), Column("USD"))
    return Section(title, tuple(said), Table(columns, tuple(rows), sums=1))


def positions(day: Day) -> Section:
    """What was held at the end of the day, the largest first."""
    title, found = "Positions", day.value.held
    if found is None:
        return Section(title, ("No summary of the account was saved on this day.",))
    own = found.table[found.table["value"] != 0].to_dict("records")
    if not own:
        return Section(title, (f"Everything was in cash: {money(found.cash)}.",))
    made = day.value.targets
    told = "No target was decided yet." if made is None else f"Targets are of {when(made.as_of)}."
    said = [f"{count(len(own), 'position')}, as saved at {clock(found.at)}. {told}"]
    if found.is_apart:
        said.append(
            f"Weight and target are of the {money(found.managed)} that are managed and of the "
            "shares that are ours; what is not has none."
        )
    columns = [
        Column("Symbol", _TEXT), Column("Name", _TEXT, _WIDE), Column("Of account"),
        Column("Weight"), Column("Target"), Column("Value"), Column("Open profit"),
    ]  # fmt: skip
    rows = _held(found, own)
    if not found.is_apart:  # a weight is a share of the account then
        del columns[3]
        columns[2] = Column("Weight")
        rows = [(*row[:3], *row[4:]) for row in rows]
    return Section(title, tuple(said), Table(tuple(columns), tuple(rows), sums=1))


def _held(found: Holdings, own: Sequence[Mapping[Hashable, Any]]) -> list[tuple[str, ...]]:
    """Symbol, name, share of the account, weight, target, value, profit: the largest, the others
    together, cash."""
    names = ("share", "weight", "target", "value", "gain")
    rest = own[MOST_NAMES:]
    lines = [(str(r["symbol"]), str(r["name"]), *(r[n] for n in names)) for r in own[:MOST_NAMES]]
    if rest:
        sums = (math.fsum(r[n] for r in rest if math.isfinite(r[n])) for n in names)
        lines.append(("", f"{len(rest)} more", *sums))
    rows = [
        (symbol, name, percent(share), percent(weight), percent(target), money(value),
         money(gain, signed=True))
        for symbol, name, share, weight, target, value, gain in lines
    ]  # fmt: skip
    cash = percent(found.cash / found.equity) if found.equity > 0 else UNKNOWN
    return [*rows, ("Cash", "", cash, "", "", money(found.cash), "")]


def sectors(day: Day) -> Section:
    """The same by sector, the largest first."""
    found = day.value.held
    sums = None if found is None or found.table.empty else by_sector(found.table)
    if sums is None or sums.empty:
        return Section("Sectors", ("Nothing was held, so there is nothing to divide.",))
    rows = tuple(
        (str(r["sector"]), percent(r["weight"]), percent(r["target"]))
        for r in sums.iloc[::-1].to_dict("records")
    )
    columns = (Column("Sector", _TEXT, _WIDE), Column("Weight"), Column("Target"))
    return Section("Sectors", (), Table(columns, rows))


def forecasts(day: Day) -> Section:
    """Whether forecasts were used, and how near they came."""
    said = [] if day.value.targets is None else [forecast_sentence(day.value.targets)]
    ratios, bands = against_last_value(day.tallies), calibration(day.tallies)
    if not ratios or bands is None:
        said.append("No outcome of the day's forecasts is known: none was made, or no bar came.")
    else:
        said.append(f"Of the day's forecasts, {count(bands.cases, 'close')} came so far.")
        said += [error_sentence(ratios[0]), calibration_sentence(bands)]
    return Section("Forecasts", tuple(said))


def twin(day: Day) -> Section:
    """The day as it was traded beside its replay."""
    title, found = "Live twin", day.twin
    if found is None:
        ask = f"astra twin --day {day.bounds.session.date}"
        return Section(
            title, (f"No twin was made for this day: `{ask}` makes it once it is over.",)
        )
    if found.status != COMPARED:
        return Section(title, (f"Not compared: {sentence(found.message)}",))
    rows = [("As traded", found.live), ("As replayed", found.twin)]
    rows += [(f"of the difference, {part}", usd) for part, usd in found.parts.items()]
    rows.append(("Difference", found.live - found.twin))
    told = tuple((name, money(float(usd), signed=True)) for name, usd in rows)
    columns = (Column("", _TEXT, _WIDE), Column("USD"))
    said = f"From the first decision to the close. {capital(found.message)}."
    return Section(title, (said,), Table(columns, told, sums=1))


def watch(day: Day) -> Section:
    """Alarms of the day, those still open first; halts; our books against the broker's."""
    found, said = day.watch, []
    gravest = sorted(found.alerts, key=lambda a: (not a.is_open, a.severity != "critical"))
    rows = tuple(
        (capital(a.severity), capital(cut(a.message)), when(a.opened_at),
         "open" if a.closed_at is None else clock(a.closed_at))
        for a in gravest[:MOST_LINES]
    )  # fmt: skip
    if not rows:
        looked = "No alert was open on this day." if found.is_kept else "No alert is on record."
        said.append(looked)
    elif len(found.alerts) > len(rows):
        said.append(f"{count(len(found.alerts) - len(rows), 'more alert')} not shown.")
    said.append(f"{CHIPS[found.state][1]}{_changed(day)}.")
    said.append(_books(day))
    columns = (Column("Alarm", _TEXT), Column("What", _TEXT, _WIDE), Column("Since", _TEXT),
               Column("Until", _TEXT))  # fmt: skip
    return Section("Alarms, halts, books", tuple(said), Table(columns, rows) if rows else None)


def _changed(day: Day) -> str:
    changes = day.watch.changes
    if not changes:
        return ", and was not changed on this day"
    last = [
        f"{clock(c.at)} {'lifted' if c.after is TradingState.ACTIVE else c.after.value} by "
        f"{c.by or UNKNOWN}" + (f" ({cut(c.reason)})" if c.reason else "")
        for c in changes[-3:]
    ]
    earlier = f" after {count(len(changes) - 3, 'earlier change')}" if len(changes) > 3 else ""
    return f"; changed on this day{earlier}: " + "; ".join(last)


def _books(day: Day) -> str:
    found = day.watch.books
    if found is None:
        return "Our books were not held against the broker's yet."
    at = found.at.astimezone(NEW_YORK)
    told = f"{capital(cut(found.message or found.status))} ({at:%a} {at.day} {at:%b %H:%M})."
    if not day.watch.compared:
        return f"Not compared on this day; before it: {told}"
    of = f"compared {count(day.watch.compared, 'time')}, {day.watch.differing} differing"
    return f"{told} Books {of} on this day."

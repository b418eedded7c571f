"""A day in words: the report's head, its figures, and what needs somebody. Pure."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

from astra.equity_curve import Curve
from astra.performance import drawdowns, exposure
from astra.records import TradingState
from astra.report import actions, sections
from astra.report.day import Day
from astra.report.sheet import Figure, Sheet
from astra.report.speech import clock, sentence, when
from astra.sessions import NEW_YORK
from frontend.decision import market_line
from frontend.standing import CHIPS
from frontend.words import UNKNOWN, capital, count, money, new_york, percent, utc

MOST_NEEDS = 5
_FOOT = (
    "Figures are of what is on record of the account; benchmarks are prices without dividends. "
    "Past, replayed or simulated results promise nothing."
)


def sheet(day: Day) -> Sheet:
    """The whole report of a day in words."""
    date = day.bounds.session.date
    needs = tuple(_needs(day))
    more = len(needs) - MOST_NEEDS
    if more > 0:
        needs = (*needs[:MOST_NEEDS], f"And {more} more, listed below or on the page System.")
    return Sheet(
        title=f"Account {day.account}, {date:%A} {date.day} {date:%B %Y}",
        where=market_line(day.market) or _broker(day),
        as_of=f"As of {new_york(day.as_of)} ({utc(day.as_of)}){_part(day)}.",
        clock=_clock(day),
        figures=tuple(_figures(day)),
        needs=needs,
        calm=_calm(day),
        chart=_chart(day),
        chart_missing="" if day.value.curve else _too_few(day),
        profit=sections.profit(day),
        decisions=actions.decisions(day),
        orders=actions.orders(day),
        positions=sections.positions(day),
        sectors=sections.sectors(day),
        forecasts=sections.forecasts(day),
        twin=sections.twin(day),
        watch=sections.watch(day),
        foot=_FOOT,
    )


def _broker(day: Day) -> str:
    if day.paper:
        known = "" if day.market else " No bars were loaded yet, so the market is not known."
        return f"PAPER trading: real prices, and no money that could be lost or won.{known}"
    return "LIVE trading: real money."


def _part(day: Day) -> str:
    if day.is_over:
        return ""
    closes = day.bounds.session.closes_at.astimezone(NEW_YORK)
    return f": part of a day, the session closes at {closes:%H:%M}"


def _clock(day: Day) -> str:
    session = day.bounds.session
    offset = session.opens_at.astimezone(NEW_YORK).utcoffset() or dt.timedelta()
    hours = int(-offset.total_seconds()) // 3600
    return (
        f"Session {clock(session.opens_at)} to {clock(session.closes_at)}. Times are New York's; "
        f"UTC is {hours} hours later."
    )


def _figures(day: Day) -> Iterator[Figure]:
    curve = day.value.curve
    if curve is None:
        if (whole := day.value.whole) is not None:
            told = f"the last on record, {new_york(whole.times[-1])}"
            yield Figure("Value", money(float(whole.values[-1])), told)
        yield _invested(day)
        return
    first, last = float(curve.values[0]), float(curve.values[-1])
    found = curve.figures()
    before = "before the session" if curve.times[0] < day.bounds.start else "first record"
    yield Figure("Value at the open", money(first), f"{before}, {when(curve.times[0])}")
    close = "Value at the close" if day.is_over else "Value so far"
    yield Figure(close, money(last), f"recorded {when(curve.times[-1])}")
    share = percent(found.time_weighted, signed=True)
    told = f"{share}, deposits left out" if curve.flows else share
    gain = money(found.gain, signed=True)
    yield Figure("Profit of the day", gain, told, _tone(found.gain))
    for name, beside in day.value.benchmarks.items():
        yield _benchmark(name, beside)
    yield from _depths(day, curve, found.max_drawdown)
    yield _invested(day)


def _benchmark(name: str, beside: Curve) -> Figure:
    """Up to the last price that is known, which the account is compared up to as well."""
    found, until = beside.figures(), beside.beside_until
    if until is None or not math.isfinite(found.benchmark_return):
        return Figure(f"{name}, price", UNKNOWN, "no bars of it for this day in the store")
    told = f"account {100 * found.ahead:+.2f} points"
    if until < beside.times[-1]:
        told = f"known until {clock(until)}: {told} then"
    return Figure(f"{name}, price", percent(found.benchmark_return, signed=True), told)


def _depths(day: Day, curve: Curve, deepest: float) -> Iterator[Figure]:
    yield Figure("Deepest of the day", percent(deepest), "below its highest of the day")
    if day.value.whole is not None:
        depth = float(drawdowns(day.value.whole.equity)[-1])
        since = day.value.whole.times[0].astimezone(NEW_YORK)
        told = f"below its highest since {since.day} {since:%b %Y}"
        yield Figure("Drawdown", percent(depth), told)


def _invested(day: Day) -> Figure:
    invested = day.value.invested
    if not invested:
        return Figure("Invested", UNKNOWN, "no summary was saved")
    return Figure("Invested", percent(invested[-1][1], digits=1),
                  f"{percent(exposure(invested), digits=1)} on average of the day")  # fmt: skip


def _tone(usd: float) -> str:
    return "gain" if usd > 0 else "loss" if usd < 0 else ""


def _needs(day: Day) -> Iterator[str]:
    watch = day.watch
    if watch.state is not TradingState.ACTIVE:
        yield f"{CHIPS[watch.state][1]}: `astra lift` says why and lifts it in two steps."
    if watch.books is not None and watch.books.status == "differs":
        yield f"The books differ from the broker's: {sentence(watch.books.message)}"
    still = [alert for alert in watch.alerts if alert.is_open]
    for alert in sorted(still, key=lambda a: a.severity != "critical"):
        yield f"{capital(alert.severity)} since {when(alert.opened_at)}: {sentence(alert.message)}"
    for one in day.traded:
        if one.status != "done":
            why = f": {sentence(one.reason)}" if one.reason else "."
            yield f"The allocation of {clock(one.at)} is {one.status}{why}"
    missed = sum(len(one.missed) for one in day.traded)
    if missed:
        yield f"{count(missed, 'order')} not filled, or not all of it: see Orders."


def _calm(day: Day) -> str:
    if not day.watch.is_kept:
        return "Nobody has looked for alerts yet: the monitor does, every five minutes."
    return "Nothing, as far as the monitor could tell by then."


def _chart(day: Day) -> str:
    curve = day.value.curve
    if curve is None:
        return ""
    own = percent(curve.figures().time_weighted, signed=True)
    others = [
        f"{name} {percent(beside.figures().benchmark_return, signed=True)}"
        for name, beside in day.value.benchmarks.items()
        if beside.rebased() is not None
    ]
    return f"Since {when(curve.times[0])}: " + ", ".join([f"account {own}", *others])


def _too_few(day: Day) -> str:
    if day.value.whole is None:
        return "No value of the account was recorded until then, so nothing can be drawn."
    return "No two values of the account are on record for this day, so nothing can be drawn."

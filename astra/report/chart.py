"""The picture of a day: the account beside its benchmarks, from the value before the session."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from astra.equity_curve import Curve
from astra.report.day import Day
from astra.sessions import NEW_YORK
from frontend.words import percent
from model.backtest.drawing import SVG, svg
from model.charting import ACCENT, NEUTRAL, STYLE
from model.charting import percent as axis_percent

_OTHERS = ("#e0894a", "#2f9e74", "#8466c9", "#c2477f")
_WIDE, _NARROW, _INCHES = 7.2, 4.2, 2.5


def pictures(day: Day, curve: Curve) -> tuple[str, str]:
    """The chart as two <svg> elements, for a wide page and for a narrow one; their colours are CSS
    variables of the page."""
    found = []
    for name, width in (("wide", _WIDE), ("narrow", _NARROW)):
        with rc_context({**STYLE, **SVG, "svg.hashsalt": name}):
            figure = Figure(figsize=(width, _INCHES), layout="constrained")
            draw(figure.subplots(), day, curve, 9.0)
            found.append(svg(figure))
    return found[0], found[1]


def draw(axes: Axes, day: Day, curve: Curve, size: float) -> None:
    """Returns since the value before the session; a benchmark without bars is left out.

    Args:
        curve: the account's, at least two values.
        size: of the texts, points.
    """
    session = day.bounds.session
    hours = np.array([_hour(max(t, session.opens_at)) for t in curve.times])
    lines = [("Account", curve.equity, ACCENT, 1.9)]
    colours = iter(_OTHERS)
    for name, beside in day.value.benchmarks.items():
        rebased = beside.rebased()
        if rebased is not None:
            lines.append((name, rebased, next(colours, NEUTRAL), 1.2))
    axes.axhline(0, color=NEUTRAL, lw=0.8)
    for name, values, colour, width in reversed(lines):
        moved = values / curve.equity[0] - 1
        said = f"{name} {percent(float(moved[-1]), signed=True)}"
        axes.plot(
            hours, moved, color=colour, lw=width * size / 9, label=said, solid_capstyle="round"
        )
    first, last = math.floor(_hour(session.opens_at)), math.ceil(_hour(session.closes_at))
    axes.set_xlim(_hour(session.opens_at), max(_hour(session.closes_at), float(hours[-1])))
    ticks = list(range(first + 1, last + 1))
    axes.set_xticks(ticks, [f"{hour}:00" for hour in ticks], fontsize=size)
    axes.tick_params(axis="y", labelsize=size)
    axes.yaxis.set_major_formatter(axis_percent)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=(1, 2, 5, 10)))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="lower left", bbox_to_anchor=(0, 1), ncols=len(lines),
        fontsize=size, borderaxespad=0, handlelength=1.2, columnspacing=1.2, borderpad=0.2,
    )  # fmt: skip


def _hour(at: dt.datetime) -> float:
    """Of the day in New York."""
    local = at.astimezone(NEW_YORK)
    return local.hour + local.minute / 60 + local.second / 3600

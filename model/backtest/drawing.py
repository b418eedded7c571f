"""What the pictures of a backtest are put together from: colours, an axis of time, labels at the
ends of lines, and SVG that takes its colours and fonts from the page around it.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.optimize import isotonic_regression

from astra.sessions import NEW_YORK
from model.backtest.records import HOUR, SPY_TOTAL, Backtest, Curve
from model.charting import ACCENT, INK, LOSS, NEUTRAL
from model.forecast.record import Floats

POLICY_COLOURS = {
    "measured": ACCENT, "trust": "#e0894a", "original": "#c2477f", "min_variance": "#2f9e74",
    "risk_parity": "#8466c9", "equal": "#b08d1a",
}  # fmt: skip
OTHER_COLOURS = ("#3a9fb5", "#8c6d57", "#6f8f2f", "#5b6ee1", "#b5651d", "#4c7a8f")
# Each colour that is drawn with, by the CSS variable that stands for it in the SVG.
VARIABLES = {
    "--ink": INK, "--soft": NEUTRAL, "--loss": LOSS, "--paper": "#ffffff",
    **{f"--c{i}": c for i, c in enumerate((*POLICY_COLOURS.values(), *OTHER_COLOURS))},
}  # fmt: skip
# Text stays text, and a $ in a policy's name is one.
SVG = {"svg.fonttype": "none", "text.parse_math": False, "xtick.major.pad": 6}
LABEL = 8.5  # points
WIDTHS = {False: 11.0, True: 4.9}  # inches, by whether the page is narrow
_LONG_DAYS = 100  # beyond them the axis of time names months


def colours(policies: Sequence[str]) -> dict[str, str]:
    """A colour for each policy, always the same for those of the house."""
    others = [name for name in policies if name not in POLICY_COLOURS]
    own = {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: POLICY_COLOURS.get(name) or own[name] for name in policies}


def variable(colour: str) -> str:
    """The CSS value that stands for a colour: var(--c0)."""
    return next(f"var({name})" for name, value in VARIABLES.items() if value == colour)


def spread(places: Floats, gap: float) -> Floats:
    """Places at least `gap` apart in the same order, moved as little as can be in squares.

    By isotonic regression of what is left of each when the gaps below it are taken off.
    """
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    found = np.empty(len(places))
    found[order] = isotonic_regression(places[order] - steps).x + steps
    return found


def foot(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=LABEL, color=NEUTRAL, ha="left", x=0.012)


def panels(
    figure: Figure, result: Backtest, columns: int, share: bool
) -> list[tuple[Axes, tuple[str, Curve]]]:
    """Axes for each policy's curve, in rows of `columns`."""
    columns = min(columns, len(result.curves))
    rows = -(-len(result.curves) // columns)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    for axes in grid.flat[len(result.curves) :]:
        axes.set_axis_off()
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(hspace=0.05)
    return list(zip(grid.flat, result.curves.items(), strict=False))


def numbers(result: Backtest) -> dict[dt.datetime, int]:
    """The number of each decision by its time."""
    return {end - HOUR: i for i, end in enumerate(result.times[1:])}


def time_axis(axes: Axes, result: Backtest, narrow: bool, ticks: int | None = None) -> None:
    """Name days, or months of a long walk; hours without trading take no room."""
    days = [t.astimezone(NEW_YORK).date() for t in result.times]
    is_long = (days[-1] - days[0]).days > _LONG_DAYS
    named = [(d.year, d.month) if is_long else d for d in days]
    starts = [i for i, name in enumerate(named) if i == 0 or name != named[i - 1]]
    most = ticks or (4 if narrow else 8)
    shown = starts[:: -(-len(starts) // most)]
    axes.set_xlim(0, len(days) - 1)
    said = [f"{d:%b %Y}" if is_long else f"{d.day} {d:%b}" for d in (days[i] for i in shown)]
    axes.set_xticks(shown, said, fontsize=9)


def end_labels(
    axes: Axes,
    figure: Figure,
    ends: Sequence[tuple[str, float, str]],
    said: Callable[[float], str],
) -> None:
    """Name each line at its end, the names apart from each other."""
    low, high = axes.get_ylim()
    tall = figure.get_size_inches()[1] * 72 / len(figure.axes) * 0.85  # points, about
    places = np.array([value for _, value, _ in ends])
    apart = spread(places, (high - low) * 1.35 * LABEL / tall)
    narrow = figure.get_size_inches()[0] <= WIDTHS[True]
    for (name, value, colour), place in zip(ends, apart, strict=True):
        axes.annotate(
            f"{short(name, narrow)}  {minus(said(value))}", (1.0, place),
            xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=LABEL, color=colour, annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(low, high)


def short(name: str, narrow: bool) -> str:
    """A policy of one's own without its folder; the longest benchmark for a narrow page."""
    return "SPY + dividends" if narrow and name == SPY_TOTAL else name.rsplit("/", 1)[-1]


def minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def svg(figure: Figure) -> str:
    """The figure as an <svg> element to stand inside a page: no fonts, no fixed size, no fixed
    colours, no ids that another chart could have too."""
    page = io.StringIO()
    figure.savefig(page, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = page.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"', lambda m: m[1] or "", text, count=2
    )
    text = re.sub(r"font-family: [^;\"]+;? ?", "", text)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:d|x|y)="[^"]*"', _coarser, text)
    for name, colour in VARIABLES.items():
        text = text.replace(colour, f"var({name})")
    return text


def _coarser(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, on one line."""
    return " " + re.sub(r"(\.\d\d)\d+", r"\1", " ".join(found[0].split()))

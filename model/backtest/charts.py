"""Pictures of a backtest: each drawn for a wide and a narrow page as SVG, and as PNG.

Every policy has one colour in all of them, benchmarks are grey.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from astra.performance import drawdowns
from model.backtest.drawing import (
    LABEL,
    SVG,
    WIDTHS,
    colours,
    end_labels,
    foot,
    minus,
    numbers,
    panels,
    short,
    svg,
    time_axis,
)
from model.backtest.records import BENCHMARKS, SPY, SPY_TOTAL, Backtest, Curve
from model.charting import ACCENT, DASHED, INK, NEUTRAL, STYLE, headed, percent
from model.forecast.record import Floats
from model.forecast.skill import OFF_BELOW_T, ON_AT_T

if TYPE_CHECKING:
    from astra.league import Interval

_DASHES = dict(zip(BENCHMARKS, ("-", (0, (1, 1.5)), (0, (5, 2)), (0, (4, 2, 1, 2))), strict=True))
_NAMES_SHOWN = 10
_COST_MARKS = ((0.0, "o", False), (1.0, "o", True), (2.0, "s", False))


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: its name and what it shows in words, its SVG for both widths of a page, a PNG."""

    name: str
    title: str
    wide: str
    narrow: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Scene:
    """What pictures are drawn of.

    Attributes:
        league: names with their difference from the benchmark `against`, the best first.
    """

    backtest: Backtest
    league: tuple[tuple[str, Interval], ...]
    against: str


Draw = Callable[[Scene, Figure, bool], None]


def charts(scene: Scene, said: str) -> tuple[Chart, ...]:
    """Draw everything there is to show.

    Args:
        said: the line under the title of a PNG: the market and the days.
    """
    drawn = []
    for name, title, draw, height in _plan(scene):
        with rc_context({**STYLE, **SVG, "svg.hashsalt": name}):
            figure = headed((WIDTHS[False], height(False) + 0.7), title, said, foot=0.005)
            draw(scene, figure, False)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=140, facecolor="white")
            wide, narrow = (
                _page(scene, draw, (WIDTHS[is_narrow], height(is_narrow)))
                for is_narrow in (False, True)
            )
        drawn.append(Chart(name, title, wide, narrow, file.getvalue()))
    return tuple(drawn)


def _plan(scene: Scene) -> list[tuple[str, str, Draw, Callable[[bool], float]]]:
    """Name, title, how it is drawn, and its height in inches for a wide and a narrow page."""
    policies = len(scene.backtest.curves)
    rows = 0.34 * policies

    def stacked(each: float, columns: int) -> Callable[[bool], float]:
        return lambda narrow: 0.3 + each * (policies if narrow else -(-policies // columns))

    plan: list[tuple[str, str, Draw, Callable[[bool], float]]] = [
        ("return", "Return after costs", _return, lambda narrow: 5.2 if narrow else 5.0),
        ("drawdown", "Below the highest value so far", _drawdown, stacked(1.7, 3)),
    ]
    if scene.league:
        league = 0.9 + 0.36 * len(scene.league)
        plan.append(
            ("league", f"A year's return less that of {scene.against}", _league, lambda _: league)
        )
    plan += [
        ("costs", "Return at no costs, the assumed ones and twice them", _costs,
         lambda _: 0.9 + rows),
        ("turnover", "Bought and sold so far, in units of equity", _turnover,
         lambda narrow: 4.0 if narrow else 3.6),
        ("weights", "What was held: the largest names of each policy", _weights, stacked(2.6, 2)),
    ]  # fmt: skip
    if scene.backtest.skill:
        plan.append(("skill", "What forecasts had been worth", _skill, lambda _: 4.6))
    return plan


def _return(scene: Scene, figure: Figure, narrow: bool) -> None:
    """Every policy's and benchmark's return since the first decision."""
    result, axes = scene.backtest, figure.subplots()
    own = colours(tuple(result.curves))
    lines: list[tuple[str, Floats, str]] = []
    for name, equity in result.benchmarks.items():
        colour = INK if name in (SPY, SPY_TOTAL) else NEUTRAL
        axes.plot(equity / equity[0] - 1, color=colour, lw=1.3, ls=_DASHES.get(name, "-"))
        lines.append((name, equity, colour))
    for name, curve in reversed(tuple(result.curves.items())):  # the first one on top
        axes.plot(curve.equity / curve.equity[0] - 1, color=own[name], lw=1.8)
        lines.append((name, curve.equity, own[name]))
    axes.axhline(0, color=NEUTRAL, lw=1)
    axes.yaxis.set_major_formatter(percent)
    time_axis(axes, result, narrow)
    end_labels(axes, figure, [(n, e[-1] / e[0] - 1, c) for n, e, c in lines], lambda v: f"{v:+.1%}")


def _drawdown(scene: Scene, figure: Figure, narrow: bool) -> None:
    """A panel for each policy, SPY behind it."""
    result = scene.backtest
    own = colours(tuple(result.curves))
    spy = result.benchmarks.get(SPY)
    for axes, (name, curve) in panels(figure, result, 1 if narrow else 3, share=True):
        below = drawdowns(curve.equity)
        x = np.arange(len(below))
        axes.fill_between(x, below, 0, color=own[name], alpha=0.3, lw=0)
        axes.plot(below, color=own[name], lw=1.3)
        if spy is not None:
            axes.plot(drawdowns(spy), color=NEUTRAL, lw=0.9, zorder=1)
        worst = minus(f"{below.min():.1%}")
        axes.set_title(f"{short(name, narrow)}: {worst} at worst", fontsize=10)
        axes.yaxis.set_major_formatter(percent)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        time_axis(axes, result, narrow, ticks=3 if not narrow else 4)
    if spy is not None:
        foot(figure, "Grey: SPY, bought and held")


def _league(scene: Scene, figure: Figure, narrow: bool) -> None:
    """Differences of mean return with their 95 % intervals."""
    rows, axes = scene.league[::-1], figure.subplots()
    own = colours(tuple(scene.backtest.curves))
    for y, (name, found) in enumerate(rows):
        colour = own.get(name, NEUTRAL)
        axes.plot([found.low, found.high], [y, y], color=colour, lw=2.2,
                  solid_capstyle="butt", alpha=0.75)  # fmt: skip
        axes.plot(found.difference, y, "o", color=colour, ms=6)
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(range(len(rows)), [short(name, narrow) for name, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_formatter(percent)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if narrow else 9))
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def _costs(scene: Scene, figure: Figure, narrow: bool) -> None:
    """A row for each policy with the return at each multiple of the costs."""
    result, axes = scene.backtest, figure.subplots()
    own = colours(tuple(result.curves))
    names = tuple(result.curves)[::-1]
    for y, name in enumerate(names):
        ends = {m: float(e[-1] / e[0] - 1) for m, e in result.curves[name].by_cost.items()}
        axes.plot(
            [min(ends.values()), max(ends.values())], [y, y], color=own[name], lw=2, alpha=0.4
        )
        for multiple, mark, filled in _COST_MARKS:
            face = own[name] if filled else "#ffffff"
            axes.plot(ends[multiple], y, mark, ms=7, mec=own[name], mfc=face, mew=1.6)
    axes.set_yticks(range(len(names)), [short(name, narrow) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.axvline(0, color=NEUTRAL, lw=1)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(percent)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if narrow else 9))
    marks = [
        axes.plot([], [], mark, ms=7, mec=INK, mfc=INK if filled else "#ffffff", mew=1.4)[0]
        for _, mark, filled in _COST_MARKS
    ]
    axes.legend(marks, ["no costs", "assumed", "twice"], loc="lower left", bbox_to_anchor=(0, 1),
                ncols=3, fontsize=9, handletextpad=0.3, columnspacing=1.4, borderpad=0)  # fmt: skip


def _turnover(scene: Scene, figure: Figure, narrow: bool) -> None:
    """Buys and sales so far, of each policy."""
    result, axes = scene.backtest, figure.subplots()
    own = colours(tuple(result.curves))
    place = numbers(result)
    ends = []
    for name, curve in result.curves.items():
        traded = np.zeros(len(result.times))
        for at, turnover in (
            *((step.as_of, step.turnover) for step in curve.steps),
            *((closing.at, closing.turnover) for closing in curve.closings),
        ):
            traded[place[at] + 1] += turnover
        total = traded.cumsum()
        axes.plot(total, color=own[name], lw=1.8)
        ends.append((name, float(total[-1]), own[name]))
    axes.set_ylim(bottom=0)
    time_axis(axes, result, narrow)
    end_labels(axes, figure, ends, lambda v: f"{v:.1f}")


def _weights(scene: Scene, figure: Figure, narrow: bool) -> None:
    """A panel for each policy: its largest names by row, darker where more was held."""
    result = scene.backtest
    own = colours(tuple(result.curves))
    most = max(
        (w for curve in result.curves.values() for step in curve.steps
         for w in step.weights.values()), default=1.0,
    )  # fmt: skip
    for axes, (name, curve) in panels(figure, result, 1 if narrow else 2, share=False):
        held, cash = _held(curve, result)
        names = sorted(held, key=lambda n: -held[n].sum())[:_NAMES_SHOWN]
        shades = np.zeros((max(len(names), 1), len(result.times) - 1, 4))
        shades[..., :3] = to_rgb(own[name])
        for row, ticker in enumerate(names):
            shades[row, :, 3] = held[ticker] / most
        axes.imshow(
            shades, aspect="auto", interpolation="none",
            extent=(0, shades.shape[1], len(shades) - 0.5, -0.5),
        )  # fmt: skip
        axes.set_yticks(range(len(names)), names, fontsize=8)
        shown = f"{len(names)} of {len(held)} names" if len(held) > len(names) else (
            f"{len(held)} names"
        )  # fmt: skip
        title = f"{short(name, narrow)}: {shown}, {cash:.0%} cash on average"
        axes.set_title(title, fontsize=10)
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(False)
        time_axis(axes, result, narrow, ticks=5)
    foot(figure, f"Strongest colour: {most:.0%} of equity")


def _skill(scene: Scene, figure: Figure, narrow: bool) -> None:
    """The measured rank IC and the one used; its t, and where forecasts may move weights."""
    result, place = scene.backtest, numbers(scene.backtest)
    above, below = figure.subplots(2, 1, sharex=True)
    x = np.array([place[step.as_of] for step in result.skill])
    ic, t, used = (
        np.array([getattr(step, name) for step in result.skill]) for name in ("ic", "t", "used")
    )
    above.axhline(0, color=NEUTRAL, lw=1)
    above.plot(x, ic, color=NEUTRAL, lw=1.6)
    above.plot(x, used, color=ACCENT, lw=2, drawstyle="steps-post")
    ends = [("measured", float(ic[-1]), NEUTRAL), ("used", float(used[-1]), ACCENT)]
    end_labels(above, figure, ends, lambda v: f"{v:+.3f}")
    above.set_title("Rank IC as known at each decision", fontsize=10)
    below.plot(x, t, color=ACCENT, lw=1.8)
    for level, says in ((ON_AT_T, "on from here"), (OFF_BELOW_T, "off below")):
        below.axhline(level, color=NEUTRAL, lw=1, ls=DASHED)
        below.annotate(
            says, (1.0, level), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=LABEL, color=NEUTRAL,
            annotation_clip=False,
        )  # fmt: skip
    below.axhline(0, color=NEUTRAL, lw=1)
    on = np.array([step.on for step in result.skill])
    for axes in (above, below):
        axes.fill_between(x, 0, 1, where=on, step="mid", color=ACCENT, alpha=0.12, lw=0,
                          transform=axes.get_xaxis_transform())  # fmt: skip
    below.set_title("Its t; shaded where forecasts move weights", fontsize=10)
    time_axis(below, result, narrow)


def _held(curve: Curve, result: Backtest) -> tuple[dict[str, Floats], float]:
    """Weights by ticker, shape (D,), as last decided; and the mean share of cash."""
    place, length = numbers(result), len(result.times) - 1
    held: dict[str, Floats] = {}
    starts = [place[step.as_of] for step in curve.steps]
    for step, start, end in zip(curve.steps, starts, [*starts[1:], length], strict=True):
        for ticker, weight in step.weights.items():
            if weight > 0:
                held.setdefault(ticker, np.zeros(length))[start:end] = weight
    return held, 1.0 - sum(float(weights.mean()) for weights in held.values())


def _page(scene: Scene, draw: Draw, size: tuple[float, float]) -> str:
    """The SVG of one picture, of `size` inches."""
    figure = Figure(size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
    draw(scene, figure, size[0] == WIDTHS[True])
    return svg(figure)

"""Pictures of an evaluation as PNG files, drawn with matplotlib without a display.

Importing it needs matplotlib, which comes with the training packages.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from astra.errors import ConfigError
from model.charting import (
    ACCENT,
    DASHED,
    INK,
    LOSS,
    NEUTRAL,
    STYLE,
    headed,
    note,
    percent,
)
from model.evaluation.metrics import tested
from model.evaluation.report import NEAR_NOMINAL, Evaluation
from model.evaluation.walk import BANDS, NORMAL, OURS
from model.forecast.skill import OFF_BELOW_T, ON_AT_T

_FIRST_T = 10  # days before a t is shown
_WIDE = (9.0, 4.2)
_TALL = (9.0, 5.4)


def write(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """`calibration.png`, `quantile_loss.png` and `rank_ic.png` in `folder`, made if need be.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    drawn = {
        "calibration.png": calibration,
        "quantile_loss.png": quantile_loss,
        "rank_ic.png": daily_rank_ic,
    }
    paths = []
    for name, draw in drawn.items():
        with rc_context(STYLE):
            figure = draw(evaluation)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(folder / name, dpi=160)
            except OSError as error:
                raise ConfigError(
                    f"charts need a folder to write to, {folder} is none: {error}"
                ) from error
        paths.append(folder / name)
    return tuple(paths)


def calibration(evaluation: Evaluation) -> Figure:
    """Share of closes inside each band by step, with its interval, against the nominal share."""
    ours, normal = evaluation.bands[OURS], evaluation.bands[NORMAL]
    steps = np.arange(1, len(ours.coverage) + 1)
    figure = _figure(_WIDE, evaluation, "How often the close fell inside the band")
    panels = figure.subplots(1, len(BANDS), sharex=True)
    ends = np.concatenate([ours.low, ours.high, normal.coverage]) - np.array(BANDS)
    reach = max(1.1 * float(np.abs(ends).max()), 1.5 * NEAR_NOMINAL)
    for k, (axes, band) in enumerate(zip(panels, BANDS, strict=True)):
        axes.axhspan(band - NEAR_NOMINAL, band + NEAR_NOMINAL, color=NEUTRAL, alpha=0.13, lw=0)
        axes.axhline(band, color=NEUTRAL, lw=1, ls=DASHED)
        axes.plot(steps, normal.coverage[:, k], color=NEUTRAL, lw=1.4, label="normal band")
        axes.fill_between(steps, ours.low[:, k], ours.high[:, k], color=ACCENT, alpha=0.18, lw=0)
        axes.plot(steps, ours.coverage[:, k], color=ACCENT, lw=2.2, label="this network")
        axes.set_ylim(band - reach, min(band + reach, 1.0))
        axes.set_title(f"{band:.0%} band")
        axes.yaxis.set_major_formatter(percent)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=(1, 2, 5, 10)))
        _steps(axes)
    panels[0].legend(loc="lower right", fontsize=9)
    note(figure, "Blue: 95 % interval, days drawn in blocks. Grey: 2 points around nominal.")
    return figure


def quantile_loss(evaluation: Evaluation) -> Figure:
    """Quantile loss by step, ours and the normal band's, and by how much they differ."""
    ours, normal = (evaluation.bands[name].pinball_bp for name in (OURS, NORMAL))
    steps = np.arange(1, len(ours) + 1)
    figure = _figure(_WIDE, evaluation, "Quantile loss of the forecast closes")
    left, right = figure.subplots(1, 2)
    by_hour = "" if evaluation.frequency == "1d" else "x time-of-day "
    left.plot(steps, normal, color=NEUTRAL, lw=6, alpha=0.4, label=f"EWMA {by_hour}normal")
    left.plot(steps, ours, color=ACCENT, lw=2, label="this network")
    left.set_ylim(bottom=0)
    left.set_title("Basis points of the price")
    left.legend(loc="lower right", fontsize=9)
    less = ours / normal - 1
    right.bar(steps, less, width=0.62, color=np.where(less <= 0, ACCENT, LOSS), alpha=0.75)
    reach = [1.96 * found.error for found in evaluation.against_normal_by_step] / normal
    right.errorbar(steps, less, reach, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    right.axhline(0, color=NEUTRAL, lw=1)
    right.set_title("This network less the normal band")
    right.yaxis.set_major_formatter(percent)
    for axes in (left, right):
        _steps(axes)
    found = evaluation.against_normal
    note(
        figure,
        f"Below 0 the network's bands are the better ones; lines: 95 % over days. All steps: "
        f"{found.mean:+.3f} bp (t {found.t:+.1f}).",
    )
    return figure


def daily_rank_ic(evaluation: Evaluation) -> Figure:
    """Each day's rank IC from the first tradable price, and the t of all days so far."""
    daily = np.array(list(evaluation.daily_ic.values()))
    place = np.arange(len(daily))
    figure = _figure(_TALL, evaluation, "Rank IC from the first price that could be traded")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.bar(place, daily, width=0.7, color=np.where(daily >= 0, ACCENT, LOSS), alpha=0.75)
    above.axhline(0, color=NEUTRAL, lw=1)
    if len(daily):
        above.axhline(daily.mean(), color=INK, lw=1.2, ls=DASHED)
        above.set_title(f"Of each day; mean {daily.mean():+.4f}")
    reach = evaluation.horizon_days
    so_far = [tested(daily[: k + 1], reach).t for k in range(len(daily))]
    below.plot(place[_FIRST_T - 1 :], so_far[_FIRST_T - 1 :], color=ACCENT, lw=2.2)
    for level, says in ((ON_AT_T, "skill on"), (OFF_BELOW_T, "off")):
        below.axhline(level, color=NEUTRAL, lw=1, ls=DASHED)
        below.annotate(
            says, (1.0, level), xycoords=("axes fraction", "data"), xytext=(-2, 3),
            textcoords="offset points", ha="right", fontsize=8.5, color=NEUTRAL,
        )  # fmt: skip
    below.axhline(0, color=NEUTRAL, lw=1)
    below.set_title(f"t of all days so far, from the {_FIRST_T}th on")
    shown = place[:: max(1, -(-len(place) // 8))]
    days = [dt.date.fromisoformat(day) for day in evaluation.daily_ic]
    below.set_xticks(shown, [f"{days[k].day} {days[k]:%b}" for k in shown])
    return figure


def _figure(size: tuple[float, float], evaluation: Evaluation, title: str) -> Figure:
    first, last = evaluation.dates[0], evaluation.dates[-1]
    said = f"{evaluation.bundle} · {len(evaluation.dates)} days, {first} to {last}"
    return headed(size, title, said)


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))

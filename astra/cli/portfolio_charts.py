"""Pictures of one portfolio, for the notebook: what is held, and how it moves together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from astra.errors import DataError
from model.charting import ACCENT, INK, LOSS, NEUTRAL, STYLE
from model.portfolio.covariance import Covariance

# As many as the index has sectors; cash is grey.
SECTOR_COLOURS = (
    ACCENT, "#e0894a", "#2f9e74", "#8466c9", "#d16ba5", "#c9a227", "#5ab4c4", LOSS, "#a0765b",
    "#5f6b8a", "#9db84a",
)  # fmt: skip
CASH = "cash"
_LEAST_LABELLED = 0.015  # of equity: labels of thinner slices would lie upon each other
_SIGNED = LinearSegmentedColormap.from_list("signed", [LOSS, "#ffffff", ACCENT])


def allocation(weights: Mapping[str, float], sectors: Mapping[str, str], title: str) -> Figure:
    """A pie of the weights of equity, a colour for each sector, what is not invested in grey.

    Raises:
        DataError: the weights are not above 0 or sum to more than 1.
    """
    total = sum(weights.values())
    if min(weights.values(), default=0.0) < 0 or total > 1 + 1e-6:
        raise DataError(f"a pie needs weights of 0 or more, 1 together at most, found {total:.4f}")
    by_sector: dict[str, dict[str, float]] = {}
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        by_sector.setdefault(sectors.get(name, "") or "other", {})[name] = weight
    groups = sorted(by_sector.items(), key=lambda item: -sum(item[1].values()))
    slices, colours, legend = dict[str, float](), list[str](), list[Patch]()
    for place, (sector, members) in enumerate(groups):
        colour = SECTOR_COLOURS[place % len(SECTOR_COLOURS)]
        slices |= members
        colours += [colour] * len(members)
        legend.append(Patch(color=colour, label=f"{sector}  {sum(members.values()):.1%}"))
    if total < 1 - 1e-6:
        slices[CASH] = 1 - total
        colours.append(NEUTRAL)
        legend.append(Patch(color=NEUTRAL, label=f"{CASH}  {1 - total:.1%}"))
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.2))
        axes = figure.add_axes((0.02, 0.09, 0.56, 0.74))
        shown = [f"{n} {w:.1%}" if w >= _LEAST_LABELLED else "" for n, w in slices.items()]
        axes.pie(
            list(slices.values()), labels=shown, colors=colours, startangle=90, counterclock=False,
            labeldistance=1.04, rotatelabels=True, textprops={"fontsize": 8.5, "color": INK},
            wedgeprops={"width": 0.42, "edgecolor": "white", "linewidth": 1.2},
        )  # fmt: skip
        count = len(weights)
        axes.text(0, 0, f"{count} names", ha="center", va="center", fontsize=12, fontweight="bold")
        figure.legend(handles=legend, loc="center left", bbox_to_anchor=(0.64, 0.46), fontsize=9)
        _title(figure, title)
    return figure


def correlation(
    weights: Mapping[str, float], sectors: Mapping[str, str], risk: Covariance, title: str
) -> Figure:
    """The correlations of the names in `weights`, by sector and then by weight, as a table.

    Args:
        risk: an estimate that holds these names.

    Raises:
        DataError: fewer than two names, or one that the estimate doesn't know.
    """
    missing = sorted(weights.keys() - set(risk.tickers))
    if missing or len(weights) < 2:
        raise DataError(
            f"a correlation needs two names or more that the risk estimate holds, found "
            f"{len(weights)}, of which it doesn't know {', '.join(missing) or 'none'}"
        )
    names = sorted(weights, key=lambda n: (sectors.get(n, ""), -weights[n], n))
    places = [risk.tickers.index(n) for n in names]
    held = risk.per_bar[np.ix_(places, places)]
    scale = np.sqrt(np.diag(held))
    found = held / np.outer(scale, scale)
    others = found[~np.eye(len(names), dtype=bool)]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 8.0))
        axes = figure.add_axes((0.09, 0.03, 0.88, 0.82))
        axes.imshow(found, cmap=_SIGNED, vmin=-1, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.xaxis.tick_top()
        axes.spines[:].set_visible(False)
        for row, column in np.ndindex(*found.shape):
            value = found[row, column]
            if row != column:
                colour = "white" if abs(value) > 0.7 else INK
                said = f"{100 * value:.0f}".replace("-", "\N{MINUS SIGN}")
                axes.text(column, row, said, ha="center", va="center", fontsize=7.5, color=colour)
        _title(figure, title, f"in percent; {np.mean(others):.0%} on average between two names")
    return figure


def _title(figure: Figure, title: str, below: str = "") -> None:
    height = figure.get_size_inches()[1]
    figure.text(0.02, 1 - 0.18 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.46 / height, below, fontsize=9.5, color=NEUTRAL, va="top")

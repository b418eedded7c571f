"""The look that all charts share: colours, matplotlib's settings, a figure with its two headlines.

Drawn without a display and without pyplot's state.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

ACCENT, NEUTRAL, LOSS, INK = "#3b7ddd", "#8b95a5", "#cf5a60", "#2b3340"
STYLE = {
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": NEUTRAL,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y",
    "axes.axisbelow": True, "grid.color": NEUTRAL, "grid.alpha": 0.2, "xtick.color": INK,
    "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False,
}  # fmt: skip
DASHED = (0, (4, 3))


def headed(size: tuple[float, float], title: str, said: str, foot: float = 0.05) -> Figure:
    """An empty figure of `size` inches under a title and a line that says what it is of.

    Args:
        foot: share of the height kept free for a note.
    """
    top = 1 - 0.68 / size[1]  # inches for the two lines above
    layout = ConstrainedLayoutEngine(rect=(0.005, foot, 0.99, top - foot), wspace=0.06)
    figure = Figure(figsize=size, layout=layout)
    figure.text(0.012, 1 - 0.16 / size[1], title, fontsize=13.5, fontweight="bold", va="top")
    figure.text(0.012, 1 - 0.44 / size[1], said, fontsize=9, color=NEUTRAL, va="top")
    return figure


def note(figure: Figure, text: str) -> None:
    """A small line at the foot."""
    figure.text(0.012, 0.012, text, fontsize=8.5, color=NEUTRAL)


def percent(value: float, _: float) -> str:
    """A formatter of an axis of fractions."""
    return f"{100 * value:g}%".replace("-", "\N{MINUS SIGN}")

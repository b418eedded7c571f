"""Texts and tables placed on a page of paper, in points from its top left corner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from astra.report.sheet import Column, Section, Table
from model.charting import INK

A4 = (595.28, 841.89)
SOFT, LINE = "#697386", "#dfe3ea"
SIZE, LEAD = 7.0, 9.6  # of texts and from line to line
_GAP = 9.0  # between the columns of a table
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class TypeArea:
    """An A4 page on which everything is `scale` times as large as it is asked for.

    Places and sizes are given in points of a page that is 1 / `scale` times A4, so that what does
    not fit at one scale may at a smaller one.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.width, self.height = A4[0] / scale, A4[1] / scale
        self._drawn: list[Callable[[Figure], object]] = []

    def drawn(self) -> Figure:
        """All that was placed."""
        figure = Figure(figsize=(A4[0] / 72, A4[1] / 72))
        for draw in self._drawn:
            draw(figure)
        return figure

    def axes(
        self, x: float, y: float, width: float, height: float, draw: Callable[[Axes], None]
    ) -> None:
        """A chart between these corners, which `draw` draws."""
        place = self._place(x, y, width, height)
        self._drawn.append(lambda figure: draw(figure.add_axes(place)))

    def text(
        self, x: float, y: float, text: str, *, size: float = SIZE, bold: bool = False,
        colour: str = INK, right: bool = False,
    ) -> None:  # fmt: skip
        """One line with its baseline at y; at x it begins, or ends if `right`."""
        if not text:
            return
        self._drawn.append(
            lambda figure: figure.text(
                x / self.width, 1 - y / self.height, text, fontsize=size * self.scale,
                color=colour, fontweight="bold" if bold else "normal",
                ha="right" if right else "left", va="baseline", parse_math=False,
            )
        )  # fmt: skip

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        left, low, *size = self._place(x, y, width, height)
        box = Rectangle((left, low), *size, facecolor=colour, linewidth=0, zorder=-1)
        self._drawn.append(lambda figure: figure.add_artist(box))

    def rule(self, x: float, y: float, width: float) -> None:
        xs, ys = (x / self.width, (x + width) / self.width), (1 - y / self.height,) * 2
        line = Line2D(xs, ys, color=LINE, linewidth=0.5 * self.scale)
        self._drawn.append(lambda figure: figure.add_artist(line))

    def _place(
        self, x: float, y: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """In fractions of the page from its lower left corner."""
        low = 1 - (y + height) / self.height
        return x / self.width, low, width / self.width, height / self.height

    def sentences(
        self, x: float, y: float, width: float, said: Iterable[str], *, colour: str = INK,
        bold: bool = False, size: float = SIZE,
    ) -> float:  # fmt: skip
        """Sentences from the line below y on, broken to the width; where the last one stands."""
        lead = LEAD * size / SIZE
        for line in (line for text in said for line in broken(text, width, size, bold)):
            y += lead
            self.text(x, y, line, colour=colour, bold=bold, size=size)
        return y

    def section(self, x: float, y: float, width: float, section: Section) -> float:
        """Heading, table, sentences; where the last line stands."""
        y += 19
        self.text(x, y, section.title, size=9, bold=True)
        y += 2
        if section.table is not None:
            y = self._table(x, y, width, section.table)
        colour = INK if section.table is None else SOFT
        return self.sentences(x, y, width, map(plain, section.said), colour=colour)

    def _table(self, x: float, y: float, width: float, table: Table) -> float:
        widths = _widths(table, width)
        starts = [x + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
        if any(column.title for column in table.columns):
            y += LEAD
            for start, wide, column in zip(starts, widths, table.columns, strict=True):
                place = start + wide if column.right else start
                self.text(place, y, column.title, size=6.2, colour=SOFT, right=column.right)
        for i, row in enumerate(table.rows):
            self.rule(x, y + 2.6, width)
            is_sum = i >= len(table.rows) - table.sums
            y = self._row(y, row, starts, widths, table.columns, is_sum)
        return y + 1.5

    def _row(
        self, y: float, row: tuple[str, ...], starts: list[float], widths: list[float],
        columns: tuple[Column, ...], bold: bool,
    ) -> float:  # fmt: skip
        last = y + LEAD
        for text, start, width, column in zip(row, starts, widths, columns, strict=True):
            if column.wide:
                last = max(last, self.sentences(start, y, width, (text,), bold=bold))
            else:
                place = start + width if column.right else start
                self.text(place, y + LEAD, text, bold=bold, right=column.right)
        return last


def plain(text: str) -> str:
    """Without the marks of a command."""
    return text.replace("`", "")


def broken(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Lines of words no wider than `width`; a word that is wider is cut."""
    lines = [""]
    for word in plain(text).split():
        fitting = _cut(word, width, size, bold)
        longer = f"{lines[-1]} {fitting}".lstrip()
        if measured(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(fitting)
    return lines


def _cut(word: str, width: float, size: float, bold: bool) -> str:
    if measured(word, size, bold) <= width:
        return word
    kept = next(
        n for n in range(len(word), -1, -1)
        if n == 0 or measured(word[:n] + _ELLIPSIS, size, bold) <= width
    )  # fmt: skip
    return word[:kept] + _ELLIPSIS


def _widths(table: Table, width: float) -> list[float]:
    """Of columns: what their longest text takes; the wide one has the rest."""
    first_sum = len(table.rows) - table.sums
    found = [
        max(
            [measured(column.title, 6.2)]
            + [measured(row[k], SIZE, i >= first_sum) for i, row in enumerate(table.rows)]
        )
        for k, column in enumerate(table.columns)
    ]
    wide = next((k for k, column in enumerate(table.columns) if column.wide), len(found) - 1)
    others = sum(found) - found[wide] + _GAP * (len(found) - 1)
    found[wide] = max(width - others, 40.0)
    return found


def measured(text: str, size: float, bold: bool = False) -> float:
    """Width in points."""
    return _width(text, bold) * size


@lru_cache(maxsize=20_000)
def _width(text: str, bold: bool) -> float:
    """As a share of the size."""
    font = _font(bold)
    font.set_size(100, 72)  # large: small sizes are hinted
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0]) / 64 / 100


@lru_cache
def _font(bold: bool) -> Any:
    return get_font(
        findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))
    )

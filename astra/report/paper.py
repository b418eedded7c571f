"""A day's report as a PDF of one A4 page; text stays text, fonts are embedded."""

from __future__ import annotations

import io

from matplotlib import rc_context

from astra.report import chart
from astra.report.day import Day
from astra.report.sheet import Figure, Sheet
from astra.report.type_area import LEAD, SIZE, SOFT, TypeArea
from model.charting import INK, STYLE

_MARGIN, _GUTTER = 32.0, 20.0
_LEFT = 5 / 8  # of the width, for the left one of two columns
_CHART = 122.0  # points high
_TONES = {"gain": "#1f7a57", "loss": "#b4434a"}
_WARN, _WARN_TINT, _TINT = "#8a5a00", "#fff4dc", "#f4f6f9"
_A_ROW = 4  # figures beside each other
_LARGEST, _SMALLEST, _STEP = 1.12, 0.4, 0.04
_FONTS = {"font.family": "DejaVu Sans", "pdf.fonttype": 42, "text.parse_math": False}


def page(sheet: Sheet, day: Day) -> bytes:
    """The file's content, set as large as one page takes."""
    with rc_context({**STYLE, **_FONTS}):
        scale = _LARGEST
        while True:
            area = TypeArea(scale)
            if _laid_out(area, sheet, day) <= area.height - _MARGIN or scale <= _SMALLEST:
                break
            scale -= _STEP
        content = io.BytesIO()
        told = {
            "Title": sheet.title, "Creator": "astra report", "Subject": sheet.where,
            "CreationDate": day.as_of,
        }  # fmt: skip
        area.drawn().savefig(content, format="pdf", metadata=told)
    return content.getvalue()


def _laid_out(area: TypeArea, sheet: Sheet, day: Day) -> float:
    """Draw all of it; where the last line stands."""
    left, width = _MARGIN, area.width - 2 * _MARGIN
    narrow = (width - _GUTTER) * _LEFT
    right, rest = left + narrow + _GUTTER, width - narrow - _GUTTER
    y = _head(area, sheet, day, left, width)
    y = _needs(area, sheet, left, y, width)
    low = area.section(right, y, rest, sheet.profit)
    low = area.section(right, low, rest, sheet.twin)
    y = max(low, area.section(left, _day(area, sheet, day, left, y, narrow), narrow,
                              sheet.forecasts))  # fmt: skip
    for section in (sheet.decisions, sheet.orders):
        y = area.section(left, y, width, section)
    low = area.section(right, y, rest, sheet.sectors)
    low = area.section(right, low, rest, sheet.watch)
    y = max(low, area.section(left, y, narrow, sheet.positions))
    return area.sentences(left, y + 5, width, (sheet.foot,), colour=SOFT, size=6)


def _head(area: TypeArea, sheet: Sheet, day: Day, x: float, width: float) -> float:
    warns = day.market != "real" or not day.paper
    ink, tint = (_WARN, _WARN_TINT) if warns else (INK, _TINT)
    top = _MARGIN - 8
    y = area.sentences(x + 7, top + 2, width - 14, (sheet.where,), colour=ink, bold=True)
    area.box(x, top, width, y - top + 5, tint)
    area.box(x, top, 2.5, y - top + 5, ink)
    y += 24
    area.text(x, y, sheet.title, size=14, bold=True)
    y = area.sentences(x, y + 2, width, (f"{sheet.as_of} {sheet.clock}",), colour=SOFT)
    for first in range(0, len(sheet.figures), _A_ROW):
        y = _figures(area, sheet.figures[first : first + _A_ROW], x, y, width)
    return y + 7


def _figures(
    area: TypeArea, figures: tuple[Figure, ...], x: float, y: float, width: float
) -> float:
    """A row of them; where its last line stands."""
    wide, low = width / _A_ROW, y
    for i, figure in enumerate(figures):
        left = x + wide * i
        area.text(left, y + 13, figure.label, size=6.6, colour=SOFT)
        colour = _TONES.get(figure.tone, INK)
        area.text(left, y + 25, figure.value, size=11, bold=True, colour=colour)
        note = area.sentences(left, y + 25.5, wide - 6, (figure.note,), colour=SOFT, size=6)
        low = max(low, note)
    return low


def _needs(area: TypeArea, sheet: Sheet, x: float, y: float, width: float) -> float:
    top = y
    area.text(x + 7, top + 12, "What needs attention", size=9, bold=True)
    said = sheet.needs or (sheet.calm,)
    y = area.sentences(x + 7, top + 13, width - 14, said)
    area.box(x, top, width, y - top + 5, _WARN_TINT if sheet.needs else _TINT)
    return y + 3


def _day(area: TypeArea, sheet: Sheet, day: Day, x: float, y: float, width: float) -> float:
    """The chart under its heading; where it ends."""
    area.text(x, y + 19, "The day", size=9, bold=True)
    y += 21
    curve = day.value.curve
    if curve is None:
        return area.sentences(x, y, width, (sheet.chart_missing,))
    inset = 26.0  # for the numbers of the upright axis
    low = y + 14 + _CHART
    area.axes(
        x + inset, low - _CHART, width - inset, _CHART,
        lambda axes: chart.draw(axes, day, curve, SIZE * area.scale),
    )  # fmt: skip
    return low + LEAD

"""A day's report as one HTML file that stands for itself: no script, no request, readable by day
and by night, on paper and on a phone."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from astra.report import chart
from astra.report.day import Day
from astra.report.sheet import Sheet
from model.backtest.drawing import VARIABLES

_TEMPLATE = "day.html.jinja"
_CODE = re.compile("`([^`]+)`")


def page(sheet: Sheet, day: Day) -> bytes:
    """The file's content."""
    house = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    house.filters["code"] = _code
    curve = day.value.curve
    drawn = None if curve is None else chart.pictures(day, curve)
    # Drawn here, from figures: no text of others is in them unescaped.
    pictures = None if drawn is None else tuple(map(Markup, drawn))
    text = house.get_template(_TEMPLATE).render(
        sheet=sheet, pictures=pictures, light=VARIABLES, warns=day.market != "real" or not day.paper
    )
    return text.encode()


def _code(text: str) -> Markup:
    """A sentence with what stands between backticks as a command."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before

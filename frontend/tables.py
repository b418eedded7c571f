"""Tables as they are shown: titles, formats, colour for gains and losses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from pandas.io.formats.style import Styler

from frontend import words

GAIN, LOSS = "#2f9e74", "#cf5a60"
TEXT, SHARES, DOLLARS = "{}", "shares", "${:,.2f}"
SHARE, SIGNED_SHARE, SIGNED_DOLLARS = "{:.2%}", "{:+.2%}", "signed dollars"
HELD, MOMENT = "held", "{:%d %b %Y, %H:%M}"
_HEADER_PX, _ROW_PX = 40, 35


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title and format; a tinted one is green above and red below 0."""

    title: str
    form: str = TEXT
    tinted: bool = False


def styled(frame: pd.DataFrame, columns: Mapping[str, Column]) -> Styler:
    """The columns of `frame` named by `columns`, in that order; NaN stays an empty cell."""
    titles = {name: column.title for name, column in columns.items()}
    shown = frame[list(columns)].rename(columns=titles)
    formats: dict[Any, str | Callable[[Any], str] | None] = {
        c.title: _formatter(c.form) for c in columns.values() if c.form != TEXT
    }
    style = shown.style.format(formats, na_rep="")
    tinted: list[Hashable] = [c.title for c in columns.values() if c.tinted]
    return style.map(_tint, subset=tinted) if tinted else style


def height(rows: int, most: int = 24) -> int | Literal["content"]:
    """As high as its content; after `most` rows a height in pixels, and it scrolls."""
    return "content" if rows <= most else _HEADER_PX + _ROW_PX * most


def _formatter(form: str) -> str | Callable[[Any], str]:
    if form == SIGNED_DOLLARS:
        return lambda usd: f"{'-' if usd < 0 else '+'}${abs(usd):,.2f}"
    if form == SHARES:
        return words.shares
    if form == HELD:
        return words.held
    return form


def _tint(value: object) -> str:
    if not isinstance(value, int | float) or value == 0 or value != value:
        return ""
    return f"color: {GAIN if value > 0 else LOSS}"

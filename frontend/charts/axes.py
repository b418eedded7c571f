"""What all charts share: a time axis of sessions, lines, grids and colours.

Time axes count sessions instead of hours (`trading_clock`), so that nights, weekends and holidays
take no room. Colours hold on light and dark ground; fonts and grids follow the page's theme.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from astra.sessions import NEW_YORK, Session, sessions_between

Floats = NDArray[np.float64]
ACCENT, NEUTRAL, GAIN, LOSS = "#3b7ddd", "#8b95a5", "#2f9e74", "#cf5a60"
GRID = "rgba(139, 149, 165, 0.18)"
_MOST_TICKS = 7
_WEEK = dt.timedelta(days=7)


def trading_clock(times: Sequence[dt.datetime]) -> tuple[Floats, tuple[Session, ...]]:
    """Sessions passed since the first time's, with fractions within one; and those sessions.

    A time outside a session stands at the close before it. Ascending in time. Empty for no times.
    """
    if len(times) == 0:
        return np.empty(0), ()
    sessions = sessions_between(min(times) - _WEEK, max(times) + dt.timedelta(seconds=1))
    seconds = np.array([t.timestamp() for t in times])
    opens = np.array([s.opens_at.timestamp() for s in sessions])
    closes = np.array([s.closes_at.timestamp() for s in sessions])
    i = np.searchsorted(opens, seconds, side="right") - 1
    passed = i + np.clip((seconds - opens[i]) / (closes[i] - opens[i]), 0.0, 1.0)
    first = min(int(passed.min()), len(sessions) - 1)
    return passed - first, sessions[first:]


def line(
    x: Floats, y: Floats, name: str, color: str, said: Sequence[str], *,
    width: float = 1.6, shown: str = "%{y:$,.2f}",
) -> go.Scatter:  # fmt: skip
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", line={"width": width, "color": color}, customdata=said,
        hovertemplate=f"{name} {shown}<br>%{{customdata}}<extra></extra>",
    )  # fmt: skip


def finish(
    figure: go.Figure, sessions: Sequence[Session], end: float, height: int, *, start: float = 0.0
) -> go.Figure:
    places, names = _ticks(sessions, start, end)
    figure.update_xaxes(
        tickmode="array", tickvals=places, ticktext=names, showgrid=False, zeroline=False,
        range=[start - 0.01 * (end - start), end + 0.01 * (end - start)],
    )  # fmt: skip
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return laid_out(figure, height)


def laid_out(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 36, "b": 8}, hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title_text": ""},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip


def _ticks(sessions: Sequence[Session], start: float, end: float) -> tuple[list[float], list[str]]:
    """Days at their opens; hours as well when fewer than three days are shown."""
    shown = [i for i in range(len(sessions)) if start - 1e-9 <= i <= end]
    if len(shown) < 3:
        return _hours(sessions, start, end)
    step = -(-len(shown) // _MOST_TICKS)
    kept = shown[::step]
    return [float(i) for i in kept], [f"{sessions[i].date.day} {sessions[i].date:%b}" for i in kept]


def _hours(sessions: Sequence[Session], start: float, end: float) -> tuple[list[float], list[str]]:
    places, names = [], []
    for i, session in enumerate(sessions):
        first = session.opens_at.astimezone(NEW_YORK).replace(minute=0) + dt.timedelta(hours=1)
        length = session.closes_at - session.opens_at
        for t in (first + dt.timedelta(hours=h) for h in range(0, 6, 2)):
            place = i + (t - session.opens_at) / length
            if start <= place <= end and t < session.closes_at:
                places.append(place)
                names.append(f"{t:%H:%M}<br>{t.day} {t:%b}")
    return places, names


def said(t: dt.datetime) -> str:
    """A time as charts say it where they are pointed at."""
    local, utc = t.astimezone(NEW_YORK), t.astimezone(dt.UTC)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} New York ({utc:%H:%M} UTC)"


def faded(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"

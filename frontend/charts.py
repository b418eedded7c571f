"""Figures from frames, pure: no store, no network, no Streamlit.

Time axes count sessions instead of hours (`trading_clock`), so that nights, weekends and holidays
take no room. Colours hold on light and dark ground; fonts and grids follow the page's theme.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from astra.performance import drawdowns
from astra.sessions import BAR, NEW_YORK, Session, sessions_between

Floats = NDArray[np.float64]
ACCENT, NEUTRAL, LOSS = "#3b7ddd", "#8b95a5", "#cf5a60"
_BANDS = (("q05", "q95", "90%", 0.14), ("q25", "q75", "50%", 0.24))
_GRID = "rgba(139, 149, 165, 0.18)"
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


def account_chart(
    times: Sequence[dt.datetime], equity: Floats, benchmark: Floats | None
) -> go.Figure:
    """The account in USD beside the benchmark, above how far it was below its highest value."""
    x, sessions = trading_clock(times)
    said = [_hour(t) for t in times]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.07
    )
    if benchmark is not None:
        figure.add_trace(_line(x, benchmark, "SPY", NEUTRAL, said), row=1, col=1)
    figure.add_trace(_line(x, equity, "Account", ACCENT, said, width=2.2), row=1, col=1)
    depth = _line(x, drawdowns(equity), "Drawdown", LOSS, said, width=1.2, shown="%{y:.2%}")
    depth.update(fill="tozeroy", fillcolor=_faded(LOSS, 0.16), showlegend=False)
    figure.add_trace(depth, row=2, col=1)
    figure.update_yaxes(tickformat="$,.0f", row=1, col=1)
    figure.update_yaxes(tickformat=".1%", rangemode="tozero", nticks=4, row=2, col=1)
    figure.add_annotation(
        text="Below the highest value so far", x=0, y=1, xref="x2 domain", yref="y2 domain",
        xanchor="left", yanchor="bottom", showarrow=False, font_size=12,
    )  # fmt: skip
    _finish(figure, sessions, float(x[-1]), 430)
    return figure.update_layout(legend_traceorder="reversed")  # the account is drawn last, on top


def sector_chart(sectors: pd.DataFrame) -> go.Figure:
    """Weight of each sector as a bar, its target as a mark. Columns: sector, weight, target."""
    figure = go.Figure(
        go.Bar(
            x=sectors["weight"], y=sectors["sector"], orientation="h", marker_color=ACCENT,
            name="Weight", hovertemplate="%{y}: %{x:.1%}<extra></extra>", width=0.55,
        )
    )  # fmt: skip
    if sectors["target"].notna().any():
        mark = {"symbol": "line-ns", "size": 16, "line": {"width": 2.5, "color": NEUTRAL}}
        figure.add_trace(
            go.Scatter(
                x=sectors["target"], y=sectors["sector"], mode="markers", marker=mark,
                name="Target", hovertemplate="target %{x:.1%}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", gridcolor=_GRID, nticks=6)
    figure.update_yaxes(showgrid=False, automargin=True)
    return _laid_out(figure, 110 + 34 * len(sectors)).update_layout(hovermode="closest")


def fan_chart(bars: pd.DataFrame, fan: pd.DataFrame, as_of: dt.datetime) -> go.Figure:
    """The last bars of a ticker, then its forecast with the 50 % and 90 % bands.

    Args:
        bars: ts (UTC timestamps of the bars' starts), close; those after `as_of` show what came.
        fan: ts (of the bar forecast), close, q05, q25, q75, q95, by step.
        as_of: when the forecast was made; it starts from the last close before.
    """
    bars, fan = bars.sort_values("ts"), fan.sort_values("step")
    ends = [t.to_pydatetime() + BAR for t in bars["ts"]]
    ahead = [t.to_pydatetime() + BAR for t in fan["ts"]]
    x, sessions = trading_clock([*ends, *ahead])
    past, future = x[: len(ends)], x[len(ends) :]
    figure = go.Figure()
    known = [i for i, end in enumerate(ends) if end <= as_of]
    closes = bars["close"].to_numpy(np.float64)
    anchor = known[-1:]
    reach = np.concatenate([past[anchor], future])
    for low, high, name, opacity in _BANDS:
        lower, upper = (np.concatenate([closes[anchor], fan[q].to_numpy()]) for q in (low, high))
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([reach, reach[::-1]]), y=np.concatenate([upper, lower[::-1]]),
                fill="toself", fillcolor=_faded(ACCENT, opacity), line_width=0, mode="lines",
                name=f"{name} of outcomes", hoverinfo="skip",
            )
        )  # fmt: skip
    figure.add_trace(_line(past, closes, "Close", NEUTRAL, [_hour(t) for t in ends], width=1.6))
    middle = np.concatenate([closes[anchor], fan["close"].to_numpy(np.float64)])
    said = [_hour(t) for t in (*(ends[i] for i in anchor), *ahead)]
    figure.add_trace(_line(reach, middle, "Forecast", ACCENT, said, width=2.2))
    if anchor:
        figure.add_vline(
            x=float(past[anchor[0]]), line_width=1, line_dash="dot", line_color=NEUTRAL
        )
    figure.update_yaxes(tickformat="$,.2f")
    return _finish(figure, sessions, float(x.max()), 360, start=float(x.min()))


def _line(
    x: Floats, y: Floats, name: str, color: str, said: Sequence[str], *,
    width: float = 1.6, shown: str = "%{y:$,.2f}",
) -> go.Scatter:  # fmt: skip
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", line={"width": width, "color": color}, customdata=said,
        hovertemplate=f"{name} {shown}<br>%{{customdata}}<extra></extra>",
    )  # fmt: skip


def _finish(
    figure: go.Figure, sessions: Sequence[Session], end: float, height: int, *, start: float = 0.0
) -> go.Figure:
    places, names = _ticks(sessions, start, end)
    figure.update_xaxes(
        tickmode="array", tickvals=places, ticktext=names, showgrid=False, zeroline=False,
        range=[start - 0.01 * (end - start), end + 0.01 * (end - start)],
    )  # fmt: skip
    figure.update_yaxes(gridcolor=_GRID, zeroline=False)
    return _laid_out(figure, height)


def _laid_out(figure: go.Figure, height: int) -> go.Figure:
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


def _hour(t: dt.datetime) -> str:
    local = t.astimezone(NEW_YORK)
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def _faded(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"

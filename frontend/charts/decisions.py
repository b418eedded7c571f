"""Why a weight changed, part by part, and what each policy's book became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from astra.attribution import Attribution
from frontend.charts.axes import (
    ACCENT,
    GAIN,
    GRID,
    LOSS,
    NEUTRAL,
    finish,
    laid_out,
    line,
    said,
    trading_clock,
)
from frontend.league import ACCOUNT, League, label

_LEAST = 5e-5  # a part that would read 0.00%
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")
_EDGE = {"color": NEUTRAL, "width": 1}


def parts_chart(change: Attribution, end: str) -> go.Figure:
    """From the weight that was held, part by part, to the one that was `end`: planned, decided."""
    parts = {name: part for name, part in change.parts.items() if abs(part) >= _LEAST}
    # The figures stand beside the names: on the bars they would run into each other.
    names = [
        f"Held  {change.before:.2%}",
        *(f"{name.capitalize()}  {part:+.2%}" for name, part in parts.items()),
        f"{end.capitalize()}  {change.planned:.2%}",
    ]
    figure = go.Figure(
        go.Waterfall(
            orientation="h", y=names, x=[change.before, *parts.values(), change.planned],
            measure=["absolute", *("relative" for _ in parts), "total"], width=0.6,
            increasing_marker_color=GAIN, decreasing_marker_color=LOSS, totals_marker_color=ACCENT,
            connector_line=_EDGE, hovertemplate="%{y}<extra></extra>",
        )
    )  # fmt: skip
    low, high = _reach([change.before, *parts.values()])
    room = 0.04 * (high - low or 0.01)
    figure.update_xaxes(
        tickformat=".1%", gridcolor=GRID, nticks=5, zeroline=True, zerolinecolor=NEUTRAL,
        range=[low - room, high + room],
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return laid_out(figure, 90 + 36 * len(names)).update_layout(showlegend=False)


def _reach(steps: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest sum on the way, 0 among them."""
    sums = [0.0]
    for step in steps:
        sums.append(sums[-1] + step)
    return min(sums), max(sums)


def sectors_chart(sectors: pd.DataFrame, later: str) -> go.Figure:
    """What was decided for each sector as a bar, what is held of it later as a mark.

    Args:
        sectors: sector, decided, after.
        later: what `after` is called.
    """
    figure = go.Figure(
        go.Bar(
            x=sectors["decided"], y=sectors["sector"], orientation="h", marker_color=ACCENT,
            name="Decided", hovertemplate="%{y}: %{x:.1%}<extra></extra>", width=0.55,
        )
    )  # fmt: skip
    if sectors["after"].notna().any():
        mark = {"symbol": "line-ns", "size": 16, "line": {"width": 2.5, "color": NEUTRAL}}
        figure.add_trace(
            go.Scatter(
                x=sectors["after"], y=sectors["sector"], mode="markers", marker=mark, name=later,
                hovertemplate="%{y}: %{x:.1%}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", gridcolor=GRID, nticks=6)
    figure.update_yaxes(showgrid=False, automargin=True)
    return laid_out(figure, 110 + 34 * len(sectors))


def league_chart(found: League) -> go.Figure:
    """Return of each book since they began; the traded ones in colour."""
    x, sessions = trading_clock(found.times)
    words = [said(t) for t in found.times]
    figure = go.Figure()
    for name, style in _styles(found).items():
        curve = found.curves[name]
        drawn = line(
            x, curve / curve[0] - 1.0, label(found, name), NEUTRAL, words, shown="%{y:+.2%}"
        )
        figure.add_trace(drawn.update(line=style))
    figure.update_yaxes(tickformat="+.2%", nticks=6)
    figure.add_hline(y=0.0, line_width=1, line_color=NEUTRAL)
    return finish(figure, sessions, float(x[-1]), 380)


def _styles(found: League) -> Mapping[str, dict[str, object]]:
    """Of each curve, those in colour drawn last."""
    marked = [name for name in (found.against, ACCOUNT) if name in found.curves]
    others = sorted(found.curves.keys() - set(marked))
    styles: dict[str, dict[str, object]] = {
        name: {"color": NEUTRAL, "width": 1.5, "dash": _DASHES[i % len(_DASHES)]}
        for i, name in enumerate(others)
    }
    for name in marked:
        is_account = name == ACCOUNT
        styles[name] = {"color": ACCENT, "width": 2.2, "dash": "dot" if is_account else "solid"}
    return styles


def interval_chart(found: League) -> go.Figure:
    """How much more than the traded policy each earned, with the 95 % interval around it."""
    rows = found.compared[::-1]
    figure = go.Figure(
        go.Scatter(
            x=[i.difference for _, i in rows], y=[label(found, name) for name, _ in rows],
            mode="markers", marker={"size": 9, "color": ACCENT},
            error_x={"type": "data", "array": [i.high - i.difference for _, i in rows],
                     "color": NEUTRAL, "thickness": 2, "width": 5},
            customdata=[f"{i.low:+.2%} to {i.high:+.2%}" for _, i in rows],
            hovertemplate="%{y}: %{x:+.2%}<br>95%: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=0.0, line_width=1, line_color=NEUTRAL)
    figure.update_xaxes(tickformat="+.1%", gridcolor=GRID, zeroline=False, nticks=6)
    figure.update_yaxes(showgrid=False, automargin=True)
    return laid_out(figure, 80 + 34 * len(rows)).update_layout(showlegend=False)

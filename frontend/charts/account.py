"""The account's value beside a benchmark, and how it is spread over sectors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from astra.performance import drawdowns
from frontend.charts.axes import (
    ACCENT,
    GRID,
    LOSS,
    NEUTRAL,
    Floats,
    faded,
    finish,
    laid_out,
    line,
    said,
    trading_clock,
)


def account_chart(
    times: Sequence[dt.datetime], equity: Floats, benchmark: Floats | None
) -> go.Figure:
    """The account in USD beside the benchmark, above how far it was below its highest value."""
    x, sessions = trading_clock(times)
    times_said = [said(t) for t in times]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.07
    )
    if benchmark is not None:
        figure.add_trace(line(x, benchmark, "SPY", NEUTRAL, times_said), row=1, col=1)
    figure.add_trace(line(x, equity, "Account", ACCENT, times_said, width=2.2), row=1, col=1)
    depth = line(x, drawdowns(equity), "Drawdown", LOSS, times_said, width=1.2, shown="%{y:.2%}")
    depth.update(fill="tozeroy", fillcolor=faded(LOSS, 0.16), showlegend=False)
    figure.add_trace(depth, row=2, col=1)
    figure.update_yaxes(tickformat="$,.0f", row=1, col=1)
    figure.update_yaxes(tickformat=".1%", rangemode="tozero", nticks=4, row=2, col=1)
    figure.add_annotation(
        text="Below the highest value so far", x=0, y=1, xref="x2 domain", yref="y2 domain",
        xanchor="left", yanchor="bottom", showarrow=False, font_size=12,
    )  # fmt: skip
    finish(figure, sessions, float(x[-1]), 430)
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
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", gridcolor=GRID, nticks=6)
    figure.update_yaxes(showgrid=False, automargin=True)
    return laid_out(figure, 110 + 34 * len(sectors)).update_layout(hovermode="closest")

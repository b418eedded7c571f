"""What lies between a day as it was traded and its replay, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import plotly.graph_objects as go

from frontend.charts.axes import ACCENT, GAIN, GRID, LOSS, NEUTRAL, laid_out


def parts_chart(parts: Mapping[str, float]) -> go.Figure:
    """Each part of the difference in USD as a step of a waterfall, their sum as its end."""
    names = [*parts, "difference"]
    total = sum(parts.values())
    reached = [0.0, *accumulate(parts.values())]
    room = 0.22 * (max(reached) - min(reached) or 1.0)  # for the figures beside the bars
    figure = go.Figure(
        go.Waterfall(
            orientation="h", y=[name.capitalize() for name in names], x=[*parts.values(), total],
            measure=[*["relative"] * len(parts), "total"],
            text=[f"{usd:+,.2f}" for usd in (*parts.values(), total)], textposition="outside",
            cliponaxis=False, connector={"line": {"color": NEUTRAL, "width": 1}},
            increasing={"marker": {"color": GAIN}}, decreasing={"marker": {"color": LOSS}},
            totals={"marker": {"color": ACCENT}}, hovertemplate="%{y}: %{text} USD<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(
        tickformat="$,.2~f", gridcolor=GRID, zerolinecolor=NEUTRAL, nticks=6,
        range=[min(reached) - room, max(reached) + room],
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return laid_out(figure, 100 + 36 * len(names)).update_layout(showlegend=False)

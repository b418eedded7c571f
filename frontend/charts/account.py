"""The account beside a benchmark, how far both were under water, and its spread over sectors."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

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

DRAWN = 1500  # points of a chart, more than a screen has


def account_chart(
    times: Sequence[dt.datetime], equity: Floats, benchmark: Floats | None, name: str
) -> go.Figure:
    """The account in USD beside the benchmark called `name`."""
    figure = _lines(times, equity, benchmark, name, "%{y:$,.2f}", 370)
    return figure.update_yaxes(tickprefix="$", separatethousands=True, exponentformat="none")


def underwater_chart(
    times: Sequence[dt.datetime], equity: Floats, benchmark: Floats | None, name: str
) -> go.Figure:
    """How far the account, and the benchmark called `name` (NaN where it is not known), lay below
    their highest value so far, fractions.
    """
    below = None if benchmark is None else drawdowns(benchmark)
    depth = drawdowns(equity)
    figure = _lines(times, depth, below, name, "%{y:.2%}", 240)
    figure.data[-1].update(
        line={"color": LOSS, "width": 1.3}, fill="tozeroy", fillcolor=faded(LOSS, 0.16)
    )
    deepest = -float(min(depth.min(), 0.0 if below is None else np.nanmin(below)))
    step, digits = _step(deepest / 5)
    ticks = [-step * i for i in range(int(deepest / step + 1e-9) + 1)]
    return figure.update_yaxes(
        tickvals=ticks, tickformat=f".{digits}%", range=[-1.08 * max(deepest, step), 0.04 * step]
    )


def thinned(*lines: Floats) -> NDArray[np.int64]:
    """Which points to draw so that no more than about `DRAWN` are: the ends, and the highest and
    lowest of each line in each of equal stretches. Lines have the same length, NaN where nothing is
    known; ascending.
    """
    n = len(lines[0])
    if n <= DRAWN:
        return np.arange(n)
    size = -(-n // (DRAWN // (2 * len(lines))))
    starts = np.arange(0, n, size)
    kept = {0, n - 1}
    for values in lines:
        padded = np.append(values, np.full(len(starts) * size - n, values[-1]))
        stretches = padded.reshape(len(starts), size)
        for unknown, place in ((-np.inf, np.argmax), (np.inf, np.argmin)):
            at = place(np.where(np.isnan(stretches), unknown, stretches), axis=1)
            kept.update(np.minimum(starts + at, n - 1).tolist())
    return np.array(sorted(kept))


def _lines(
    times: Sequence[dt.datetime],
    values: Floats,
    benchmark: Floats | None,
    name: str,
    form: str,
    height: int,
) -> go.Figure:
    kept = thinned(values) if benchmark is None else thinned(values, benchmark)
    shown = [times[i] for i in kept]
    x, sessions = trading_clock(shown)
    labels = [said(t) for t in shown]
    figure = go.Figure()
    if benchmark is not None:
        figure.add_trace(line(x, benchmark[kept], name, NEUTRAL, labels, shown=form))
    figure.add_trace(line(x, values[kept], "Account", ACCENT, labels, width=2.2, shown=form))
    finish(figure, sessions, float(x[-1]), height)
    return figure.update_layout(legend_traceorder="reversed")  # the account is drawn last, on top


def _step(least: float) -> tuple[float, int]:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`, and how many digits
    it needs in percent; a percent for 0.
    """
    if least <= 0:
        return 0.01, 0
    power = math.floor(math.log10(least))
    step = next(m * 10.0**power for m in (1, 2, 5, 10) if m * 10.0**power >= least * (1 - 1e-9))
    return step, max(0, -2 - math.floor(math.log10(step) + 1e-9))


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

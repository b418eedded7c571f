"""A forecast's fan beside what came."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from astra.sessions import BAR
from frontend.charts.axes import (
    ACCENT,
    NEUTRAL,
    faded,
    finish,
    line,
    said,
    trading_clock,
)

_BANDS = (("q05", "q95", "90%", 0.12), ("q10", "q90", "80%", 0.10), ("q25", "q75", "50%", 0.18))


def fan_chart(bars: pd.DataFrame, fan: pd.DataFrame, as_of: dt.datetime) -> go.Figure:
    """The last bars of a ticker, then its forecast with the 50, 80 and 90 % bands, and what came.

    Args:
        bars: ts (UTC timestamps of the bars' starts), close; those after `as_of` show what came.
        fan: ts (of the bar forecast), close, q05 to q95, by step; q10 and q90 may be NaN.
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
        if fan[[low, high]].isna().to_numpy().any():
            continue
        lower, upper = (np.concatenate([closes[anchor], fan[q].to_numpy()]) for q in (low, high))
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([reach, reach[::-1]]), y=np.concatenate([upper, lower[::-1]]),
                fill="toself", fillcolor=faded(ACCENT, opacity), line_width=0, mode="lines",
                name=f"{name} of outcomes", hoverinfo="skip",
            )
        )  # fmt: skip
    figure.add_trace(line(past, closes, "Close", NEUTRAL, [said(t) for t in ends], width=1.6))
    middle = np.concatenate([closes[anchor], fan["close"].to_numpy(np.float64)])
    words = [said(t) for t in (*(ends[i] for i in anchor), *ahead)]
    figure.add_trace(line(reach, middle, "Forecast", ACCENT, words, width=2.2))
    after = [i for i, end in enumerate(ends) if end > as_of]
    if after:
        figure.add_trace(
            go.Scatter(
                x=past[after], y=closes[after], name="What came", mode="markers",
                marker={"size": 6, "color": NEUTRAL}, hoverinfo="skip",
            )
        )  # fmt: skip
    if anchor:
        figure.add_vline(
            x=float(past[anchor[0]]), line_width=1, line_dash="dot", line_color=NEUTRAL
        )
    figure.update_yaxes(tickformat="$,.2f")
    return finish(figure, sessions, float(x.max()), 360, start=float(x.min()))

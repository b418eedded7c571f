"""Backtests side by side, over the same hours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from frontend.charts.axes import ACCENT, GAIN, LOSS, NEUTRAL, finish, line, said, trading_clock

_COLOURS = (ACCENT, GAIN, LOSS, NEUTRAL)
_DASHES = ("solid", "dash", "dot", "dashdot")


def comparison_chart(
    times: Sequence[dt.datetime], curves: Mapping[str, Sequence[float]]
) -> go.Figure:
    """The return of each curve since `times`[0], which they share; equity > 0, by name.

    Four colours, and another dash for each four: told apart without colour too.
    """
    x, sessions = trading_clock(times)
    times_said = [said(t) for t in times]
    figure = go.Figure()
    for i, (name, equity) in enumerate(curves.items()):
        values = np.asarray(equity, np.float64)
        turn, place = divmod(i, len(_COLOURS))
        drawn = line(
            x, values / values[0] - 1, name, _COLOURS[place], times_said, shown="%{y:+.2%}"
        )
        figure.add_trace(drawn.update(line_dash=_DASHES[turn % len(_DASHES)]))
    figure.update_yaxes(tickformat="+.1%", nticks=6)
    return finish(figure, sessions, float(x[-1]), 380)

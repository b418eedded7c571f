"""One order: the bars around it, the price it was decided at, and its fills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from astra.records import Side
from astra.sessions import BAR
from frontend.charts.axes import ACCENT, NEUTRAL, finish, line, said, trading_clock
from frontend.order_story import Fill
from frontend.words import shares


def order_chart(
    bars: pd.DataFrame,
    as_of: dt.datetime,
    decision_price: float | None,
    fills: Sequence[Fill],
    side: Side,
) -> go.Figure:
    """Closes of a name's bars; a dotted line at the decision's time and price, a mark at each fill.

    Args:
        bars: ts (UTC timestamps of the bars' starts), close; at least one.
    """
    bars = bars.sort_values("ts")
    ends = [t.to_pydatetime() + BAR for t in bars["ts"]]
    moments = [as_of, *(f.at for f in fills)]
    x, sessions = trading_clock([*ends, *moments])
    decided, filled = x[len(ends)], x[len(ends) + 1 :]
    closes = bars["close"].to_numpy(np.float64)
    figure = go.Figure(line(x[: len(ends)], closes, "Close", NEUTRAL, [said(t) for t in ends]))
    figure.add_vline(x=float(decided), line_width=1, line_dash="dot", line_color=NEUTRAL)
    if decision_price is not None:
        figure.add_hline(y=decision_price, line_width=1, line_dash="dot", line_color=NEUTRAL)
    mark = {"symbol": f"triangle-{'up' if side is Side.BUY else 'down'}", "size": 13}
    told = [f"{shares(f.qty)} shares<br>{said(f.at)}" for f in fills]
    figure.add_trace(
        go.Scatter(
            x=filled, y=[f.price for f in fills], mode="markers", customdata=told,
            marker=mark | {"color": ACCENT}, name="Bought" if side is Side.BUY else "Sold",
            hovertemplate="%{y:$,.4f}<br>%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(tickformat="$,.2f")
    return finish(figure, sessions, float(x.max()), 260, start=float(x.min()))

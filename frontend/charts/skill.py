"""What forecasts have been worth: skill over time, calibration, error against the last price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from astra.scoring import OFF_BELOW_T, ON_AT_T, Calibration, Ratio, Share
from frontend.charts.axes import (
    ACCENT,
    GAIN,
    GRID,
    NEUTRAL,
    faded,
    finish,
    laid_out,
    said,
    trading_clock,
)

_ERRORS = 2  # standard errors either way: clear of 0 where t is at least 2
_LINES = 80  # points up to which each is marked


def skill_chart(measured: pd.DataFrame) -> go.Figure:
    """The IC with two standard errors either way, above its t with the gate's two thresholds.

    Args:
        measured: as_of, model_id, ic, error, t, days, on by time; at least one row has a t.
    """
    measured = measured[np.isfinite(measured["t"])]
    times = [t.to_pydatetime() for t in measured["as_of"]]
    x, sessions = trading_clock(times)
    words = [
        f"t {t:.2f} over {days} days, {'on' if on else 'off'}<br>{said(at)}"
        for t, days, on, at in zip(
            measured["t"], measured["days"], measured["on"], times, strict=True
        )
    ]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    known = np.isfinite(measured["error"].to_numpy())
    low, high = (
        (measured["ic"] + side * _ERRORS * measured["error"]).to_numpy()[known] for side in (-1, 1)
    )
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([x[known], x[known][::-1]]), y=np.concatenate([high, low[::-1]]),
            fill="toself", fillcolor=faded(ACCENT, 0.16), line_width=0, mode="lines",
            name="± 2 standard errors", hoverinfo="skip",
        ), row=1, col=1,
    )  # fmt: skip
    mode, size = ("lines+markers", 8) if len(x) <= _LINES else ("lines", 4)
    for row, column, name in ((1, "ic", "Skill (IC)"), (2, "t", "t")):
        figure.add_trace(
            go.Scatter(
                x=x, y=measured[column], name=name, mode=mode, customdata=words,
                line={"color": ACCENT if row == 1 else NEUTRAL, "width": 2}, marker_size=5,
                hovertemplate=f"{name} %{{y:.3f}}<br>%{{customdata}}<extra></extra>",
                showlegend=row == 1,
            ), row=row, col=1,
        )  # fmt: skip
    for state, color, name in ((True, GAIN, "On"), (False, NEUTRAL, "Off")):
        chosen = (measured["on"] == state).to_numpy()
        if chosen.any():
            figure.add_trace(
                go.Scatter(
                    x=x[chosen], y=measured["t"].to_numpy()[chosen], name=name, mode="markers",
                    marker={"size": size, "color": color, "symbol": "circle" if state else "x"},
                    hoverinfo="skip",
                ), row=2, col=1,
            )  # fmt: skip
    figure.add_hline(y=0, line_width=1, line_color=NEUTRAL, row=1, col=1)
    models = measured["model_id"].to_numpy()
    for place in np.flatnonzero(models[1:] != models[:-1]) + 1:
        figure.add_vline(x=float(x[place]), line_width=1, line_dash="dot", line_color=NEUTRAL)
        figure.add_annotation(
            x=float(x[place]), y=1, yref="paper", text="another network", showarrow=False,
            xanchor="left", font_color=NEUTRAL,
        )  # fmt: skip
    for level, what in ((ON_AT_T, "on from here"), (OFF_BELOW_T, "off below")):
        figure.add_hline(
            y=level, line_width=1, line_dash="dash", line_color=NEUTRAL, row=2, col=1,
            annotation_text=f"t = {level:g}, {what}", annotation_position="top left",
            annotation_font_color=NEUTRAL,
        )  # fmt: skip
    end = max(float(x.max()), 1e-3)
    finish(figure, sessions, end, 420, start=float(x.min()) if len(x) > 1 else 0.0)
    top = max(2.6, float(measured["t"].max()) * 1.12)
    figure.update_yaxes(title_text="IC", row=1, col=1)
    figure.update_yaxes(
        title_text="t", range=[min(0.0, float(measured["t"].min()) - 0.3), top], row=2, col=1
    )
    return figure


def calibration_chart(found: Calibration) -> go.Figure:
    """How many closes lay inside each band and below each quantile, less what was promised.

    A thick bar is two binomial standard errors either way, a thin one the 95 % interval over days.
    """
    shares = [*found.bands, *found.quantiles]
    names = [
        *(f"inside {s.nominal:.0%}" for s in found.bands),
        *(f"below {s.nominal:.0%}" for s in found.quantiles),
    ]
    off = [100 * (s.share - s.nominal) for s in shares]
    figure = go.Figure()
    figure.add_vline(x=0, line_width=1, line_dash="dash", line_color=NEUTRAL)
    for label, width, ends in (
        (
            "± 2 binomial errors",
            7,
            [(s.share - 2 * s.error, s.share + 2 * s.error) for s in shares],
        ),
        ("95% interval over days", 1.6, [(s.low, s.high) for s in shares]),
    ):
        if np.isfinite(ends).all():
            figure.add_trace(_segments(label, width, ends, shares, names))
    figure.add_trace(
        go.Scatter(
            x=off, y=names, mode="markers", name="Came less promised",
            marker={"size": 8, "color": ACCENT},
            customdata=[f"{s.share:.1%} came, {s.nominal:.0%} promised" for s in shares],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    far = max(5.0, 1.1 * max(abs(v) for v in off))
    figure.update_xaxes(
        title_text="Came less promised, percentage points", gridcolor=GRID, zeroline=False,
        range=[-far, far],
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True, tickmode="linear")
    return laid_out(figure, 380)


def _segments(
    label: str,
    width: float,
    ends: Sequence[tuple[float, float]],
    shares: Sequence[Share],
    names: Sequence[str],
) -> go.Scatter:
    """One line for each share, as far from what was promised as `ends`."""
    x: list[float | None] = []
    y: list[str | None] = []
    for (low, high), share, name in zip(ends, shares, names, strict=True):
        x += [100 * (low - share.nominal), 100 * (high - share.nominal), None]
        y += [name, name, None]
    return go.Scatter(
        x=x, y=y, mode="lines", name=label, hoverinfo="skip",
        line={"color": faded(ACCENT, 0.28 if width > 2 else 0.9), "width": width},
    )  # fmt: skip


def error_chart(ratios: Sequence[Ratio]) -> go.Figure:
    """Mean absolute error over the last price's, by step; below 1 the forecast is closer."""
    steps = [r for r in ratios if r.step > 0 and np.isfinite(r.ratio)]
    known = all(np.isfinite(r.low) for r in steps)
    figure = go.Figure()
    figure.add_hline(y=1, line_width=1, line_dash="dash", line_color=NEUTRAL)
    figure.add_trace(
        go.Scatter(
            x=[5 * r.step for r in steps], y=[r.ratio for r in steps], name="Forecast",
            mode="lines+markers", line={"color": ACCENT, "width": 2}, marker_size=7,
            customdata=[f"{r.cases:,} closes" for r in steps],
            error_y={
                "type": "data", "symmetric": False, "visible": known,
                "array": [r.high - r.ratio for r in steps],
                "arrayminus": [r.ratio - r.low for r in steps],
                "color": faded(ACCENT, 0.7), "thickness": 1.4, "width": 4,
            },
            hovertemplate="%{x} minutes ahead: %{y:.4f}<br>%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(
        title_text="Minutes ahead",
        gridcolor=GRID,
        zeroline=False,
        tickvals=[10, 20, 30, 40, 50, 60],
    )
    figure.update_yaxes(
        title_text="Error / last price's", gridcolor=GRID, zeroline=False, tickformat=".3f",
        range=_around(steps),
    )  # fmt: skip
    return laid_out(figure, 380).update_layout(showlegend=False)


def _around(ratios: Sequence[Ratio]) -> list[float]:
    """1 in the middle, so that no small difference looks like a large one: half a percent at
    least either way."""
    far = max((abs(v - 1) for r in ratios for v in (r.low, r.ratio, r.high) if np.isfinite(v)),
              default=0.0)  # fmt: skip
    far = max(1.15 * far, 0.005)
    return [1 - far, 1 + far]

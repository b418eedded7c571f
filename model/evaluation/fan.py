"""Daily forecasts as a picture: the last closes of a few tickers, then the bands of what may come.

Importing it needs matplotlib, which comes with the training packages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from astra.errors import DataError
from astra.sessions import NEW_YORK
from model.charting import ACCENT, INK, NEUTRAL, STYLE
from model.forecast.record import Forecast, Mark
from model.panel import Panel

PAST = 30  # sessions before the forecast
BANDS = ((0.05, 0.95, 0.16), (0.25, 0.75, 0.3))  # lower level, upper level, opacity
_COLUMNS = 2
_WIDTH, _ROW = 9.0, 2.6  # inches


def fans(forecast: Forecast, panel: Panel, tickers: Sequence[str]) -> Figure:
    """The closes of `tickers` over the last sessions, then median, 50 % and 90 % of outcomes.

    Args:
        forecast: made of `panel`, daily bars, at its last row.

    Raises:
        DataError: no ticker is named, or one is not among the forecast's.
    """
    missing = [ticker for ticker in tickers if ticker not in forecast.tickers]
    if missing or not tickers:
        raise DataError(
            f"a picture needs tickers of the forecast, {', '.join(missing) or 'none'} given: "
            f"choose among {', '.join(forecast.tickers[:5])}, ..."
        )
    rows = -(-len(tickers) // _COLUMNS)
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(h_pad=0.1, hspace=0.06, wspace=0.04)
        figure = Figure(figsize=(_WIDTH, 0.8 + _ROW * rows), layout=layout)
        figure.suptitle(
            f"The next {len(forecast.step_ts)} sessions as {forecast.model_id} sees them after the "
            f"close of {_day(forecast.as_of)} {forecast.as_of.year}, in USD",
            x=0.01, ha="left", fontsize=11.5, fontweight="bold",
        )  # fmt: skip
        grid = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axes, ticker in zip(grid.flat, tickers, strict=False):
            _fan(axes, forecast, panel, ticker)
        for axes in grid.flat[len(tickers) :]:
            axes.set_axis_off()
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles[::-1], names[::-1], loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _fan(axes: Axes, forecast: Forecast, panel: Panel, ticker: str) -> None:
    n = forecast.tickers.index(ticker)
    past = panel.close[-PAST:, panel.tickers.index(ticker)]
    before = np.arange(1 - len(past), 1)  # 0 is the last known session
    ahead = np.arange(len(forecast.step_ts) + 1)
    closes = np.vstack([np.full(len(forecast.quantiles), forecast.last_close[n]),
                        forecast.closes[n]])  # fmt: skip
    for low, high, opacity in BANDS:
        lower, upper = (closes[:, forecast.quantiles.index(level)] for level in (low, high))
        axes.fill_between(
            ahead, lower, upper, color=ACCENT, alpha=opacity, lw=0,
            label=f"{high - low:.0%} of outcomes",
        )  # fmt: skip
    middle = closes[:, forecast.quantiles.index(0.5)]
    axes.plot(ahead, middle, color=ACCENT, lw=2.2, label="median")
    axes.plot(before, past, color=NEUTRAL, lw=1.6, label="close")
    axes.axvline(0, color=NEUTRAL, lw=1, ls=(0, (1, 2)))
    axes.set_title(f"{ticker}   {_expected(forecast, n)}", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    places = np.array([before[0], before[0] // 2, 0, ahead[-1]])
    axes.set_xticks(places, [_date(forecast, panel, int(k)) for k in places])


def _expected(forecast: Forecast, n: int) -> str:
    """What is said of the last session, in % of the last close."""
    mark = forecast.marks[n]
    if mark is Mark.UNUSABLE:
        return "no forecast"
    moves = forecast.closes[n, -1] / forecast.last_close[n] - 1
    low, middle, high = (
        f"{100 * moves[forecast.quantiles.index(level)]:+.1f}".replace("-", "\N{MINUS SIGN}")
        for level in (BANDS[0][0], 0.5, BANDS[0][1])
    )
    return f"{middle} % ({low} to {high})" + (", volatility alone" * (mark is Mark.BASELINE))


def _date(forecast: Forecast, panel: Panel, place: int) -> str:
    """Of the session `place` after the last known one."""
    ts = forecast.step_ts[place - 1] if place > 0 else panel.ts[place - 1]
    return _day(dt.datetime.fromtimestamp(int(ts), dt.UTC))


def _day(time: dt.datetime) -> str:
    local = time.astimezone(NEW_YORK)
    return f"{local.day} {local:%b}"

"""Training windows: nothing missing, nothing across the close, and what serving sees."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
import torch

from astra.errors import InsufficientDataError
from model.forecast.target import Normalised, Scaler, look_backs, normalise, outcomes
from model.forecast.windows import Windows, complete_windows
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
END = 500


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    first, last = dt.date(2023, 5, 1), dt.date(2023, 5, 12)
    return simulated_bars(TICKERS, seed=7, edge=0.04, first=first, last=last)


@pytest.fixture(scope="module")
def panel(frame: pd.DataFrame) -> Panel:
    return build(frame)


@pytest.fixture(scope="module")
def normalised(panel: Panel) -> Normalised:
    return normalise(panel, Scaler())


@pytest.fixture(scope="module")
def windows(panel: Panel, normalised: Normalised) -> Windows:
    return complete_windows(panel, normalised, 60, 12, before=END)


def test_windows_have_no_gap_and_end_before_the_limit(
    panel: Panel, normalised: Normalised, windows: Windows
) -> None:
    rows, columns = windows.rows.numpy(), windows.columns.numpy()
    assert len(windows) > 500
    for row, column in zip(rows[::37], columns[::37], strict=True):
        assert np.isfinite(normalised.feature[row - 59 : row + 1, column]).all()
        assert np.isfinite(normalised.residual[row + 1 : row + 13, column]).all()
        assert panel.session[row] == panel.session[row + 12]
    assert rows.max() + 12 < END
    assert np.isnan(panel.close[:END]).any(), "the market must have gaps for this to say anything"


def test_windows_of_a_later_part_begin_there(panel: Panel, normalised: Normalised) -> None:
    later = complete_windows(panel, normalised, 60, 12, before=len(panel.ts), since=END)
    assert later.rows.min() >= END
    every = complete_windows(panel, normalised, 60, 12, before=len(panel.ts))
    assert len(later) == int((every.rows >= END).sum())


def test_training_and_serving_see_the_same_input(
    panel: Panel, normalised: Normalised, windows: Windows
) -> None:
    which = torch.arange(0, len(windows), 101)
    rows, columns = windows.rows[which].numpy(), windows.columns[which].numpy()
    paths, outcome = windows.taken(which)
    assert paths.dtype == outcome.dtype == torch.float32
    served, _ = look_backs(normalised.feature, rows, 60)
    np.testing.assert_allclose(paths, served[np.arange(len(rows)), columns], atol=1e-5)
    wanted = outcomes(normalised, panel, rows, columns, 12)
    np.testing.assert_allclose(outcome, wanted, atol=1e-5)


def test_batches_are_drawn_by_the_seed(windows: Windows) -> None:
    once, again = (next(windows.batches(8, 1, seed=3))[0] for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, next(windows.batches(8, 1, seed=4))[0])
    assert len(list(windows.batches(8, 3, seed=3))) == 3


def test_daily_windows_reach_over_nights(panel: Panel) -> None:
    daily = daily_of(panel)
    scaler = dataclasses.replace(Scaler(), warm_up=2)
    found = complete_windows(daily, normalise(daily, scaler), 3, 2, before=len(daily.ts))
    assert found.rows.max() == len(daily.ts) - 1 - 2
    _, outcome = found.taken(torch.arange(len(found)))
    assert outcome.shape[1] == 2 and bool(torch.isfinite(outcome).all())


def test_a_ticker_that_never_moves_has_no_windows(frame: pd.DataFrame) -> None:
    still = frame.copy()
    still.loc[still["ticker"] == "JPM", ["open", "high", "low", "close"]] = 100.0
    panel = build(still)
    found = complete_windows(panel, normalise(panel, Scaler()), 60, 12, before=END)
    assert panel.tickers.index("JPM") not in found.columns.tolist()
    assert len(found) > 500


def test_a_market_that_never_moves_is_refused(frame: pd.DataFrame) -> None:
    still = frame.assign(open=100.0, high=100.0, low=100.0, close=100.0)
    panel = build(still)
    with pytest.raises(InsufficientDataError, match="prices that move, rows 0 to 500 of 8 tickers"):
        complete_windows(panel, normalise(panel, Scaler()), 60, 12, before=END)


def test_bars_with_a_gap_in_every_window_are_refused(frame: pd.DataFrame) -> None:
    holed = frame[(frame["ts"] // 300) % 20 != 0]
    panel = build(holed)
    with pytest.raises(InsufficientDataError, match="without a gap"):
        complete_windows(panel, normalise(panel, Scaler()), 60, 12, before=END)

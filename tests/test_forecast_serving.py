"""Serving: one batch, equal to the past to the last bit, finite or refused, and without torch."""

import dataclasses
import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from astra.bars import read_parquet
from astra.errors import BundleError, DataError, InsufficientDataError
from model.evaluation import decision_times, evaluate
from model.forecast import skill
from model.forecast.bundle import load_bundle
from model.forecast.record import Forecast, Mark
from model.forecast.serving import Forecaster
from model.panel import Panel, build
from sandbox.listing import default_tickers
from sandbox.market import simulated_bars

NAIVE = ("last value",)
TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(load_bundle())


@pytest.fixture(scope="module")
def panel() -> Panel:
    first, last = dt.date(2026, 5, 4), dt.date(2026, 5, 15)
    return build(simulated_bars(TICKERS, seed=3, edge=0.04, first=first, last=last))


@pytest.fixture(scope="module")
def market() -> Panel:
    """Sixty stocks on 41 sessions with an edge: what a run in the sandbox sees."""
    return sixty_stocks(edge=0.04)


def sixty_stocks(edge: float) -> Panel:
    first, last = dt.date(2026, 4, 1), dt.date(2026, 5, 29)
    stocks = tuple(t for t in default_tickers(60) if t not in ("SPY", "QQQ"))
    return build(simulated_bars(stocks, seed=1, edge=edge, first=first, last=last))


def gappy(panel: Panel, ticker: int, rows: slice) -> Panel:
    close, opening = panel.close.copy(), panel.open.copy()
    close[rows, ticker] = opening[rows, ticker] = np.nan
    return dataclasses.replace(panel, close=close, open=opening)


def measured(forecaster: Forecaster, panel: Panel) -> skill.Skill:
    record = forecaster.scores_at(panel, decision_times(panel))
    return skill.measure(
        record,
        panel,
        trained_until=forecaster.bundle.spec.training.end,
        as_of=panel.sessions[-1].closes_at,
    )


def assert_sound(forecast: Forecast, horizon: int = 12) -> None:
    usable = forecast.usable
    assert forecast.closes.shape == (len(forecast.tickers), horizon, len(forecast.quantiles))
    assert np.isfinite(forecast.closes[usable]).all() and (forecast.closes[usable] > 0).all()
    assert (np.diff(forecast.closes[usable], axis=-1) >= 0).all()
    assert np.isfinite(forecast.score[usable]).all()


def test_a_forecast_names_the_next_twelve_bars(forecaster: Forecaster, panel: Panel) -> None:
    noon = panel.sessions[-1].decision_times()[2]
    forecast = forecaster.forecast(panel.known_at(noon))
    assert forecast.as_of == noon and forecast.model_id == forecaster.bundle.id
    starts = int(noon.timestamp()) + 300 * np.arange(12)
    np.testing.assert_array_equal(forecast.step_ts, starts)
    assert forecast.tickers == TICKERS
    assert forecast.counts()[Mark.FORECAST] >= 6
    assert_sound(forecast)
    np.testing.assert_array_equal(forecast.close, forecast.closes[:, :, 3])


def test_past_scores_are_what_the_forecast_was_then(forecaster: Forecaster, panel: Panel) -> None:
    times = decision_times(panel)
    record = forecaster.scores_at(panel, times)
    assert np.isfinite(record.score).mean() > 0.5
    for k, t in list(enumerate(times))[7::5]:
        then = forecaster.forecast(panel.known_at(t))
        served = [mark is Mark.FORECAST for mark in then.marks]
        np.testing.assert_array_equal(record.score[k], np.where(served, then.score, np.nan))


def test_the_future_changes_no_forecast(forecaster: Forecaster, panel: Panel) -> None:
    t = panel.sessions[5].decision_times()[3]
    later = panel.ts + 300 > int(t.timestamp())
    wild = dataclasses.replace(panel, close=panel.close.copy(), open=panel.open.copy())
    wild.close[later] *= 1.7
    wild.open[later] = np.nan
    (now,), (then,) = (list(forecaster.forecasts_at(p, [t])) for p in (wild, panel))
    for name in ("score", "closes", "last_close", "gaps", "step_ts"):
        np.testing.assert_array_equal(getattr(now, name), getattr(then, name))
    past = [s for s in decision_times(panel) if s <= t]
    ours, theirs = forecaster.scores_at(wild, past), forecaster.scores_at(panel, past)
    np.testing.assert_array_equal(ours.score, theirs.score)


def test_a_gappy_ticker_gets_the_baseline_and_leaves_its_bands(
    forecaster: Forecaster, panel: Panel
) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    holes = gappy(known, 3, slice(-40, -20, 2))
    forecast = forecaster.forecast(holes)
    assert forecast.marks[3] is Mark.BASELINE and forecast.gaps[3] >= 20
    assert forecast.score[3] == 0
    assert_sound(forecast)
    half = np.log(forecast.closes[3, :, [0, -1]] / forecast.last_close[3])
    assert (np.diff(half[1]) > 0).all() and (half[0] < 0).all(), "bands open with the horizon"
    record = forecaster.scores_at(holes, [forecast.as_of])
    assert np.isnan(record.score[0, 3])


def test_a_few_gaps_are_borne_and_counted(forecaster: Forecaster, panel: Panel) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    before = forecaster.forecast(known)
    ticker = int(np.argmin(before.gaps))
    forecast = forecaster.forecast(gappy(known, ticker, slice(-30, -29)))
    assert forecast.gaps[ticker] == before.gaps[ticker] + 2
    assert forecast.marks[ticker] is Mark.FORECAST
    assert forecast.score[ticker] == pytest.approx(before.score[ticker], abs=0.1)


def test_a_ticker_without_a_price_is_unusable(forecaster: Forecaster, panel: Panel) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    forecast = forecaster.forecast(gappy(known, 0, slice(None)))
    assert forecast.marks[0] is Mark.UNUSABLE and not forecast.usable[0]
    assert np.isnan(forecast.score[0]) and np.isnan(forecast.closes[0]).all()
    assert forecast.counts()[Mark.UNUSABLE] == 1
    assert_sound(forecast)


def test_too_young_a_panel_is_refused(forecaster: Forecaster, panel: Panel) -> None:
    young = panel.known_at(panel.sessions[0].decision_times()[0])
    with pytest.raises(InsufficientDataError, match="load more history"):
        forecaster.forecast(young)
    with pytest.raises(InsufficientDataError, match="load some"):
        forecaster.forecast(panel.known_at(panel.sessions[0].opens_at))


def test_a_horizon_across_the_close_is_refused(forecaster: Forecaster, panel: Panel) -> None:
    late = panel.sessions[-1].decision_times()[-1] + dt.timedelta(minutes=5)
    with pytest.raises(DataError, match=r"12 more bars in its session, at .* 11 are left"):
        forecaster.forecast(panel.known_at(late))
    with pytest.raises(DataError, match="0 are left"):
        forecaster.forecast(panel)


@pytest.mark.parametrize("minutes", [2, 60 * 24 * 30])
def test_a_time_that_closes_no_bar_of_the_panel_is_refused(
    forecaster: Forecaster, panel: Panel, minutes: int
) -> None:
    t = panel.sessions[-1].decision_times()[0] + dt.timedelta(minutes=minutes)
    with pytest.raises(DataError, match="must be the close of a bar in the panel"):
        forecaster.scores_at(panel, [t])


def test_times_before_the_panel_have_no_score(forecaster: Forecaster, panel: Panel) -> None:
    early = panel.sessions[0].opens_at - dt.timedelta(days=3)
    record = forecaster.scores_at(panel, [decision_times(panel)[-1], early])
    assert record.as_of.tolist() == sorted(record.as_of.tolist())
    assert np.isnan(record.score[0]).all() and np.isfinite(record.score[1]).any()


def test_a_network_of_other_shapes_than_its_specification_is_refused() -> None:
    bundle = load_bundle()
    other = dataclasses.replace(bundle, spec=dataclasses.replace(bundle.spec, horizon=6))
    with pytest.raises(BundleError, match="differ from spec"):
        Forecaster(other)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(BundleError, match="can't load the network"):
        Forecaster(dataclasses.replace(load_bundle(), onnx=b"garbage"))


def test_a_planted_edge_is_found_and_bands_are_calibrated(
    forecaster: Forecaster, market: Panel
) -> None:
    found = measured(forecaster, market)
    assert found.on and not found.suspect
    assert 0.015 < found.used <= found.ic < 0.05
    evaluation = evaluate(forecaster.bundle, market, baselines=NAIVE)
    assert evaluation.metrics()["coverage_90"] == pytest.approx(0.90, abs=0.025)
    assert evaluation.metrics()["coverage_50"] == pytest.approx(0.50, abs=0.03)
    assert evaluation.metrics()["mae_bp"] == pytest.approx(
        evaluation.metrics()["naive_mae_bp"], rel=0.01
    )
    assert evaluation.decisions == found.decisions
    assert (evaluation.ic, evaluation.t) == pytest.approx((found.ic, found.t))


def test_without_an_edge_skill_is_off(forecaster: Forecaster) -> None:
    found = measured(forecaster, sixty_stocks(edge=0.0))
    assert not found.on and found.used == 0 and abs(found.t) < 2


def test_an_evaluation_without_outcomes_is_refused(forecaster: Forecaster, panel: Panel) -> None:
    with pytest.raises(InsufficientDataError, match="load more history"):
        evaluate(forecaster.bundle, panel, [panel.sessions[0].decision_times()[0]])


def test_serving_loads_no_training_library() -> None:
    program = f"""
import datetime as dt, sys
from model.forecast.bundle import load_bundle
from model.forecast.serving import Forecaster
from model.panel import build
from sandbox.market import simulated_bars
first, last = dt.date(2026, 5, 4), dt.date(2026, 5, 6)
panel = build(simulated_bars({TICKERS!r}, seed=3, edge=0.0, first=first, last=last))
noon = panel.sessions[-1].decision_times()[2]
forecast = Forecaster(load_bundle()).forecast(panel.known_at(noon))
assert forecast.usable.any()
print(sorted(set(sys.modules) & {{"torch", "darts", "pytorch_lightning", "onnx", "scipy"}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_on_recorded_bars_the_bands_hold_and_the_middle_is_no_better_than_the_last_value(
    forecaster: Forecaster, test_data: Path
) -> None:
    frame = read_parquet(str(test_data / "us_5m_2024_17tickers_MIT.parquet"))
    recent = build(frame[frame["ts"] >= frame["ts"].max() - 60 * 86400])
    evaluation = evaluate(forecaster.bundle, recent, baselines=NAIVE)
    assert len(evaluation.dates) > 20
    assert 0.86 < evaluation.metrics()["coverage_90"] < 0.94
    assert 0.45 < evaluation.metrics()["coverage_50"] < 0.60
    assert evaluation.metrics()["mae_bp"] == pytest.approx(
        evaluation.metrics()["naive_mae_bp"], rel=0.02
    )
    assert abs(evaluation.t) < 3

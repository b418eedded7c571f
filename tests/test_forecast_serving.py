"""Serving: one batch, equal to the past to the last bit, finite or refused, and without torch."""

import dataclasses
import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from astra.bars import read_parquet
from astra.errors import BundleError, DataError, InsufficientDataError
from model.evaluation import decision_times, evaluate
from model.forecast import skill
from model.forecast.record import Forecast, Mark
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.spec import Spec, check
from model.forecast.target import Scaler
from model.panel import Panel, build, daily_of
from sandbox.listing import default_tickers
from sandbox.markets import simulated_bars
from tests.bundles import a_bundle, a_network, a_spec

NAIVE = ("last value",)
TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(shipped().load())


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


@pytest.fixture(scope="module")
def daily_forecaster() -> Forecaster:
    """Five sessions ahead from twenty, by a network that answers no two paths the same."""
    sight = {"frequency": "1d", "window": 20, "horizon": 5, "allowed_gaps": 2}
    scaler = Scaler(sigma_half_life=20, beta_half_life=60, warm_up=20)
    bundle = a_bundle(**sight, scaler=scaler)
    return Forecaster(dataclasses.replace(bundle, onnx=a_linear_network(20, 5)))


@pytest.fixture(scope="module")
def days() -> Panel:
    first, last = dt.date(2026, 2, 2), dt.date(2026, 5, 29)
    return daily_of(build(simulated_bars(TICKERS, seed=3, edge=0.04, first=first, last=last)))


def a_linear_network(window: int, horizon: int) -> bytes:
    """Quantiles in the wrong order, moved by random sums of the path."""
    steps = np.sqrt(np.arange(1, horizon + 1) / horizon)[:, None]
    answer = (steps * np.linspace(1.6, -1.6, 7)).astype(np.float32)
    weights = np.random.default_rng(0).normal(0, 0.05, (window, horizon)).repeat(7, axis=1)
    return network_of(
        [
            helper.make_node("MatMul", ["paths", "weights"], ["moved"]),
            helper.make_node("Add", ["moved", "answer"], ["flat"]),
        ],
        answer.shape,
        weights=weights.astype(np.float32),
        answer=answer.reshape(-1),
    )


def a_network_without_an_answer_to_falling_paths() -> bytes:
    """The root of a path's sum, which is none of a negative one."""
    return network_of(
        [
            helper.make_node("MatMul", ["paths", "ones"], ["summed"]),
            helper.make_node("Sqrt", ["summed"], ["flat"]),
        ],
        (12, 7),
        ones=np.ones((60, 84), np.float32),
    )


def network_of(nodes: list[onnx.NodeProto], shape: tuple[int, ...], **values: np.ndarray) -> bytes:
    """An ONNX file of `nodes` from "paths" to "flat"."""
    window = next(iter(values.values())).shape[0]
    values["shape"] = np.array([-1, *shape], np.int64)
    graph = helper.make_graph(
        [*nodes, helper.make_node("Reshape", ["flat", "shape"], ["quantiles"])],
        "made by hand",
        [helper.make_tensor_value_info("paths", TensorProto.FLOAT, ["b", window])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["b", *shape])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = onnx.ModelProto(graph=graph, opset_import=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def with_another_future(panel: Panel, row: int, seed: int) -> Panel:
    """The same up to `row`; after it other prices, halts, and gaps."""
    rng = np.random.default_rng(seed)
    close, opening = panel.close.copy(), panel.open.copy()
    later = close[row + 1 :].shape
    close[row + 1 :] *= np.exp(rng.normal(0, 0.3, later))
    opening[row + 1 :] *= np.exp(rng.normal(0, 0.3, later))
    gone = rng.random(later) < rng.random()
    close[row + 1 :][gone] = opening[row + 1 :][gone] = np.nan
    close[row + 1 :, rng.integers(later[1])] = 50.0
    return dataclasses.replace(panel, close=close, open=opening)


def assert_no_future(forecaster: Forecaster, panel: Panel, t: dt.datetime, seed: int) -> None:
    row = int(np.searchsorted(panel.ends, int(t.timestamp())))
    wild = with_another_future(panel, row, seed)
    (now,), (then,) = (list(forecaster.forecasts_at(p, [t])) for p in (wild, panel))
    cut = forecaster.forecast(panel.known_at(t))
    for name in ("score", "closes", "last_close", "gaps", "step_ts", "volatility"):
        np.testing.assert_array_equal(getattr(now, name), getattr(then, name))
        np.testing.assert_array_equal(getattr(cut, name), getattr(then, name))
    assert now.marks == then.marks == cut.marks
    assert now.reasons == then.reasons == cut.reasons
    past = [s for s in decision_times(panel) if s <= t]
    ours, theirs = forecaster.scores_at(wild, past), forecaster.scores_at(panel, past)
    np.testing.assert_array_equal(ours.score, theirs.score)
    np.testing.assert_array_equal(ours.volatility, theirs.volatility)


@settings(max_examples=25, deadline=None)
@given(place=st.integers(8, 59), seed=st.integers(0, 2**32 - 1))
def test_the_future_changes_no_forecast(
    forecaster: Forecaster, panel: Panel, place: int, seed: int
) -> None:
    assert_no_future(forecaster, panel, decision_times(panel)[place], seed)


@settings(max_examples=25, deadline=None)
@given(place=st.integers(42, 75), seed=st.integers(0, 2**32 - 1))
def test_later_sessions_change_no_daily_forecast(
    daily_forecaster: Forecaster, days: Panel, place: int, seed: int
) -> None:
    assert_no_future(daily_forecaster, days, days.sessions[place].closes_at, seed)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(TICKERS))))
def test_the_order_of_the_tickers_is_the_order_of_the_answers(
    forecaster: Forecaster, panel: Panel, order: list[int]
) -> None:
    t = panel.sessions[4].decision_times()[2]
    holes = gappy(panel.known_at(t), 2, slice(-20, -3))
    turned = dataclasses.replace(
        holes,
        tickers=tuple(TICKERS[i] for i in order),
        open=holes.open[:, order],
        close=holes.close[:, order],
    )
    then, now = forecaster.forecast(holes), forecaster.forecast(turned)
    assert now.marks == tuple(then.marks[i] for i in order)
    assert now.reasons == tuple(then.reasons[i] for i in order)
    np.testing.assert_allclose(now.closes, then.closes[order], rtol=1e-6)
    np.testing.assert_allclose(now.score, then.score[order], atol=1e-5)


def test_a_daily_forecast_names_the_next_sessions(
    daily_forecaster: Forecaster, days: Panel
) -> None:
    friday = next(k for k, s in enumerate(days.sessions) if s.date == dt.date(2026, 5, 22))
    forecast = daily_forecaster.forecast(days.known_at(days.sessions[friday].closes_at))
    assert forecast.as_of == days.sessions[friday].closes_at
    # Monday the 25th is Memorial Day.
    wanted = [dt.date(2026, 5, day) for day in (26, 27, 28, 29)] + [dt.date(2026, 6, 1)]
    starts = [dt.datetime.fromtimestamp(int(t), dt.UTC) for t in forecast.step_ts]
    assert [t.date() for t in starts] == wanted
    assert starts[:4] == [s.opens_at for s in days.sessions[friday + 1 :]]
    assert forecast.counts()[Mark.FORECAST] == len(TICKERS)
    assert len(set(forecast.score.tolist())) == len(TICKERS)
    assert_sound(forecast, horizon=5)
    record = daily_forecaster.scores_at(days, [forecast.as_of])
    np.testing.assert_array_equal(record.score[0], forecast.score)
    np.testing.assert_array_equal(record.volatility[0], forecast.volatility)


def test_the_bands_of_days_are_as_wide_as_their_volatility(days: Panel) -> None:
    sight = {"frequency": "1d", "window": 20, "horizon": 5, "allowed_gaps": 2}
    constant = dataclasses.replace(a_bundle(**sight), onnx=a_network(1.0, 20, 5))
    forecast = Forecaster(constant).forecast(days)
    moves = np.log(forecast.closes[..., -1] / forecast.last_close[:, None])
    steps = np.sqrt(np.arange(1, 6) / 5) * np.sqrt(np.arange(1, 6) / 5)
    np.testing.assert_allclose(moves, 1.644854 * forecast.volatility[:, None] * steps, rtol=1e-5)


def test_bars_of_another_frequency_are_refused(
    forecaster: Forecaster, daily_forecaster: Forecaster, panel: Panel, days: Panel
) -> None:
    noon, close = panel.sessions[-1].decision_times()[2], days.sessions[-1].closes_at
    with pytest.raises(DataError, match="forecasts bars of 5m, the panel's are of 1d"):
        forecaster.forecast(days)
    with pytest.raises(DataError, match="forecasts bars of 5m, the panel's are of 1d"):
        forecaster.scores_at(days, [close])
    with pytest.raises(DataError, match="forecasts bars of 1d, the panel's are of 5m"):
        daily_forecaster.forecast(panel.known_at(noon))
    with pytest.raises(DataError, match="forecasts bars of 1d, the panel's are of 5m"):
        list(daily_forecaster.forecasts_at(panel, [noon]))


def test_a_halted_ticker_gets_the_baseline_until_it_trades_again(
    forecaster: Forecaster, panel: Panel
) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    last = forecaster.forecast(known).last_close
    two = forecaster.forecast(gappy(known, 1, slice(-2, None)))
    assert two.marks[1] is Mark.FORECAST and two.reasons[1] == ""
    three = forecaster.forecast(gappy(known, 1, slice(-3, None)))
    assert three.marks[1] is Mark.BASELINE and three.score[1] == 0
    assert three.reasons[1] == "no bar among the last 3"
    assert three.last_close[1] == known.close[-4, 1] != last[1]
    assert three.marks[2:] == two.marks[2:]
    assert_sound(three)


def test_a_price_that_stands_still_says_nothing(forecaster: Forecaster, panel: Panel) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    still = dataclasses.replace(known, close=known.close.copy(), open=known.open.copy())
    still.close[-60:, 4] = still.open[-60:, 4] = 25.0
    forecast = forecaster.forecast(still)
    assert forecast.marks[4] is Mark.BASELINE and forecast.score[4] == 0
    assert forecast.reasons[4] == "no move of the price in 60 bars"
    assert_sound(forecast)
    still.close[-61, 4] = still.close[-60, 4] = 25.5
    assert forecaster.forecast(still).marks[4] is Mark.FORECAST
    still.close[:, 4] = still.open[:, 4] = 25.0
    never = forecaster.forecast(still)
    assert never.marks[4] is Mark.UNUSABLE and never.reasons[4] == "no price or no volatility yet"


def test_fewer_tickers_than_make_a_market_get_baselines(
    forecaster: Forecaster, panel: Panel
) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    for names in (("MSFT",), ("AAPL", "JPM", "MSFT", "XOM")):
        forecast = forecaster.forecast(known.only(names))
        assert set(forecast.marks) == {Mark.BASELINE} and not forecast.score.any()
        assert set(forecast.reasons) == {"5 tickers are needed to tell the market from one"}
        assert_sound(forecast)


def test_a_network_whose_answer_is_not_finite_is_refused_by_the_ticker(
    forecaster: Forecaster, panel: Panel
) -> None:
    broken = Forecaster(
        dataclasses.replace(forecaster.bundle, onnx=a_network_without_an_answer_to_falling_paths())
    )
    noon = panel.sessions[-1].decision_times()[2]
    with pytest.raises(DataError, match=r"must be finite, nbeats-.* gave one of [A-Z]+ and \d "):
        broken.forecast(panel.known_at(noon))
    with pytest.raises(DataError, match="must be finite"):
        broken.scores_at(panel, [noon])
    with pytest.raises(BundleError, match="quiet path must be finite"):
        Forecaster(a_bundle(width=float("nan")))


def test_a_gappy_ticker_gets_the_baseline_and_leaves_its_bands(
    forecaster: Forecaster, panel: Panel
) -> None:
    known = panel.known_at(panel.sessions[-1].decision_times()[3])
    holes = gappy(known, 3, slice(-40, -20, 2))
    forecast = forecaster.forecast(holes)
    assert forecast.marks[3] is Mark.BASELINE and forecast.gaps[3] >= 20
    assert forecast.score[3] == 0
    assert forecast.reasons[3] == "more than 6 of the last 60 returns unknown"
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 78}, "horizon must fit in a session"),
        ({"scaler": Scaler(sigma_half_life=0)}, "constants must be above 0"),
        ({"scaler": Scaler(clip=float("nan"))}, "constants must be above 0"),
    ],
)
def test_a_specification_that_cannot_be_served_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    spec = a_spec()
    assert Spec.from_json(spec.to_json().encode()) == check(spec) == spec
    with pytest.raises(BundleError, match=message):
        Spec.from_json(dataclasses.replace(spec, **changes).to_json().encode())


def test_a_network_of_other_shapes_than_its_specification_is_refused() -> None:
    bundle = shipped().load()
    other = dataclasses.replace(bundle, spec=dataclasses.replace(bundle.spec, horizon=6))
    with pytest.raises(BundleError, match="differ from spec"):
        Forecaster(other)


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True), turned=st.booleans(), data=st.data())
def test_a_network_that_is_none_is_refused(cut: float, turned: bool, data: st.DataObject) -> None:
    bundle = shipped().load()
    part = bundle.onnx[: int(cut * len(bundle.onnx))]
    content = data.draw(st.binary(max_size=300)) if turned else part
    with pytest.raises(BundleError, match="can't load the network of"):
        Forecaster(dataclasses.replace(bundle, onnx=content))


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_of_the_file_turned_over_is_borne_or_refused(
    panel: Panel, place: float, bit: int
) -> None:
    bundle = shipped().load()
    content = bytearray(bundle.onnx)
    content[int(place**4 * len(content))] ^= 1 << bit  # most of the structure stands in front
    try:
        spoilt = Forecaster(dataclasses.replace(bundle, onnx=bytes(content)))
        forecast = spoilt.forecast(panel.known_at(panel.sessions[-1].decision_times()[2]))
    except (BundleError, DataError):
        return
    assert_sound(forecast)


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


FRESH_PROCESS = """
import sys, time
import numpy as np
from astra.sessions import Session
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.panel import Panel
import datetime as dt
held = np.load(sys.argv[1])
opens = [dt.datetime.fromtimestamp(t, dt.UTC) for t in held["opens"].tolist()]
sessions = tuple(Session(t.date(), t, t + dt.timedelta(hours=6.5)) for t in opens)
arrays = [held[name] for name in ("ts", "session", "slot", "open", "close")]
panel = Panel(tuple(held["tickers"].tolist()), *arrays, sessions)
forecast = Forecaster(shipped().load()).forecast(panel)
assert forecast.usable.all() and len(forecast.tickers) == 500
training = {"torch", "darts", "pytorch_lightning", "onnx", "lightgbm"}
heavy = {"pandas", "pyarrow", "scipy", "sklearn", "plotly", "matplotlib", "exchange_calendars"}
print(sorted(set(sys.modules) & (training | heavy)))
most = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time(), int(most.split()[1]) / 1024)
"""


def test_a_fresh_process_forecasts_at_once_and_loads_no_training_library(
    market: Panel, tmp_path: Path
) -> None:
    """500 tickers; seconds of the processor, which other work on the machine does not change."""
    known = market.known_at(market.sessions[2].decision_times()[2])
    many = np.arange(500) % len(market.tickers)
    opens = [int(s.opens_at.timestamp()) for s in known.sessions]
    arrays = {name: getattr(known, name) for name in ("ts", "session", "slot")}
    arrays |= {"open": known.open[:, many], "close": known.close[:, many], "opens": opens}
    np.savez(tmp_path / "panel.npz", tickers=[f"T{k:03d}" for k in range(500)], **arrays)
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(tmp_path / "panel.npz")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded, figures = done.stdout.strip().splitlines()
    seconds, megabytes = map(float, figures.split())
    assert loaded == "[]"
    assert seconds < 1 and megabytes < 150


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

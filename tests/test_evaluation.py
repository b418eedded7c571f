"""What a bundle was worth: equal to what skill says, exact on known networks, and honest."""

import dataclasses
import datetime as dt
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from astra.cli import evaluating
from astra.cli.commands import app
from astra.errors import DataError, InsufficientDataError
from model.evaluation import BASELINES, Evaluation, decision_times, evaluate
from model.evaluation.report import figures
from model.evaluation.walk import NORMAL, OURS, Band, Walked, walk
from model.forecast.bundle import Bundle
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.skill import realised_returns
from model.forecast.target import Scaler
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars
from tests.bundles import a_network, a_spec

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
NAIVE = ("last value",)


def normal(width: float = 1.0, horizon: int = 12, **changes: object) -> Bundle:
    """A bundle whose bands are those of the normal, `width` times as wide, whatever it sees."""
    every_step = width * np.sqrt(horizon / np.arange(1, horizon + 1))[:, None]
    spec = a_spec(horizon=horizon, **changes)
    network = a_network(every_step, window=spec.window, horizon=horizon)
    return Bundle(f"nbeats-{spec.frequency}-00000000", spec, network, b"")


@pytest.fixture(scope="module")
def panel() -> Panel:
    """23 sessions: one block and three sessions of the next."""
    first, last = dt.date(2026, 5, 1), dt.date(2026, 6, 3)
    return build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last))


@pytest.fixture(scope="module")
def evaluation(panel: Panel) -> Evaluation:
    return evaluate(shipped().load(), panel)


@pytest.fixture(scope="module")
def walked(panel: Panel) -> Walked:
    return walk(Forecaster(normal()), panel, decision_times(panel), NAIVE)


@pytest.fixture(scope="module")
def daily() -> Panel:
    first, last = dt.date(2026, 1, 5), dt.date(2026, 6, 3)
    return daily_of(build(simulated_bars(TICKERS, seed=3, edge=0.0, first=first, last=last)))


def test_the_normals_own_quantiles_are_as_good_as_the_normal_band(panel: Panel) -> None:
    found = evaluate(normal(), panel, baselines=NAIVE)
    ours, band = found.bands[OURS], found.bands[NORMAL]
    np.testing.assert_allclose(ours.pinball_bp, band.pinball_bp, rtol=1e-6)
    np.testing.assert_array_equal(ours.coverage, band.coverage)
    assert found.points[OURS].mae_bp == pytest.approx(found.points["last value"].mae_bp)
    assert found.points[OURS].direction is None and found.ic == 0  # it has no opinion


def test_bands_too_narrow_or_too_wide_lose_to_the_normal_band(panel: Panel) -> None:
    narrow, wide = (evaluate(normal(width), panel, baselines=NAIVE) for width in (0.6, 1.6))
    assert narrow.against_normal.t > 3 and wide.against_normal.t > 3
    assert narrow.off_nominal(0.9)[1] < -0.1 and wide.off_nominal(0.5)[1] > 0.15
    assert (narrow.bands[OURS].high < wide.bands[OURS].low).all()


def test_the_tradable_return_is_that_of_skill(panel: Panel, walked: Walked) -> None:
    expected = realised_returns(panel, walked.as_of)
    counted = np.isfinite(walked.tradable)
    np.testing.assert_allclose(walked.tradable[counted], expected[counted], atol=1e-12)
    assert counted.mean() > 0.6


def test_who_knows_the_outcome_has_an_ic_of_1_and_raises_the_alarm(walked: Walked) -> None:
    points = dataclasses.replace(walked.points[OURS], score=walked.tradable)
    knowing = dataclasses.replace(walked, points={**walked.points, OURS: points})
    found = figures(normal(), knowing, NAIVE, cost_bp=2.3)
    assert found.ic == pytest.approx(1) and found.leak
    assert found.document()["leak_alarm"] is True
    assert found.points[OURS].direction.mean == 1
    assert found.spread_bp.mean > 30


def test_shuffled_outcomes_raise_no_alarm(walked: Walked) -> None:
    shuffled = np.random.default_rng(1).permuted(walked.tradable, axis=0)
    points = dataclasses.replace(walked.points[OURS], score=shuffled)
    found = figures(normal(), dataclasses.replace(walked, points={OURS: points}), (), cost_bp=2.3)
    assert not found.leak and abs(found.t) < 3
    assert found.points[OURS].direction.mean == pytest.approx(0.5, abs=0.06)


def test_a_spread_pays_four_trades(walked: Walked) -> None:
    points = dataclasses.replace(walked.points[OURS], score=walked.tradable)
    knowing = dataclasses.replace(walked, points={OURS: points})
    found = figures(normal(), knowing, (), cost_bp=2.5)
    assert found.spread_cost_bp == 10
    assert found.net_spread_bp.mean == pytest.approx(found.spread_bp.mean - 10)


def test_fitted_baselines_begin_when_there_is_something_to_fit_them_on(
    evaluation: Evaluation, panel: Panel
) -> None:
    days = {name: found.days for name, found in evaluation.points.items()}
    assert list(days) == [OURS, *BASELINES]
    assert days["last value"] == days[OURS] == len(panel.sessions) - 1  # one to warm up
    assert days["ridge"] == days["LightGBM"] == 3
    assert evaluation.missing == {}


def test_without_a_past_the_fitted_baselines_are_missing_and_said_to_be(panel: Panel) -> None:
    early = [t for t in decision_times(panel) if t < panel.sessions[3].opens_at]
    found = evaluate(normal(), panel, early, baselines=("ridge",))
    assert list(found.points) == [OURS] and "more history" in found.missing["ridge"]


def test_where_lightgbm_is_not_installed_the_evaluation_says_so(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    last = decision_times(panel)[-6:]
    found = evaluate(normal(), panel, last, baselines=("LightGBM",))
    assert "pip install lightgbm" in found.missing["LightGBM"]


def test_every_session_has_its_mean_loss(evaluation: Evaluation, panel: Panel) -> None:
    assert list(evaluation.daily_pinball) == [d.isoformat() for d in evaluation.dates]
    last = [t for t in decision_times(panel) if t > panel.sessions[-1].opens_at]
    alone = evaluate(shipped().load(), panel, last, baselines=())
    found = evaluation.daily_pinball[panel.sessions[-1].date.isoformat()]
    assert alone.metrics()["pinball_bp"] == pytest.approx(found, rel=1e-3)


def test_bars_after_a_session_change_nothing_of_its_figures(panel: Panel) -> None:
    wild = dataclasses.replace(panel, open=panel.open.copy(), close=panel.close.copy())
    after = panel.session > 20
    wild.open[after] *= 1.7
    wild.close[after] *= 0.6
    times = [t for t in decision_times(panel) if t < panel.sessions[20].closes_at]
    told, untold = (evaluate(normal(), p, times).document() for p in (panel, wild))
    assert told == untold


def test_the_main_figures_are_finite_and_go_through_json(evaluation: Evaluation) -> None:
    found = evaluation.metrics()
    assert set(found) >= {
        "closes", "coverage_50", "coverage_80", "coverage_90", "days", "decisions", "ic", "t",
        "mae_bp", "naive_mae_bp", "pinball_bp", "mase", "smape", "direction", "spread_bp",
    }  # fmt: skip
    assert np.isfinite(list(found.values())).all()
    document = json.loads(json.dumps(evaluation.document(), allow_nan=False))
    assert document["metrics"] == found
    assert len(document["bands"][OURS]["coverage"]["90"]) == 12
    assert found["mase"] == pytest.approx(np.sqrt(6.5), rel=0.2)  # steps of a random walk


def test_sessions_the_bundle_has_learned_from_are_refused(panel: Panel) -> None:
    end = panel.sessions[10].closes_at
    learned = normal(end=end)
    with pytest.raises(DataError, match=r"learned from bars until .* evaluate later sessions"):
        evaluate(learned, panel, decision_times(panel))
    found = evaluate(learned, panel, baselines=NAIVE)
    assert found.dates[0] == panel.sessions[11].date
    first = panel.sessions[5].opens_at
    held_out = [t for t in decision_times(panel) if first <= t <= end]
    found = evaluate(learned, panel, held_out, baselines=NAIVE, unseen_since=first)
    assert (found.dates[0], found.dates[-1]) == (panel.sessions[5].date, panel.sessions[10].date)


def test_an_evaluation_without_outcomes_is_refused(panel: Panel) -> None:
    with pytest.raises(InsufficientDataError, match="load more history"):
        evaluate(normal(), panel, [panel.sessions[0].decision_times()[0]])


def test_bars_that_the_bundle_has_all_learned_from_call_for_later_ones(panel: Panel) -> None:
    learned = normal(end=dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    says = "until 2027-01-01, the last of these is of 2026-06-03: give it later ones, or train with"
    for times in (None, []):
        with pytest.raises(InsufficientDataError, match=says):
            evaluate(learned, panel, times)
    with pytest.raises(InsufficientDataError, match="load more history"):
        evaluate(normal(), panel, [])


def test_daily_forecasts_are_evaluated_at_every_close(daily: Panel) -> None:
    scaler = Scaler(sigma_half_life=10, beta_half_life=20, warm_up=10)
    bundle = normal(horizon=5, frequency="1d", window=20, scaler=scaler)
    found = evaluate(bundle, daily)
    last = daily.sessions[-6]
    assert found.dates[-1] == last.date and len(found.dates) > 60
    assert len(found.bands[OURS].pinball_bp) == 5
    np.testing.assert_allclose(
        found.bands[OURS].pinball_bp, found.bands[NORMAL].pinball_bp, rtol=1e-6
    )
    assert found.points["ridge"].days > 30
    walked = walk(Forecaster(bundle), daily, decision_times(daily), ())
    entry, leaves = daily.open[len(daily.ts) - 5], daily.close[-1]
    counted = np.isfinite(walked.tradable[-1])
    np.testing.assert_allclose(walked.tradable[-1][counted], np.log(leaves / entry)[counted])


def test_charts_are_three_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    from model.evaluation.charts import write

    paths = write(evaluation, tmp_path / "charts")
    assert [p.name for p in paths] == ["calibration.png", "quantile_loss.png", "rank_ic.png"]
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 20_000


def run(*options: str) -> str:
    done = CliRunner().invoke(app, ["evaluate", "--tickers", "8", *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_answers_with_one_json_object(tmp_path: Path) -> None:
    answer = json.loads(run("--last-sessions", "4", "--json", "--charts", str(tmp_path)))
    assert answer["market"] == "simulated:1" and answer["planted_edge"] == 0.04
    assert answer["metrics"]["days"] == 4
    assert set(answer["points"]) == {OURS, *BASELINES}
    assert all(Path(path).is_file() for path in answer["charts"])


def test_the_command_shows_what_a_person_asks_for() -> None:
    shown = run("--last-sessions", "4")
    for said in ("SIMULATED, edge planted", "this network", "last value", "LightGBM", "rank IC",
                 "80% band", "bid-ask bounce", "open and close both legs"):  # fmt: skip
        assert said in shown
    assert max(map(len, shown.split("drawn in blocks")[0].split("\n"))) < 100


def test_intervals_of_overlapping_weeks_hold_the_truth(walked: Walked) -> None:
    shocks = np.random.default_rng(7).normal(size=(124, 1000))
    share = 0.5 + sum(shocks[k : k + 120] for k in range(5)) / 50
    inside = np.repeat(share[..., None], 3, axis=2)
    band = Band(cases=np.ones(share.shape), loss=np.zeros(share.shape), inside=inside)
    weeks = dataclasses.replace(
        walked,
        dates=tuple(dt.date(2026, 1, 1) + dt.timedelta(days=d) for d in range(120)),
        points={OURS: walked.points[OURS]},
        bands={OURS: band, NORMAL: band},
    )
    found = figures(normal(horizon=5, frequency="1d"), weeks, (), cost_bp=2.3).bands[OURS]
    assert ((found.low < 0.5) & (found.high > 0.5)).mean() > 0.865


def test_the_interval_of_few_days_is_not_a_point(daily: Panel) -> None:
    scaler = Scaler(sigma_half_life=10, beta_half_life=20, warm_up=10)
    bundle = normal(horizon=5, frequency="1d", window=20, scaler=scaler)
    found = evaluate(bundle, daily, decision_times(daily)[-8:], baselines=NAIVE)
    band = found.bands[OURS]
    assert len(found.dates) == 8 and (band.high > band.low).all()


def said_of(score: np.ndarray, walked: Walked) -> tuple[Evaluation, str]:
    points = dataclasses.replace(walked.points[OURS], score=score)
    told = dataclasses.replace(walked, points={**walked.points, OURS: points})
    found = figures(normal(), told, NAIVE, cost_bp=2.3)
    said = io.StringIO()
    evaluating.show(
        evaluating.Found(found, "simulated:3", None, "trained on nothing", 8, ()),
        Console(file=said, force_terminal=True, color_system="standard", highlight=False),
    )
    return found, said.getvalue()


def test_a_leak_is_said_in_red_with_the_days_it_was_seen_on(walked: Walked) -> None:
    noise = np.random.default_rng(1).normal(0, 1, walked.tradable.shape)
    noisy = walked.tradable + np.nanstd(walked.tradable) * noise
    found, said = said_of(noisy, walked)
    assert found.t > 3
    told = f"LEAK ALARM: a rank IC of {found.ic:.3f} (t {found.t:+.1f} over 22 days) is above 0.05"
    assert f"\x1b[1;31m{told}, too good" in said
    _, certain = said_of(walked.tradable, walked)  # every day is 1, there is no t
    assert "a rank IC of 1.000 (over 22 days) is above 0.05, too good" in certain


@pytest.mark.parametrize(
    ("first", "seed", "told"), [(0, 0, r"t \+[12]\.\d over 22 days"), (22, 3, "over 1 day")]
)
def test_an_alarm_that_noise_could_ring_says_so(
    walked: Walked, first: int, seed: int, told: str
) -> None:
    noise = np.random.default_rng(seed).normal(size=walked.tradable.shape)
    noise[walked.day < first] = np.nan
    found, said = said_of(noise, walked)
    assert found.leak
    assert re.search(rf"\({told}\) is above 0\.05, which noise reaches too on so few days", said)


def test_charts_without_matplotlib_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "model.evaluation.charts", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = CliRunner().invoke(app, ["evaluate", "--charts", str(tmp_path)])
    assert "pip install matplotlib" in str(done.exception)

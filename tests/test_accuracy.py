"""The accuracy bench: its measures by hand and by published figures, its windows, a short run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from astra.errors import ConfigError, DataError, InsufficientDataError
from benchmarks.accuracy import cases, metrics, run
from benchmarks.accuracy.cases import CASES, GOALS, Case, Goal, Variant
from benchmarks.accuracy.data import PERIODS, Floats, Series, held_out, read
from benchmarks.accuracy.naive import is_seasonal, naive, naive2, seasonal_factors, seasonal_naive
from benchmarks.accuracy.sampler import look_backs, ragged
from benchmarks.accuracy.training import reached

DATA = os.environ.get("ASTRA_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="ASTRA_TEST_DATA is not set")
SEASON = np.array([0.5, 1.5, 1.25, 0.75])


def row(*values: float) -> Floats:
    return np.array([values], np.float64)


def seasonal(count: int = 40, horizon: int = 8, length: int = 96) -> Series:
    """Levels that differ by a thousand times, a trend, a season of 12, a little noise."""
    rng = np.random.default_rng(5)
    t = np.arange(length + horizon)
    wave = 1 + 0.4 * np.sin(2 * np.pi * (t + rng.integers(12, size=(count, 1))) / 12)
    trend = 1 + rng.uniform(0.001, 0.01, (count, 1)) * t
    noise = 1 + 0.02 * rng.standard_normal((count, len(t)))
    values = 10 ** rng.uniform(0, 3, (count, 1)) * wave * trend * noise
    cuts = rng.integers(0, length // 3, count)
    pasts = tuple(one[cut:length] for one, cut in zip(values, cuts, strict=True))
    return Series("made up", 12, pasts, values[:, length:])


def test_smape_of_three_points_by_hand() -> None:
    # 200 * (|1 - 3| / 4, |2 - 2| / 4, 0 / 0 counted as no error) / 3
    assert metrics.smape(row(1, 2, 0), row(3, 2, 0)) == pytest.approx(100 / 3)
    assert metrics.smape(row(1), row(0)) == 200


def test_mape_of_three_points_by_hand_leaves_a_zero_out() -> None:
    assert metrics.mape(row(1, 3, 7), row(2, 2, 0)) == pytest.approx(50)


def test_mase_by_hand_is_in_units_of_the_seasonal_naive_error_of_the_past() -> None:
    past = (np.array([1.0, 2, 4, 6]),)
    assert metrics.naive_errors(past, 1) == pytest.approx([5 / 3])
    assert metrics.naive_errors(past, 2) == pytest.approx([3.5])
    assert metrics.mase(row(6, 6), row(7, 8), np.array([3.0])) == pytest.approx(0.5)


def test_owa_of_naive2_is_one_and_halves_with_both_errors() -> None:
    assert metrics.owa(18.0, 2.4, 18.0, 2.4) == 1
    assert metrics.owa(9.0, 1.2, 18.0, 2.4) == 0.5
    series = seasonal()
    said = naive2(series.past, series.horizon, series.period)
    assert metrics.errors(said, series).owa == pytest.approx(1)


def test_a_constant_past_has_no_scale_and_counts_in_no_mase() -> None:
    flat, moving = np.full(9, 5.0), np.arange(1.0, 10)
    both = Series("two", 1, (flat, moving), np.array([[6.0], [12.0]]))
    alone = Series("one", 1, (moving,), np.array([[12.0]]))
    said = np.array([[5.0], [11.0]])
    assert np.isfinite(metrics.errors(said, both).owa)
    assert metrics.errors(said[1:], alone).owa < 1


def test_a_competition_weighs_its_points() -> None:
    assert metrics.weighted([10.0, 20.0], [30, 10]) == 12.5


def test_naive_methods_repeat_the_last_value_or_the_last_season() -> None:
    past = (np.array([1.0, 2, 3]), np.array([4.0, 5, 6, 7]))
    assert naive(past, 2).tolist() == [[3, 3], [7, 7]]
    assert seasonal_naive(past, 5, 2).tolist() == [[2, 3, 2, 3, 2], [6, 7, 6, 7, 6]]


def test_naive2_continues_a_pure_season_exactly() -> None:
    values = 8 * np.resize(SEASON, 26)
    assert is_seasonal(values, 4)
    assert seasonal_factors(values, 4) == pytest.approx(np.resize(SEASON, 26))
    assert naive2((values,), 6, 4)[0] == pytest.approx(8 * np.resize(SEASON, 32)[26:])


@pytest.mark.parametrize(
    ("values", "period"),
    [
        (np.arange(40.0), 1),
        (np.resize(SEASON, 11), 4),
        (np.full(40, 3.0), 4),
        (np.random.default_rng(1).standard_normal(200), 4),
    ],
    ids=["no period", "under three seasons", "constant", "noise"],
)
def test_naive2_is_naive_where_no_season_is_found(values: Floats, period: int) -> None:
    assert not is_seasonal(values, period)
    assert naive2((values,), 3, period).tolist() == naive((values,), 3).tolist()


@needs_data
@pytest.mark.parametrize(
    ("name", "method", "measure", "published"),
    [
        ("m4_hourly", "naive", "smape", 43.003),
        ("m4_hourly", "seasonal naive", "smape", 13.912),
        ("m4_hourly", "Naive2", "smape", 18.383),
        ("m4_hourly", "Naive2", "owa", 1.0),
        ("m4_weekly", "naive", "smape", 9.161),
        ("tourism_yearly", "seasonal naive", "mape", 23.61),
        ("tourism_quarterly", "seasonal naive", "mape", 16.46),
        ("tourism_monthly", "seasonal naive", "mape", 22.56),
    ],
)
def test_the_naive_methods_score_what_the_competitions_published(
    name: str, method: str, measure: str, published: float
) -> None:
    found = getattr(run.naive_errors_of(method, read(Path(str(DATA)), name)), measure)
    digits = len(str(published).partition(".")[2])
    assert round(found, digits) == published


@needs_data
def test_every_series_of_the_file_is_read_and_can_be_held_out() -> None:
    counts = {name: len(read(Path(str(DATA)), name).past) for name in PERIODS}
    assert counts == {
        "m4_hourly": 414, "m4_weekly": 359,
        "m3_yearly": 645, "m3_quarterly": 756, "m3_monthly": 1428, "m3_other": 174,
        "tourism_yearly": 518, "tourism_quarterly": 427, "tourism_monthly": 366,
    }  # fmt: skip
    assert set(counts) == {case.name for case in CASES} == {n for g in GOALS for n in g.names}


def test_a_missing_file_or_setting_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="the accuracy bench needs forecast_benchmarks"):
        read(tmp_path, "m4_hourly")
    monkeypatch.delenv("ASTRA_TEST_DATA", raising=False)
    assert run.main([]) == ConfigError.exit_code
    assert "ASTRA_TEST_DATA" in capsys.readouterr().err


def test_held_out_is_the_same_task_one_horizon_earlier() -> None:
    series = seasonal()
    earlier = held_out(series)
    assert earlier.horizon == series.horizon
    for past, short, future in zip(series.past, earlier.past, earlier.future, strict=True):
        assert np.concatenate([short, future]).tolist() == past.tolist()


def test_windows_end_inside_their_series_and_lie_in_its_recent_part() -> None:
    pasts = tuple(np.arange(1.0, n + 1) + 1000 * k for k, n in enumerate((4, 9, 60)))
    windows = ragged(pasts, window=6, horizon=3, history=12)
    assert len(windows) == 1 + 6 + 10
    for paths, ahead in windows.batches(500, 2, seed=1):
        known = [path[path > 0] for path in paths]
        assert min(map(len, known)) == 1 and max(map(len, known)) == 6
        for path, next_values in zip(known, ahead, strict=True):
            whole = np.concatenate([path, next_values])
            step = np.diff(whole)
            assert np.all(step > 0) and np.allclose(step, step[0], rtol=1e-3)  # one unbroken piece
        assert np.allclose([np.mean(path) for path in known], 1, rtol=1e-5)  # its own level


def test_windows_are_the_same_for_the_same_seed_only() -> None:
    windows = ragged(seasonal().past, 24, 8, 40)
    first, again, other = (next(windows.batches(64, 1, seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_look_backs_of_short_and_empty_series_have_zeros_in_front_and_a_level() -> None:
    paths, level = look_backs((np.array([2.0, 4]), np.zeros(5)), 4)
    assert paths.tolist() == [[0, 0, pytest.approx(2 / 3), pytest.approx(4 / 3)], [0, 0, 0, 0]]
    assert level.tolist() == [[3], [1]]


def test_series_too_short_to_learn_from_are_refused() -> None:
    with pytest.raises(InsufficientDataError, match="at least 4 values, the longest of 2 has 3"):
        ragged((np.ones(3), np.ones(2)), window=6, horizon=3, history=12)


def test_a_short_seeded_training_beats_the_naive_methods_and_repeats() -> None:
    series = seasonal()
    case = Case("made up", 120, 2e-3, (Variant(3), Variant(2, "mae", anchored=True)), width=64)
    found = reached(case, series, seed=1)
    for method in run.METHODS:
        assert found.errors.smape < run.naive_errors_of(method, series).smape
    assert found.errors.owa < 1
    assert reached(case, series, seed=1).errors == found.errors


def test_an_anchored_network_starts_from_the_last_value() -> None:
    rng = np.random.default_rng(3)
    walks = np.cumsum(rng.standard_normal((30, 80)), axis=1) + 100
    series = Series("walks", 1, tuple(walks[:, :72]), walks[:, 72:])
    free, anchored = (
        reached(Case("walks", 5, 1e-3, (variant,), width=16), series, seed=1).errors.smape
        for variant in (Variant(4), Variant(4, anchored=True))
    )
    assert anchored < 0.2 * free


def test_a_line_is_the_median_of_its_seeds_each_averaged_by_points() -> None:
    tasks = {"a": seasonal(count=10, horizon=2), "b": seasonal(count=10, horizon=6)}
    found = [
        run.Trained(name, seed, metrics.Errors(smape, 0.0, 0.0), 1.0)
        for seed, (a, b) in enumerate([(4.0, 8.0), (8.0, 8.0), (2.0, 2.0)])
        for name, smape in (("a", a), ("b", b))
    ]
    line = run.line(Goal("both", ("a", "b"), "sMAPE", 7.0, ""), tasks, found)
    assert line.seeds == (7.0, 8.0, 2.0) and line.value == 7.0 and line.holds
    assert set(line.naive) == set(run.METHODS)
    assert run.line(Goal("both", ("a", "b"), "sMAPE", 6.9, ""), tasks, found).holds is False
    assert run.line(Goal("both", ("a", "b"), "sMAPE", None, ""), tasks, found).holds is None


def test_three_seeds_have_a_median() -> None:
    assert len(cases.SEEDS) == len(set(cases.SEEDS)) == 3

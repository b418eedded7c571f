"""Drift: shifted inputs, fat errors and old age raise an alarm, a quiet market does not."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.forecast import drift
from model.forecast.record import ForecastRecord
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.forecast.spec import Reference, Spec
from model.forecast.target import normalise
from model.outlook import WARM_UP_SESSIONS, assess, foresee, past_scores
from model.panel import Panel, build
from sandbox.market import default_tickers
from sandbox.markets import simulated_bars
from tests.bundles import a_spec

NAMES = default_tickers(20)[:20]
DECILES = tuple(np.round(np.linspace(0.1, 0.9, 9), 6).tolist())  # of the uniform distribution
UNIFORM = np.random.default_rng(1).random((60, 60))
QUIET = Reference(DECILES, 0.8, 0.1)


@pytest.fixture(scope="module")
def panel() -> Panel:
    first, last = dt.date(2026, 2, 2), dt.date(2026, 4, 24)
    return build(simulated_bars(NAMES, seed=4, edge=0.0, first=first, last=last))


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(shipped().load())


@pytest.fixture(scope="module")
def record(panel: Panel, forecaster: Forecaster) -> ForecastRecord:
    times = [t for s in panel.sessions[WARM_UP_SESSIONS:] for t in s.decision_times()]
    return past_scores(panel, NAMES, forecaster, times)


@pytest.fixture(scope="module")
def spec(panel: Panel, forecaster: Forecaster, record: ForecastRecord) -> Spec:
    """The champion's, with what was normal in the first half of the panel."""
    half = len(panel.sessions) // 2
    feature = normalise(panel, forecaster.bundle.spec.scaler).feature[panel.session < half]
    daily = drift.daily_errors(record, panel, panel.sessions[half].opens_at)
    deciles = tuple(np.nanquantile(feature, np.arange(1, 10) / 10).tolist())
    reference = Reference(deciles, float(daily.mean()), float(daily.std(ddof=1)))
    return dataclasses.replace(forecaster.bundle.spec, reference=reference)


def examined(
    spec: Spec,
    panel: Panel,
    record: ForecastRecord,
    *,
    feature: np.ndarray | None = None,
    max_age_days: int = 0,
) -> drift.Health:
    made = normalise(panel, spec.scaler).feature if feature is None else feature
    return drift.examine(spec, made, panel, record, panel.sessions[-1].closes_at, max_age_days)


def test_what_is_distributed_as_the_deciles_has_no_psi() -> None:
    assert drift.psi(UNIFORM, DECILES) == pytest.approx(0.0, abs=0.02)


def test_psi_by_hand() -> None:
    """Half of the values in the lowest bin, the others evenly over the other nine."""
    values = np.concatenate([np.full(900, 0.05), np.repeat(np.arange(0.15, 1, 0.1), 100)])
    wanted = 0.4 * np.log(5) + 9 * (0.5 / 9 - 0.1) * np.log(0.5 / 9 / 0.1)
    assert drift.psi(values, DECILES) == pytest.approx(wanted)


@given(st.floats(0.1, 5.0), st.floats(-3, 3))
def test_psi_is_never_negative_and_finite_however_far_the_values_are(
    scale: float, shift: float
) -> None:
    found = drift.psi(scale * UNIFORM + shift, DECILES)
    assert found is not None and 0 <= found < 20


@pytest.mark.parametrize(
    ("values", "deciles"),
    [(UNIFORM, (0.0,) * 9), (UNIFORM[:4], DECILES), (np.full((60, 60), np.nan), DECILES)],
)
def test_without_a_reference_or_values_there_is_no_psi(
    values: np.ndarray, deciles: tuple[float, ...]
) -> None:
    assert drift.psi(values, deciles) is None


def test_cusum_by_hand() -> None:
    daily = np.array([0.8, 0.95, 0.75, 0.9, 0.95])  # z: 0, 1.5, -0.5, 1, 1.5
    assert drift.cusum(daily, QUIET) == pytest.approx(1.5)  # 0, 1, 0, 0.5, 1.5
    assert drift.cusum(np.full(30, 0.8), QUIET) == 0


def test_days_that_vary_more_than_the_reference_are_measured_by_their_own_deviation() -> None:
    daily = np.array([0.6, 1.0] * 20)  # few tickers: wide, and no change
    found = drift.cusum(daily, QUIET)
    assert found is not None and found < 1
    grown = np.concatenate([daily, daily[:20] + 0.4])
    found = drift.cusum(grown, QUIET)
    assert found is not None and found > drift.CUSUM_LIMIT


def test_without_a_reference_or_days_there_is_no_cusum() -> None:
    assert drift.cusum(np.array([0.9]), Reference(DECILES, 0.0, 0.0)) is None
    assert drift.cusum(np.empty(0), QUIET) is None


def test_errors_are_those_of_the_days_before_in_units_of_volatility(
    panel: Panel, record: ForecastRecord
) -> None:
    as_of = panel.sessions[20].decision_times()[2]
    found = drift.daily_errors(record, panel, as_of)
    assert len(found) == 20 - WARM_UP_SESSIONS
    t = panel.sessions[19].decision_times()
    rows = [int(np.searchsorted(panel.ts, int(x.timestamp()))) for x in t]
    at = np.searchsorted(record.as_of, [int(x.timestamp()) for x in t])
    moved = np.log(panel.close[np.add(rows, 11)] / panel.close[np.subtract(rows, 1)])
    wanted = np.abs(moved / record.volatility[at] - record.score[at])
    assert found[-1] == pytest.approx(np.nanmean(wanted))
    assert 0.5 < found.mean() < 1.2


def test_later_bars_change_no_error(panel: Panel, record: ForecastRecord) -> None:
    as_of = panel.sessions[20].decision_times()[2]
    wild = dataclasses.replace(panel, close=panel.close.copy())
    wild.close[panel.ends > int(as_of.timestamp())] *= 2
    np.testing.assert_array_equal(
        drift.daily_errors(record, wild, as_of), drift.daily_errors(record, panel, as_of)
    )


def test_a_quiet_market_raises_no_alarm(spec: Spec, panel: Panel, record: ForecastRecord) -> None:
    health = examined(spec, panel, record)
    assert health.alarms == ()
    assert health.psi is not None and health.psi < 0.1
    assert health.cusum is not None and health.cusum < drift.CUSUM_LIMIT


def test_inputs_twice_as_wide_raise_an_alarm(
    spec: Spec, panel: Panel, record: ForecastRecord
) -> None:
    feature = 2.5 * normalise(panel, spec.scaler).feature
    (alarm,) = examined(spec, panel, record, feature=feature).alarms
    assert alarm.startswith("inputs have drifted (PSI 0.") and "limit 0.25" in alarm
    assert alarm.endswith("train another (astra train) and put it in use (astra models promote)")


def test_errors_that_grow_raise_an_alarm_and_a_single_bad_day_does_not(
    spec: Spec, panel: Panel, record: ForecastRecord
) -> None:
    last = record.as_of >= int(panel.sessions[-10].opens_at.timestamp())
    volatility = np.where(last[:, None], record.volatility / 1.6, record.volatility)
    (alarm,) = examined(spec, panel, dataclasses.replace(record, volatility=volatility)).alarms
    assert alarm.startswith("errors have grown (CUSUM ") and "limit 5" in alarm
    daily = np.full(40, spec.reference.error)
    daily[-1] += 4 * spec.reference.error_deviation
    once = drift.cusum(daily, spec.reference)
    assert once is not None and once < drift.CUSUM_LIMIT


@pytest.mark.parametrize(
    ("trained_on", "limit", "is_old"),
    [("real", 365, True), ("replay", 365, True), ("simulated", 365, False),
     ("real", 0, False), ("real", 5000, False)],
)  # fmt: skip
def test_a_network_may_grow_only_so_old(
    panel: Panel, record: ForecastRecord, trained_on: str, limit: int, is_old: bool
) -> None:
    young = a_spec()
    training = dataclasses.replace(young.training, trained_on=trained_on)
    aged = dataclasses.replace(young, training=training)
    health = examined(aged, panel, record, max_age_days=limit)
    assert bool(health.alarms) is is_old
    assert health.age_days == (panel.sessions[-1].closes_at - training.end).days


def test_an_alarm_takes_the_forecast_out_of_use_and_leaves_what_was_measured(
    panel: Panel, record: ForecastRecord, forecaster: Forecaster
) -> None:
    t = panel.sessions[-1].decision_times()[-1]
    sight = foresee(t, panel, NAMES, forecaster)
    clairvoyant = dataclasses.replace(record, score=seen_ahead(panel, record))
    trusted = assess(sight, clairvoyant)
    assert trusted.skill.on and trusted.skill.used > 0
    narrow = dataclasses.replace(
        sight.spec, reference=Reference(tuple(np.linspace(-0.01, 0.01, 9).tolist()), 0.0, 0.0)
    )
    stopped = assess(dataclasses.replace(sight, spec=narrow), clairvoyant)
    assert (stopped.skill.on, stopped.skill.used) == (False, 0.0)
    assert stopped.skill.reason.startswith("inputs have drifted")
    assert (stopped.skill.ic, stopped.skill.t) == (trusted.skill.ic, trusted.skill.t)


def seen_ahead(panel: Panel, record: ForecastRecord) -> np.ndarray:
    """Scores that know the outcome."""
    rows = np.searchsorted(panel.ts, record.as_of)
    return np.log(panel.close[rows + 11] / panel.close[rows - 1])

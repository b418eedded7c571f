"""How forecasts are scored from counts: shares and their errors, the ratio to the last value."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest

from astra.predictions import QUANTILES
from astra.scoring import LEAST_DAYS, Tally, against_last_value, calibration

START = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)


def tally(
    day: int = 0, step: int = 2, cases: int = 1000, shares: tuple[float, ...] = QUANTILES,
    error: float = 1.0, naive: float = 1.0,
) -> Tally:  # fmt: skip
    below = tuple(round(cases * share) for share in shares)
    return Tally(START + dt.timedelta(days=day), step, cases, below, error, naive)


def test_a_perfect_forecast_has_its_nominal_shares_with_the_binomial_error() -> None:
    found = calibration([tally(step=2), tally(step=3)])
    assert found is not None
    assert [s.share for s in found.quantiles] == pytest.approx(QUANTILES)
    assert [s.share for s in found.bands] == pytest.approx([0.5, 0.8, 0.9])
    assert [s.error for s in found.bands] == pytest.approx(
        [math.sqrt(p * (1 - p) / 2000) for p in (0.5, 0.8, 0.9)]
    )
    assert (found.days, found.decisions, found.cases) == (1, 1, 2000)


def test_bands_that_are_too_narrow_hold_less_than_they_promise() -> None:
    narrow = (0.10, 0.17, 0.30, 0.50, 0.70, 0.83, 0.90)
    found = calibration([tally(shares=narrow)])
    assert found is not None
    assert [s.share for s in found.bands] == pytest.approx([0.4, 0.66, 0.8])


def test_few_days_have_no_interval_and_many_one_that_holds_their_differences() -> None:
    def days(count: int) -> list[Tally]:
        drawn = np.random.default_rng(5).normal(0, 0.04, count)
        return [
            tally(day=d, shares=tuple(p + off for p in QUANTILES)) for d, off in enumerate(drawn)
        ]

    few, many = (calibration(days(count)) for count in (LEAST_DAYS - 1, 40))
    assert few is not None and many is not None
    assert all(math.isnan(s.low) and math.isnan(s.high) for s in (*few.quantiles, *few.bands))
    median = many.quantiles[QUANTILES.index(0.5)]
    assert median.low < median.share < median.high
    # days differ by 0.04, so the mean of forty by 0.04 / sqrt(40)
    assert median.high - median.low == pytest.approx(2 * 1.96 * 0.04 / math.sqrt(40), rel=0.3)
    assert median.error < (median.high - median.low) / 4, "names of one day miss together"


def test_the_ratio_is_that_of_the_sums_over_all_steps_first() -> None:
    found = against_last_value(
        [tally(step=2, error=0.9, naive=1.0), tally(step=3, error=3.0, naive=2.0)]
    )
    assert [r.step for r in found] == [0, 2, 3]
    assert [r.ratio for r in found] == pytest.approx([3.9 / 3, 0.9, 1.5])
    assert [r.cases for r in found] == [2000, 1000, 1000]
    assert all(math.isnan(r.low) for r in found)


def test_the_ratio_of_many_days_has_an_interval() -> None:
    rng = np.random.default_rng(6)
    days = [tally(day=d, error=1 + rng.normal(0, 0.1), naive=1.0) for d in range(60)]
    whole = against_last_value(days)[0]
    assert whole.low < whole.ratio < whole.high
    assert whole.high - whole.low == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(60), rel=0.35)


def test_prices_that_stood_still_have_no_ratio() -> None:
    assert math.isnan(against_last_value([tally(error=0.0, naive=0.0)])[0].ratio)


def test_without_outcomes_there_is_nothing_to_say() -> None:
    assert calibration([]) is None and against_last_value([]) == ()
    assert calibration([tally(cases=0)]) is None

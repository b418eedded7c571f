"""Figures of an evaluation by closed form: losses, tests over days, intervals, spreads."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm, ttest_1samp

from astra.scoring import day_block_interval
from model.evaluation import metrics
from model.evaluation.walk import BANDS, band_sums

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def even_normals(count: int) -> np.ndarray:
    """A sample whose distribution is the standard normal's as nearly as can be."""
    return ndtri((np.arange(count) + 0.5) / count)


def test_the_quantile_loss_of_a_normal_is_its_density_at_the_quantiles() -> None:
    outcome = even_normals(200_000)
    loss = metrics.pinball(outcome, np.broadcast_to(ndtri(LEVELS), (len(outcome), 7)), LEVELS)
    assert loss.mean() == pytest.approx(norm.pdf(ndtri(LEVELS)).mean(), rel=1e-4)


def test_no_other_band_has_a_smaller_quantile_loss_than_the_true_one() -> None:
    outcome = even_normals(20_000)
    losses = [
        metrics.pinball(outcome, np.broadcast_to(k * ndtri(LEVELS), (20_000, 7)), LEVELS).mean()
        for k in (0.8, 0.9, 1.0, 1.1, 1.25)
    ]
    assert np.argmin(losses) == 2


@pytest.mark.parametrize("band", range(3))
def test_exact_bands_cover_their_nominal_share(band: int) -> None:
    outcome = even_normals(10_000).reshape(10, 1000, 1)
    day = np.arange(10) // 2
    quantiles = np.broadcast_to(ndtri(LEVELS), (10, 1000, 1, 7))
    found = band_sums(outcome, quantiles, LEVELS, day)
    assert found.cases.sum(axis=0) == 10_000 and len(found.cases) == 5
    assert found.inside.sum(axis=0)[0, band] / 10_000 == pytest.approx(BANDS[band], abs=1e-3)


def test_a_close_that_is_not_known_counts_neither_inside_nor_outside() -> None:
    outcome = np.array([[[0.0], [np.nan]]])
    found = band_sums(outcome, np.zeros((1, 2, 1, 7)), LEVELS, np.zeros(1, np.int64))
    assert found.cases.sum() == 1 and found.inside.sum() == 3 and found.loss.sum() == 0


def test_of_separate_days_the_test_is_the_t_test() -> None:
    daily = np.random.default_rng(1).normal(0.1, 1, 40)
    found, expected = metrics.tested(daily), ttest_1samp(daily, 0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.error == pytest.approx(daily.std(ddof=1) / np.sqrt(40))


@pytest.mark.parametrize(
    ("daily", "weight"), [([1, 2, 4, 3, 5, 6], 1.0), ([6, 1, 5, 2, 4, 3], 0.5)]
)
def test_of_overlapping_days_the_variance_has_the_lags_in_it(
    daily: list[float], weight: float
) -> None:
    """In full, or with Bartlett's weight where that leaves more."""
    off = np.array(daily) - 3.5
    variance = (off @ off + 2 * weight * (off[1:] @ off[:-1])) / 6
    small_sample = (6 + 1 - 4 + 2 * 1 / 6) / 6
    found = metrics.tested(np.array(daily), horizon_days=2)
    assert found.t == pytest.approx(3.5 / np.sqrt(variance / 6 / small_sample))


def test_overlapping_outcomes_do_not_make_noise_significant() -> None:
    rng = np.random.default_rng(2)
    shocks = rng.normal(size=(1500, 254))
    overlapping = np.stack([np.convolve(s, np.ones(5), "valid") for s in shocks])
    naive = np.mean([metrics.tested(d).p < 0.05 for d in overlapping])
    ours = np.mean([metrics.tested(d, horizon_days=5).p < 0.05 for d in overlapping])
    assert naive > 0.3 and ours < 0.075


@pytest.mark.parametrize("daily", [[], [0.3], [0.3, 0.3, 0.3]])
def test_days_that_say_nothing_of_chance_have_no_t(daily: list[float]) -> None:
    found = metrics.tested(np.array(daily))
    assert (found.t, found.p, found.days) == (0.0, 1.0, len(daily))
    assert found.mean == pytest.approx(0.3 if daily else 0.0)


def test_smape_of_moves_is_that_of_prices() -> None:
    actual, forecast = 103.0, 99.0
    found = metrics.smape(np.log([actual / 100]), np.log([forecast / 100]))
    assert found[0] == pytest.approx(200 * 4 / 202)


def test_the_spread_is_the_top_fifth_less_the_bottom_fifth() -> None:
    outcome = np.arange(10.0)[None, :]
    assert metrics.spread(outcome, outcome)[0] == 8.5 - 0.5
    assert metrics.spread(-outcome, outcome)[0] == 0.5 - 8.5


def test_scores_that_tie_and_too_few_names_have_no_spread() -> None:
    scores = np.array([[1.0] * 6, [1, 2, 3, 4, np.nan, np.nan]])
    assert np.isnan(metrics.spread(scores, np.ones((2, 6)))).all()


def test_the_interval_of_days_is_that_of_their_mean() -> None:
    shares = np.random.default_rng(3).normal(0.9, 0.03, 100)
    hits, cases = 1000 * shares[:, None], np.full((100, 1), 1000.0)
    low, high = day_block_interval(hits, cases)
    error = shares.std() / 10
    assert low[0] == pytest.approx(shares.mean() - 1.96 * error, abs=0.2 * error)
    assert high[0] == pytest.approx(shares.mean() + 1.96 * error, abs=0.2 * error)


def test_blocks_widen_the_interval_of_days_that_go_together() -> None:
    shares = np.repeat(np.random.default_rng(4).normal(0.9, 0.03, 20), 5)[:, None]
    alone, together = (
        np.ptp(day_block_interval(shares, np.ones((100, 1)), block=block)) for block in (1, 5)
    )
    assert together > 1.5 * alone

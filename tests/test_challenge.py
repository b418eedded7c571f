"""The rule of promotion: no worse on sessions that neither has seen, or no promotion."""

from __future__ import annotations

import dataclasses
import datetime as dt
import statistics

import numpy as np
import pytest

from astra.errors import BundleError, DataError, InsufficientDataError
from model.forecast.challenge import LEAST_SESSIONS, contend, examine, judge
from model.panel import Panel, build, daily_of
from sandbox.markets import simulated_bars
from tests.bundles import a_bundle, a_network

TICKERS = ("AAPL", "AMZN", "JPM", "META", "MSFT", "NVDA", "OXY", "XOM")
FIRST, LAST = dt.date(2023, 5, 1), dt.date(2023, 6, 9)  # 29 sessions


@pytest.fixture(scope="module")
def panel() -> Panel:
    return build(simulated_bars(TICKERS, seed=7, edge=0.04, first=FIRST, last=LAST))


def days(*losses: float) -> dict[str, float]:
    return {f"2026-01-{n:02}": loss for n, loss in enumerate(losses, 1)}


def test_the_sharper_honest_network_wins_and_the_other_does_not(panel: Panel) -> None:
    honest, boastful = a_bundle(1.0), a_bundle(0.2)
    won = contend(boastful, honest, panel)
    assert won.passes
    assert won.sessions == 28, "the first has no look-back yet"
    assert won.challenger_bp < won.champion_bp - 5 * won.error_bp
    lost = contend(honest, boastful, panel)
    assert not lost.passes
    assert (lost.champion_bp, lost.challenger_bp) == (won.challenger_bp, won.champion_bp)


def test_an_equal_one_is_no_worse(panel: Panel) -> None:
    same = contend(a_bundle(), a_bundle(), panel)
    assert same.passes
    assert same.champion_bp == same.challenger_bp > 0
    assert same.error_bp == 0


def test_only_sessions_after_both_trainings_count(panel: Panel) -> None:
    eighth = panel.sessions[7].closes_at
    early, late = a_bundle(), a_bundle(end=eighth)
    assert contend(early, late, panel).sessions == contend(late, early, panel).sessions == 21
    ninth = a_bundle(end=panel.sessions[9].closes_at)
    with pytest.raises(InsufficientDataError, match=r"20 sessions after .*, found 19.*--bars"):
        contend(early, ninth, panel)
    with pytest.raises(InsufficientDataError, match="found 0"):
        contend(early, a_bundle(end=panel.sessions[-1].closes_at), panel)


def test_what_forecasts_something_else_cannot_be_compared(panel: Panel) -> None:
    champion = a_bundle()
    short = dataclasses.replace(a_bundle(horizon=6), onnx=a_network(horizon=6))
    with pytest.raises(BundleError, match=r"12 bars of 5m.*6 of 5m"):
        contend(champion, short, panel)
    daily = dataclasses.replace(a_bundle(frequency="1d"), onnx=a_network())
    with pytest.raises(BundleError, match=r"12 bars of 5m.*12 of 1d"):
        contend(champion, daily, panel)
    with pytest.raises(DataError):
        contend(champion, a_bundle(), daily_of(panel))


def test_a_network_that_does_not_run_fails_its_checks(panel: Panel) -> None:
    champion = a_bundle()
    with pytest.raises(BundleError, match="can't load the network"):
        contend(champion, dataclasses.replace(champion, onnx=b"garbage"), panel)
    with pytest.raises(BundleError, match="shapes"):
        examine(dataclasses.replace(champion, onnx=a_network(horizon=6)))
    with pytest.raises(DataError, match="finite"):
        examine(dataclasses.replace(champion, onnx=a_network(float("nan"))))


def test_nineteen_sessions_are_too_few_and_twenty_enough() -> None:
    with pytest.raises(InsufficientDataError, match="found 19"):
        judge(days(*[1.0] * 20), days(*[1.0] * 19))
    assert judge(days(*[1.0] * 20), days(*[1.0] * 25)).sessions == LEAST_SESSIONS


def test_the_verdict_says_its_figures() -> None:
    verdict = judge(days(*[9.0, 11.0] * 10), days(*[9.5, 11.5] * 10))
    assert not verdict.passes
    assert str(verdict) == (
        "quantile loss 10.5000 bp against 10.0000 bp of the champion, +0.5000 +- 0.0000 on 20 "
        "sessions unseen by both"
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_figures_are_the_means_and_the_error_that_of_the_paired_difference(seed: int) -> None:
    draw = np.random.default_rng(seed)
    pairs = draw.uniform(0.1, 100, (int(draw.integers(20, 28)), 2)).tolist()
    old, new = zip(*pairs, strict=True)
    verdict = judge(days(*old), days(*new))
    assert verdict.champion_bp == pytest.approx(statistics.fmean(old))
    assert verdict.challenger_bp == pytest.approx(statistics.fmean(new))
    apart = [b - a for a, b in pairs]
    assert verdict.error_bp == pytest.approx(statistics.stdev(apart) / len(apart) ** 0.5, abs=1e-9)
    assert verdict.passes == (verdict.challenger_bp <= verdict.champion_bp)
    assert verdict.passes or judge(days(*new), days(*old)).passes, "one of two is no worse"

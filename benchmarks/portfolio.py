"""Weights with their proof: CPU time, gaps of the certificates, and other solvers' answers.

CPU seconds throughout, since one core works and other processes may share the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import inputs, optimisers
from benchmarks.inputs import Floats, Market
from benchmarks.results import Row
from benchmarks.timing import Timed, cpu_timed, in_turns, require_equal
from model.portfolio.factored import Factored
from model.portfolio.limits import Limits
from model.portfolio.sharpe import Solution
from model.portfolio.top_k import max_sharpe, minimum_variance

AGREEMENT = 1e-4  # of the ratio, with rivals that are asked for less than full precision
OBJECTIVE = 1e-8  # of the objective, with Clarabel
SEEDS = 20
HISTORY = ("2025-07-15", "2025-09-15", "2025-11-28")  # of the real bars, 30 days before each
BARS = "us_5m_2025_81tickers.parquet"


def free(k: int) -> Limits:
    """k names and no other limit."""
    return Limits(k=k, max_weight=1.0, max_sector_weight=1.0, cash_floor=0.0)


def measure(names: int = 500, many: int = 3000, rounds: int = 15, seeds: int = SEEDS) -> list[Row]:
    """Without caps and with 10 % a name and 30 % a sector; all names and the best 20."""
    market = inputs.market(names)
    return [
        *_all_names(market, rounds),
        *_many_names(many, rounds),
        *_best_twenty(market, rounds),
        *_seeds(names, seeds),
        *_real(rounds),
    ]


def _all_names(market: Market, rounds: int) -> list[Row]:
    n = len(market.mean)
    plain, capped = in_turns(
        rounds, lambda: _ours(market, free(n)), lambda: _ours(market, Limits(k=n))
    )
    direct, slow, slow_capped = in_turns(
        1,
        lambda: cpu_timed(lambda: optimisers.clarabel_direct(market)),
        lambda: cpu_timed(lambda: optimisers.slsqp(market, free(n))),
        lambda: cpu_timed(lambda: optimisers.slsqp(market, Limits(k=n))),
    )
    _same_ratio(market, plain.answer.weights, slow.answer, "SLSQP")
    _same_ratio(market, capped.answer.weights, slow_capped.answer, "SLSQP under caps")
    other = optimisers.skfolio(market, max(1, min(3, rounds)))
    speed_up, note = None, "not measured: run make rivals"
    if other:
        _same_ratio(market, plain.answer.weights, np.array(other["weights"]), "skfolio")
        speed_up, note = other["seconds"] / plain.seconds, f"skfolio {other['version']} MeanRisk"
    ours, theirs = (optimisers.objective(market, y) for y in (plain.answer.weights, direct.answer))
    difference = abs(ours / theirs - 1)
    require_equal(difference, OBJECTIVE, "the objective of ours and of Clarabel")
    case = f"max Sharpe of {n} names"
    return [
        _ms(case, plain, 5),
        _ms(f"{case} under caps", capped, 40),
        Row("portfolio", f"{case}, speed-up over skfolio", speed_up, "ratio", 200, "higher", note),
        Row(
            "portfolio", f"{case}, speed-up over SLSQP", slow.seconds / plain.seconds, "ratio",
            1000, "higher", "scipy.optimize, with exact gradients",
        ),
        Row(
            "portfolio", f"{case} under caps, speed-up over SLSQP",
            slow_capped.seconds / capped.seconds, "ratio", 100, "higher",
            "scipy.optimize, with exact gradients",
        ),
        Row(
            "portfolio", f"{case}, speed-up over Clarabel", direct.seconds / plain.seconds,
            "ratio", 10, "higher", "called directly",
        ),
        Row(
            "portfolio", f"{case}, difference of the objective", difference, "ratio", OBJECTIVE,
            "lower", "Clarabel, called directly",
        ),
    ]  # fmt: skip


def _many_names(n: int, rounds: int) -> list[Row]:
    """A covariance of a few factors, never written out."""
    rng = np.random.default_rng(inputs.SEED)
    loadings = rng.normal(0.0, 0.4, (n, inputs.FACTORS))
    loadings[:, 0] = rng.uniform(0.5, 1.5, n)
    factors = Factored(1e-5 * rng.uniform(0.5, 3.0, n), np.sqrt(1e-5) * loadings)
    mean = 3e-5 + 0.02 * np.sqrt(factors.variances) * rng.standard_normal(n)
    sectors = [f"sector {i}" for i in rng.integers(0, inputs.SECTORS, n)]
    plain, capped = in_turns(
        rounds,
        lambda: cpu_timed(lambda: max_sharpe(mean, factors, sectors, free(n))),
        lambda: cpu_timed(lambda: max_sharpe(mean, factors, sectors, Limits(k=n))),
    )
    case = f"max Sharpe of {n} names, covariance of {inputs.FACTORS} factors"
    return [_ms(case, plain, 50), _ms(f"{case}, under caps", capped, 50)]


def _best_twenty(market: Market, rounds: int) -> list[Row]:
    n = len(market.mean)
    m, S, d, sectors = market.mean, market.covariance, market.noise, market.sectors
    works: dict[str, Callable[[], Solution]] = {
        f"max Sharpe, best 20 of {n}": lambda: max_sharpe(m, S, sectors, free(20), d),
        f"minimum variance, best 20 of {n}": lambda: minimum_variance(S, sectors, free(20), d),
        f"max Sharpe, best 20 of {n} under caps": lambda: max_sharpe(m, S, sectors, Limits(), d),
        f"minimum variance, best 20 of {n} under caps": lambda: minimum_variance(
            S, sectors, Limits(), d
        ),
    }
    found = in_turns(rounds, *(partial(cpu_timed, work) for work in works.values()))
    rows = []
    for case, one in zip(works, found, strict=True):
        rows += [
            _ms(f"{case}, with certificate", one, 60 if "caps" not in case else 120),
            Row(
                "portfolio", f"{case}: gap of its certificate", one.answer.bound_gap, "ratio",
                1e-3 if case.startswith("max") else 2e-3, "lower",
            ),
        ]  # fmt: skip
    return rows


def _seeds(n: int, seeds: int) -> list[Row]:
    shares = []
    for seed in range(seeds):
        market = inputs.market(n, seed)
        found = _ours(market, free(20)).answer
        shares.append(1.0 / (1.0 + found.bound_gap))
    case = f"max Sharpe, best 20 of {n}: least share of its bound on {seeds} markets"
    return [Row("portfolio", case, min(shares), "ratio", 0.999, "higher")]


def _real(rounds: int) -> list[Row]:
    """Under caps on Ledoit-Wolf covariances of recorded bars; scores are drawn, worth IC 0.02."""
    case = "best 20 of recorded names under caps: largest gap of the certificate"
    folder = os.environ.get("ASTRA_TEST_DATA", "")
    path = Path(folder) / BARS
    if not folder or not path.exists():
        note = "not measured: ASTRA_TEST_DATA names no folder with the bars"
        return [Row("portfolio", f"max Sharpe, {case}", None, "ratio", 1e-3, "lower", note)]
    gaps: dict[str, list[float]] = {"max Sharpe": [], "minimum variance": []}
    for covariance, diagonal in _recorded(path):
        n = len(covariance)
        rng = np.random.default_rng(inputs.SEED)
        mean = 3e-5 + 0.02 * np.sqrt(covariance.diagonal()) * rng.standard_normal(n)
        sectors = [f"sector {i}" for i in rng.integers(0, inputs.SECTORS, n)]
        gaps["max Sharpe"].append(
            max_sharpe(mean, covariance, sectors, Limits(), diagonal).bound_gap
        )
        gaps["minimum variance"].append(
            minimum_variance(covariance, sectors, Limits(), diagonal).bound_gap
        )
    note = f"{len(HISTORY)} months of 5-minute bars, Ledoit-Wolf"
    return [
        Row("portfolio", f"{name}, {case}", max(values), "ratio", 5e-3, "lower", note)
        for name, values in gaps.items()
    ]


def _recorded(path: Path) -> list[tuple[Floats, Floats]]:
    import pandas as pd

    from astra.bars import read_parquet
    from model.panel import build
    from model.portfolio.covariance import ledoit_wolf

    bars = read_parquet(str(path))
    found = []
    for day in HISTORY:
        end = int(pd.Timestamp(day, tz="UTC").timestamp())
        month = bars[(bars["ts"] < end) & (bars["ts"] >= end - 30 * 86_400)]
        risk = ledoit_wolf(build(month))
        found.append(risk.over(12, 0))
    return found


def _ours(market: Market, limits: Limits) -> Timed:
    return cpu_timed(
        lambda: max_sharpe(market.mean, market.covariance, market.sectors, limits, market.noise)
    )


def _same_ratio(market: Market, ours: Floats, theirs: Floats, whose: str) -> None:
    difference = abs(optimisers.ratio(market, ours) / optimisers.ratio(market, theirs) - 1)
    require_equal(difference, AGREEMENT, f"the ratio of ours and of {whose}")


def _ms(case: str, one: Timed, target: float) -> Row:
    """Only what was proven is a time."""
    require_equal(one.answer.residual, 1e-6, f"{case} and its bound")
    return Row("portfolio", f"{case}, CPU", 1e3 * one.seconds, "ms", target, "lower")

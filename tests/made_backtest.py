"""A backtest made by hand: six policies on random walks, with what every picture needs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np

from astra.sessions import BAR, HORIZON_BARS, decision_times_between
from model.backtest.drawing import POLICY_COLOURS
from model.backtest.records import BENCHMARKS, Backtest, Curve, Refusal, SkillStep, Step, Traded

HOUR = HORIZON_BARS * BAR
NAMES = ("AAPL", "BRK.B", "KO", "JNJ", "JPM", "MSFT", "NVDA", "PG", "UNH", "V", "WMT", "XOM")


def made_backtest(first: str = "2025-06-02", last: str = "2025-07-16") -> Backtest:
    """From `first` to before `last`, seeded; the first decision is refused."""
    random = np.random.default_rng(5)
    start, end = (dt.datetime.fromisoformat(f"{day}T00:00+00:00") for day in (first, last))
    times = decision_times_between(start, end)
    market = random.normal(1.5e-4, 3e-3, len(times))

    def walk(drift: float, beta: float, noise: float = 1e-3) -> np.ndarray:
        steps = drift + beta * market + random.normal(0, noise, len(times))
        return 100_000 * np.cumprod(np.concatenate([[1.0], 1 + steps]))

    curves = {}
    for rank, policy in enumerate(POLICY_COLOURS):
        base = walk(1e-5 * rank, 0.5 + 0.1 * rank)
        costs = np.exp(-np.arange(len(base)) * 2e-5 * (1 + 8 * (policy == "original")))
        by_cost = {m: base * costs**m for m in (0.0, 1.0, 2.0)}
        steps = []
        weights = random.dirichlet(np.ones(len(NAMES)) / 2) * 0.98
        for t in times[1:]:
            moves = policy == "original" or random.random() < 0.1
            if moves:
                weights = random.dirichlet(np.ones(len(NAMES)) / 2) * 0.98
            decided = {n: float(w) for n, w in zip(NAMES, weights, strict=True) if w > 0.01}
            steps.append(Step(t, decided, float(moves), "made", 0.4 * moves, 1.0 * moves))
        sale = {"at": times[1], "symbol": "KO", "side": "sell", "price": Decimal("70.01")}
        trades = tuple(
            Traded(**sale, qty=Decimal("1.5"), fee=Decimal("0.01"), gain=Decimal(gain))  # type: ignore[arg-type]
            for gain in (3, -1, 2)
        )
        curves[policy] = Curve(policy, tuple(steps), by_cost[1.0], by_cost, trades)
    t = np.linspace(0.4, 2.6, len(times) - 1)
    return Backtest(
        model_id="nbeats-5m-00000000",
        times=(times[0], *(t + HOUR for t in times)),
        curves=curves,
        refusals=(Refusal(times[0], "under 50 % of the names are usable"),),
        benchmarks={name: walk(0, 1.0, 2e-4) for name in BENCHMARKS},
        skill=tuple(
            SkillStep(at, 0.01 * found, float(found), 0.01 * found * (found >= 2), found >= 2)
            for at, found in zip(times[1:], t.tolist(), strict=True)
        ),
    )

"""The plan alone: thousands of names held and targeted, all to be traded."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from astra.errors import AstraError
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Asset, Position
from benchmarks import inputs
from benchmarks.results import Row
from benchmarks.timing import cpu_timed, in_turns

EQUITY = 1e8


def plans(names: int, rounds: int) -> list[Row]:
    """CPU seconds: nothing in it waits."""
    targets, holdings = _inputs(names)
    rules = Rules(drift_band=0.0, min_order_usd=1.0)
    (found,) = in_turns(rounds, lambda: cpu_timed(lambda: plan_orders(targets, holdings, rules)))
    made = found.answer
    if len(made.lines) != len({*targets, *(p.symbol for p in holdings.positions)}):
        raise AstraError("a plan must have a line for each name to be measured")
    orders = len(made.sells) + len(made.buys)
    return [
        Row("execution", f"plan for {names:,} names", found.seconds, "s", 0.05, "lower",
            f"CPU; {orders:,} orders, fractional shares"),
    ]  # fmt: skip


def _inputs(names: int) -> tuple[dict[str, float], Holdings]:
    rng = np.random.default_rng(inputs.SEED)
    symbols = inputs.names(names)
    prices = dict(zip(symbols, rng.uniform(5, 500, names).tolist(), strict=True))
    held = 0.9 * rng.dirichlet(np.ones(names))
    wanted = 0.9 * rng.dirichlet(np.ones(names))
    positions = [
        Position(s, Decimal(f"{w * EQUITY / prices[s]:.9f}"), prices[s], prices[s])
        for s, w in zip(symbols, held.tolist(), strict=True)
    ]
    assets = {s: Asset(s, s, tradable=True, fractionable=True) for s in symbols}
    targets = dict(zip(symbols, wanted.tolist(), strict=True))
    return targets, Holdings(positions, prices, assets, EQUITY, 0.1 * EQUITY, 0.1 * EQUITY)

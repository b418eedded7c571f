"""Execution: the function from file to fills, its cold start, the plan, and what an order costs."""

from __future__ import annotations

from benchmarks.execution import cold, function, journal, plan
from benchmarks.results import Row


def measure(names: int = 20, planned: int = 3000, rounds: int = 5) -> list[Row]:
    """`names` are rebalanced, `planned` are planned; medians of `rounds`."""
    return [
        *function.rebalances(names, rounds),
        *cold.starts(rounds),
        *plan.plans(planned, rounds),
        *journal.costs(names, rounds),
    ]

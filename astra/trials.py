"""Which stored backtests a trial is judged beside, and what is left of it then. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from astra.deflated import Deflated, deflated_sharpe
from astra.store.backtests import Trial


def alike(trial: Trial, trials: Iterable[Trial]) -> dict[str, Trial]:
    """Those of `trials`, and this one, that it can be compared with: over the same hours of the
    same kind of market. One of each course of equity, by its outcome."""
    found = {one.outcome: one for one in trials if is_alike(trial, one)}
    return found | {trial.outcome: trial}


def is_alike(trial: Trial, other: Trial) -> bool:
    """Whether two are over the same hours of the same kind of market."""
    kind, its = (_kind(one.market, one.parameters) for one in (trial, other))
    return trial.hours == other.hours and kind == its


@lru_cache(maxsize=4096)
def _kind(market: str, parameters: str) -> str:
    """All recorded bars are one; each seed and edge of the simulated market is its own."""
    source = json.loads(parameters)["source"]
    if source["kind"] == "simulated":
        return f"{market} {source['edge']}"
    return market if market.startswith("simulated:") else "recorded"


def deflate(trial: Trial, trials: Iterable[Trial]) -> Deflated:
    """A trial's Sharpe ratio against the best, by luck, of all that are `alike`."""
    ratios = [one.step_sharpe for one in alike(trial, trials).values()]
    return deflated_sharpe(trial.step_sharpe, trial.steps, trial.skew, trial.kurtosis, ratios)

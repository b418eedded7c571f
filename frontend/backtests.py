"""Rows, sentences and comparisons of stored backtests. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from astra.deflated import Deflated
from astra.performance import FEWEST_STEPS
from astra.sessions import NEW_YORK
from astra.store.backtests import Trial
from astra.trials import deflate, is_alike
from frontend.words import UNKNOWN, count, percent

_WIDEST_NAME = 40  # characters of a policy's name


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial, and what is left of its Sharpe ratio beside all others over the same hours."""

    trial: Trial
    deflated: Deflated

    @property
    def hours(self) -> str:
        """From its first day to its last, and how many decisions that holds."""
        first, last = (t.astimezone(NEW_YORK) for t in (self.trial.first_at, self.trial.last_at))
        return f"{first:%-d %b %Y} to {last:%-d %b %Y}, {count(self.trial.steps, 'hour')}"

    @property
    def market(self) -> str:
        """In words, told apart: simulated with its seed and edge, recorded, or of the store."""
        kind, _, rest = self.trial.market.partition(":")
        if kind != "simulated":
            return "recorded bars" if kind == "replay" else f"{kind} market"
        edge = self._asked.get("source", {}).get("edge")
        planted = f", edge {edge:g}" if isinstance(edge, int | float) else ""
        return f"SIMULATED, seed {rest}{planted}"

    @property
    def half_spread(self) -> float:
        """What each fill was assumed to pay, bp; NaN where it is not on record."""
        return float(self._asked.get("half_spread_bp", math.nan))

    @property
    def _asked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.trial.parameters)
        return found

    @property
    def name(self) -> str:
        """As the choice shows it, no two alike."""
        policy = self.trial.policy
        if len(policy) > _WIDEST_NAME:
            policy = f"…{policy[1 - _WIDEST_NAME :]}"
        return f"{policy} · {self.trial.id}"


def judged(trials: Sequence[Trial]) -> tuple[Judged, ...]:
    """Each trial judged by all, in their order."""
    by_hours: dict[str, list[Trial]] = {}
    for trial in trials:
        by_hours.setdefault(trial.hours, []).append(trial)
    return tuple(Judged(trial, deflate(trial, by_hours[trial.hours])) for trial in trials)


def rows(found: Iterable[Judged]) -> pd.DataFrame:
    """A row for each trial: id, made, policy, market, hours, total_return, return_0x, return_2x,
    half_spread, sharpe (text), deflated, trials, max_drawdown, turnover, cost_bp, won; NaN where
    unknown."""
    listed = list(found)
    made = pd.to_datetime([one.trial.made_at for one in listed], utc=True)
    figures = ("total_return", "return_0x", "return_2x", "max_drawdown", "turnover", "cost_bp")
    return pd.DataFrame(
        {
            "id": [one.trial.id for one in listed],
            "made": pd.DatetimeIndex(made).tz_convert(NEW_YORK),
            "policy": [one.trial.policy for one in listed],
            "market": [one.market for one in listed],
            "hours": [one.hours for one in listed],
            **{name: [getattr(one.trial, name) for one in listed] for name in figures},
            "half_spread": [one.half_spread for one in listed],
            "sharpe": [sharpe(one.trial) for one in listed],
            "deflated": [chance(one) for one in listed],
            "trials": [one.deflated.trials for one in listed],
            "won": [f"{one.trial.winning_trades} / {one.trial.losing_trades}" for one in listed],
        }
    )


def sharpe(trial: Trial) -> str:
    """A year's with its standard error; n/a of too few steps."""
    if trial.steps < FEWEST_STEPS or not math.isfinite(trial.sharpe):
        return UNKNOWN
    return f"{trial.sharpe:.1f} ± {trial.sharpe_error:.1f}"


def chance(one: Judged) -> str:
    """The deflated Sharpe ratio, a probability; n/a of too few steps."""
    if one.trial.steps < FEWEST_STEPS:
        return UNKNOWN
    return percent(one.deflated.probability, digits=0)


def beside(chosen: Sequence[Judged]) -> tuple[tuple[Judged, ...], Mapping[str, str]]:
    """Those that can stand beside the first, and why each of the others cannot, by name.

    Curves of other hours met other prices, and so did those of another market.
    """
    if not chosen:
        return (), {}
    first, kept, why = chosen[0], [chosen[0]], dict[str, str]()
    for one in chosen[1:]:
        if one.trial.hours != first.trial.hours:
            why[one.name] = f"it is over other hours ({one.hours})"
        elif not is_alike(first.trial, one.trial):
            why[one.name] = f"it is of another market ({one.market})"
        else:
            kept.append(one)
    return tuple(kept), why

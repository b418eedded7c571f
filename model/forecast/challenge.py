"""The rule of promotion: a challenger has to be no worse than the champion where neither has been.

Both forecast the same sessions after the end of both trainings; the mean quantile loss decides,
paired by session. Who is champion is the registry's to write down, not ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from astra.errors import BundleError, InsufficientDataError
from model.evaluation import decision_times, evaluate
from model.forecast.bundle import Bundle
from model.forecast.serving import Forecaster
from model.panel import Panel

LEAST_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Mean quantile loss over the sessions, in basis points of the price.

    Attributes:
        error_bp: standard error of the mean difference, the sessions taken for independent.
    """

    sessions: int
    champion_bp: float
    challenger_bp: float
    error_bp: float

    @property
    def passes(self) -> bool:
        """Whether the challenger is no worse: equal is enough."""
        return self.challenger_bp <= self.champion_bp

    def __str__(self) -> str:
        difference = self.challenger_bp - self.champion_bp
        return (
            f"quantile loss {self.challenger_bp:.4f} bp against {self.champion_bp:.4f} bp of the "
            f"champion, {difference:+.4f} +- {self.error_bp:.4f} on {self.sessions} sessions "
            "unseen by both"
        )


def contend(champion: Bundle, challenger: Bundle, panel: Panel) -> Verdict:
    """Let both forecast the panel's sessions that neither has seen.

    Raises:
        BundleError: the challenger does not run, or forecasts something else than the champion.
        DataError: a forecast is not finite, or the panel is of another frequency.
        InsufficientDataError: there are fewer than `LEAST_SESSIONS` such sessions.
    """
    examine(challenger)
    asked = [(b.spec.frequency, b.spec.horizon) for b in (champion, challenger)]
    if asked[0] != asked[1]:
        raise BundleError(
            f"a challenger must forecast what the champion does, {champion.id} forecasts "
            f"{asked[0][1]} bars of {asked[0][0]}, {challenger.id} {asked[1][1]} of {asked[1][0]}: "
            "they cannot be compared"
        )
    since = max(b.spec.training.end for b in (champion, challenger))
    times = [t for t in decision_times(panel, champion.spec.horizon) if t > since]
    if not times:
        return judge({}, {})
    losses = [evaluate(b, panel, times, baselines=()).daily_pinball for b in (champion, challenger)]
    return judge(*losses)


def judge(champion: Mapping[str, float], challenger: Mapping[str, float]) -> Verdict:
    """The verdict on mean losses by session (ISO date -> bp), over the sessions that both have.

    Raises:
        InsufficientDataError: they share fewer than `LEAST_SESSIONS`.
    """
    days = sorted(champion.keys() & challenger.keys())
    if len(days) < LEAST_SESSIONS:
        raise InsufficientDataError(
            f"a promotion needs {LEAST_SESSIONS} sessions after the end of both trainings, found "
            f"{len(days)}: wait, name other bars with --bars, or use --force"
        )
    n = len(days)
    old, new = (math.fsum(side[day] for day in days) / n for side in (champion, challenger))
    apart = [challenger[day] - champion[day] for day in days]
    variance = math.fsum((d - (new - old)) ** 2 for d in apart) / (n - 1)
    return Verdict(n, old, new, math.sqrt(variance / n))


def examine(bundle: Bundle) -> None:
    """Check that a bundle runs: its network loads, has the promised shapes and says finite things.

    Raises:
        BundleError: it does not load, or its shapes are others.
        DataError: it is not finite.
    """
    Forecaster(bundle)

"""What can be known at a decision time, and how far it may be believed. Pure.

`foresee` says what the bars tell, `assess` what such forecasts have been worth. No clock, no
network: `as_of` is an argument, and the panel holds closed bars only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from astra.errors import InsufficientDataError
from astra.sessions import BAR, HORIZON_BARS
from model.coverage import Coverage, judge
from model.forecast.drift import Health, examine
from model.forecast.record import Forecast, ForecastRecord, Mark
from model.forecast.scorebook import Scorebook
from model.forecast.serving import Forecaster
from model.forecast.skill import Skill, measure
from model.forecast.spec import Spec
from model.forecast.target import Normalised, Scaler, normalise
from model.panel import Panel

HISTORY = dt.timedelta(days=60)  # how far back the bars of a decision reach, at most
# Scores of a 60-day window agree with those of a long one (correlation 0.99, on simulated and on
# recorded bars) from its sixth session on: until then the volatilities are too young.
WARM_UP_SESSIONS = 5


@dataclass(frozen=True, slots=True)
class Sight:
    """What the bars tell at `as_of`.

    Attributes:
        known: the bars that have closed, of all tickers.
        panel: the same of the usable candidates, and its returns `normalised`.
    """

    as_of: dt.datetime
    known: Panel
    coverage: Coverage
    panel: Panel
    normalised: Normalised
    forecast: Forecast
    spec: Spec

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates that have a column in `known`, ascending."""
        return listed(self.known, (*self.coverage.usable, *self.coverage.left_out))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What can be known at `as_of`, and how far it may be believed."""

    sight: Sight
    skill: Skill
    health: Health


Prepare = Callable[[Panel, tuple[str, ...], Scaler], tuple[Panel, Normalised]]


def prepare(known: Panel, usable: tuple[str, ...], scaler: Scaler) -> tuple[Panel, Normalised]:
    """The bars of the usable tickers alone, and their returns normalised."""
    panel = known.only(usable)
    return panel, normalise(panel, scaler)


def foresee(
    as_of: dt.datetime,
    panel: Panel,
    candidates: tuple[str, ...],
    forecaster: Forecaster,
    prepare: Prepare = prepare,
) -> Sight:
    """Coverage and forecast at `as_of`, which must be a decision time.

    Whatever the panel holds, it goes by the whole sessions of the last 60 days and the tickers that
    printed a bar in them: so all decisions of a day rest on the same first bar.

    Args:
        prepare: must give what `prepare` gives; a walk does the work of a day once.

    Raises:
        InsufficientDataError: the panel doesn't reach `as_of`, or too few tickers are usable.
    """
    known = _printed(panel.known_at(as_of).since(as_of - HISTORY))
    if not len(known.ts) or known.ends[-1] != as_of.timestamp():
        raise InsufficientDataError(
            f"bars that close at {as_of:%Y-%m-%d %H:%M} UTC are required, found none: load them"
        )
    coverage = judge(known, candidates)
    spec = forecaster.bundle.spec
    usable, normalised = prepare(known, coverage.usable, spec.scaler)
    return Sight(
        as_of=as_of,
        known=known,
        coverage=coverage,
        panel=usable,
        normalised=normalised,
        forecast=forecaster.forecast(usable, normalised),
        spec=spec,
    )


def scorable(panel: Panel, spec: Spec, until: dt.datetime) -> tuple[dt.datetime, ...]:
    """Decision times that a record needs: after the training, their hour over at `until`, and not
    among the panel's first sessions, whose volatilities are too young."""
    return tuple(
        t
        for session in panel.sessions[WARM_UP_SESSIONS:]
        for t in session.decision_times()
        if t > spec.training.end and t + HORIZON_BARS * BAR <= until
    )


def past_scores(
    panel: Panel,
    candidates: tuple[str, ...],
    forecaster: Forecaster,
    times: Sequence[dt.datetime],
) -> ForecastRecord:
    """What would have been forecast of the panel's candidates at `times`, as a record keeps it."""
    return forecaster.scores_at(panel.only(listed(panel, candidates)), times).as_kept()


def missing_scores(sight: Sight, book: Scorebook, forecaster: Forecaster) -> ForecastRecord | None:
    """What `book` lacks at the times that can be measured by now, made from the bars at hand; None
    if it lacks nothing. A time is lacking if any candidate has no row there."""
    complete = book.complete(sight.names)
    needed = scorable(sight.known, sight.spec, sight.as_of)
    times = [t for t in needed if int(t.timestamp()) not in complete]
    return past_scores(sight.known, sight.names, forecaster, times) if times else None


def own_scores(sight: Sight) -> ForecastRecord:
    """What this forecast says, as a record of one time; NaN of the candidates left out."""
    forecast = sight.forecast
    names = sight.names
    columns = [names.index(t) for t in forecast.tickers]
    score, volatility = np.full((2, 1, len(names)), np.nan)
    served = [mark is Mark.FORECAST for mark in forecast.marks]
    score[0, columns] = np.where(served, forecast.score, np.nan)
    volatility[0, columns] = forecast.volatility
    stamps = np.array([int(sight.as_of.timestamp())], np.int64)
    return ForecastRecord(forecast.model_id, stamps, names, score, volatility).as_kept()


def listed(panel: Panel, candidates: Iterable[str]) -> tuple[str, ...]:
    """The candidates that have a column in the panel, ascending."""
    return tuple(sorted(set(candidates) & set(panel.tickers)))


def _printed(panel: Panel) -> Panel:
    """The columns with any bar."""
    silent = np.flatnonzero(~np.isfinite(panel.close).any(axis=0))
    if not len(silent):
        return panel
    absent = {panel.tickers[i] for i in silent}
    return panel.only(tuple(t for t in panel.tickers if t not in absent))


def assess(sight: Sight, record: ForecastRecord, max_age_days: int = 0) -> Outlook:
    """What forecasts like this one have been worth, and whether the network is in health.

    An alarm takes the forecast out of use: its skill counts as 0.
    """
    as_of, spec = sight.as_of, sight.spec
    skill = measure(record, sight.known, trained_until=spec.training.end, as_of=as_of)
    feature = sight.normalised.feature
    health = examine(spec, feature, sight.known, record, as_of, max_age_days)
    if health.alarms:
        skill = replace(skill, on=False, used=0.0, reason="; ".join(health.alarms))
    return Outlook(sight, skill, health)

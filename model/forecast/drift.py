"""Whether a network is still what was trained: its inputs, its errors and its age. Pure.

An alarm takes the forecast out of use; it never stands in the way of a decision.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.sessions import BAR_SECONDS, HORIZON_BARS
from model.forecast.record import Floats, ForecastRecord
from model.forecast.spec import Reference, Spec
from model.panel import Panel

INPUT_SESSIONS = 5  # whose returns are held against the deciles
PSI_LIMIT = 0.25  # the usual border between a moderate and a large shift
LEAST_RETURNS = 500  # fewer make a PSI of 9 / 500 = 0.02 by chance alone
CUSUM_SLACK, CUSUM_LIMIT = 0.5, 5.0  # deviations; in quiet of a known mean one alarm in 930 days
_RARE = 1e-4  # the least share of a bin, so that an empty one has a logarithm


@dataclass(frozen=True, slots=True)
class Health:
    """What was measured, None where it could not be, and one sentence for each alarm.

    Attributes:
        psi: population stability index of the inputs.
        cusum: Page's cumulative sum of the daily errors, in standard deviations.
        age_days: since the training's end.
    """

    psi: float | None
    cusum: float | None
    age_days: int
    alarms: tuple[str, ...]


def examine(
    spec: Spec,
    feature: Floats,
    panel: Panel,
    record: ForecastRecord,
    as_of: dt.datetime,
    max_age_days: int,
) -> Health:
    """The health of a network at `as_of`.

    Args:
        feature: the panel's normalised returns, shape (T, N).
        panel: whose last bar closes at `as_of`; its tickers may differ from the record's.
        max_age_days: 0 = it may grow as old as it likes; one of a simulated market always may.
    """
    reference, training = spec.reference, spec.training
    recent = panel.session > panel.session[-1] - INPUT_SESSIONS
    inputs = psi(feature[recent], reference.deciles)
    errors = cusum(daily_errors(record, panel, as_of), reference)
    age = (as_of - training.end).days
    alarms = []
    if inputs is not None and inputs > PSI_LIMIT:
        alarms.append(f"inputs have drifted (PSI {inputs:.2f}, limit {PSI_LIMIT})")
    if errors is not None and errors > CUSUM_LIMIT:
        alarms.append(f"errors have grown (CUSUM {errors:.1f}, limit {CUSUM_LIMIT:.0f})")
    if training.trained_on != "simulated" and 0 < max_age_days < age:
        alarms.append(f"the network is {age} days old (limit {max_age_days})")
    told = tuple(
        f"{alarm}: train another (astra train) and put it in use (astra models promote)"
        for alarm in alarms
    )
    return Health(inputs, errors, age, told)


def psi(values: Floats, deciles: tuple[float, ...]) -> float | None:
    """How far `values` are from the ten equal bins between `deciles`; NaN don't count.

    Sum over bins of (p - 0.1) * ln(p / 0.1) with p the share in a bin (Kullback and Leibler's
    symmetric divergence; Siddiqi 2006 for the usual limits). None with fewer than 500 values, or
    if the deciles were not measured: then they don't ascend.
    """
    known = values[np.isfinite(values)]
    if len(known) < LEAST_RETURNS or not (np.diff(deciles) > 0).all():
        return None
    bins = np.searchsorted(np.array(deciles), known, side="right")
    share = np.maximum(np.bincount(bins, minlength=10) / len(known), _RARE)
    return float(((share - 0.1) * np.log(share / 0.1)).sum())


def daily_errors(record: ForecastRecord, panel: Panel, as_of: dt.datetime) -> Floats:
    """Mean absolute error of each day before the session of `as_of`, oldest first.

    The error of a forecast is the log return from the close it was made at to the horizon's last,
    over its volatility, less its score. The score counts in units of the market-free volatility
    and is a fiftieth of it, so the difference of units is lost in the return's noise.
    """
    known = panel.known_at(as_of)
    if not len(known.ts):
        return np.empty(0)
    begins = int(known.sessions[-1].opens_at.timestamp())
    inside = (record.as_of > known.ts[0]) & (record.as_of < begins)
    stamps = record.as_of[inside]
    place = {ticker: i for i, ticker in enumerate(known.tickers)}
    ours = [i for i, ticker in enumerate(record.tickers) if ticker in place]
    theirs = [place[record.tickers[i]] for i in ours]
    made, over = (
        np.log(known.close[_rows(known, stamps + bars * BAR_SECONDS)][:, theirs])
        for bars in (-1, HORIZON_BARS - 1)
    )
    error = np.abs(
        (over - made) / record.volatility[inside][:, ours] - record.score[inside][:, ours]
    )
    day = known.session[_rows(known, stamps)]
    total, count = (
        np.bincount(day, np.where(np.isfinite(error), v, 0.0).sum(axis=1), len(known.sessions))
        for v in (error, 1.0)
    )
    return np.asarray(total[count > 0] / count[count > 0])


def cusum(daily: Floats, reference: Reference) -> float | None:
    """Page's (1954) one-sided sum max(0, S + z - 0.5) of the days' errors, after the last one.

    z is the day's error less the reference's mean, over the larger of the two standard deviations,
    the reference's and that of the days: the mean of ten tickers errs more from day to day than
    that of the hundreds that were trained on. None without two days or without a reference.
    """
    if len(daily) < 2 or reference.error_deviation <= 0:
        return None
    total = 0.0
    deviation = max(reference.error_deviation, float(daily.std(ddof=1)))
    for z in (daily - reference.error) / deviation:
        total = max(0.0, total + float(z) - CUSUM_SLACK)
    return total


def _rows(panel: Panel, starts: NDArray[np.int64]) -> NDArray[np.intp]:
    """The rows of bars that begin at `starts`: the panel has the whole grid of its sessions."""
    return np.minimum(np.searchsorted(panel.ts, starts), len(panel.ts) - 1)

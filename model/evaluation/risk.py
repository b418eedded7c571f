"""What a covariance estimator was worth: its predictions held against the returns that came.

Walks forward over decision times. At each, an estimator sees the bars that had closed, of the names
a decision could have used, and predicts the covariance until the next decision; then the returns
until that next decision are looked up. Three questions are asked of it: how much the portfolio of
least predicted variance moved, how likely the returns were under it, and whether what it predicted
is what came on average. Hours within a session and stretches with a night are kept apart.

Returns are those of prices, next / last - 1, from the last close before the decision.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from astra.errors import DataError, InsufficientDataError
from astra.sessions import next_decision_time
from model.coverage import judge
from model.evaluation.metrics import Tested, tested
from model.forecast.skill import by_day
from model.forecast.target import Normalised, Scaler, normalise
from model.outlook import HISTORY
from model.panel import Floats, Panel
from model.portfolio.covariance import Covariance, recent, until_next_decision
from model.portfolio.estimators import ESTIMATORS, Estimator
from model.portfolio.limits import Limits
from model.portfolio.top_k import minimum_variance

BP = 1e4
WARM_UP_SESSIONS = 20  # what the estimators look back on
AGAINST = "ledoit_wolf"
NAIVE = "variances alone"
MOST = 40_000  # names times decisions: about two minutes on one core


@dataclass(frozen=True, slots=True)
class Figures:
    """One estimator over all decisions of a kind.

    Attributes:
        volatility_bp: root mean square return of its minimum-variance portfolio, bp.
        squared: daily mean of that squared return less `AGAINST`'s, bp squared, and its test;
            None for `AGAINST` itself.
        log_likelihood: Gaussian, mean 0, of the names' returns, per name and decision.
        likelihood: daily mean of it less `AGAINST`'s, and its test; None for `AGAINST` itself.
        names, equal_weight, minimum_variance: mean squared return over predicted variance, of the
            single names, the equal-weight portfolio and the minimum-variance one; 1 is calibrated,
            more was riskier than predicted.
    """

    volatility_bp: float
    squared: Tested | None
    log_likelihood: float
    likelihood: Tested | None
    names: float
    equal_weight: float
    minimum_variance: float


@dataclass(frozen=True, slots=True)
class RiskEvaluation:
    """What each estimator was worth.

    Attributes:
        dates: first and last day with a decision.
        days, decisions: counted, `decisions` by kind.
        names: median number of names decided on.
        hours, nights: figures by estimator of decisions whose next one is in the same session, an
            hour later, and of those with a night before it; empty without such decisions.
        left_out: how many decisions could not be made for a reason.
    """

    dates: tuple[dt.date, dt.date]
    days: int
    decisions: Mapping[str, int]
    names: int
    hours: Mapping[str, Figures]
    nights: Mapping[str, Figures]
    left_out: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "first": self.dates[0].isoformat(),
            "last": self.dates[1].isoformat(),
            "days": self.days,
            "decisions": dict(self.decisions),
            "names": self.names,
            "against": AGAINST,
            "hours": {name: asdict(found) for name, found in self.hours.items()},
            "nights": {name: asdict(found) for name, found in self.nights.items()},
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class _Scores:
    """One estimator at one decision."""

    squared: float
    log_likelihood: float
    names: float
    equal_weight: float
    minimum_variance: float


def risk_times(panel: Panel) -> list[dt.datetime]:
    """The panel's decision times with 20 sessions before them and the next decision inside."""
    end = int(panel.ends[-1]) if len(panel.ts) else 0
    return [
        t
        for session in panel.sessions[WARM_UP_SESSIONS:]
        for t in session.decision_times()
        if next_decision_time(t).timestamp() <= end
    ]


def thinned(times: Sequence[dt.datetime], names: int) -> tuple[list[dt.datetime], int]:
    """The decision times of every n-th session, the last one among them, and n.

    n is the least for which `names` times decisions stay below `MOST`: whole sessions, so that all
    hours of a day count alike.
    """
    days = sorted({t.date() for t in times})
    step = -(-len(times) * names // MOST) or 1
    kept = set(days[::-1][::step])
    return [t for t in times if t.date() in kept], step


def evaluate_risk(
    panel: Panel,
    times: Sequence[dt.datetime],
    sectors: Mapping[str, str],
    limits: Limits,
    estimators: Mapping[str, Estimator] = ESTIMATORS,
) -> RiskEvaluation:
    """Score `estimators` and a diagonal of 20-day variances at each of `times`.

    A decision that one of them cannot make counts for none. A name without a price until the next
    decision has not moved for a portfolio, and is not scored itself.

    Args:
        panel: 5-minute bars of the candidates.
        times: decision times, ascending.
        sectors: by ticker. limits: of the minimum-variance portfolios.

    Raises:
        DataError: `AGAINST` is not among the estimators.
        InsufficientDataError: no decision could be made.
    """
    if AGAINST not in estimators:
        raise DataError(f"estimators are compared with {AGAINST}, it is not among them: add it")
    everyone = {**estimators, NAIVE: _variances}
    made: list[tuple[dt.datetime, bool, int, dict[str, _Scores]]] = []
    left_out: Counter[str] = Counter()
    for t in times:
        try:
            known = _usable(panel, t)
            normalised = normalise(known, Scaler())
            predicted = {name: each(known, normalised) for name, each in everyone.items()}
            came = outcomes(panel, known.tickers, t)
            scores = {
                name: _score(risk, t, came, [sectors.get(n, "") for n in known.tickers], limits)
                for name, risk in predicted.items()
            }
        except InsufficientDataError as error:
            left_out[str(error)] += 1
        else:
            night = until_next_decision(t).nights > 0
            made.append((t, night, len(known.tickers), scores))
    if not made:
        reason = next(iter(left_out), "there are no decision times")
        raise InsufficientDataError(f"no covariance could be judged: {reason}")
    kinds = {
        "hours": [(t, scores) for t, night, _, scores in made if not night],
        "nights": [(t, scores) for t, night, _, scores in made if night],
    }
    days = sorted({t.date() for t, *_ in made})
    return RiskEvaluation(
        dates=(days[0], days[-1]),
        days=len(days),
        decisions=MappingProxyType({kind: len(of) for kind, of in kinds.items()}),
        names=int(np.median([n for _, _, n, _ in made])),
        hours=MappingProxyType(dict(_figures(kinds["hours"], tuple(everyone)))),
        nights=MappingProxyType(dict(_figures(kinds["nights"], tuple(everyone)))),
        left_out=MappingProxyType(dict(left_out)),
    )


def outcomes(panel: Panel, tickers: tuple[str, ...], t: dt.datetime) -> Floats:
    """Return of each ticker from its last close at `t` to its last one at the next decision, (N,).

    NaN where it printed none in between.
    """
    columns = [panel.tickers.index(ticker) for ticker in tickers]
    start, end = (
        int(np.searchsorted(panel.ends, int(each.timestamp()), side="right"))
        for each in (t, next_decision_time(t))
    )
    before, after = _last(panel.close[:start, columns]), _last(panel.close[start:end, columns])
    found: Floats = after / before - 1.0
    return found


def _usable(panel: Panel, t: dt.datetime) -> Panel:
    """The whole sessions of the last 60 days, up to `t`, of the names that a decision could use.

    Raises:
        InsufficientDataError: too few are.
    """
    known = panel.known_at(t).since(t - HISTORY)
    if not len(known.ts):
        raise InsufficientDataError("a decision needs bars of the last 60 days, there are none")
    return known.only(judge(known, known.tickers).usable)


def _variances(panel: Panel, normalised: Normalised) -> Covariance:
    """No correlation at all: what an estimator must beat."""
    seen = recent(panel)
    own = np.mean(seen.returns**2, axis=0)
    return Covariance(
        panel.tickers, np.diag(own), own, seen.night_bars, 0.0, len(seen.returns), seen.missing
    )


def _score(
    risk: Covariance, t: dt.datetime, came: Floats, sectors: Sequence[str], limits: Limits
) -> _Scores:
    """Hold what was predicted at `t` against what came.

    Raises:
        InsufficientDataError: nothing came, or there is no portfolio of least variance.
    """
    horizon = until_next_decision(t)
    stretch = risk.bars_in(horizon), float(horizon.nights)
    (matrix, diagonal), factored = risk.over(*stretch), risk.factored(*stretch)
    known = np.flatnonzero(np.isfinite(came))
    if not len(known):
        raise InsufficientDataError("no name has a price until the next decision")
    found = minimum_variance(matrix if factored is None else factored, sectors, limits, diagonal)
    if found.status == "unsolved":
        raise InsufficientDataError(f"no portfolio of least variance: {found.reason}")
    moved = np.where(np.isfinite(came), came, 0.0)
    squared = float(found.weights @ moved) ** 2
    part, outcome = matrix[np.ix_(known, known)], came[known]
    lower = np.linalg.cholesky(part)
    whitened = solve_triangular(lower, outcome, lower=True, check_finite=False)
    n = len(known)
    fit = float(whitened @ whitened) + 2.0 * float(np.log(lower.diagonal()).sum())
    return _Scores(
        squared=squared,
        log_likelihood=-0.5 * (fit / n + float(np.log(2.0 * np.pi))),
        names=float(np.mean(outcome**2 / part.diagonal())),
        equal_weight=float(outcome.sum()) ** 2 / float(part.sum()),
        minimum_variance=squared / float(found.weights @ matrix @ found.weights),
    )


def _figures(
    made: Sequence[tuple[dt.datetime, Mapping[str, _Scores]]], names: Sequence[str]
) -> Iterator[tuple[str, Figures]]:
    """Means over decisions, and tests over days."""
    if not made:
        return
    days = np.array([t.toordinal() for t, _ in made], np.int64)
    base = [scores[AGAINST] for _, scores in made]
    for name in names:
        own = [scores[name] for _, scores in made]
        squared = BP**2 * np.array([a.squared - b.squared for a, b in zip(own, base, strict=True)])
        likelihood = np.array(
            [a.log_likelihood - b.log_likelihood for a, b in zip(own, base, strict=True)]
        )
        itself = name == AGAINST
        yield (
            name,
            Figures(
                volatility_bp=BP * float(np.sqrt(np.mean([s.squared for s in own]))),
                squared=None if itself else tested(by_day(squared, days)),
                log_likelihood=float(np.mean([s.log_likelihood for s in own])),
                likelihood=None if itself else tested(by_day(likelihood, days)),
                names=float(np.mean([s.names for s in own])),
                equal_weight=float(np.mean([s.equal_weight for s in own])),
                minimum_variance=float(np.mean([s.minimum_variance for s in own])),
            ),
        )


def _last(prices: Floats) -> Floats:
    """The last printed price of each column of (T, N), (N,); NaN where there is none."""
    found = np.full(prices.shape[1], np.nan)
    for row in prices[::-1]:
        found = np.where(np.isnan(found), row, found)
        if not np.isnan(found).any():
            break
    return found

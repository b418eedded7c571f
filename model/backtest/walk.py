"""A backtest: the service's own decisions, hour after hour, each policy in books of its own.

A decision sees the panel cut at its time and no more; it trades at the first price after it, by the
plan and the fill rule of the service and the sandbox. The record of forecasts behind the measured
skill grows as the service's does: what is lacking is made from the bars at hand, and each decision
adds its own forecast. Bars are back-adjusted for splits, so a split changes nothing here, unless
shares are whole: those before a split were fewer and dearer than the adjusted ones, and less of the
money could be in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from astra.errors import DataError, InsufficientDataError
from model.backtest.account import Account, Prices, curve_of
from model.backtest.benchmarks import benchmarks
from model.backtest.fills import Costs, Tape, held_weights
from model.backtest.records import COSTS, HOUR, Backtest, Refusal, SkillStep
from model.decision import Terms, gather, settle_all
from model.forecast.bundle import Bundle
from model.forecast.record import ForecastRecord
from model.forecast.scorebook import Scorebook, empty
from model.forecast.serving import Forecaster
from model.forecast.target import Normalised, Scaler
from model.outlook import Outlook, Sight, assess, foresee, missing_scores, own_scores, prepare
from model.panel import Panel
from model.portfolio.records import Policy


@dataclass(frozen=True, slots=True)
class Plan:
    """Policies by name, the terms that are theirs, and what their fills cost."""

    terms: Terms
    policies: Mapping[str, Policy]
    costs: Costs


def walk(
    panel: Panel,
    candidates: tuple[str, ...],
    sectors: Mapping[str, str],
    terms: Terms,
    policies: Mapping[str, Policy],
    forecaster: Forecaster,
    times: Sequence[dt.datetime],
    *,
    capital: float,
    costs: Costs,
) -> Backtest:
    """Decide and trade at each of `times`, from cash of `capital` USD in each policy's books.

    Args:
        terms: as the service's, for every policy; their cost is what a move is weighed against.
        times: decision times, ascending, each with its hour inside the panel.

    Raises:
        DataError: no times, times outside of the panel or that the bundle was trained on, or a
            policy's weights break a limit.
    """
    plans = (Plan(terms, policies, costs),)
    (found,) = walk_together(panel, candidates, sectors, plans, forecaster, times, capital=capital)
    return found


def walk_together(
    panel: Panel,
    candidates: tuple[str, ...],
    sectors: Mapping[str, str],
    plans: Sequence[Plan],
    forecaster: Forecaster,
    times: Sequence[dt.datetime],
    *,
    capital: float,
) -> tuple[Backtest, ...]:
    """As `walk`, for each of `plans`; what the bars tell is found out once for all of them.

    Raises:
        DataError: as `walk`.
    """
    check_times(times, forecaster.bundle)
    tape = Tape(panel)
    for t in (times[0], times[-1]):
        tape.opens(t)
    record, days = Record(forecaster), Days(panel)
    walkers = [Walker(plan, sectors, capital) for plan in plans]
    ages = {plan.terms.model_max_age_days for plan in plans}
    for t in times:
        marks, opens = tape.marks(t), tape.opens(t)
        for account in (a for walker in walkers for a in walker.accounts):
            account.close_out(tape, t, marks)
        try:
            sight = foresee(t, panel.known_at(t), candidates, forecaster, days)
            past = record.known(sight)
            outlooks = {age: assess(sight, past, age) for age in ages}
        except InsufficientDataError as error:
            for walker in walkers:
                walker.refuse(t, error)
        else:
            for walker in walkers:
                walker.decide(outlooks, tape, marks, opens)
            record.remember(sight)  # whatever the plans decide: none depends on another
        ended = tape.marks(t + HOUR)
        for account in (a for walker in walkers for a in walker.accounts):
            account.mark(ended)
    beside = {
        costs: benchmarks(tape, candidates, times, capital, costs)
        for costs in {plan.costs for plan in plans}
    }
    return tuple(
        Backtest(
            model_id=forecaster.bundle.id,
            times=(times[0], *(t + HOUR for t in times)),
            curves={name: curve_of(name, books) for name, books in walker.books.items()},
            refusals=tuple(walker.refusals),
            benchmarks=beside[walker.plan.costs],
            skill=tuple(walker.skill),
        )
        for walker in walkers
    )


class Walker:
    """One plan on its walk: the books of its policies, and what was refused to them."""

    def __init__(self, plan: Plan, sectors: Mapping[str, str], capital: float) -> None:
        self.plan = plan
        self.books = {
            name: [Account(capital, plan.costs.times(multiple)) for multiple in COSTS]
            for name in plan.policies
        }
        self.refusals: list[Refusal] = []
        self.skill: list[SkillStep] = []
        self._sectors = sectors

    @property
    def accounts(self) -> Iterator[Account]:
        return (account for books in self.books.values() for account in books)

    def refuse(self, t: dt.datetime, error: InsufficientDataError) -> None:
        """Every book holds."""
        self.refusals.append(Refusal(t, str(error)))

    def decide(
        self, outlooks: Mapping[int, Outlook], tape: Tape, marks: Prices, opens: Prices
    ) -> None:
        """Decide at `marks` and trade at `opens`, or hold if too little is known for that.

        Args:
            outlooks: by how many days old a network may be.
        """
        terms = self.plan.terms
        outlook = outlooks[terms.model_max_age_days]
        t, found = outlook.sight.as_of, outlook.skill
        try:
            inputs = gather(outlook, self._sectors, terms)
        except InsufficientDataError as error:
            self.refuse(t, error)
            return
        self.skill.append(SkillStep(t, found.ic, found.t, found.used, found.on))
        held = {
            name: [held_weights(account.book, marks) for account in books]
            for name, books in self.books.items()
        }
        settled = settle_all(outlook, inputs, held, terms, self.plan.policies)
        for name, books in self.books.items():
            for account, made in zip(books, settled[name], strict=True):
                trade = made.decision.trade
                account.trade(made.weights, trade, tape, t, marks, opens, made.kept.keys())


class Record:
    """The record of forecasts as the service's grows, in memory: see `model.forecast.keeper`."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._book = empty(forecaster.bundle.id)

    def known(self, sight: Sight) -> ForecastRecord:
        """What the decision at `sight` goes by; what was lacking is made from its bars, and kept.

        The service lets go of times without any score, as late bars may bring one. Here none are
        late, and those rows stay.
        """
        since = int(sight.known.ts[0])
        self._book = self._book.since(since)
        made = missing_scores(sight, self._book, self._forecaster)
        if made is not None:
            self._book = self._book.joined(Scorebook.of(made, sight.as_of))
        return self._book.of_tickers(sight.names, since)

    def remember(self, sight: Sight) -> None:
        """Add what was forecast now."""
        self._book = self._book.joined(Scorebook.of(own_scores(sight), sight.as_of))


class Days:
    """Prepares the bars of a session once for all of its decisions.

    No row of a normalised panel depends on later ones (`model.forecast.target`), so the first rows
    of the whole session's are those of the bars up to a decision alone; no others are handed out.
    """

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._key: tuple[int, dt.date, tuple[str, ...]] | None = None
        self._whole: tuple[Panel, Normalised] | None = None

    def __call__(
        self, known: Panel, usable: tuple[str, ...], scaler: Scaler
    ) -> tuple[Panel, Normalised]:
        """As `model.outlook.prepare`."""
        last = known.sessions[-1]
        key = (int(known.ts[0]), last.date, usable)
        if self._whole is None or key != self._key:
            day = self._panel.known_at(last.closes_at).since(known.sessions[0].opens_at)
            self._key, self._whole = key, prepare(day, usable, scaler)
        (panel, n), rows = self._whole, len(known.ts)
        cut = Normalised(
            n.feature[:rows], n.residual[:rows], n.sigma[:rows], n.total_sigma[:rows], n.profile
        )
        return panel.known_at(dt.datetime.fromtimestamp(known.end(-1), dt.UTC)), cut


def check_times(times: Sequence[dt.datetime], bundle: Bundle) -> None:
    """Refuse a walk over what the bundle was trained on.

    Raises:
        DataError: no times, not ascending, or one that is not after the training's end.
    """
    if not times or list(times) != sorted(set(times)):
        raise DataError(f"a backtest needs ascending decision times, found {len(times)}")
    end = bundle.spec.training.end
    if times[0] <= end:
        early = sum(t <= end for t in times)
        raise DataError(
            f"a backtest must start after the training of {bundle.id} ended at "
            f"{end:%Y-%m-%d %H:%M} UTC, {early} of {len(times)} decisions do not: start later or "
            "train on earlier bars"
        )

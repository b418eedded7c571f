"""A backtest: the service's own decisions, hour after hour, each policy in a book of its own.

A decision sees the panel cut at its time and no more; it trades at the first price after it. The
record of forecasts behind the measured skill is made once for the whole walk, as no score depends
on later bars; its first sessions are left out, as in the service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from astra.errors import DataError, InsufficientDataError
from astra.ledger import Book
from astra.sessions import BAR, HORIZON_BARS
from model.backtest.fills import Costs, Tape, held_weights, move
from model.backtest.records import SPY, Backtest, Curve, Refusal, SkillStep, Step
from model.decision import Terms, gather, settle
from model.forecast.bundle import Bundle
from model.forecast.record import Floats
from model.forecast.serving import Forecaster
from model.outlook import HISTORY, Outlook, assess, foresee, past_scores, scorable
from model.panel import Panel
from model.portfolio.records import Inputs, Policy

Prices = Mapping[str, float]
HOUR = HORIZON_BARS * BAR


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
    """Decide and trade at each of `times`, from cash of `capital` USD in each policy's book.

    Args:
        terms: as the service's, for every policy; their cost is what a move is weighed against.
        times: decision times, ascending, each with its hour inside the panel.

    Raises:
        DataError: no times, times outside of the panel or that the bundle was trained on, or a
            policy's weights break a limit.
    """
    check_times(times, forecaster.bundle)
    tape = Tape(panel)
    opens = {t: tape.opens(t) for t in times}
    benchmark = _benchmark(tape, times, capital)
    known = since(panel, times[0] - HISTORY)
    past = scorable(known, forecaster.bundle.spec, times[-1])
    record = past_scores(known.known_at(times[-1]), candidates, forecaster, past)
    accounts = {
        name: Account(replace(terms, policy=name), policy, capital)
        for name, policy in policies.items()
    }
    refusals: list[Refusal] = []
    skill: list[SkillStep] = []
    for t in times:
        try:
            sight = foresee(t, window(known, t), candidates, forecaster)
            outlook = assess(sight, record, terms.model_max_age_days)
            inputs = gather(outlook, sectors, terms)
        except InsufficientDataError as error:
            refusals.append(Refusal(t, str(error)))
        else:
            found = outlook.skill
            skill.append(SkillStep(t, found.ic, found.t, found.used, found.on))
            for account in accounts.values():
                account.decide(outlook, inputs, tape.marks(t), opens[t], costs)
        for account in accounts.values():
            account.mark(tape.marks(t + HOUR))
    return Backtest(
        model_id=forecaster.bundle.id,
        times=(times[0], *(t + HOUR for t in times)),
        curves={name: account.curve() for name, account in accounts.items()},
        refusals=tuple(refusals),
        benchmarks={} if benchmark is None else {SPY: benchmark},
        skill=tuple(skill),
    )


class Account:
    """One policy's book on its walk."""

    def __init__(self, terms: Terms, policy: Policy, capital: float) -> None:
        self._terms = terms
        self._policy = policy
        self._book = Book(Decimal(str(capital)), {})
        self._steps: list[Step] = []
        self._equity = [capital]

    def decide(
        self, outlook: Outlook, inputs: Inputs, marks: Prices, opens: Prices, costs: Costs
    ) -> None:
        """Decide from what the book holds at `marks` and trade at `opens`."""
        held = held_weights(self._book, marks)
        settled = settle(outlook, inputs, held, self._terms, self._policy)
        moved = move(self._book, settled.weights, opens, marks, costs)
        equity, trade = self._book.value(marks), settled.decision.trade
        self._book = moved.book
        self._steps.append(
            Step(
                as_of=outlook.sight.as_of,
                weights=settled.weights,
                tau=trade.tau,
                reason=trade.reason,
                turnover=moved.traded / equity,
                cost_bp=1e4 * moved.cost / equity,
            )
        )

    def mark(self, marks: Prices) -> None:
        """Note what the book is worth."""
        self._equity.append(self._book.value(marks))

    def curve(self) -> Curve:
        equity = np.array(self._equity)
        return Curve(self._terms.policy, tuple(self._steps), equity, {1.0: equity}, ())


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


def window(panel: Panel, t: dt.datetime) -> Panel:
    """The bars that the model service asks for at `t`: closed, and not older than `HISTORY`."""
    return since(panel.known_at(t), t - HISTORY)


def since(panel: Panel, start: dt.datetime) -> Panel:
    """The panel from the session of the first bar at or after `start`; earlier bars are unknown."""
    first = int(np.searchsorted(panel.ts, int(start.timestamp())))
    if first == 0:
        return panel
    if first == len(panel.ts):
        return panel.known_at(dt.datetime.fromtimestamp(0, dt.UTC))
    row, session = first - int(panel.slot[first]), int(panel.session[first])
    cut = replace(
        panel,
        ts=panel.ts[row:],
        session=panel.session[row:] - session,
        slot=panel.slot[row:],
        open=panel.open[row:].copy(),
        close=panel.close[row:].copy(),
        sessions=panel.sessions[session:],
    )
    cut.open[: first - row] = np.nan
    cut.close[: first - row] = np.nan
    return cut


def _benchmark(tape: Tape, times: Sequence[dt.datetime], capital: float) -> Floats | None:
    """Bought at the first price that could be traded and held, or None without such a price."""
    first = tape.opens(times[0]).get(SPY)
    if first is None:
        return None
    closes = [tape.marks(t + HOUR)[SPY] for t in times]
    return capital * np.array([first, *closes]) / first

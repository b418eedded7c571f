"""The register of backtests: each policy of one is a trial, kept once and compared to the cent."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from astra import __version__
from astra.performance import Floats, moments, summarize
from astra.settings import HOUSE, Settings
from astra.store import open_store
from astra.store.backtests import Course, Trial, digest

if TYPE_CHECKING:
    from astra.cli.backtest import Found
    from model.backtest.spec import Spec
    from model.backtest.statistics import Deflated

FREQUENCY = "1h"  # between decisions
_LONGEST_POLICY = 120  # characters, as the store takes them
_TIME = "%Y-%m-%d %H:%M"


@lru_cache
def code_version() -> str:
    """The release, and 8 hex of the rules and the model's code that a backtest runs through."""
    found = hashlib.sha256()
    for path in sorted((*(HOUSE / "astra").glob("*.py"), *(HOUSE / "model").rglob("*.py"))):
        found.update(path.read_bytes())
    return f"{__version__}+{found.hexdigest()[:8]}"


def single(spec: Spec, policy: str) -> Spec:
    """The specification of one of its policies alone, the same from whichever run it comes."""
    return replace(spec, policies=(policy,), terms=replace(spec.terms, policy=policy))


def trial_id(spec: Spec, policy: str, data_hash: str) -> str:
    """12 hex of what was asked of one policy and the bars' content; where a file lies is none of
    it."""
    alone = single(spec, policy)
    placeless = replace(alone, source=replace(alone.source, path=None))
    return hashlib.sha256(f"{placeless.identity} {data_hash}".encode()).hexdigest()[:12]


def courses(found: Found) -> tuple[Course, ...]:
    """Each policy of a backtest as the register holds it, made now."""
    result = found.backtest
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    hours = digest([int(t.timestamp()) for t in result.times])
    kept = []
    for policy, curve in result.curves.items():
        p, m = summarize(result.times, curve.equity), moments(curve.equity)
        cents = tuple(round(100 * value) for value in curve.equity.tolist())
        trial = Trial(
            id=trial_id(found.spec, policy, found.data_hash),
            made_at=now,
            market=found.market,
            data_hash=found.data_hash,
            hours=hours,
            outcome=digest(cents),
            first_at=result.times[0],
            last_at=result.times[-1],
            frequency=FREQUENCY,
            policy=policy[-_LONGEST_POLICY:],
            parameters=json.dumps(single(found.spec, policy).as_json()),
            total_return=p.total_return,
            return_0x=_total(curve.by_cost[0.0]),
            return_2x=_total(curve.by_cost[2.0]),
            max_drawdown=p.max_drawdown,
            turnover=curve.turnover,
            cost_bp=curve.cost_bp,
            winning_trades=curve.winning,
            losing_trades=curve.losing,
            sharpe=p.sharpe,
            sharpe_error=p.sharpe_error,
            steps=m.steps,
            step_sharpe=m.step_sharpe,
            skew=m.skew,
            kurtosis=m.kurtosis,
            model_id=result.model_id,
            code_version=code_version(),
        )
        kept.append(Course(trial, result.times, cents))
    return tuple(kept)


def _total(equity: Floats) -> float:
    return float(equity[-1] / equity[0] - 1.0)


def keep(found: Found, settings: Settings) -> tuple[str, ...]:
    """Store each policy of a backtest; the ids, in the order of the policies.

    The same trial again changes nothing.
    """
    made = courses(found)
    store = open_store(settings.database_url)
    try:
        store.backtests.keep(made)
    finally:
        store.close()
    return tuple(course.trial.id for course in made)


def deflate(trial: Trial, trials: Sequence[Trial]) -> Deflated:
    """A trial's Sharpe ratio against the best of all `trials`, this one among them, by luck."""
    from model.backtest.statistics import deflated_sharpe

    found = [one.step_sharpe for one in trials if one.id != trial.id]
    return deflated_sharpe(
        trial.step_sharpe, trial.steps, trial.skew, trial.kurtosis, [*found, trial.step_sharpe]
    )


def stored(trial_id: str, settings: Settings) -> tuple[Course, tuple[Trial, ...]]:
    """A trial with its curve, and all trials on the same bars."""
    store = open_store(settings.database_url)
    try:
        course = store.backtests.get(trial_id)
        return course, store.backtests.list(course.trial.data_hash)
    finally:
        store.close()


def differences(before: Course, after: Course) -> list[str]:
    """What two makings of a trial differ in, in sentences: the outcome, then what may be behind it;
    nothing if every value of equity is the same to the cent."""
    said = []
    if before.times != after.times:
        said.append(
            f"the decisions: {before.trial.steps} to {before.trial.last_at:{_TIME}} UTC then, "
            f"{after.trial.steps} to {after.trial.last_at:{_TIME}} UTC now"
        )
    else:
        pairs = zip(before.times, before.equity, after.equity, strict=True)
        off = [pair for pair in pairs if pair[1] != pair[2]]
        if off:
            at, then, now = off[0]
            said.append(
                f"the equity: {len(off)} of {len(after.equity)} values, the first at {at:{_TIME}} "
                f"UTC: {then / 100:,.2f} USD then, {now / 100:,.2f} now"
            )
    old, new = before.trial, after.trial
    causes = (
        ("the bars have changed", old.data_hash, new.data_hash),
        ("the network is another", old.model_id, new.model_id),
        ("the code is another", old.code_version, new.code_version),
    )
    if old.data_hash != new.data_hash or said:
        said += [f"{why}: {then} then, {now} now" for why, then, now in causes if then != now]
        if ".py:" in old.policy:
            said.append(f"the policy is a file of one's own, perhaps changed since: {old.policy}")
    return said

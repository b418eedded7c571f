"""The register of backtests: each policy of one is a trial, kept once and compared to the cent."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import make_url

from astra import __version__
from astra.errors import AstraError
from astra.performance import moments, returns, summarize
from astra.settings import HOUSE, Settings
from astra.store import connect, open_store
from astra.store.backtests import Course, Trial, digest

if TYPE_CHECKING:
    from astra.cli.backtest import Found
    from model.backtest.spec import Spec
    from model.backtest.statistics import Overfitting

FEWEST_STEPS = 100  # hours, before overfitting is judged
FREQUENCY = "1h"  # between decisions
_LONGEST_POLICY = 120  # characters, as the store takes them
_REGISTER_SINCE = "0004"  # the revision of the database that has it first
_TIME = "%Y-%m-%d %H:%M"


@lru_cache
def code_version() -> str:
    """The release, and 8 hex of the rules and the model's code that a backtest runs through."""
    found = hashlib.sha256()
    own = (HOUSE / "astra").glob("*.py")
    walked = HOUSE / "astra" / "cli" / "backtest.py"  # chooses times, candidates and costs
    for path in sorted((*own, walked, *(HOUSE / "model").rglob("*.py"))):
        found.update(path.read_bytes())
    return f"{__version__}+{found.hexdigest()[:8]}"


def single(spec: Spec, policy: str) -> Spec:
    """The specification of one of its policies alone, the same from whichever run it comes."""
    from astra.cli.specifying import files_of

    named = {str(path) for path in files_of((policy,), spec.candidates)}
    return replace(
        spec,
        policies=(policy,),
        terms=replace(spec.terms, policy=policy),
        files=tuple((path, told) for path, told in spec.files if path in named),
    )


def trial_id(spec: Spec, policy: str, data_hash: str) -> str:
    """12 hex of what was asked of one policy and of the content of the bars and of its files; where
    a file lies is none of it."""
    alone = single(spec, policy)
    placeless = replace(
        alone,
        source=replace(alone.source, path=None),
        policies=(Path(policy).name,),
        terms=replace(alone.terms, policy=Path(policy).name),
        candidates=Path(spec.candidates).name,
        files=tuple((Path(path).name, told) for path, told in alone.files),
    )
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
            return_0x=summarize(result.times, curve.by_cost[0.0]).total_return,
            return_2x=summarize(result.times, curve.by_cost[2.0]).total_return,
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


def overfitting_among(found: Iterable[Course], fewest: int = 2) -> Overfitting | None:
    """By choosing among these, over the same hours, of which copies count once; None if they or
    their steps are too few to say."""
    from model.backtest.statistics import overfitting

    different = list(dict.fromkeys(course.equity for course in found))
    if len(different) < fewest or len(different[0]) <= FEWEST_STEPS:
        return None
    equity = np.array(different, np.float64)
    return overfitting(np.stack([returns(one) for one in equity], axis=1))


def rivals(made: Sequence[Course], settings: Settings) -> tuple[Trial, ...]:
    """The stored trials over the same hours as a backtest's, and its own. A register that cannot be
    read has none, and none is made by looking."""
    own = tuple(course.trial for course in made)
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return own
    try:
        store = connect(settings.database_url)
        try:
            if (store.revision() or "") < _REGISTER_SINCE:
                return own
            held = store.backtests.list(own[0].hours)
        finally:
            store.close()
    except AstraError:
        return own
    ids = {trial.id for trial in own}
    return (*own, *(trial for trial in held if trial.id not in ids))


def drawn(trials: Iterable[Trial], made: Sequence[Course], settings: Settings) -> list[Course]:
    """The curves of `trials`, those of `made` as they are there."""
    own = {course.trial.id: course for course in made}
    ids = {trial.id for trial in trials}
    store = connect(settings.database_url)
    try:
        return [*(own[name] for name in ids & own.keys()),
                *store.backtests.courses(ids - own.keys())]  # fmt: skip
    finally:
        store.close()


def stored(trial_id: str, settings: Settings) -> tuple[Course, tuple[Trial, ...]]:
    """A trial with its curve, and all trials over the same hours."""
    store = open_store(settings.database_url)
    try:
        course = store.backtests.get(trial_id)
        return course, store.backtests.list(course.trial.hours)
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
    return said

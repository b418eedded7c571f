"""The register of backtests: every trial of a policy on past bars, kept once.

A trial's id is of what was asked for and of the bars' content, so the same trial made again is not
kept twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import select

from astra.errors import DataError
from astra.store import rows, schema
from astra.store.by_key import stored
from astra.store.dialect import Dialect, Row
from astra.store.versions import bump

_table = schema.backtests
_INSTANTS = ("made_at", "first_at", "last_at")
_UNKNOWABLE = ("sharpe", "sharpe_error", "step_sharpe", "skew", "kurtosis")
_UNCHANGING = ("id", "made_at")  # two rows that differ in no other column say the same


@dataclass(frozen=True, slots=True)
class Trial:
    """One policy of one backtest: what was asked for and what came of it.

    Attributes:
        id: 12 hex of what was asked for and of `data_hash`.
        made_at: the machine's wall clock.
        market: identity of the market the bars are of.
        data_hash: 16 hex of the bars' content.
        hours, outcome: 16 hex of the curve's times and of its equity in cents; trials with equal
            hours can be compared, and equal outcomes are one course.
        first_at, last_at: the first decision, the end of the last one's hour.
        frequency: of decisions, 1h.
        parameters: the specification as JSON.
        total_return, max_drawdown: fractions.
        return_0x, return_2x: the total return at no costs and at twice the assumed ones.
        turnover: buys and sales together, in units of equity.
        cost_bp: spread and fees in bp of equity, summed up.
        winning_trades, losing_trades: sales above and below the average cost, after costs.
        sharpe, sharpe_error: a year's and its standard error; NaN if it cannot be known.
        steps: returns, `step_sharpe` (not annualised), `skew` and `kurtosis` (3 = normal) theirs.
        model_id: the bundle whose forecasts were used.
        code_version: the release and a hash of the code that made it.
    """

    id: str
    made_at: dt.datetime
    market: str
    data_hash: str
    hours: str
    outcome: str
    first_at: dt.datetime
    last_at: dt.datetime
    frequency: str
    policy: str
    parameters: str
    total_return: float
    return_0x: float
    return_2x: float
    max_drawdown: float
    turnover: float
    cost_bp: float
    winning_trades: int
    losing_trades: int
    sharpe: float
    sharpe_error: float
    steps: int
    step_sharpe: float
    skew: float
    kurtosis: float
    model_id: str
    code_version: str


@dataclass(frozen=True, slots=True)
class Course:
    """A trial and its equity at the assumed costs, in cents, at each of `times`."""

    trial: Trial
    times: tuple[dt.datetime, ...]
    equity: tuple[int, ...]


def digest(values: Sequence[int]) -> str:
    """16 hex of whole numbers: of cents, or of epoch seconds."""
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()[:16]


_FIGURES = [_table.c[field.name] for field in fields(Trial)]


class Backtests:
    """Table `backtests`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def keep(self, courses: Sequence[Course]) -> int:
        """Add trials; one that is known and came out the same is left alone, a different outcome
        (of other code or another network) takes its place. The number written."""
        offered = {(course.trial.id,): _row(course) for course in courses}
        if not offered:
            return 0
        with self._dialect.writing("books") as connection:
            held = stored(connection, _table, list(offered), _table.columns.keys())
            changed = [row for key, row in offered.items() if not _same(row, held.get(key))]
            if not changed:
                return 0
            for row in changed:  # not an upsert: a figure that is no longer known must go
                connection.execute(_table.delete().where(_table.c.id == row["id"]))
            connection.execute(_table.insert(), changed)
            bump(connection, "books")
        return len(changed)

    def list(self, hours: str | None = None) -> tuple[Trial, ...]:
        """All trials, or those over the same `hours`, the newest first."""
        found = select(*_FIGURES).order_by(_table.c.made_at.desc(), _table.c.id)
        if hours is not None:
            found = found.where(_table.c.hours == hours)
        with self._dialect.reading() as connection:
            return tuple(_trial(dict(row)) for row in connection.execute(found).mappings())

    def courses(self, ids: Iterable[str]) -> tuple[Course, ...]:
        """The trials of these ids with their curves, by id; an unknown one is left out."""
        keys = sorted({(name,) for name in ids})
        with self._dialect.reading() as connection:
            found = stored(connection, _table, keys, _table.columns.keys())
        return tuple(_course(found[key]) for key in keys if key in found)

    def get(self, trial_id: str) -> Course:
        """One trial with its curve.

        Raises:
            DataError: there is none of this id.
        """
        found = select(_table).where(_table.c.id == trial_id)
        with self._dialect.reading() as connection:
            row = connection.execute(found).mappings().first()
        if row is None:
            raise DataError(
                f"the id of a stored backtest is required, found {trial_id!r}: astra backtests "
                "lists them"
            )
        return _course(dict(row))


def _row(course: Course) -> dict[str, Any]:
    row = asdict(course.trial)
    for name in _INSTANTS:
        row[name] = rows.seconds(row[name])
    for name in _UNKNOWABLE:
        row[name] = row[name] if math.isfinite(row[name]) else None
    row["equity"] = json.dumps(course.equity, separators=(",", ":"))
    row["times"] = json.dumps([rows.seconds(t) for t in course.times], separators=(",", ":"))
    return row


def _same(row: Row, held: Row | None) -> bool:
    return held is not None and all(held[name] == row[name] for name in row.keys() - _UNCHANGING)


def _trial(row: Mapping[str, Any]) -> Trial:
    values = {field.name: row[field.name] for field in fields(Trial)}
    for name in _INSTANTS:
        values[name] = rows.moment(values[name])
    for name in _UNKNOWABLE:
        values[name] = math.nan if values[name] is None else values[name]
    return Trial(**values)


def _course(row: Mapping[str, Any]) -> Course:
    times = tuple(rows.moment(at) for at in json.loads(row["times"]))
    return Course(_trial(row), times, tuple(json.loads(row["equity"])))

"""The newest rows of the books: what a look at how things stand needs. No table is read whole."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select

from astra.store import rows, schema
from astra.store.dialect import Dialect

_allocations, _runs = schema.allocations, schema.runs


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision as it was told; `alarms` are the sentences on its network's health."""

    object: str
    as_of: dt.datetime
    policy: str
    model_id: str
    reason: str
    tau: float | None
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rebalance:
    """An allocation and how far it has come; `at` = when it was finished, else received."""

    object: str
    status: str
    reason: str
    at: dt.datetime
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """An account as it was saved; `own` = USD of our part of each position."""

    at: dt.datetime
    cash: Decimal
    equity: Decimal
    own: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a job: status running, ok or failed."""

    started_at: dt.datetime
    finished_at: dt.datetime | None
    status: str
    message: str


_WELL = "ok"
_LAST_RUN = (
    select(*(_runs.c[name] for name in Run.__dataclass_fields__))
    .where(_runs.c.job == bindparam("job"))
    .order_by(_runs.c.started_at.desc())
    .limit(1)
)
_LAST_GOOD_RUN = _LAST_RUN.where(_runs.c.status == _WELL)


class Newest:
    """Reads single rows; None where there is none."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def decision(self) -> DecisionRow | None:
        """The decision of the newest as-of time."""
        table = schema.decisions
        newest = select(func.max(table.c.as_of)).scalar_subquery()  # without reading documents
        row = self._first(select(table).where(table.c.as_of == newest).order_by(table.c.object))
        if row is None:
            return None
        health = json.loads(row["document"]).get("health") or {}
        return DecisionRow(
            object=row["object"],
            as_of=rows.moment(row["as_of"]),
            policy=row["policy"],
            model_id=row["model_id"],
            reason=row["reason"],
            tau=row["tau"],
            alarms=tuple(map(str, health.get("alarms") or ())),
        )

    def decided_at(self) -> dt.datetime | None:
        """The newest as-of time of a decision."""
        return self._moment(select(func.max(schema.decisions.c.as_of)))

    def rebalance(self, account: str) -> Rebalance | None:
        """The allocation that was received last."""
        return self._allocation(account, _allocations.c.received_at)

    def traded(self, account: str) -> Rebalance | None:
        """The newest allocation that was traded to its end."""
        return self._allocation(account, _allocations.c.as_of, _allocations.c.status == "done")

    def summary(self, account: str) -> Summary | None:
        """The account as it was saved last."""
        table = schema.account_summary
        found = select(table).where(table.c.account == account).order_by(table.c.at.desc())
        row = self._first(found)
        if row is None:
            return None
        own = {
            p["symbol"]: float(p.get("own_qty", p["qty"])) * p["price"]
            for p in json.loads(row["positions"])
        }
        return Summary(
            rows.moment(row["at"]),
            Decimal(row["cash"]),
            Decimal(row["equity"]),
            {symbol: value for symbol, value in own.items() if value},
        )

    def runs(self, jobs: Iterable[str]) -> dict[str, tuple[Run, Run | None]]:
        """By job: the run that was begun last, and the last one that ended well; jobs that never
        ran are left out."""
        found: dict[str, tuple[Run, Run | None]] = {}
        with self._dialect.reading() as connection:
            for job in jobs:
                row = connection.execute(_LAST_RUN, {"job": job}).mappings().first()
                if row is None:
                    continue
                good = connection.execute(_LAST_GOOD_RUN, {"job": job}).mappings().first()
                found[job] = _run(row), None if good is None else _run(good)
        return found

    def first_run(self, job: str) -> dt.datetime | None:
        """When a job was begun for the first time."""
        return self._moment(select(func.min(_runs.c.started_at)).where(_runs.c.job == job))

    def loaded_at(self) -> dt.datetime | None:
        """The vendor's time at which a ticker was asked for last."""
        return self._moment(select(func.max(schema.ticker_status.c.asked_at)))

    def valued_at(self, account: str) -> dt.datetime | None:
        """The last point of the broker's own record of the account's value."""
        table = schema.history
        return self._moment(select(func.max(table.c.at)).where(table.c.account == account))

    def opened_at(self, account: str) -> dt.datetime | None:
        """The account's first activity on record."""
        table = schema.activities
        return self._moment(select(func.min(table.c.at)).where(table.c.account == account))

    def decisions(self) -> Sequence[str]:
        """The objects of all decisions on record."""
        with self._dialect.reading() as connection:
            return tuple(connection.scalars(select(schema.decisions.c.object)))

    def _allocation(
        self, account: str, newest: ColumnElement[Any], *wanted: ColumnElement[bool]
    ) -> Rebalance | None:
        found = select(_allocations).where(_allocations.c.account == account, *wanted)
        row = self._first(found.order_by(newest.desc(), _allocations.c.generation.desc()))
        if row is None:
            return None
        at = row["finished_at"] or row["received_at"]
        weights = json.loads(row["weights"])
        return Rebalance(row["object"], row["status"], row["reason"], rows.moment(at), weights)

    def _first(self, statement: Any) -> Mapping[str, Any] | None:
        with self._dialect.reading() as connection:
            found = connection.execute(statement.limit(1)).mappings().first()
        return None if found is None else dict(found)

    def _moment(self, statement: Any) -> dt.datetime | None:
        with self._dialect.reading() as connection:
            return rows.moment_or_none(connection.scalar(statement))


def _run(row: Any) -> Run:
    times = {
        "started_at": rows.moment(row["started_at"]),
        "finished_at": rows.moment_or_none(row["finished_at"]),
    }
    return Run(**{**row, **times})

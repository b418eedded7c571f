"""How our books stood against the broker's, time after time."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from astra.ledger import Differences
from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import writing_books

_table = schema.reconciliations


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Our books against the broker's at one time of the market.

    Attributes:
        status: equal, explained (equal once what the broker knows otherwise was booked) or differs.
        cash_diff: ours less the broker's, USD.
        share_diffs: the same by symbol, where they differ.
        order_diffs: a sentence for each order that differs or was corrected, by our id.
        value_diff: USD, sum of the absolute differences.
    """

    account: str
    at: dt.datetime
    status: str
    cash_diff: Decimal = Decimal(0)
    share_diffs: Mapping[str, Decimal] = field(default_factory=dict)
    order_diffs: Mapping[str, str] = field(default_factory=dict)
    value_diff: float = 0.0
    message: str = ""

    @property
    def differences(self) -> Differences:
        """Of cash and shares."""
        return Differences(self.cash_diff, self.share_diffs)


class Reconciliations:
    """Table `reconciliations`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def record(self, found: Reconciliation) -> None:
        """Write it down; the same time of the market again overwrites."""
        row = {
            "account": found.account,
            "at": rows.seconds(found.at),
            "status": found.status,
            "cash_diff": rows.decimal(found.cash_diff),
            "share_diffs": json.dumps({s: rows.decimal(q) for s, q in found.share_diffs.items()}),
            "order_diffs": json.dumps(dict(found.order_diffs)),
            "value_diff": found.value_diff,
            "message": found.message,
        }
        with writing_books(self._dialect) as connection:
            self._dialect.upsert(connection, _table, [row])

    def latest(self, account: str, until: dt.datetime | None = None) -> Reconciliation | None:
        """The last one, or the last at or before `until`; None if there is none."""
        wanted = _table.c.account == account
        if until is not None:
            wanted &= _table.c.at <= rows.seconds(until)
        statement = select(_table).where(wanted).order_by(_table.c.at.desc()).limit(1)
        with self._dialect.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else _reconciliation(row)

    def was_equal(self, account: str) -> bool:
        """Whether the books of an account have ever been the broker's."""
        equal = (_table.c.account == account) & (_table.c.status != "differs")
        with self._dialect.reading() as connection:
            return connection.scalar(select(_table.c.at).where(equal).limit(1)) is not None


def _reconciliation(row: Any) -> Reconciliation:
    shares = {symbol: Decimal(qty) for symbol, qty in json.loads(row["share_diffs"]).items()}
    return Reconciliation(
        **{
            **row,
            "at": rows.moment(row["at"]),
            "cash_diff": Decimal(row["cash_diff"]),
            "share_diffs": shares,
            "order_diffs": json.loads(row["order_diffs"]),
        }
    )

"""Days as they were traded beside the same days replayed: table `twins`, one row a session.

Row: `account`, `session` (its opening), `made_at` (the broker's clock), `status`, `live`, `twin`,
`parts`, `lines`, `message`. `live` and `twin` are USD as decimal strings to the cent: the change of
what is managed from the day's first decision to the close, flows left out, as it happened and as
the replay has it. `message` is one sentence for a person.

`status` is one of `STATUSES`: `compared`, or why there is nothing to compare. Then `live` and
`twin` are "0", `parts` and `lines` "{}", and `message` says what was lacking.

`parts` is JSON {part: USD}, all of `astra.twin.PARTS`, decimal strings to the cent, above 0 where
the account did better than its twin; they sum to `live` - `twin`:

    {"price": "-1.20", "slippage": "-3.04", "missed": "0.00", "corrections": "0.15", "fees": "0.00",
     "other": "0.00"}

`lines` is JSON {symbol: {part: USD}} of the same kind, only parts that are not 0.00, sorted by
symbol; each part's lines sum to the part. "" stands for what belongs to no symbol: fees, interest.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from astra.store import rows, schema
from astra.store.dialect import Dialect
from astra.store.versions import bump

COMPARED = "compared"
NO_DECISION, NEW_ACCOUNT, NO_BARS = "no_decision", "new_account", "no_bars"
STATUSES = (COMPARED, NO_DECISION, NEW_ACCOUNT, NO_BARS)
_table = schema.twins
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Twin:
    """One session of one account, see the module; USD to the cent."""

    account: str
    session: dt.datetime
    made_at: dt.datetime
    status: str
    message: str
    live: Decimal = _NOTHING
    twin: Decimal = _NOTHING
    parts: Mapping[str, Decimal] = field(default_factory=dict)
    lines: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)


class Twins:
    """Table `twins`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def record(self, found: Twin) -> Twin:
        """Write a day down, unless it has been compared already.

        Returns: what stands: of two comparisons of one day the first.
        """
        with self._dialect.writing("books") as connection:
            standing = _find(connection, found.account, found.session)
            if standing is not None and standing.status == COMPARED:
                return standing
            self._dialect.upsert(connection, _table, [_row(found)])
            bump(connection, "books")
        return found

    def get(self, account: str, session: dt.datetime) -> Twin | None:
        """The day of the session that opened then, None if it is not written down."""
        with self._dialect.reading() as connection:
            return _find(connection, account, session)


def _find(connection: Connection, account: str, session: dt.datetime) -> Twin | None:
    wanted = (_table.c.account == account) & (_table.c.session == rows.seconds(session))
    row = connection.execute(select(_table).where(wanted)).mappings().first()
    return None if row is None else _twin(row)


def _row(found: Twin) -> dict[str, Any]:
    return {
        "account": found.account,
        "session": rows.seconds(found.session),
        "made_at": rows.seconds(found.made_at),
        "status": found.status,
        "live": rows.decimal(found.live),
        "twin": rows.decimal(found.twin),
        "parts": json.dumps(_written(found.parts)),
        "lines": json.dumps({s: _written(parts) for s, parts in sorted(found.lines.items())}),
        "message": found.message,
    }


def _twin(row: Any) -> Twin:
    return Twin(
        **{
            **row,
            "session": rows.moment(row["session"]),
            "made_at": rows.moment(row["made_at"]),
            "live": Decimal(row["live"]),
            "twin": Decimal(row["twin"]),
            "parts": _read(json.loads(row["parts"])),
            "lines": {s: _read(parts) for s, parts in json.loads(row["lines"]).items()},
        }
    )


def _written(parts: Mapping[str, Decimal]) -> dict[str, str]:
    return {part: rows.decimal(usd) for part, usd in parts.items()}


def _read(parts: Mapping[str, str]) -> dict[str, Decimal]:
    return {part: Decimal(usd) for part, usd in parts.items()}
